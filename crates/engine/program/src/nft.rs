//! Programs for nftables: tables, chains, rules, sets, and transactions over them.
//!
//! The vocabulary is that of the kernel's `linux/netfilter/nf_tables.h`, with the redundancies taken
//! out: a verdict map is a [`Set`] with [`SetData::Verdict`], an anonymous set lives inside the rule
//! that uses it, an interval is one [`Element`] and not a pair of them. Values are typed
//! ([`Value`]), so that padding and byte order are nobody's concern but the encoder's.
//!
//! [`build`] has functions that write the expressions the `nft` program generates for a piece of its
//! language, so that `nft list ruleset` prints them back as that text and `nft -f` reads it again.
//!
//! Names of objects must not be words of nft's language (`all`, `rt`, `set`, ...) and must begin with
//! a letter, or the listing will not reload; the kernel itself does not mind.

pub mod build;
mod display;
mod expression;
mod numbers;
mod object;
mod ruleset;
mod set;
mod text;
mod transaction;
mod value;

pub use expression::{
    ByteorderOp, Bytes, CmpOp, CtDirection, CtKey, Expression, FibResult, LogStatement, LogTarget,
    LookupSet, MetaKey, PayloadBase, RangeOp, Register, Reject, fib_flag, nat_flag,
};
pub use numbers::Numbers;
pub use object::{
    BaseChain, Chain, ChainKind, Family, Hook, Policy, Rule, TableId, Verdict, priority,
};
pub use ruleset::{InstalledChain, InstalledRule, InstalledSet, Ruleset};
pub use set::{AnonymousSet, Counter, Data, Element, ElementKey, Key, Layout, Set, SetData, SetId};
pub use text::Text;
pub use transaction::{Op, Transaction};
pub use value::{IfName, InvalidIfName, KeyType, Value};

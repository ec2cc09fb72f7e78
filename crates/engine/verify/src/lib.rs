//! Whether the program in a kernel decides what the tables say.
//!
//! ```text
//!   kernel ──► edge/nft ──► Ruleset ──► Run: chains, rules, maps, for many packets at once ──► fates
//!                                                                                               │
//!   NodeState ──► classes, stacks, rows ──────────────────────────────► verify: every cell ◄────┘
//! ```
//!
//! [`Run`] interprets a table as it was read back: it follows packets through chains, rules and
//! look-ups as `nf_tables` would, but a whole set of packets at once. A field is a set of values
//! ([`Packets`]); where a rule tells values apart, the set is split. So what comes out covers every
//! address, protocol, port, ICMP type and code, not a sample.
//!
//! [`Verification`] sends all packets that an endpoint can send or receive through the base chains, and
//! compares each fate (accepted, or dropped and logged with an outcome's number) with the tables. It does
//! so too for all packets at every stage of host endpoints, at each interface that has one. It
//! does not compare texts of programs: a program that differs and decides the same is right.
//!
//! It knows only the expressions that our programs are made of. What it does not know it reports as
//! such, and what it reports so is not verified. It believes the kernel's listing; whether the kernel
//! does what its listing says is for tests with packets (`app/proof`).
//!
//! ```
//! use ocicat_program::nft::{
//!     BaseChain, Chain, ChainKind, Hook, InstalledChain, InstalledRule, Policy, Rule, Ruleset, TableId,
//!     Verdict, build,
//! };
//! use ocicat_verify::{End, Field, IpFamily, Packets, Run};
//!
//! let chain = Chain::base("input", ChainKind::Filter, Hook::Input, 0, Policy::Accept);
//! let rule = Rule::new("input")
//!     .with(build::l4proto(17))
//!     .with(build::verdict(Verdict::Drop));
//! let rules = vec![InstalledRule { handle: 2, rule }];
//! let chains = [("input".to_owned(), InstalledChain { chain, handle: 1, rules })].into();
//! let table = Ruleset { table: TableId::inet("t"), comment: None, chains, sets: Default::default() };
//! let fates = Run::new(&table).enter("input", &Packets::all(IpFamily::V4, "eth0", "")).unwrap();
//! let dropped = fates.iter().find(|fate| fate.end == End::Drop).unwrap();
//! assert!(dropped.packets.get(Field::Protocol).contains(17));
//! assert!(!dropped.packets.get(Field::Protocol).contains(6));
//! ```

mod lookup;
mod machine;
mod packets;
mod ranges;
mod run;
mod tables;
mod verification;

pub use packets::{Connection, Field, IpFamily, Packets};
pub use ranges::Ranges;
pub use run::{End, Event, Fate, Run};
pub use verification::{Attached, Numbering, Report, Subject, Verification, attached, host_links};

/// Something that a program does and that is not interpreted, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported(pub String);

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not interpreted: {}", self.0)
    }
}

impl std::error::Error for Unsupported {}

//! nftables over netlink, without the `nft` program.
//!
//! ```text
//!   object::Transaction ──► encode ──► Connection::commit ──► kernel: all of it, or none
//!                                            │ error: which operation, which element, why
//!   object::Ruleset ◄────── decode ◄── Connection::dump_table
//! ```
//!
//! One [`object::Transaction`] is one batch of messages sent by one system call, and one transaction of
//! the kernel. Read back, everything comes as the same types: sets, maps, elements with their counters,
//! rules, comments. Rules, sets and user data are written as the `nft` program 1.0.6 writes them, so
//! that `nft list ruleset` prints them well and its output can be loaded again.
//!
//! What it does not do: parse nft's language, run the `nft` program, retry a refused commit, keep any
//! state besides the socket, or know what a table is for. Calls block for as long as the kernel works on
//! them, and a reading that meets a commit tries again for up to a third of a second; a caller inside an
//! asynchronous program gives the connection its own thread.
//!
//! Needs `CAP_NET_ADMIN` in the user namespace that owns the network namespace.
//!
//! ```no_run
//! use ocicat_nft::Connection;
//! use ocicat_nft::object::{
//!     Chain, ChainKind, Element, Hook, KeyType, Op, Policy, Rule, Set, TableId, Transaction, Value, Verdict,
//!     build, priority,
//! };
//!
//! let mut nft = Connection::open()?;
//! let set = Set::new("blocked", [KeyType::Ipv4Addr]);
//! let mut change = Transaction::new(TableId::inet("example"));
//! change.push(Op::AddTable { comment: None });
//! change.push(Op::AddSet(set.clone()));
//! change.push(Op::AddChain(Chain::base(
//!     "input",
//!     ChainKind::Filter,
//!     Hook::Input,
//!     priority::FILTER,
//!     Policy::Accept,
//! )));
//! change.push(Op::AddRule(
//!     Rule::new("input")
//!         .with(build::ipv4())
//!         .with(build::in_set(&[build::IP_SADDR], "blocked"))
//!         .with(build::verdict(Verdict::Drop)),
//! ));
//! let address = Value::Ipv4Addr([192, 0, 2, 1].into());
//! change.push(Op::AddElements { set: set.id(), elements: vec![Element::new(address)] });
//! nft.commit(&change)?;
//!
//! let table = nft.dump_table(&change.table)?.expect("it was just made");
//! assert_eq!(table.sets["blocked"].elements.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod code;
mod connection;
mod decode;
mod encode;
mod error;
mod kernel;
mod reader;
mod socket;
#[cfg(test)]
mod tests;
mod wire;

pub use connection::Connection;
pub use error::{CommitError, ReadError, Rejection};
pub use ocicat_program::nft as object;

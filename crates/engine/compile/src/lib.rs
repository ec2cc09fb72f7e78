//! `NodeState` to kernel programs.
//!
//! ```text
//!   NodeState, attachments ──► Compiler ──► operations ──► (edge/nft) one transaction
//!        NodeDelta ────────────┘    └──► collect(): what may go after a grace period
//! ```
//!
//! The program is one table, `inet ocicat`. A packet of a workload gets its *class* from the far
//! address, its *row* from the stack of the near address and the class, its *outcome* from the row
//! and its protocol and ports. The three live one after the other in `meta priority`, which is
//! private to the packet. Their numbers come from disjoint ranges, so a look-up that misses leaves a
//! number that no later map knows, and the packet is dropped.
//!
//! # What a change may do at once
//!
//! Each look-up of a packet in flight reads the newest commit, and the verdict must be that of the state
//! before or that of the state after. An outcome never changes. A row has a number of the kernel, and a
//! number may come to stand for another row where all that leads to it goes there and no more than one
//! look-up differs: then its cells change, which are few, and not the elements that lead to it. A class
//! that is new brings its rows along. A stack changes rows in its own map where everybody who may be
//! inside meets his old row or his new one; else it is built anew under a fresh number, and who it judged is pointed at it. The old map
//! stays as it was for packets that are inside, with a row for each class that is new to them. So do the
//! stages of host endpoints, by the near class. Where that cannot be, the whole program is replaced
//! ([`Update::replace`]). What is no longer used stays until [`Compiler::collect`], which is called after a
//! grace period.
//!
//! Each side of a forwarded packet is judged by one state; the two sides may be judged by different ones.
//! Left out are packets of endpoints that are gone, and those that somebody sends to himself.
//!
//! Nor do chains change with the look-ups: a packet keeps the rules of the commit in which its hook
//! began, and to it a chain that is younger is empty, which would let it pass. So new chains come in a
//! commit of their own, before the elements that lead to them ([`Update`]). The second commit also
//! makes the chain's rules those of the first, for packets that are older than both.
//!
//! # Epochs
//!
//! A start builds the whole program beside the one in force, under names of another *epoch* (a
//! letter at the end of each name), and turns the base chains over to it in one commit. Packets in
//! flight finish in the old one. A restart and a repair are the same operation.
//!
//! # Host endpoints
//!
//! A packet passes up to three hooks, and at each of them the stages of the host endpoint of its
//! interface: before connection tracking, before the translation of destinations, and where packets
//! are filtered. A map from interface to chain leads to the endpoint's stage; the chain finds the
//! stack, by the class of the near address where that matters, and the stack judges as those of
//! workloads do. That a stage before has allowed a packet is a bit of the packet mark, because the
//! kernel overwrites `meta priority` where it forwards. A packet is judged by one state at each stage,
//! not over all of them.
//!
//! This crate knows no policies, no netlink and no interfaces but their names.

mod cells;
mod compiler;
mod config;
mod endpoint;
mod host;
mod intervals;
mod layout;
mod prefixes;
mod skeleton;
mod stack;

pub use compiler::{Compiler, Update};
pub use config::{Config, DenyAction, EndpointToHost, Failsafe, Source};
pub use host::{HostLink, endpoint_of_link};
pub use layout::{Epoch, HostStage, Named, TABLE, kernel_outcome, outcome_of};

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
//! Each look-up of a packet in flight reads the newest commit. So a commit never changes what a
//! number means for a packet that has already read it: rows and outcomes are immutable; a class
//! that is new brings its rows along; a stack that changes rows of existing classes while addresses
//! change class, or that changes its default row, is built anew under a fresh number and the
//! endpoints are pointed at it. Packets that are still in the old stack find there, for the classes
//! that come with the commit, the verdict they would have met. Where that cannot be, the whole
//! program is replaced ([`Update::replace`]). What is no longer used stays until
//! [`Compiler::collect`], which is called after a grace period.
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
//! This crate knows no policies, no netlink and no interfaces but their names.

mod cells;
mod compiler;
mod endpoint;
mod intervals;
mod layout;
mod prefixes;
mod skeleton;
mod stack;

pub use compiler::{Compiler, Update};
pub use layout::{BASE_CHAINS, Epoch, Named, TABLE, kernel_outcome, outcome_of};

/// What of the program can be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The names of all workload interfaces begin so; at most 12 bytes.
    pub interface_prefix: String,
    /// Bits of the conntrack mark that are ours. At least two must be set; others are left alone.
    pub mark_mask: u32,
    /// NFLOG group of denied packets (`nfnetlink_log.h`).
    pub deny_group: u16,
    /// NFLOG group of packets that a Log rule matched and that were allowed.
    pub log_group: u16,
    /// What happens to packets of a workload to its own host after its egress policy allowed them.
    pub endpoint_to_host: EndpointToHost,
}

/// `defaultEndpointToHostAction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointToHost {
    Accept,
    Drop,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interface_prefix: "ocw".to_owned(),
            mark_mask: 0xc000_0000,
            deny_group: 7,
            log_group: 8,
            endpoint_to_host: EndpointToHost::Drop,
        }
    }
}

impl Config {
    /// The bit of the conntrack mark that ends a connection: the highest of the mask.
    #[must_use]
    pub fn ended(&self) -> u32 {
        highest(self.mark_mask)
    }

    /// The bit of the conntrack mark that says policy has allowed this connection.
    #[must_use]
    pub fn decided(&self) -> u32 {
        highest(self.mark_mask & !self.ended())
    }
}

fn highest(mask: u32) -> u32 {
    mask.checked_ilog2().map_or(0, |bit| 1 << bit)
}

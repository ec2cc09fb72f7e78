//! Host endpoints: interfaces of the host, and what judges the packets that pass them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ocicat_flow::Direction;

use crate::{ClassId, StackId};

/// A host endpoint of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEndpoint {
    pub interfaces: HostInterfaces,
    /// A stage that is absent judges nothing, and the packet goes on to the next one. `Local` is
    /// always present, in both directions.
    pub stages: BTreeMap<(Stage, Direction), StageStacks>,
}

/// Which interfaces a host endpoint stands for; never those of workloads, and never the loopback.
///
/// An interface has one host endpoint: that which names it, else that which has one of its
/// addresses, else that for all; of several the one with the least id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostInterfaces {
    /// At most 15 bytes.
    Named(Arc<str>),
    /// The interface that holds one of these addresses; sorted.
    ByAddress(Vec<IpAddr>),
    All,
}

/// Where on its way a packet is judged at a host endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Before connection tracking: all packets in, and those out that the host itself sends. Each
    /// packet is judged by itself. Its outcomes may be [`Verdict::Next`](ocicat_flow::Verdict).
    /// What it allows is not tracked, and the later stages of the same endpoint and direction do not
    /// judge it.
    Untracked,
    /// Before the translation of destinations, only in. Its outcomes may be `Next`. The later stages
    /// of the same endpoint and direction do not judge what it allows.
    PreDnat,
    /// What the host forwards.
    Forward,
    /// To and from the host itself.
    Local,
}

/// What judges the packets of one stage and direction. A host has many addresses, and what it
/// forwards has any, so the near address chooses the stack by its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageStacks {
    /// Of near addresses of classes that `by_near` does not name.
    pub default: StackId,
    /// Empty unless a rule asks about the near side.
    pub by_near: BTreeMap<ClassId, StackId>,
}

impl StageStacks {
    /// The stack for a near address of that class.
    #[must_use]
    pub fn of(&self, near: ClassId) -> StackId {
        self.by_near.get(&near).copied().unwrap_or(self.default)
    }

    /// Every stack that it names, with repeats.
    pub fn stacks(&self) -> impl Iterator<Item = StackId> + '_ {
        std::iter::once(self.default).chain(self.by_near.values().copied())
    }
}

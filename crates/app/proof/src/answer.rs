//! What was observed of injected packets.

use std::collections::BTreeMap;

use crate::field::LinkId;

/// By the packets' numbers. Each list has one entry unless something is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    /// At which far ends it arrived.
    pub(crate) arrived: BTreeMap<u32, Vec<LinkId>>,
    /// The kernel's numbers of outcomes that denied it.
    pub(crate) denied: BTreeMap<u32, Vec<u32>>,
    /// The kernel's numbers of outcomes that allowed and logged it.
    pub(crate) logged: BTreeMap<u32, Vec<u32>>,
}

impl Answers {
    /// Whether the packet has arrived or has been denied.
    pub(crate) fn is_decided(&self, number: u32) -> bool {
        self.arrived.contains_key(&number) || self.denied.contains_key(&number)
    }
}

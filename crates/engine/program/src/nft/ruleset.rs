//! What one table holds, as read back from the kernel.

use std::collections::BTreeMap;

use super::object::{Chain, Rule, TableId};
use super::set::{Element, Set};
use super::text::Text;

/// All of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    /// The table.
    pub table: TableId,
    /// The note kept with it.
    pub comment: Option<Text>,
    /// Chains by name.
    pub chains: BTreeMap<String, InstalledChain>,
    /// Named sets and maps by name. Anonymous ones are in the rules that use them.
    pub sets: BTreeMap<String, InstalledSet>,
}

/// A chain in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledChain {
    /// What it is.
    pub chain: Chain,
    /// The kernel's number for it, never used again in the table.
    pub handle: u64,
    /// Its rules in order.
    pub rules: Vec<InstalledRule>,
}

/// A rule in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledRule {
    /// The kernel's number for it, never used again in the table.
    pub handle: u64,
    /// What it is.
    pub rule: Rule,
}

/// A set or map in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledSet {
    /// What it is.
    pub set: Set,
    /// The kernel's number for it, never used again in the table.
    pub handle: u64,
    /// Its elements, sorted.
    pub elements: Vec<Element>,
}

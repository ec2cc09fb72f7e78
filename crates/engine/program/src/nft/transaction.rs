//! What to change: one list of operations that the kernel does entirely or not at all.

use super::numbers::Numbers;
use super::object::{Chain, Rule, TableId};
use super::set::{Element, Set, SetId};
use super::text::Text;

/// Operations on one table, done in order, all or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The table they are about.
    pub table: TableId,
    /// The operations.
    pub ops: Vec<Op>,
}

impl Transaction {
    /// An empty transaction.
    #[must_use]
    pub const fn new(table: TableId) -> Self {
        Self {
            table,
            ops: Vec::new(),
        }
    }

    /// Appends an operation.
    pub fn push(&mut self, op: Op) {
        self.ops.push(op);
    }
}

/// One operation.
///
/// Order matters: a chain exists before a rule or an element jumps to it, a set before a rule looks
/// it up; a rule is gone before the set or chain it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Makes the table, or leaves an existing one as it is. The comment is that of a
    /// new table: an existing one keeps its own.
    AddTable {
        /// A note kept with the table.
        comment: Option<Text>,
    },
    /// Deletes the table and all that is in it. An error if there is none.
    DelTable,
    /// Makes a chain; an existing base chain only gets the policy.
    AddChain(Chain),
    /// Deletes a chain that is empty and that nothing jumps to. A base chain leaves its hook.
    DelChain(String),
    /// Deletes all rules of a chain.
    FlushChain(String),
    /// Appends a rule to its chain.
    AddRule(Rule),
    /// Puts a rule in the place of the one with this handle.
    ReplaceRule {
        /// Handle of the rule to be replaced.
        handle: u64,
        /// The new rule, of the same chain.
        rule: Rule,
    },
    /// Deletes the rule with this handle.
    DelRule {
        /// Its chain.
        chain: String,
        /// Its handle.
        handle: u64,
    },
    /// Makes a set or map; an existing one must be alike.
    AddSet(Set),
    /// Deletes a set or map that no rule uses.
    DelSet(String),
    /// Deletes all elements of a set.
    FlushSet(String),
    /// Adds elements. One that exists already is left as it is if its data are the same, an error if
    /// they differ.
    AddElements {
        /// The set.
        set: SetId,
        /// The elements.
        elements: Vec<Element>,
    },
    /// Deletes elements, named by their keys. An error if one does not exist.
    DelElements {
        /// The set.
        set: SetId,
        /// The elements; data, counters and comments are ignored.
        elements: Vec<Element>,
    },
    /// [`Op::AddElements`] of small ones.
    AddNumbers(Numbers),
    /// [`Op::DelElements`] of small ones.
    DelNumbers(Numbers),
}

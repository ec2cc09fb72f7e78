//! A stack in the kernel: a chain and a map from class to row.

use ocicat_flow::Direction;
use ocicat_node::ClassId;
use ocicat_program::nft::build::{self, PRIORITY};
use ocicat_program::nft::{Chain, KeyType, MetaKey, Numbers, Op, Rule, Set, Verdict};

use rustc_hash::FxHashMap;

use crate::layout::{self, Epoch, RowNumber};

/// The kernel's number of a stack. A stack that is built anew gets another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StackNumber {
    pub(crate) direction: Direction,
    pub(crate) number: u32,
}

impl StackNumber {
    pub(crate) fn chain(self, epoch: Epoch) -> String {
        epoch.numbered(self.prefix(), self.number)
    }

    /// The name of its map from class to row.
    pub(crate) fn rows(self, epoch: Epoch) -> String {
        epoch.numbered(&format!("rows_{}", self.prefix()), self.number)
    }

    fn prefix(self) -> &'static str {
        match self.direction {
            Direction::Egress => "e",
            Direction::Ingress => "i",
        }
    }

    /// Makes the chain and its map. A class that the map does not hold takes the default row.
    pub(crate) fn make(self, epoch: Epoch, default_row: RowNumber, rows: &ClassRows) -> Vec<Op> {
        let set = Set::map(&self.rows(epoch), [KeyType::ClassId], KeyType::ClassId);
        let set = set.size(capacity(rows.len()));
        let chain = self.chain(epoch);
        let class_of = match self.direction {
            Direction::Egress => "class_dst",
            Direction::Ingress => "class_src",
        };
        let judge = || build::verdict(Verdict::Goto(epoch.name("judge")));
        let rules = [
            Rule::new(&chain).with(build::verdict(Verdict::Jump(epoch.name(class_of)))),
            Rule::new(&chain)
                .with(build::meta_set_map(
                    MetaKey::Priority,
                    &[PRIORITY],
                    &set.name,
                ))
                .with(judge()),
            Rule::new(&chain)
                .with(build::meta_set(
                    MetaKey::Priority,
                    &layout::row(default_row),
                ))
                .with(judge()),
        ];
        let pairs = rows.iter().map(|(class, row)| pair(*class, *row));
        let mut pairs: Vec<(u32, u32)> = pairs.collect();
        pairs.sort_unstable();
        let numbers = Numbers::pairs(&set.name, pairs);
        let mut ops = vec![Op::AddSet(set)];
        if !numbers.is_empty() {
            ops.push(Op::AddNumbers(numbers));
        }
        ops.push(Op::AddChain(Chain::regular(&chain)));
        ops.extend(rules.into_iter().map(Op::AddRule));
        ops
    }

    /// Deletes the chain and its map once nothing jumps to it.
    pub(crate) fn drop(self, epoch: Epoch) -> [Op; 3] {
        [
            Op::FlushChain(self.chain(epoch)),
            Op::DelChain(self.chain(epoch)),
            Op::DelSet(self.rows(epoch)),
        ]
    }
}

/// How many elements the map of a stack has room for. The kernel finds elements of a map of known
/// size in a table that never grows; what a commit removes keeps its room until the commit is done.
pub(crate) fn capacity(rows: usize) -> u32 {
    let rows = u32::try_from(rows).unwrap_or(u32::MAX / 8);
    // Three quarters of a power of two are what the kernel makes that power of two buckets for.
    let buckets = (rows / 2).saturating_add(rows) / 3 * 4;
    buckets.max(64).next_power_of_two() / 4 * 3
}

/// An element of the map.
pub(crate) fn pair(class: ClassId, row: RowNumber) -> (u32, u32) {
    (layout::kernel_class(class), layout::kernel_row(row))
}

/// The rows of a stack's classes.
pub(crate) type ClassRows = FxHashMap<ClassId, RowNumber>;

//! A stack in the kernel: a chain and a map from class to row.

use ocicat_flow::Direction;
use ocicat_node::ClassId;
use ocicat_program::nft::build::{self, PRIORITY};
use ocicat_program::nft::{Chain, KeyType, MetaKey, Op, Rule, Set, Verdict};

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
        let pairs: Vec<(u32, u32)> = (rows.iter()).map(|(class, row)| pair(class, row)).collect();
        let map = set.name.clone();
        let mut ops = vec![Op::AddSet(set)];
        if !pairs.is_empty() {
            ops.push(Op::AddNumbers { map, pairs });
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

/// The rows of a stack's classes, sorted by class.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClassRows(Vec<(ClassId, RowNumber)>);

/// Where a class is among the rows, or would be.
pub(crate) type Place = Result<usize, usize>;

impl ClassRows {
    /// From rows that are sorted by class.
    pub(crate) fn new(rows: Vec<(ClassId, RowNumber)>) -> Self {
        Self(rows)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ClassId, RowNumber)> + '_ {
        self.0.iter().copied()
    }

    pub(crate) fn get(&self, class: ClassId) -> Option<RowNumber> {
        self.at(self.place(class, 0))
    }

    pub(crate) fn at(&self, place: Place) -> Option<RowNumber> {
        Some(self.0[place.ok()?].1)
    }

    /// Where a class is that is not before the place `from`.
    pub(crate) fn place(&self, class: ClassId, from: usize) -> Place {
        let rest = &self.0[from..];
        let mut step = 1;
        while rest.get(step).is_some_and(|(other, _)| *other <= class) {
            step *= 2;
        }
        let (start, end) = (step / 2, rest.len().min(step + 1));
        let found = rest[start..end].binary_search_by_key(&class, |(other, _)| *other);
        let add = from + start;
        found.map(|at| at + add).map_err(|at| at + add)
    }

    /// Gives a class that has a row another one.
    pub(crate) fn set(&mut self, at: usize, row: RowNumber) {
        self.0[at].1 = row;
    }

    /// Puts in and takes out, in one pass; `changes` have the class and where it is, sorted.
    pub(crate) fn splice(&mut self, changes: &[(ClassId, Place, Option<RowNumber>)]) {
        if changes.is_empty() {
            return;
        }
        let mut rows = Vec::with_capacity(self.0.len() + changes.len());
        let mut done = 0;
        for (class, place, row) in changes {
            let (at, next) = match place {
                Ok(at) => (*at, *at + 1),
                Err(at) => (*at, *at),
            };
            rows.extend_from_slice(&self.0[done..at]);
            rows.extend(row.map(|row| (*class, row)));
            done = next;
        }
        rows.extend_from_slice(&self.0[done..]);
        self.0 = rows;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn rows_are_spliced_in_order() {
        let mut known: BTreeMap<ClassId, RowNumber> = BTreeMap::new();
        let mut rows = ClassRows::default();
        for round in 0..40_u32 {
            let mut changes = Vec::new();
            let mut from = 0;
            for class in (0..200).map(ClassId).filter(|c| (c.0 * 7 + round) % 5 < 2) {
                let place = rows.place(class, from);
                from = place.unwrap_or_else(|at| at);
                let row = (class.0 % 3 != round % 3).then_some(RowNumber(round));
                match row {
                    Some(row) => known.insert(class, row),
                    None => known.remove(&class),
                };
                changes.push((class, place, row));
            }
            rows.splice(&changes);
            let expected = known.iter().map(|(class, row)| (*class, *row));
            assert!(rows.iter().eq(expected));
            assert!(
                (0..210)
                    .map(ClassId)
                    .all(|c| rows.get(c) == known.get(&c).copied())
            );
        }
        assert!(rows.len() > 50);
    }
}

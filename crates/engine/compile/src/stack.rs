//! A stack in the kernel: a chain and a map from class to row.

use std::collections::BTreeMap;

use ocicat_flow::Direction;
use ocicat_node::{ClassId, RowId, Stack};
use ocicat_program::nft::build::{self, PRIORITY};
use ocicat_program::nft::{Chain, Element, KeyType, MetaKey, Op, Rule, Set, SetId, Verdict};

use crate::layout::{self, Epoch};

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

    pub(crate) fn rows_id(self, epoch: Epoch) -> SetId {
        self.rows_set(epoch).id()
    }

    fn rows_set(self, epoch: Epoch) -> Set {
        let name = epoch.numbered(&format!("rows_{}", self.prefix()), self.number);
        Set::map(&name, [KeyType::ClassId], KeyType::ClassId)
    }

    fn prefix(self) -> &'static str {
        match self.direction {
            Direction::Egress => "e",
            Direction::Ingress => "i",
        }
    }

    /// Makes the chain and its map. A class that the map does not hold takes the default row.
    pub(crate) fn make(self, epoch: Epoch, stack: &Stack) -> Vec<Op> {
        let set = self.rows_set(epoch);
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
                    &layout::row(stack.default_row),
                ))
                .with(judge()),
        ];
        let elements = elements(&stack.rows);
        let id = set.id();
        let mut ops = vec![Op::AddSet(set)];
        if !elements.is_empty() {
            ops.push(Op::AddElements { set: id, elements });
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
            Op::DelSet(self.rows_set(epoch).name),
        ]
    }
}

pub(crate) fn elements(rows: &BTreeMap<ClassId, RowId>) -> Vec<Element> {
    rows.iter()
        .map(|(class, row)| element(*class, *row))
        .collect()
}

pub(crate) fn element(class: ClassId, row: RowId) -> Element {
    Element::new(layout::class(class)).value(layout::row(row))
}

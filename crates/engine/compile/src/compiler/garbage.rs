//! What the last commits took out of use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ocicat_flow::{Outcome, Verdict as FlowVerdict};
use ocicat_node::{ClassId, OutcomeId};
use ocicat_program::nft::{Element, Numbers, Op};

use super::rows::Placed;
use super::{Compiler, delete};
use crate::cells::{self, Lists};
use crate::host::{BuiltStage, near_element, near_set};
use crate::intervals;
use crate::layout::{self, Named, RowNumber};
use crate::stack::{self, StackNumber};

/// A stack that nobody comes to any more.
#[derive(Debug)]
pub(super) struct LeftStack {
    pub(super) number: StackNumber,
    /// The rows that its chain and its map lead to, each as often.
    pub(super) rows: Vec<RowNumber>,
}

#[derive(Debug, Default)]
pub(super) struct Garbage {
    pub(super) outcomes: BTreeMap<OutcomeId, Arc<Outcome>>,
    pub(super) rows: Vec<(RowNumber, Placed)>,
    /// Stacks that were removed or built anew.
    pub(super) stacks: Vec<LeftStack>,
    /// Rows of classes without addresses.
    pub(super) classes: Vec<(StackNumber, ClassId, RowNumber)>,
    /// Stages of host endpoints that were removed or built anew.
    pub(super) stages: Vec<BuiltStage>,
    /// Near classes without addresses, by the number of the stage.
    pub(super) near: Vec<(u32, ClassId, StackNumber)>,
    /// Port intervals that were cut.
    pub(super) intervals: Vec<u32>,
}

impl Garbage {
    pub(super) fn outcome(&self, id: OutcomeId) -> Option<&Arc<Outcome>> {
        self.outcomes.get(&id)
    }

    /// Takes back a near class of a stage, if it is here.
    pub(super) fn take_near(&mut self, stage: u32, class: ClassId) -> Option<StackNumber> {
        let is_it = |known: &(u32, ClassId, StackNumber)| (known.0, known.1) == (stage, class);
        let at = self.near.iter().position(is_it)?;
        Some(self.near.swap_remove(at).2)
    }

    fn is_empty(&self) -> bool {
        self.outcomes.is_empty()
            && self.rows.is_empty()
            && self.stacks.is_empty()
            && self.classes.is_empty()
            && self.stages.is_empty()
            && self.near.is_empty()
            && self.intervals.is_empty()
    }
}

impl Compiler {
    /// Whether [`Compiler::collect`] has anything to remove.
    #[must_use]
    pub fn has_garbage(&self) -> bool {
        !self.garbage.is_empty()
    }

    /// The operations that remove what is no longer used. Call it once no packet can be inside a
    /// commit older than the last one.
    #[must_use]
    pub fn collect(&mut self) -> Vec<Op> {
        let garbage = std::mem::take(&mut self.garbage);
        let epoch = self.epoch;
        let mut ops = Vec::new();
        for (number, class, stack) in garbage.near {
            if garbage.stages.iter().all(|stage| stage.number != number) {
                ops.push(Op::DelElements {
                    set: near_set(number, epoch).id(),
                    elements: vec![near_element(class, stack, epoch)],
                });
            }
        }
        ops.extend(garbage.stages.iter().flat_map(|stage| stage.drop(epoch)));
        let mut pairs: BTreeMap<StackNumber, Vec<(u32, u32)>> = BTreeMap::new();
        for (number, class, row) in garbage.classes {
            self.rows.release(row);
            pairs
                .entry(number)
                .or_default()
                .push(stack::pair(class, row));
        }
        let mut dropped: BTreeSet<StackNumber> = BTreeSet::new();
        for stack in garbage.stacks {
            ops.extend(stack.number.drop(epoch));
            dropped.insert(stack.number);
            stack.rows.iter().for_each(|row| self.rows.release(*row));
        }
        pairs.retain(|number, _| !dropped.contains(number));
        for installed in self.stacks.values_mut() {
            installed.held -= pairs.get(&installed.number).map_or(0, Vec::len);
        }
        let of_stack = |(number, pairs): (StackNumber, Vec<(u32, u32)>)| {
            Op::DelNumbers(Numbers::pairs(number.rows(epoch), pairs))
        };
        ops.extend(pairs.into_iter().map(of_stack));
        let mut elements = Lists::new(epoch);
        let mut rows = garbage.rows;
        rows.extend(self.rows.take_idle());
        for (number, placed) in rows {
            elements.row(number, &placed.row, &placed.subrows);
            let ranges = cells::ranges(number, &placed.row, &placed.subrows);
            self.intervals.remove(epoch, &ranges, &mut ops);
            self.rows.end(number);
        }
        ops.extend(elements.delete());
        ops.extend(
            garbage
                .intervals
                .iter()
                .flat_map(|n| intervals::drop_chain(epoch, *n)),
        );
        for (id, outcome) in &garbage.outcomes {
            let element = || vec![Element::new(layout::outcome(*id))];
            if outcome.verdict == FlowVerdict::Deny {
                ops.push(delete(Named::Deny, epoch, element()));
                ops.push(delete(Named::DenyMark, epoch, element()));
                continue;
            }
            ops.push(delete(Named::Allow, epoch, element()));
            if !outcome.logged.is_empty() {
                let chain = epoch.numbered("log", id.0);
                ops.push(Op::FlushChain(chain.clone()));
                ops.push(Op::DelChain(chain));
            }
        }
        ops
    }
}

//! Whether a stage of a host endpoint keeps its chains.
//!
//! Where rules ask about the near side, a packet looks up the class of its near address, and then the stack
//! of that class. What is behind the stack is for the plan of stacks ([`super::super::plan`]): here it is
//! enough to be led to the stack of before, if that keeps its number, or to that of afterwards.

use std::collections::{BTreeMap, BTreeSet};

use ocicat_node::ClassId;

use super::super::moves::Moves;
use super::Wanted;
use crate::host::BuiltStage;
use crate::prefixes::Prefixes;
use crate::stack::StackNumber;

pub(super) struct StageChange<'a> {
    pub(super) built: &'a BuiltStage,
    /// What it shall become, if it stays.
    pub(super) wanted: Option<&'a Wanted>,
    /// What the interfaces have next that had it.
    pub(super) to: Vec<Option<&'a Wanted>>,
    pub(super) moves: &'a Moves,
    pub(super) prefixes: &'a Prefixes,
}

/// Whether its last addresses have left the class.
pub(super) fn is_left(class: ClassId, moves: &Moves, prefixes: &Prefixes) -> bool {
    prefixes.is_vacant(class) && !moves.vacant.contains(&class)
}

impl StageChange<'_> {
    /// Whether near classes may be led to other stacks in the stage's own map.
    pub(super) fn stays(&self) -> bool {
        let Some(wanted) = self.wanted else {
            return false;
        };
        let asks_more = !self.built.asks_near && !wanted.near.is_empty();
        if wanted.default != self.built.default || asks_more {
            return false;
        }
        if !self.built.asks_near {
            return true;
        }
        // What the map leads to after the commit.
        let led = |class: ClassId| match self.built.near.get(&class) {
            Some(kept) if !wanted.near.contains_key(&class) && self.is_left(class) => *kept,
            _ => wanted.of(class),
        };
        let named = self.built.near.keys().chain(wanted.near.keys());
        let named: BTreeSet<ClassId> = named.copied().collect();
        self.to.iter().all(|to| {
            let others = to.iter().flat_map(|to| to.near.keys());
            let mut static_ones = named.iter().chain(others);
            let stay = static_ones.all(|class| {
                let led = led(*class);
                self.is_moved(*class)
                    || led == self.before(*class)
                    || Some(led) == after(*to, *class)
            });
            let move_well = self.moves.sights.keys().all(|sight| {
                [sight.from, sight.seen].into_iter().all(|class| {
                    let led = led(class);
                    led == self.before(sight.from) || Some(led) == after(*to, sight.to)
                })
            });
            stay && move_well
        })
    }

    /// Where the old map shall lead near classes that are new to it; `None` if it cannot lead all of them
    /// well.
    pub(super) fn bridge(&self) -> Option<Vec<(ClassId, StackNumber)>> {
        if !self.built.asks_near {
            return Some(Vec::new());
        }
        let mut fitting: BTreeMap<ClassId, BTreeSet<StackNumber>> = BTreeMap::new();
        for to in &self.to {
            for sight in self.moves.sights.keys() {
                let both = [Some(self.before(sight.from)), after(*to, sight.to)];
                let both: BTreeSet<StackNumber> = both.into_iter().flatten().collect();
                fitting
                    .entry(sight.seen)
                    .and_modify(|stacks| stacks.retain(|stack| both.contains(stack)))
                    .or_insert(both);
            }
        }
        let mut bridge = Vec::new();
        for (class, stacks) in fitting {
            if stacks.contains(&self.before(class)) {
                continue;
            }
            let is_new =
                self.moves.vacant.contains(&class) && !self.built.near.contains_key(&class);
            bridge.push((class, *stacks.first().filter(|_| is_new)?));
        }
        Some(bridge)
    }

    /// Nobody stays in the class, or nobody was in it.
    fn is_moved(&self, class: ClassId) -> bool {
        self.prefixes.is_vacant(class) || self.moves.vacant.contains(&class)
    }

    fn is_left(&self, class: ClassId) -> bool {
        is_left(class, self.moves, self.prefixes)
    }

    fn before(&self, near: ClassId) -> StackNumber {
        let near = self.built.near.get(&near);
        near.copied().unwrap_or(self.built.default)
    }
}

fn after(stage: Option<&Wanted>, near: ClassId) -> Option<StackNumber> {
    stage.map(|stage| stage.of(near))
}

//! What has to be made again of which tables, and making it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ocicat_node::ClassId;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::Engine;
use crate::block::{BlockSource, Body, Reach};
use crate::class::{ClassChanges, Difference};
use crate::delta::Steps;
use crate::host::{self, GroupMove};
use crate::local::NearView;
use crate::policy::{DIRECTIONS, side};
use crate::slab::{BlockId, EntryId, StackIndex};
use crate::stack::StackKey;
use crate::table::{Again, Workshop};

/// Which parts of which tables have to be made again.
#[derive(Debug, Default)]
struct Work {
    whole: BTreeSet<StackIndex>,
    /// Rows of classes with other answers; in no order, with repeats.
    rows: Vec<(StackIndex, ClassId)>,
    /// Classes that edited rules reach; in no order, with repeats.
    edited: BTreeMap<StackIndex, Vec<ClassId>>,
}

/// A stack that took another key.
struct Renamed {
    index: StackIndex,
    old: Arc<StackKey>,
}

/// Who needs another stack.
enum User {
    /// An address of a local endpoint, by its place.
    Address(EntryId, usize),
    Group(host::Place),
}

struct Move {
    user: User,
    old: Option<StackIndex>,
    key: StackKey,
}

/// The users that leave a stack.
struct Leaving<'a> {
    count: u32,
    /// Where they all go, if that is one and the same.
    key: Option<&'a StackKey>,
}

impl From<GroupMove> for Move {
    fn from(step: GroupMove) -> Self {
        Self {
            user: User::Group(step.place),
            old: step.old,
            key: step.key,
        }
    }
}

impl Work {
    /// Rules of the stack were edited.
    fn add(&mut self, stack: StackIndex, reach: &Reach) {
        if self.whole.contains(&stack) {
            return;
        }
        match reach {
            Reach::All => {
                self.whole.insert(stack);
            }
            Reach::Classes(classes) => {
                self.edited.entry(stack).or_default().extend(classes);
            }
        }
    }
}

impl Work {
    fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.rows.is_empty() && self.edited.is_empty()
    }

    /// The classes to look at again in each stack, sorted.
    fn by_stack(&mut self) -> BTreeMap<StackIndex, Vec<(ClassId, Again)>> {
        let mut by_stack: BTreeMap<StackIndex, Vec<(ClassId, Again)>> = BTreeMap::new();
        for (index, classes) in std::mem::take(&mut self.edited) {
            let classes = classes.into_iter().map(|class| (class, Again::Edited));
            by_stack.insert(index, classes.collect());
        }
        for (index, class) in self.rows.drain(..) {
            by_stack
                .entry(index)
                .or_default()
                .push((class, Again::Whole));
        }
        for classes in by_stack.values_mut() {
            classes.sort_unstable();
            classes.dedup_by_key(|(class, _)| *class);
        }
        by_stack
    }
}

impl Engine {
    /// Gives local endpoints their stacks and brings all tables up to date. `again` are blocks
    /// whose outcomes read differently although their rules may be the same.
    pub(crate) fn work(&mut self, changes: &ClassChanges, again: &FxHashSet<BlockId>) -> Steps {
        let mut work = Work::default();
        self.add_new_classes(&mut work, changes);
        // A stack may lose or gain a block that asks: both count.
        self.add_differences(&mut work, changes);
        let renamed = self.move_endpoints(changes);
        self.add_differences(&mut work, changes);
        self.add_blocks(&mut work, again, &renamed);
        self.make_tables(work, changes)
    }

    /// Every table has to say what it does with a class of which nothing is known.
    fn add_new_classes(&self, work: &mut Work, changes: &ClassChanges) {
        let unknown = changes
            .changed
            .iter()
            .filter(|c| c.difference == Difference::Everything);
        for changed in unknown {
            let stacks = self.stacks.items.iter();
            work.rows
                .extend(stacks.map(|(index, _)| (index, changed.class)));
        }
    }

    /// Tables that may treat a changed class differently, by the questions they ask.
    fn add_differences(&self, work: &mut Work, changes: &ClassChanges) {
        let built = |index: &StackIndex| self.stacks.items[*index].table.default_row.is_some();
        for changed in &changes.changed {
            let Difference::Questions(questions) = &changed.difference else {
                continue;
            };
            for question in questions {
                for block in &self.questions.items[*question].users {
                    let stacks = self.blocks.items[*block].stacks.iter().copied();
                    work.rows
                        .extend(stacks.filter(built).map(|index| (index, changed.class)));
                }
            }
        }
    }

    /// Gives the addresses of dirty local endpoints their stacks. A stack of which all users go
    /// to one new key takes that key, so that only what differs has to be told.
    fn move_endpoints(&mut self, changes: &ClassChanges) -> Vec<Renamed> {
        let mut moves = self.moves();
        let groups = self
            .hosts
            .regroup(&self.classes, changes, &self.stacks.items);
        moves.extend(groups.into_iter().map(Move::from));
        for step in &mut moves {
            if step.old.is_some() || matches!(step.user, User::Group(_)) {
                self.stacks.apart(&mut step.key, &self.blocks);
            }
        }
        let renamed = self.rename_stacks(&moves);
        for step in moves {
            let at = side(step.key.direction);
            // A stack that was renamed is found again by its new key.
            let stacks = &mut self.stacks;
            let new = stacks.acquire(step.key, &mut self.blocks, &self.policies);
            step.old.into_iter().for_each(|old| stacks.release(old));
            match step.user {
                User::Group(place) => self.hosts.set_stack(place, new),
                User::Address(entry, place) => {
                    if let Some(local) = self.locals.items.get_mut(&entry) {
                        local.addresses[place].stacks[at] = Some(new);
                    }
                    self.touched_endpoints.insert(entry);
                }
            }
        }
        let left = std::mem::take(&mut self.locals.left).into_iter();
        for index in left.chain(std::mem::take(&mut self.hosts.left)) {
            self.stacks.release(index);
        }
        renamed
    }

    fn rename_stacks(&mut self, moves: &[Move]) -> Vec<Renamed> {
        let mut leaving: BTreeMap<StackIndex, Leaving<'_>> = BTreeMap::new();
        let mut arriving: FxHashMap<&StackKey, BTreeSet<Option<StackIndex>>> = FxHashMap::default();
        for step in moves {
            arriving.entry(&step.key).or_default().insert(step.old);
            let Some(old) = step.old else { continue };
            let start = Leaving {
                count: 0,
                key: Some(&step.key),
            };
            let leaving = leaving.entry(old).or_insert(start);
            leaving.count += 1;
            leaving.key = leaving.key.filter(|key| **key == step.key);
        }
        let mut renamed = Vec::new();
        for (index, leaving) in leaving {
            let all = leaving.count == self.stacks.items[index].users;
            let Some(key) = leaving.key.filter(|_| all) else {
                continue;
            };
            if arriving[key].len() == 1 && !self.stacks.numbers.contains_key(key) {
                let old = self.stacks.items[index].key.clone();
                let stacks = &mut self.stacks;
                stacks.rename(index, key.clone(), &mut self.blocks, &self.policies);
                renamed.push(Renamed { index, old });
            }
        }
        renamed
    }

    fn moves(&mut self) -> Vec<Move> {
        let dirty = std::mem::take(&mut self.locals.dirty);
        let view = NearView {
            space: &self.space,
            ids: &self.identities,
            interner: &self.interner,
            blocks: &self.blocks,
        };
        let mut moves = Vec::new();
        for entry in &dirty {
            let Some(local) = self.locals.items.get(entry) else {
                continue;
            };
            for (place, address) in local.addresses.iter().enumerate() {
                let Some(slot) = self.space.slots.find(address.address) else {
                    continue;
                };
                for direction in DIRECTIONS {
                    let mut key = self.locals.key(&view, local.identity, slot, direction);
                    let old = address.stacks[side(direction)];
                    key.salt = old.map_or(0, |old| self.stacks.items[old].key.salt);
                    if old.is_none_or(|old| *self.stacks.items[old].key != key) {
                        key.salt = 0;
                        moves.push(Move {
                            user: User::Address(*entry, place),
                            old,
                            key,
                        });
                    }
                }
            }
        }
        self.touched_endpoints.extend(dirty);
        moves
    }

    /// Tables whose blocks changed, came or went.
    fn add_blocks(&mut self, work: &mut Work, again: &FxHashSet<BlockId>, renamed: &[Renamed]) {
        work.whole.extend(self.stacks.fresh.iter().copied());
        for block in again {
            let stacks = &self.blocks.items[*block].stacks;
            work.whole.extend(stacks.iter().copied());
        }
        let mut touched: BTreeSet<StackIndex> = BTreeSet::new();
        for (block, old) in &self.blocks.changed {
            let block = &self.blocks.items[*block];
            touched.extend(block.stacks.iter().copied());
            if block.stacks.iter().all(|stack| work.whole.contains(stack)) {
                continue;
            }
            let reach = Body::reach_of_change(old, &block.body, &self.questions);
            block
                .stacks
                .iter()
                .for_each(|stack| work.add(*stack, &reach));
        }
        for Renamed { index, old } in renamed {
            let new = self.stacks.items[*index].key.clone();
            let reach = if old.blocks.iter().any(|block| again.contains(block)) {
                Reach::All
            } else {
                self.reach_of_rename(old, &new)
            };
            work.add(*index, &reach);
            touched.insert(*index);
        }
        touched.extend(work.whole.iter().copied());
        let fresh: FxHashSet<StackIndex> = self.stacks.fresh.iter().copied().collect();
        for index in touched.into_iter().filter(|index| !fresh.contains(index)) {
            if work.whole.contains(&index) {
                self.stacks.plan_again(index, &self.blocks, &self.policies);
            } else {
                self.stacks.edit(index, &self.blocks, &self.policies);
            }
            // Unclaimed addresses leave questions open that no list of classes knows of.
            work.add(index, &Reach::Classes(self.classes.unclaimed.clone()));
        }
    }

    /// Which classes may see that a stack has another key.
    fn reach_of_rename(&self, old: &StackKey, new: &StackKey) -> Reach {
        let tiers = |key: &StackKey| {
            let tier = |block: &BlockId| self.blocks.items[*block].tier;
            let mut tiers: Vec<_> = key.blocks.iter().map(tier).collect();
            tiers.dedup();
            tiers
        };
        let common = |a: &StackKey, b: &StackKey| -> Vec<BlockId> {
            a.blocks
                .iter()
                .copied()
                .filter(|block| b.blocks.contains(block))
                .collect()
        };
        let same_order = common(old, new) == common(new, old);
        if old.profiles != new.profiles
            || old.ending != new.ending
            || old.near != new.near
            || !same_order
            || tiers(old) != tiers(new)
        {
            return Reach::All;
        }
        let mut reach = Reach::Classes(Vec::new());
        for block in old
            .blocks
            .iter()
            .filter(|block| !new.blocks.contains(block))
        {
            let before = self.blocks.changed.get(block);
            let body = before.unwrap_or(&self.blocks.items[*block].body);
            reach.add(body.reach(&self.questions));
        }
        for block in new
            .blocks
            .iter()
            .filter(|block| !old.blocks.contains(block))
        {
            reach.add(self.blocks.items[*block].body.reach(&self.questions));
        }
        reach
    }

    fn make_tables(&mut self, mut work: Work, changes: &ClassChanges) -> Steps {
        let steps = Steps::default();
        let idle = self.stacks.take_idle(&mut self.blocks);
        let moved = !changes.changed.is_empty() || !changes.dead.is_empty();
        self.reopen_closed(&mut work, moved);
        if !moved && idle.is_empty() && work.is_empty() {
            return steps;
        }
        let parts = (
            &self.blocks,
            &self.questions,
            &self.classes,
            &self.lists.port_sets,
        );
        let store = (&mut self.outcomes, &mut self.rows);
        let mut workshop = Workshop::new(parts, store, self.budget, &mut self.scratch);
        for stack in idle {
            workshop.discard(stack.table);
            self.gone_stacks.push(stack.id);
        }
        if moved {
            let fresh: FxHashSet<StackIndex> = self.stacks.fresh.iter().copied().collect();
            for (index, stack) in self
                .stacks
                .items
                .iter_mut()
                .filter(|(i, _)| !fresh.contains(i))
            {
                workshop.follow_classes(&mut stack.table, changes);
                self.touched_tables.insert(index);
            }
        }
        for (index, classes) in work.by_stack() {
            let Some(stack) = self.stacks.items.get_mut(index) else {
                continue;
            };
            if work.whole.contains(&index) {
                continue;
            }
            self.touched_tables.insert(index);
            let many = classes.len() > self.classes.items.len() / 2;
            if many || !workshop.update(stack, &classes) {
                work.whole.insert(index);
            }
        }
        for index in work.whole {
            let Some(stack) = self.stacks.items.get_mut(index) else {
                continue;
            };
            let was = stack.table.over_budget;
            workshop.build(stack);
            self.touched_tables.insert(index);
            if stack.table.over_budget {
                self.stacks.closed.insert(index);
            } else {
                self.stacks.closed.remove(&index);
            }
            if was != stack.table.over_budget {
                let blocks = stack.key.blocks.iter();
                let sources = blocks.map(|block| self.blocks.items[*block].source);
                self.reported
                    .extend(sources.filter_map(|source| match source {
                        BlockSource::Policy(policy) => Some(policy),
                        BlockSource::Profile(_) => None,
                    }));
            }
        }
        steps
    }

    /// A closed table has no rows to bring up to date: anything that changes makes it be tried
    /// again as a whole.
    fn reopen_closed(&self, work: &mut Work, classes_moved: bool) {
        for index in &self.stacks.closed {
            let asked = || work.rows.iter().any(|(stack, _)| stack == index);
            if classes_moved || work.edited.contains_key(index) || asked() {
                work.whole.insert(*index);
            }
        }
    }
}

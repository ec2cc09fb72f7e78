//! One commit: from what changed in the objects to what changes in the tables.
//!
//! The phases follow each other as the data does: labels, selection of local endpoints, blocks,
//! questions, address space, classes, stacks, tables, and then the words that tell of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ocicat_node::{Change, ClassId};
use rustc_hash::FxHashSet;

use crate::Engine;
use crate::block::{BlockSource, Body, BodyKind, Reach};
use crate::class::{ClassChanges, Difference};
use crate::delta::{Commit, Steps};
use crate::identity::Role;
use crate::local::{Affected, Everywhere, NearView};
use crate::net;
use crate::policy::{DIRECTIONS, Subject, side};
use crate::rule::Rule;
use crate::slab::{BlockId, EntryId, IdentityId, QuestionId, StackIndex};
use crate::source::{Source, Standing, release_source};
use crate::stack::StackKey;
use crate::table::Workshop;

/// Which parts of which tables have to be made again.
#[derive(Debug, Default)]
pub(crate) struct Work {
    whole: BTreeSet<StackIndex>,
    classes: BTreeMap<ClassId, BTreeSet<StackIndex>>,
}

/// A stack that took another key.
struct Renamed {
    index: StackIndex,
    old: Arc<StackKey>,
}

/// One address of a local endpoint that needs another stack.
struct Move {
    entry: EntryId,
    place: usize,
    old: Option<StackIndex>,
    key: StackKey,
}

impl Work {
    fn add(&mut self, stack: StackIndex, reach: &Reach) {
        match reach {
            Reach::All => {
                self.whole.insert(stack);
            }
            Reach::Classes(classes) => {
                for class in classes {
                    self.classes.entry(*class).or_default().insert(stack);
                }
            }
        }
    }
}

impl Engine {
    /// Brings tables and classes up to date with all objects, and tells what is different since
    /// the last commit. The work is in proportion to that.
    pub fn commit(&mut self) -> Commit {
        let sources = self.sources.take_changed();
        let changed = self.identities.derive(&mut self.interner, &self.sources, &sources);
        let affected = self.select(&changed);
        let again = self.activate(&affected, &sources);
        let (dead, released) = self.settle_space(&changed);
        let changes =
            self.classes.settle(&mut self.space, &self.identities, &mut self.questions);
        let mut work = Work::default();
        self.add_new_classes(&mut work, &changes);
        // A stack may lose or gain a block that asks: both count.
        self.add_differences(&mut work, &changes);
        let renamed = self.move_endpoints();
        self.add_differences(&mut work, &changes);
        self.add_blocks(&mut work, &again, &renamed);
        self.reported.extend(&affected);
        let mut steps = self.make_tables(work, &changes);
        self.tell_tables(&mut steps, &changes);
        self.merge(&mut steps, &dead);
        let commit = self.tell_rest(steps);
        for source in sources {
            release_source(&mut self.interner, source);
        }
        released.into_iter().for_each(|identity| self.identities.release(identity));
        self.collect();
        commit
    }

    /// Takes over changed endpoints and decides which policies select which local ones.
    fn select(&mut self, changed: &[IdentityId]) -> Affected {
        self.befores = self.endpoints.take_dirty();
        for before in &self.befores {
            if self.locals.items.contains_key(&before.entry) {
                self.touched_endpoints.insert(before.entry);
            }
            let local = self.locals.is_local(&self.interner, &self.endpoints, before.entry);
            let presence = self.endpoints.presence(before.entry).filter(|_| local);
            self.locals.put(before.entry, presence.as_ref());
        }
        let dirty = self.policies.take_dirty();
        let view = (&self.identities, &self.interner);
        let affected = self.locals.select(view, &mut self.policies, changed, &dirty);
        self.dirty_policies = dirty;
        affected
    }

    /// Makes and unmakes blocks, so that exactly the policies and profiles of local endpoints ask
    /// questions. Returns the blocks whose outcomes read differently although their rules may be
    /// the same.
    fn activate(&mut self, affected: &Affected, sources: &[Source]) -> FxHashSet<BlockId> {
        let mut again = FxHashSet::default();
        let mut came_or_went = FxHashSet::default();
        for id in affected {
            let dirty = self.dirty_policies.binary_search(id).is_ok();
            for direction in DIRECTIONS {
                let at = side(direction);
                let policy = &self.policies.items[*id];
                let wanted = self.policies.exists(*id) && policy.selected > 0;
                let rules = policy.rules[at].clone().filter(|_| wanted);
                let closed = matches!(policy.subject, Subject::Closed(_));
                let (reference, token) = (policy.reference.clone(), policy.token);
                let tier = policy.tier;
                match (policy.blocks[at], rules) {
                    (None, None) => {}
                    (Some(block), None) => {
                        self.blocks.remove(&mut self.questions, block);
                        self.policies.items[*id].blocks[at] = None;
                        came_or_went.insert(block);
                    }
                    (Some(_), Some(_)) if !dirty => {}
                    (known, Some(rules)) => {
                        let block = known.unwrap_or_else(|| {
                            let source = BlockSource::Policy(*id);
                            self.blocks.insert(source, direction, reference.clone(), token)
                        });
                        let item = &mut self.blocks.items[block];
                        item.tier = Some(tier);
                        if item.token != token {
                            (item.reference, item.token) = (reference, token);
                            again.insert(block);
                        }
                        self.policies.items[*id].blocks[at] = Some(block);
                        let (kind, rules) = match closed {
                            true => (BodyKind::Closed, Arc::from([])),
                            false => (BodyKind::Rules, rules),
                        };
                        self.set_body(block, kind, rules);
                        came_or_went.insert(block);
                    }
                }
            }
        }
        self.activate_profiles(sources, &mut came_or_went);
        let tiers = self.policies.take_dirty_tiers();
        if !tiers.is_empty() {
            let of_tier = self.policies.items.iter().filter(|(_, p)| tiers.contains(&p.tier));
            self.reported.extend(of_tier.map(|(id, _)| id));
            for (id, block) in self.blocks.items.iter() {
                if block.tier.is_some_and(|tier| tiers.contains(&tier)) {
                    again.insert(id);
                    came_or_went.insert(id);
                }
            }
        }
        self.locals.mark_holders(&came_or_went);
        self.locals.list_blocks(&self.policies);
        again
    }

    fn activate_profiles(&mut self, sources: &[Source], touched: &mut FxHashSet<BlockId>) {
        let parts = (&mut self.blocks, &mut self.questions);
        let mut fresh = self.locals.hold_profiles(
            &self.identities,
            &mut self.interner,
            &mut self.policies,
            parts,
        );
        for source in sources {
            let Source::Profile(name) = source else { continue };
            fresh.extend(DIRECTIONS.iter().filter_map(|d| self.blocks.profile(*name, *d)));
        }
        for block in fresh {
            let item = &self.blocks.items[block];
            let BlockSource::Profile(name) = item.source else { continue };
            let at = side(item.direction);
            let (kind, rules) = match self.sources.standing(&self.interner.names, name) {
                Standing::Namespace => (BodyKind::Rules, Arc::from([Rule::allow_all()])),
                Standing::Account => (BodyKind::Rules, Arc::from([])),
                Standing::Object => match self.policies.profile(name) {
                    Some(profile) => (BodyKind::Rules, profile.rules[at].clone()),
                    None => (BodyKind::Missing, Arc::from([])),
                },
                Standing::Missing => (BodyKind::Missing, Arc::from([])),
            };
            self.set_body(block, kind, rules);
            touched.insert(block);
        }
    }

    fn set_body(&mut self, block: BlockId, kind: BodyKind, rules: Arc<[Rule]>) {
        self.blocks.set_body(&mut self.interner, &mut self.questions, block, kind, rules);
    }

    /// Answers new questions, and brings regions, slots and kinds up to date. Returns the
    /// questions that are no longer asked, and identities to release at the end.
    fn settle_space(&mut self, changed: &[IdentityId]) -> (Vec<QuestionId>, Vec<IdentityId>) {
        let (fresh, dead) = self.questions.take_changes();
        let different =
            self.questions.answer(&mut self.identities, &self.interner, changed, &fresh);
        let of_sets = |ids: &[IdentityId]| -> Vec<IdentityId> {
            let role = |id: &IdentityId| self.identities.items[*id].key.role;
            ids.iter().copied().filter(|id| role(id) == Role::NetworkSet).collect()
        };
        let (sets_changed, sets_different) = (of_sets(changed), of_sets(&different));
        let everywhere = match self.nets.sets_changed() || !sets_changed.is_empty() {
            true => Everywhere::Yes,
            false => Everywhere::No,
        };
        for id in &different {
            for kind in self.identities.items[*id].kinds.clone() {
                self.space.mark(kind);
            }
        }
        if !sets_different.is_empty() {
            let prefixes: Vec<_> = self.nets.prefixes_of(&sets_different).collect();
            for prefix in prefixes {
                if self.space.regions.find(&prefix).is_some() {
                    self.space.mark_inside(prefix);
                }
            }
        }
        let mut released = self.nets.apply(&mut self.space, &mut self.identities);
        net::add_questions(&mut self.space, &mut self.identities, &self.questions, &fresh);
        for before in std::mem::take(&mut self.befores) {
            let after = self.endpoints.presence(before.entry);
            let old = before.presence;
            for address in old.iter().flat_map(|presence| &presence.addresses) {
                self.space.remove_owner(*address, before.entry);
            }
            for address in after.iter().flat_map(|presence| &presence.addresses) {
                self.space.add_owner(*address, before.entry);
            }
            released.extend(old.map(|presence| presence.identity));
        }
        self.space.settle(&mut self.identities, &self.endpoints);
        for id in &self.locals.dirty {
            for address in self.locals.items.get(id).iter().flat_map(|local| &local.addresses) {
                if let Some(slot) = self.space.slots.find(address.address) {
                    self.space.slots.items[slot].local = true;
                }
            }
        }
        self.locals.mark_near(&self.space, &self.identities, changed, everywhere);
        (dead, released)
    }

    /// Forgets questions that nobody asks any more, when no table depends on them.
    fn merge(&mut self, steps: &mut Steps, dead: &[QuestionId]) {
        if dead.is_empty() {
            return;
        }
        self.questions.forget(&mut self.identities, dead);
        let mut changes = self.classes.merge(&mut self.space, &mut self.questions, dead);
        net::remove_questions(&mut self.space, &self.questions, dead);
        self.space.settle(&mut self.identities, &self.endpoints);
        let more = self.classes.settle(&mut self.space, &self.identities, &mut self.questions);
        debug_assert!(more.changed.is_empty(), "no address answers differently");
        changes.moved.extend(more.moved);
        changes.dead.extend(more.dead);
        self.tell_merged(steps, &changes);
    }

    /// Every table has to say what it does with a class of which nothing is known.
    fn add_new_classes(&self, work: &mut Work, changes: &ClassChanges) {
        let unknown = changes.changed.iter().filter(|c| c.difference == Difference::Everything);
        for changed in unknown {
            let stacks = self.stacks.items.iter().map(|(index, _)| index);
            work.classes.entry(changed.class).or_default().extend(stacks);
        }
    }

    /// Tables that may treat a changed class differently, by the questions they ask.
    fn add_differences(&self, work: &mut Work, changes: &ClassChanges) {
        let built = |index: &StackIndex| self.stacks.items[*index].table.default_row.is_some();
        for changed in &changes.changed {
            let Difference::Questions(questions) = &changed.difference else { continue };
            let stacks = work.classes.entry(changed.class).or_default();
            for question in questions {
                for block in &self.questions.items[*question].users {
                    let of_block = self.blocks.items[*block].stacks.iter().copied();
                    stacks.extend(of_block.filter(built));
                }
            }
        }
    }

    /// Gives the addresses of dirty local endpoints their stacks. A stack of which all users go
    /// to one new key takes that key, so that only what differs has to be told.
    fn move_endpoints(&mut self) -> Vec<Renamed> {
        let moves = self.moves();
        let mut leaving: BTreeMap<StackIndex, u32> = BTreeMap::new();
        let mut arriving: BTreeMap<usize, BTreeSet<Option<StackIndex>>> = BTreeMap::new();
        let mut numbers: rustc_hash::FxHashMap<&StackKey, usize> = rustc_hash::FxHashMap::default();
        let mut targets = Vec::with_capacity(moves.len());
        for step in &moves {
            let next = numbers.len();
            let number = *numbers.entry(&step.key).or_insert(next);
            targets.push(number);
            arriving.entry(number).or_default().insert(step.old);
            if let Some(old) = step.old {
                *leaving.entry(old).or_default() += 1;
            }
        }
        let mut renamed = Vec::new();
        for (step, number) in moves.iter().zip(&targets) {
            let Some(old) = step.old else { continue };
            let alone = arriving[number].len() == 1 && !self.stacks.numbers.contains_key(&step.key);
            let together = || {
                let own = moves.iter().zip(&targets).filter(|(other, _)| other.old == Some(old));
                own.into_iter().all(|(_, other)| other == number)
            };
            if alone && leaving[&old] == self.stacks.items[old].users && together() {
                let key = self.stacks.items[old].key.clone();
                let new = step.key.clone();
                self.stacks.rename(old, new, &mut self.blocks, &self.policies);
                renamed.push(Renamed { index: old, old: key });
            }
        }
        for step in moves {
            let at = side(step.key.direction);
            // A stack that was renamed is found again by its new key.
            let new = self.stacks.acquire(step.key, &mut self.blocks, &self.policies);
            step.old.into_iter().for_each(|old| self.stacks.release(old));
            if let Some(local) = self.locals.items.get_mut(&step.entry) {
                local.addresses[step.place].stacks[at] = Some(new);
            }
            self.touched_endpoints.insert(step.entry);
        }
        for index in std::mem::take(&mut self.locals.left) {
            self.stacks.release(index);
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
            let Some(local) = self.locals.items.get(entry) else { continue };
            for (place, address) in local.addresses.iter().enumerate() {
                let Some(slot) = self.space.slots.find(address.address) else { continue };
                for direction in DIRECTIONS {
                    let key = self.locals.key(&view, local.identity, slot, direction);
                    let old = address.stacks[side(direction)];
                    if old.is_none_or(|old| *self.stacks.items[old].key != key) {
                        moves.push(Move { entry: *entry, place, old, key });
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
        let mut touched: BTreeSet<StackIndex> = BTreeSet::new();
        for block in again {
            work.whole.extend(self.blocks.items[*block].stacks.iter().copied());
        }
        for (block, old) in &self.blocks.changed {
            let block = &self.blocks.items[*block];
            let reach = Body::reach_of_change(old, &block.body, &self.questions);
            for stack in &block.stacks {
                work.add(*stack, &reach);
                touched.insert(*stack);
            }
        }
        for Renamed { index, old } in renamed {
            let new = self.stacks.items[*index].key.clone();
            let reach = match old.blocks.iter().any(|block| again.contains(block)) {
                true => Reach::All,
                false => self.reach_of_rename(old, &new),
            };
            work.add(*index, &reach);
            touched.insert(*index);
        }
        touched.extend(work.whole.iter().copied());
        for index in &touched {
            self.stacks.plan_again(*index, &self.blocks, &self.policies);
            // Unclaimed addresses leave questions open that no list of classes knows of.
            work.add(*index, &Reach::Classes(self.classes.unclaimed.clone()));
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
            a.blocks.iter().copied().filter(|block| b.blocks.contains(block)).collect()
        };
        let same_order = common(old, new) == common(new, old);
        if old.profiles != new.profiles
            || old.near != new.near
            || !same_order
            || tiers(old) != tiers(new)
        {
            return Reach::All;
        }
        let mut reach = Reach::Classes(Vec::new());
        for block in old.blocks.iter().filter(|block| !new.blocks.contains(block)) {
            let before = self.blocks.changed.get(block);
            let body = before.unwrap_or(&self.blocks.items[*block].body);
            reach.add(body.reach(&self.questions));
        }
        for block in new.blocks.iter().filter(|block| !old.blocks.contains(block)) {
            reach.add(self.blocks.items[*block].body.reach(&self.questions));
        }
        reach
    }

    fn make_tables(&mut self, mut work: Work, changes: &ClassChanges) -> Steps {
        let mut steps = Steps::default();
        let idle = self.stacks.take_idle(&mut self.blocks);
        let fresh: FxHashSet<StackIndex> = self.stacks.fresh.iter().copied().collect();
        let moved = !changes.changed.is_empty() || !changes.dead.is_empty();
        for (index, stack) in self.stacks.items.iter() {
            let closed = stack.table.over_budget;
            let asked = || work.classes.values().any(|stacks| stacks.contains(&index));
            if closed && (moved || asked()) {
                work.whole.insert(index);
            }
        }
        work.whole.retain(|index| self.stacks.items.get(*index).is_some());
        let parts = (&self.blocks, &self.questions, &self.classes);
        let store = (&mut self.outcomes, &mut self.rows);
        let mut workshop = Workshop::new(parts, store, self.budget);
        for stack in idle {
            // Packets in flight may still be judged by it.
            let known = changes.new_with_origin().filter_map(|(class, origin)| {
                Some(Change::StackRow(stack.id, class, Some(stack.table.own_row_of(origin)?)))
            });
            steps.numbers.extend(known);
            workshop.discard(stack.table);
            self.gone_stacks.push(stack.id);
        }
        let standing: Vec<StackIndex> =
            self.stacks.items.iter().map(|(index, _)| index).filter(|i| !fresh.contains(i)).collect();
        if moved {
            for index in &standing {
                workshop.follow_classes(&mut self.stacks.items[*index].table, changes);
            }
            self.touched_tables.extend(standing.iter().copied());
        }
        let mut suspects = BTreeSet::new();
        for (class, stacks) in work.classes {
            let stacks: Vec<StackIndex> = (stacks.into_iter())
                .filter(|index| !work.whole.contains(index))
                .filter(|index| self.stacks.items.get(*index).is_some())
                .collect();
            self.touched_tables.extend(stacks.iter().copied());
            workshop.update(&mut self.stacks, class, stacks, &mut suspects);
        }
        work.whole.extend(suspects);
        for index in work.whole {
            let stack = &mut self.stacks.items[index];
            let was = stack.table.over_budget;
            workshop.build(stack);
            self.touched_tables.insert(index);
            if was != stack.table.over_budget {
                let sources = stack.key.blocks.iter().map(|block| self.blocks.items[*block].source);
                self.reported.extend(sources.filter_map(|source| match source {
                    BlockSource::Policy(policy) => Some(policy),
                    BlockSource::Profile(_) => None,
                }));
            }
        }
        steps
    }

    /// Ends the commit: forgets what nobody holds, and lets numbers be used again.
    fn collect(&mut self) {
        let forgotten: Vec<_> =
            self.dirty_policies.drain(..).filter(|id| !self.policies.exists(*id)).collect();
        forgotten.into_iter().for_each(|id| self.policies.forget(id));
        self.policies.collect(&mut self.interner);
        self.endpoints.collect();
        let questions = &mut self.questions;
        self.identities.collect(&mut self.interner, |id, identity| {
            questions.forget_identity(id, identity);
        });
        self.questions.collect(&mut self.interner);
        self.blocks.collect(&mut self.interner);
        self.space.end_rest();
        self.identities.items.end_rest();
        self.endpoints.items.end_rest();
        self.stacks.items.end_rest();
        self.stacks.fresh.clear();
        self.interner.labels.end_rest();
    }
}

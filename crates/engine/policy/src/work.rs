//! What has to be made again of which tables, and making it.

use std::cmp::Ordering;
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
use crate::question::{Asker, Yes};
use crate::slab::{BlockId, EntryId, QuestionId, StackIndex};
use crate::stack::{StackKey, Stacks};
use crate::table::{Asked, Judged, Judgement, List, Task, Workshop};

/// Which parts of which tables have to be made again.
#[derive(Debug, Default)]
struct Work {
    whole: BTreeSet<StackIndex>,
    /// Classes of which nothing is known: every table has to say what it does with them; sorted.
    unknown: Vec<ClassId>,
    /// Classes with another answer to what a block asks; in no order, with repeats.
    rows: Vec<Asked>,
    judged: Judged,
    /// Which of `reaches` edited rules have; in no order.
    edited: Vec<(StackIndex, usize)>,
    /// Lists of classes, each sorted.
    reaches: Vec<Vec<ClassId>>,
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
    /// Rules of some stacks were edited.
    fn add(&mut self, stacks: impl Iterator<Item = StackIndex>, reach: Reach) {
        match reach {
            Reach::All => self.whole.extend(stacks),
            Reach::Classes(classes) if classes.is_empty() => {}
            Reach::Classes(mut classes) => {
                classes.sort_unstable();
                classes.dedup();
                let number = self.reaches.len();
                self.reaches.push(classes);
                self.edited.extend(stacks.map(|stack| (stack, number)));
            }
        }
    }
}

impl Work {
    fn is_empty(&self) -> bool {
        let edited = self.edited.is_empty() && self.rows.is_empty();
        self.whole.is_empty() && self.unknown.is_empty() && edited
    }

    /// Puts what is in no order in order.
    fn sort(&mut self) {
        self.unknown.sort_unstable();
        self.unknown.dedup();
        self.sort_rows();
        self.edited.sort_unstable();
        self.edited.dedup();
    }
}

impl Work {
    /// By stack, and then by class.
    fn sort_rows(&mut self) {
        let rows = &mut self.rows;
        if !rows.is_sorted_by_key(|asked| asked.class) {
            rows.sort_unstable_by_key(|asked| asked.class);
        }
        // They are counted first, for they are many and stacks are few.
        let last = rows.iter().map(|asked| asked.stack.0 as usize).max();
        let mut ends = vec![0; last.map_or(0, |last| last + 1)];
        rows.iter()
            .for_each(|asked| ends[asked.stack.0 as usize] += 1);
        let mut end = 0;
        for count in &mut ends {
            end += *count;
            *count = end;
        }
        let mut sorted = rows.clone();
        for asked in rows.iter().rev() {
            let end = &mut ends[asked.stack.0 as usize];
            *end -= 1;
            sorted[*end] = *asked;
        }
        *rows = sorted;
    }

    /// Brings tables up to date class by class. What cannot be is left to be made whole. Returns
    /// the tables that were looked at.
    fn update_tables(
        &mut self,
        stacks: &mut Stacks,
        classes: usize,
        workshop: &mut Workshop<'_>,
    ) -> Vec<StackIndex> {
        self.sort();
        workshop.judged = std::mem::take(&mut self.judged);
        let (mut rows, mut edited) = (self.rows.as_slice(), self.edited.as_slice());
        let mut unions = Unions::default();
        let mut lists = Vec::new();
        let mut touched = Vec::new();
        for (index, stack) in stacks.items.iter_mut() {
            let asked = take_of(&mut rows, |asked| asked.stack.cmp(&index));
            let own = take_of(&mut edited, |list| list.0.cmp(&index));
            lists.clear();
            lists.extend(own.iter().map(|(_, list)| *list));
            let task = Task {
                unknown: &self.unknown,
                edited: unions.of(&lists, &self.reaches),
                asked,
            };
            if task.len() == 0 || self.whole.contains(&index) {
                continue;
            }
            touched.push(index);
            let many = task.len() > classes / 2 && task.count() > classes / 2;
            if many || !workshop.update(stack, task) {
                self.whole.insert(index);
            }
        }
        touched
    }
}

/// The lists of classes that edited rules of one stack reach, put together for all such stacks. Each
/// with its number.
#[derive(Debug, Default)]
struct Unions(FxHashMap<Vec<usize>, (usize, Vec<ClassId>)>);

impl Unions {
    fn of<'u>(&'u mut self, lists: &[usize], reaches: &'u [Vec<ClassId>]) -> List<'u> {
        match lists {
            [] => List {
                number: usize::MAX,
                classes: &[],
            },
            [one] => List {
                number: *one,
                classes: &reaches[*one],
            },
            _ => {
                let next = reaches.len() + self.0.len();
                let union = self.0.entry(lists.to_vec()).or_insert_with(|| {
                    let lists = lists.iter().map(|list| reaches[*list].as_slice());
                    let mut classes: Vec<ClassId> = lists.flatten().copied().collect();
                    classes.sort_unstable();
                    classes.dedup();
                    (next, classes)
                });
                List {
                    number: union.0,
                    classes: &union.1,
                }
            }
        }
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
        let (renamed, moved) = self.move_endpoints(changes);
        if moved {
            self.add_differences(&mut work, changes);
        }
        self.add_blocks(&mut work, again, &renamed);
        self.make_tables(work, changes)
    }

    /// Every table has to say what it does with a class of which nothing is known.
    fn add_new_classes(&self, work: &mut Work, changes: &ClassChanges) {
        let unknown = changes
            .changed
            .iter()
            .filter(|c| c.difference == Difference::Everything);
        work.unknown.extend(unknown.map(|changed| changed.class));
    }

    /// Tables that may treat a changed class differently, by the questions they ask.
    fn add_differences(&self, work: &mut Work, changes: &ClassChanges) {
        // Where so much is new, tables are made whole.
        let much = work.unknown.len() > self.classes.items.len() / 2;
        let mut users: Vec<Asker> = Vec::new();
        for changed in &changes.changed {
            users.clear();
            let signature = &*self.classes.items[&changed.class].signature;
            let unknown = changed.difference == Difference::Everything;
            let mut ask = |question: QuestionId| {
                if let Some(question) = self.questions.items.get(question) {
                    let all = question.users.iter();
                    users.extend(all.filter(|user| !unknown || user.yes != Yes::Detail));
                }
            };
            match &changed.difference {
                Difference::Questions(questions) => questions.iter().copied().for_each(ask),
                Difference::Everything if much || signature.unclaimed => continue,
                Difference::Everything => {
                    let answers = signature.answers.iter();
                    answers.for_each(|(question, _)| ask(*question));
                }
            }
            users.sort_unstable_by_key(Asker::order);
            let mut asked = |block: BlockId, judged: Judgement| {
                let stacks = self.blocks.items[block].stacks.iter();
                work.rows.extend(stacks.map(|(stack, place)| Asked {
                    stack: *stack,
                    class: changed.class,
                    place: *place,
                    block,
                    judged,
                }));
            };
            if unknown {
                work.judged
                    .judge_new(signature, &users, &self.blocks, |block, judged| {
                        if !judged.is_plain() {
                            asked(block, judged);
                        }
                    });
            } else {
                let blocks = users.chunk_by(|a, b| a.block == b.block);
                let blocks = blocks.map(|users| users[0].block);
                let bodies = blocks.map(|block| (block, &*self.blocks.items[block].body));
                work.judged.judge(signature, bodies, asked);
            }
        }
    }

    /// Gives the addresses of dirty local endpoints their stacks. A stack of which all users go
    /// to one new key takes that key, so that only what differs has to be told. Returns also
    /// whether there was anybody to move.
    fn move_endpoints(&mut self, changes: &ClassChanges) -> (Vec<Renamed>, bool) {
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
        let moved = !moves.is_empty();
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
        (renamed, moved)
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
            work.whole.extend(stacks.iter().map(|(stack, _)| *stack));
        }
        // Numbers of changed blocks, each with its place.
        let mut touched: BTreeMap<StackIndex, Vec<(usize, u32)>> = BTreeMap::new();
        let mut changed: Vec<(BlockId, Option<Vec<u32>>)> = Vec::new();
        for (id, old) in &self.blocks.changed {
            let block = &self.blocks.items[*id];
            let rules = self.blocks.edited_rules(*id);
            if rules.as_ref().is_some_and(Vec::is_empty) {
                continue;
            }
            for (stack, place) in &block.stacks {
                let touched = touched.entry(*stack).or_default();
                touched.push((changed.len(), *place));
            }
            changed.push((*id, rules));
            let stacks = || block.stacks.iter().map(|(stack, _)| *stack);
            if stacks().all(|stack| work.whole.contains(&stack)) {
                continue;
            }
            let reach = Body::reach_of_change(old, &block.body, &self.questions);
            work.add(stacks(), reach);
        }
        for Renamed { index, old } in renamed {
            let new = self.stacks.items[*index].key.clone();
            let reach = if old.blocks.iter().any(|block| again.contains(block)) {
                Reach::All
            } else {
                self.reach_of_rename(old, &new)
            };
            work.add(std::iter::once(*index), reach);
            touched.entry(*index).or_default();
        }
        for index in &work.whole {
            touched.entry(*index).or_default();
        }
        let fresh: FxHashSet<StackIndex> = self.stacks.fresh.iter().copied().collect();
        touched.retain(|index, _| !fresh.contains(index));
        for (index, blocks) in &touched {
            if work.whole.contains(index) {
                self.stacks.plan_again(*index, &self.blocks, &self.policies);
                continue;
            }
            let rules = |(number, place): &(usize, u32)| {
                let (block, rules) = &changed[*number];
                (*block, *place, rules.as_deref())
            };
            let blocks: Vec<(BlockId, u32, Option<&[u32]>)> = blocks.iter().map(rules).collect();
            let parts = (&self.blocks, &self.policies);
            self.stacks.edit(*index, &blocks, parts);
        }
        // Unclaimed addresses leave questions open that no list of classes knows of.
        let unclaimed = self.classes.unclaimed.clone();
        work.add(touched.into_keys(), Reach::Classes(unclaimed));
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
                self.touched_tables.push(index);
            }
        }
        let touched = work.update_tables(&mut self.stacks, self.classes.items.len(), &mut workshop);
        self.touched_tables.extend(touched);
        for index in work.whole {
            let Some(stack) = self.stacks.items.get_mut(index) else {
                continue;
            };
            let was = stack.table.over_budget;
            workshop.build(stack);
            self.touched_tables.push(index);
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
            let asked = || work.rows.iter().any(|asked| asked.stack == *index);
            let edited = || work.edited.iter().any(|(stack, _)| stack == index);
            if classes_moved || edited() || asked() {
                work.whole.insert(*index);
            }
        }
    }
}

/// Takes what is of one stack from the beginning of a sorted list.
fn take_of<'l, T>(list: &mut &'l [T], order: impl Fn(&T) -> Ordering) -> &'l [T] {
    let before = list.iter().take_while(|item| order(item) == Ordering::Less);
    let (_, rest) = list.split_at(before.count());
    let own = rest
        .iter()
        .take_while(|item| order(item) == Ordering::Equal);
    let (own, rest) = rest.split_at(own.count());
    *list = rest;
    own
}

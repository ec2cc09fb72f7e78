//! Stacks: what judges a local address in one direction, and its steps in order.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use ocicat_api::rule::Action;
use ocicat_flow::Direction;
use ocicat_node::{ClassId, RowId, StackId};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::block::{Block, Blocks, BodyKind};
use crate::entries::Entries;
use crate::group::Groups;
use crate::identity::NamedPort;
use crate::policy::Policies;
use crate::slab::{BlockId, Slab, StackIndex};

/// Everything that the table of a stack depends on besides the content of its blocks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct StackKey {
    pub(crate) direction: Direction,
    /// Of policies, in order.
    pub(crate) blocks: Box<[BlockId]>,
    /// Of profiles, in order.
    pub(crate) profiles: Box<[BlockId]>,
    pub(crate) ending: Ending,
    pub(crate) near: Near,
    /// Tells stacks apart that are otherwise equal: see [`Stacks::apart`].
    pub(crate) salt: u32,
}

/// What becomes of packets that nothing decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ending {
    /// Tiers have their default actions, and the end denies.
    Deny,
    /// Tiers just end, and the next stage of the host endpoint judges.
    Next,
    /// Nothing is looked at: the stage tells more near addresses apart than it may.
    Closed,
}

/// What the near address answers to the rules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Near {
    /// Rules whose near side is false: the block's place among policies and then profiles, and
    /// the rule's index.
    pub(crate) off: Box<[(u32, u32)]>,
    /// Rules whose near side cannot be known, because the near address is unclaimed.
    pub(crate) open: Box<[(u32, u32)]>,
    /// Ports that rules know by name; sorted.
    pub(crate) ports: Box<[NamedPort]>,
    /// Rules know ports by name, and nobody is known to have the near address.
    pub(crate) open_ports: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// After a Pass it goes on at `resume`.
    Rule {
        block: BlockId,
        index: u32,
        resume: u32,
        /// Whether the near side holds cannot be known.
        open: bool,
    },
    /// A policy whose selector cannot be read.
    Closed {
        block: BlockId,
    },
    /// Denies what is left.
    EndOfTier {
        name: Arc<str>,
        token: u32,
    },
    /// A profile that does not exist.
    Missing {
        block: BlockId,
    },
    EndOfProfiles,
    /// Decides nothing: the next stage judges.
    EndOfStage,
    OverBudget,
}

#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) id: StackId,
    pub(crate) key: Arc<StackKey>,
    pub(crate) steps: Box<[Step]>,
    /// The steps that are no rules.
    pub(crate) ends: Box<[u32]>,
    /// The steps that claimed addresses without any answer match, sorted.
    pub(crate) bases: Vec<u32>,
    /// Where the steps of each block begin, those of policies first, and where the last ones end.
    starts: Box<[u32]>,
    /// Rules that are new or different since the table was made; sorted.
    pub(crate) edited: Vec<u32>,
    /// How many local addresses use it.
    pub(crate) users: u32,
    pub(crate) table: Table,
}

/// The rows of a stack.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// That of the default group; `None` until the table was first built.
    pub(crate) default_row: Option<RowId>,
    /// The group of every class without an entry.
    pub(crate) default_group: u32,
    pub(crate) groups: Groups,
    /// The groups of classes that are not in the default group.
    pub(crate) entries: Entries,
    /// Cells of the rows of all groups, equal rows counted each time.
    pub(crate) cells: usize,
    pub(crate) over_budget: bool,
    /// What was told of it last.
    pub(crate) told: Told,
}

/// What differs from what was told of a table, as it was told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) default_row: Option<RowId>,
    notes: Vec<Note>,
}

/// A class has another row of its own; `None` is the default row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) class: ClassId,
    /// What was told, and what is to be told.
    pub(crate) told: Option<RowId>,
    pub(crate) now: Option<RowId>,
}

impl Told {
    /// Of a class that is noted several times, the first note says what was told and the last one
    /// what is to be told.
    pub(crate) fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    pub(crate) fn note_all(&mut self, notes: &[Note]) {
        self.notes.extend_from_slice(notes);
    }

    /// One note of each class that was noted, sorted.
    pub(crate) fn take_notes(&mut self) -> Vec<Note> {
        let mut notes = std::mem::take(&mut self.notes);
        notes.sort_by_key(|note| note.class);
        notes.dedup_by(|later, note| {
            let same = later.class == note.class;
            if same {
                note.now = later.now;
            }
            same
        });
        notes
    }
}

impl Table {
    pub(crate) fn row_of(&self, class: ClassId) -> Option<RowId> {
        self.own_row_of(class).or(self.default_row)
    }

    /// `None` is the default row.
    pub(crate) fn own_row_of(&self, class: ClassId) -> Option<RowId> {
        self.own_row(self.group_of(class))
    }

    pub(crate) fn group_of(&self, class: ClassId) -> u32 {
        self.entries.get(class).unwrap_or(self.default_group)
    }

    pub(crate) fn own_row(&self, group: u32) -> Option<RowId> {
        if group == self.default_group {
            return None;
        }
        let row = self.groups.get(group).row;
        (Some(row) != self.default_row).then_some(row)
    }

    /// Rows other than the default; sorted by class.
    pub(crate) fn own_rows(&self) -> impl Iterator<Item = (ClassId, RowId)> + '_ {
        let entries = self.entries.iter();
        entries.filter_map(|(class, group)| Some((class, self.own_row(group)?)))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Stacks {
    pub(crate) numbers: FxHashMap<Arc<StackKey>, StackIndex>,
    pub(crate) items: Slab<StackIndex, Stack>,
    next: u32,
    pub(crate) fresh: Vec<StackIndex>,
    /// Those over their budget.
    pub(crate) closed: BTreeSet<StackIndex>,
    idle: Vec<StackIndex>,
    /// That of the current commit; greater than those before, if any stack was made since.
    salt: u32,
}

impl Stacks {
    /// One more local address uses the stack, which is made if need be.
    pub(crate) fn acquire(
        &mut self,
        key: StackKey,
        blocks: &mut Blocks,
        policies: &Policies,
    ) -> StackIndex {
        if let Some(&index) = self.numbers.get(&key) {
            self.items[index].users += 1;
            return index;
        }
        let key = Arc::new(key);
        let planned = plan(&key, &blocks.items, policies);
        let stack = Stack {
            id: StackId(self.next),
            key: key.clone(),
            steps: planned.steps,
            ends: planned.ends,
            bases: planned.bases,
            starts: planned.starts,
            edited: Vec::new(),
            users: 1,
            table: Table::default(),
        };
        self.next += 1;
        let index = self.items.insert(stack);
        join(blocks, &key, index);
        self.numbers.insert(key, index);
        self.fresh.push(index);
        index
    }

    /// Gives a key that is another stack's a salt, where that stack is about to change its rows in
    /// place. Packets in flight may be judged by it as what it was, so nobody may come to it in the
    /// same commit. Keys that are equal stay so.
    pub(crate) fn apart(&self, key: &mut StackKey, blocks: &Blocks) {
        let Some(index) = self.numbers.get(key) else {
            return;
        };
        let mut of_key = key.blocks.iter().chain(&key.profiles);
        let changes = of_key.any(|block| blocks.changed.contains_key(block));
        if changes && !self.fresh.contains(index) {
            key.salt = self.salt;
        }
    }

    /// Ends the commit.
    pub(crate) fn end_commit(&mut self) {
        self.items.end_rest();
        self.fresh.clear();
        self.salt = self.next;
    }

    pub(crate) fn release(&mut self, index: StackIndex) {
        let stack = &mut self.items[index];
        stack.users -= 1;
        if stack.users == 0 {
            self.idle.push(index);
        }
    }

    /// The stack takes another key, which no stack has.
    pub(crate) fn rename(
        &mut self,
        index: StackIndex,
        key: StackKey,
        blocks: &mut Blocks,
        policies: &Policies,
    ) {
        let key = Arc::new(key);
        let stack = &mut self.items[index];
        let old = std::mem::replace(&mut stack.key, key.clone());
        stack.take(plan(&key, &blocks.items, policies), blocks);
        leave(blocks, &old, index);
        join(blocks, &key, index);
        self.numbers.remove(&old);
        self.numbers.insert(key, index);
    }

    /// The steps follow from the key, the blocks and the tiers: brings them up to date with blocks
    /// that changed, which are given with their places, and with their edited rules if they have as
    /// many rules as before.
    pub(crate) fn edit(
        &mut self,
        index: StackIndex,
        changed: &[(BlockId, u32, Option<&[u32]>)],
        (blocks, policies): (&Blocks, &Policies),
    ) {
        if changed.iter().any(|(.., rules)| rules.is_none()) {
            self.plan_again(index, blocks, policies);
            return;
        }
        let stack = &mut self.items[index];
        for (block, place, rules) in changed {
            stack.edit((*block, *place), rules.unwrap_or_default(), blocks);
        }
        stack.edited.sort_unstable();
        stack.edited.dedup();
        stack.table.groups.strike(&stack.edited);
    }

    /// Makes the steps anew.
    pub(crate) fn plan_again(&mut self, index: StackIndex, blocks: &Blocks, policies: &Policies) {
        let stack = &mut self.items[index];
        stack.take(plan(&stack.key, &blocks.items, policies), blocks);
    }

    /// Removes the stacks that nobody uses.
    pub(crate) fn take_idle(&mut self, blocks: &mut Blocks) -> Vec<Stack> {
        let mut gone = Vec::new();
        for index in std::mem::take(&mut self.idle) {
            if self.items.get(index).is_some_and(|stack| stack.users == 0)
                && let Some(stack) = self.items.remove(index)
            {
                self.numbers.remove(&stack.key);
                self.closed.remove(&index);
                leave(blocks, &stack.key, index);
                gone.push(stack);
            }
        }
        gone
    }
}

fn join(blocks: &mut Blocks, key: &StackKey, index: StackIndex) {
    for (place, block) in (0u32..).zip(key.blocks.iter().chain(&key.profiles)) {
        blocks.items[*block].stacks.push((index, place));
    }
}

fn leave(blocks: &mut Blocks, key: &StackKey, index: StackIndex) {
    for block in key.blocks.iter().chain(&key.profiles) {
        if let Some(block) = blocks.items.get_mut(*block) {
            block.stacks.retain(|(other, _)| *other != index);
        }
    }
}

/// What follows from a key, the blocks and the tiers.
struct Planned {
    steps: Box<[Step]>,
    ends: Box<[u32]>,
    bases: Vec<u32>,
    starts: Box<[u32]>,
}

impl Stack {
    /// The steps of a block; a profile may be named twice.
    pub(crate) fn steps_of(&self, block: BlockId) -> impl Iterator<Item = Range<u32>> + '_ {
        let blocks = self.key.blocks.iter().chain(&self.key.profiles);
        let places = self.starts.windows(2).zip(blocks);
        places.filter_map(move |(bounds, other)| match bounds {
            [start, end] if *other == block => Some(*start..*end),
            _ => None,
        })
    }

    /// The steps of a block of which it is known, or at least likely, where it stands.
    pub(crate) fn steps_at(&self, place: u32, block: BlockId) -> Option<Range<u32>> {
        let (place, policies) = (place as usize, self.key.blocks.len());
        let found = match place.checked_sub(policies) {
            None => self.key.blocks.get(place),
            Some(place) => self.key.profiles.get(place),
        };
        let bounds = self.starts.get(place..place + 2)?;
        (found == Some(&block)).then(|| bounds[0]..bounds[1])
    }

    /// The block of a step, with its steps.
    pub(crate) fn block_of(&self, step: u32) -> Option<(BlockId, Range<u32>)> {
        let (block, _) = self.steps[step as usize].rule()?;
        let after = self.starts.partition_point(|start| *start <= step);
        let bounds = self.starts.get(after.checked_sub(1)?..=after)?;
        Some((block, bounds[0]..bounds[1]))
    }

    /// The step of a rule among those of its block; `None` if it is off.
    pub(crate) fn step_of(&self, steps: &Range<u32>, rule: u32) -> Option<u32> {
        // Rules are in order, and seldom is one off.
        let near = steps.start.saturating_add(rule);
        if near < steps.end && self.key.near.off.is_empty() {
            return Some(near);
        }
        let is_rule = |step: &Step| matches!(step, Step::Rule { index, .. } if *index == rule);
        if near < steps.end && is_rule(&self.steps[near as usize]) {
            return Some(near);
        }
        let of_block = &self.steps[steps.start as usize..steps.end as usize];
        let before = |step: &Step| matches!(step, Step::Rule { index, .. } if *index < rule);
        let at = of_block.partition_point(before);
        let found = of_block.get(at).filter(|step| is_rule(step));
        found.and_then(|_| Some(steps.start + u32::try_from(at).ok()?))
    }

    /// Only the content of some rules of a block changed.
    fn edit(&mut self, (block, place): (BlockId, u32), rules: &[u32], blocks: &Blocks) {
        let body = &blocks.items[block].body;
        let Some(steps) = self.steps_at(place, block) else {
            return;
        };
        for rule in rules {
            let Some(step) = self.step_of(&steps, *rule) else {
                continue;
            };
            match (
                self.bases.binary_search(&step),
                body.asked[*rule as usize].far.base(),
            ) {
                (Ok(at), false) => {
                    self.bases.remove(at);
                }
                (Err(at), true) => self.bases.insert(at, step),
                _ => {}
            }
            self.edited.push(step);
        }
    }

    /// Takes over other steps; the groups of the table follow.
    fn take(&mut self, planned: Planned, blocks: &Blocks) {
        let old = std::mem::replace(&mut self.steps, planned.steps);
        (self.ends, self.bases, self.starts) = (planned.ends, planned.bases, planned.starts);
        let places = Places::new(&old, &self.steps);
        // Of the old steps: what was edited before this, is edited now, or is gone.
        let was_edited = std::mem::take(&mut self.edited);
        let is_kept = |(number, step): &(u32, &Step)| match step.rule() {
            Some(rule) => {
                let again = was_edited.binary_search(number).is_ok() || blocks.is_edited(rule);
                !again && places.new_of(*number).is_some()
            }
            None => true,
        };
        let gone = (0u32..).zip(&old).filter(|step| !is_kept(step));
        let gone: Vec<u32> = gone.map(|(number, _)| number).collect();
        let kept = |number: u32| {
            let old = places.old_of(number);
            old.is_some_and(|old| gone.binary_search(&old).is_err())
        };
        let rules = (0u32..).zip(&self.steps);
        let rules = rules.filter(|(_, step)| step.rule().is_some());
        self.edited = rules
            .map(|(number, _)| number)
            .filter(|number| !kept(*number))
            .collect();
        self.table.groups.strike(&gone);
        if let Places::Others { new, .. } = &places {
            self.table.groups.renumber(new);
        }
    }
}

impl Step {
    pub(crate) fn rule(&self) -> Option<(BlockId, u32)> {
        match self {
            Self::Rule { block, index, .. } => Some((*block, *index)),
            _ => None,
        }
    }
}

/// A rule among the steps of a stack, and which one of several: a profile may be named twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Placed {
    rule: (BlockId, u32),
    before: u32,
}

impl Placed {
    fn all(steps: &[Step]) -> Vec<Option<Self>> {
        let mut seen: FxHashMap<(BlockId, u32), u32> = FxHashMap::default();
        let placed = steps.iter().map(|step| {
            let rule = step.rule()?;
            let count = seen.entry(rule).or_default();
            *count += 1;
            Some(Self {
                rule,
                before: *count - 1,
            })
        });
        placed.collect()
    }
}

/// Where the rules of old steps are among new ones.
enum Places {
    Same,
    Others {
        new: Vec<Option<u32>>,
        old: Vec<Option<u32>>,
    },
}

impl Places {
    fn new(old: &[Step], new: &[Step]) -> Self {
        let (old, new) = (Placed::all(old), Placed::all(new));
        if old == new {
            return Self::Same;
        }
        let numbered = |rules: &[Option<Placed>]| -> FxHashMap<Placed, u32> {
            let numbered = (0u32..).zip(rules);
            numbered
                .filter_map(|(number, rule)| Some(((*rule)?, number)))
                .collect()
        };
        let find = |rules: &[Option<Placed>], among: FxHashMap<Placed, u32>| {
            let found = rules.iter().map(|rule| among.get(&(*rule)?).copied());
            found.collect()
        };
        Self::Others {
            new: find(&old, numbered(&new)),
            old: find(&new, numbered(&old)),
        }
    }

    fn new_of(&self, old: u32) -> Option<u32> {
        match self {
            Self::Same => Some(old),
            Self::Others { new, .. } => *new.get(old as usize)?,
        }
    }

    fn old_of(&self, number: u32) -> Option<u32> {
        match self {
            Self::Same => Some(number),
            Self::Others { old, .. } => *old.get(number as usize)?,
        }
    }
}

fn plan(key: &StackKey, blocks: &Slab<BlockId, Block>, policies: &Policies) -> Planned {
    let set = |rules: &[(u32, u32)]| rules.iter().copied().collect();
    let mut plan = Plan {
        blocks,
        off: set(&key.near.off),
        open: set(&key.near.open),
        steps: Vec::new(),
        starts: Vec::new(),
        group: 0,
        place: 0,
    };
    let tier = |block: &BlockId| blocks[*block].tier;
    let closed = key.ending == Ending::Closed;
    let (blocks_of, profiles): (&[BlockId], &[BlockId]) = match closed {
        true => (&[], &[]),
        false => (&key.blocks, &key.profiles),
    };
    for of_tier in blocks_of.chunk_by(|a, b| tier(a) == tier(b)) {
        of_tier.iter().for_each(|block| plan.add(*block));
        let tier = tier(&of_tier[0]).map(|name| policies.tier(name));
        let denies =
            tier.filter(|tier| key.ending == Ending::Deny && tier.default_action != Action::Pass);
        if let Some(tier) = denies {
            plan.steps.push(Step::EndOfTier {
                name: tier.name.clone(),
                token: tier.token,
            });
        }
        plan.end_group();
    }
    for profile in profiles {
        plan.add(*profile);
        plan.end_group();
    }
    plan.starts.push(plan.number());
    plan.steps.push(match key.ending {
        Ending::Deny => Step::EndOfProfiles,
        Ending::Next => Step::EndOfStage,
        Ending::Closed => Step::OverBudget,
    });
    let ends = (0u32..)
        .zip(&plan.steps)
        .filter(|(_, step)| !matches!(step, Step::Rule { .. }));
    let ends = ends.map(|(number, _)| number).collect();
    let is_base = |step: &Step| {
        let rule = step.rule();
        rule.is_some_and(|(block, index)| blocks[block].body.asked[index as usize].far.base())
    };
    let bases = (0u32..).zip(&plan.steps).filter(|(_, step)| is_base(step));
    let mut bases: Vec<u32> = bases.map(|(number, _)| number).collect();
    bases.shrink_to_fit();
    Planned {
        steps: plan.steps.into(),
        ends,
        bases,
        starts: plan.starts.into(),
    }
}

struct Plan<'a> {
    blocks: &'a Slab<BlockId, Block>,
    off: FxHashSet<(u32, u32)>,
    open: FxHashSet<(u32, u32)>,
    steps: Vec<Step>,
    /// Where the steps of each block begin.
    starts: Vec<u32>,
    /// Where the current tier or profile begins.
    group: usize,
    /// The place of the next block.
    place: u32,
}

impl Plan<'_> {
    fn add(&mut self, block: BlockId) {
        let body = &self.blocks[block].body;
        self.starts.push(self.number());
        match body.kind {
            BodyKind::Closed => self.steps.push(Step::Closed { block }),
            BodyKind::Missing => self.steps.push(Step::Missing { block }),
            BodyKind::Rules => {
                let count = u32::try_from(body.rules.len()).unwrap_or(u32::MAX);
                let on = (0..count).filter(|index| !self.off.contains(&(self.place, *index)));
                self.steps.extend(on.map(|index| Step::Rule {
                    block,
                    index,
                    resume: 0,
                    open: self.open.contains(&(self.place, index)),
                }));
            }
        }
        self.place += 1;
    }

    /// That of the next step.
    fn number(&self) -> u32 {
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }

    fn end_group(&mut self) {
        let end = self.number();
        for step in &mut self.steps[self.group..] {
            if let Step::Rule { resume, .. } = step {
                *resume = end;
            }
        }
        self.group = self.steps.len();
    }
}

//! Bringing the rows of some classes up to date.

use std::ops::Range;

use ocicat_api::rule::Action;
use ocicat_node::ClassId;
use rustc_hash::FxHashMap;

use super::{Way, Workshop};
use crate::block::{Blocks, Body, Truth};
use crate::class::Signature;
use crate::entries::Walk;
use crate::group::{Group, Mark, Marks, UNCLAIMED};
use crate::question::{Asker, Yes};
use crate::row::{OverBudget, RowMaker};
use crate::slab::{BlockId, QuestionId, StackIndex};
use crate::stack::{Note, Stack, Table};

/// Why the rows of a table may be others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task<'t> {
    /// Classes of which nothing is known; sorted.
    pub(crate) unknown: &'t [ClassId],
    /// Classes that edited rules reach; sorted.
    pub(crate) edited: List<'t>,
    /// Classes that answer a question differently, with a block that asks it; sorted.
    pub(crate) asked: &'t [Asked],
}

/// A list of classes, sorted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct List<'t> {
    /// Lists with equal numbers are the same.
    pub(crate) number: usize,
    pub(crate) classes: &'t [ClassId],
}

/// What a block makes of a class, for one stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asked {
    pub(crate) stack: StackIndex,
    pub(crate) class: ClassId,
    /// Where the block stands in the stack; it may have moved.
    pub(crate) place: u32,
    pub(crate) block: BlockId,
    pub(crate) judged: Judgement,
}

/// Where the marks of a class are among those of [`Judged`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Judgement {
    start: u32,
    end: u32,
}

impl Judgement {
    /// Where it begins, if there is anything.
    fn place(self) -> u32 {
        if self.is_plain() {
            u32::MAX
        } else {
            self.start
        }
    }

    /// The class is treated as one without answers.
    pub(crate) fn is_plain(self) -> bool {
        self.start == self.end
    }
}

impl<'t> Task<'t> {
    /// No fewer than the classes.
    pub(crate) fn len(&self) -> usize {
        self.unknown.len() + self.edited.classes.len() + self.asked.len()
    }

    /// How many classes there are.
    pub(crate) fn count(&self) -> usize {
        self.classes().count()
    }

    /// In order.
    fn classes(self) -> impl Iterator<Item = Again<'t>> {
        let (mut unknown, mut asked) = (self.unknown, self.asked);
        let mut edited = self.edited.classes.iter().enumerate().peekable();
        std::iter::from_fn(move || {
            if unknown.is_empty() && asked.is_empty() {
                let (place, class) = edited.next()?;
                return Some(Again {
                    class: *class,
                    unknown: false,
                    edited: Some(place),
                    asked: &[],
                });
            }
            let next = [
                unknown.first(),
                edited.peek().map(|(_, class)| *class),
                asked.first().map(|asked| &asked.class),
            ];
            let class = *next.into_iter().flatten().min()?;
            let is_unknown = unknown.first() == Some(&class);
            unknown = &unknown[usize::from(is_unknown)..];
            let place = edited.next_if(|(_, other)| **other == class);
            let count = asked.iter().take_while(|asked| asked.class == class);
            let (own, rest) = asked.split_at(count.count());
            asked = rest;
            Some(Again {
                class,
                unknown: is_unknown,
                edited: place.map(|(place, _)| place),
                asked: own,
            })
        })
    }
}

/// A class whose row may be another.
pub(crate) struct Again<'t> {
    class: ClassId,
    unknown: bool,
    /// Its place in the list of those that edited rules reach.
    edited: Option<usize>,
    asked: &'t [Asked],
}

/// What edited blocks make of the classes of a list.
#[derive(Debug, Default)]
pub(super) struct Edits {
    list: usize,
    blocks: Vec<BlockId>,
    /// In the order of the list; `None` for what is no class any more. Empty until it is asked for.
    found: Vec<Option<u32>>,
}

/// What the rules of blocks make of classes, kept for the stacks that share them.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    found: FxHashMap<(ClassId, BlockId), Judgement>,
    /// Judgements that were found, each once, by their marks.
    kept: FxHashMap<Box<Marks>, Judgement>,
    /// Numbers of pairs of what comes from one block and what comes from the next.
    pairs: FxHashMap<(u32, u32), u32>,
    /// The number of the rule, and what it is marked with.
    marks: Vec<(u32, Mark)>,
    /// By number of question: whether the class that is judged answers yes.
    answers: Vec<bool>,
}

impl Judged {
    /// Has some blocks judge a class.
    pub(crate) fn judge<'b>(
        &mut self,
        signature: &Signature,
        blocks: impl Iterator<Item = (BlockId, &'b Body)>,
        mut with: impl FnMut(BlockId, Judgement),
    ) {
        self.load(signature, |judged, has| {
            for (block, body) in blocks {
                let judgement = judged.add(signature, body, has);
                with(block, judgement);
            }
        });
    }

    /// Looks up answers quickly for the time of some work.
    fn load(
        &mut self,
        signature: &Signature,
        work: impl FnOnce(&mut Self, &dyn Fn(QuestionId) -> bool),
    ) {
        let mut answers = std::mem::take(&mut self.answers);
        for (question, _) in &signature.answers {
            let at = question.0 as usize;
            if answers.len() <= at {
                answers.resize(at + 1, false);
            }
            answers[at] = true;
        }
        work(self, &|question| {
            answers.get(question.0 as usize) == Some(&true)
        });
        for (question, _) in &signature.answers {
            answers[question.0 as usize] = false;
        }
        self.answers = answers;
    }

    /// Has rules judge a new claimed class, sorted: those that ask what it answers, which is more than a
    /// detail to them. All others treat it as a class without answers.
    pub(crate) fn judge_new(
        &mut self,
        signature: &Signature,
        users: &[Asker],
        blocks: &Blocks,
        mut with: impl FnMut(BlockId, Judgement),
    ) {
        let of_blocks = users.chunk_by(|a, b| a.block == b.block);
        self.load(signature, |judged, has| {
            for of_block in of_blocks {
                let block = of_block[0].block;
                // Some of these may be rules that were there before.
                if blocks.changed.contains_key(&block) {
                    let body = &*blocks.items[block].body;
                    with(block, judged.add(signature, body, has));
                    continue;
                }
                let start = judged.end();
                for of_rule in of_block.chunk_by(|a, b| a.rule == b.rule) {
                    let rule = of_rule[0].rule;
                    if of_rule[0].yes == Yes::Enough {
                        judged.marks.push((rule, Mark::Truth(Truth::Yes)));
                    } else {
                        let body = &*blocks.items[block].body;
                        let mark_of = |rule, mark| judged.marks.push((rule, mark));
                        mark(body, rule as usize, signature, has, mark_of);
                    }
                }
                let end = judged.end();
                with(block, Judgement { start, end });
            }
        });
    }

    /// Equal marks are at one place.
    fn of(
        &mut self,
        class: ClassId,
        (block, body): (BlockId, &Body),
        signature: &Signature,
    ) -> Judgement {
        if let Some(found) = self.found.get(&(class, block)) {
            return *found;
        }
        let judgement = self.add(signature, body, |question| signature.has(question));
        let kept = match self.kept.get(self.get(judgement)) {
            Some(kept) => {
                self.marks.truncate(judgement.start as usize);
                *kept
            }
            None => {
                self.kept.insert(self.get(judgement).into(), judgement);
                judgement
            }
        };
        self.found.insert((class, block), kept);
        kept
    }

    /// What some blocks make of a class, in one number: equal ones are of equal marks. Only comparable for as many
    /// blocks.
    fn of_all<'b>(
        &mut self,
        class: ClassId,
        blocks: impl Iterator<Item = (BlockId, &'b Body)>,
        signature: &Signature,
    ) -> u32 {
        let mut all = None;
        for block in blocks {
            let judgement = self.of(class, block, signature).place();
            let next = u32::try_from(self.pairs.len()).unwrap_or(u32::MAX);
            all = Some(match all {
                None => judgement,
                Some(all) => *self.pairs.entry((all, judgement)).or_insert(next),
            });
        }
        all.unwrap_or_default()
    }

    fn add(
        &mut self,
        signature: &Signature,
        body: &Body,
        has: impl Fn(QuestionId) -> bool,
    ) -> Judgement {
        let start = self.end();
        let marks = &mut self.marks;
        for rule in 0..body.asked.len() {
            mark(body, rule, signature, &has, |rule, mark| {
                marks.push((rule, mark));
            });
        }
        let end = self.end();
        Judgement { start, end }
    }

    fn end(&self) -> u32 {
        u32::try_from(self.marks.len()).unwrap_or(u32::MAX)
    }

    fn get(&self, judgement: Judgement) -> &Marks {
        &self.marks[judgement.start as usize..judgement.end as usize]
    }
}

/// The blocks of a stack that have edited rules, with their steps.
fn edited_places(stack: &Stack) -> Vec<(BlockId, Range<u32>)> {
    let mut places: Vec<(BlockId, Range<u32>)> = Vec::new();
    for step in &stack.edited {
        let known = places.last().is_some_and(|(_, steps)| *step < steps.end);
        places.extend(stack.block_of(*step).filter(|_| !known));
    }
    places
}

/// What became of the classes of one stack, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Ways {
    list: Vec<Way>,
    /// Of the classes of one group, by what edited blocks make of them: the place in the list.
    known: FxHashMap<(u32, u32), usize>,
    /// Of classes with another row.
    notes: Vec<Note>,
}

impl Ways {
    fn clear(&mut self) {
        self.list.clear();
        self.known.clear();
        self.notes.clear();
    }

    fn add(&mut self, key: Option<(u32, u32)>, way: Way) -> usize {
        let at = self.list.len();
        self.list.push(way);
        self.known.extend(key.map(|key| (key, at)));
        at
    }
}

impl<'a> Workshop<'a> {
    /// Brings the rows of some classes up to date. `false` if the stack has to be built whole: it
    /// may exceed the budget.
    pub(crate) fn update(&mut self, stack: &mut Stack, task: Task<'_>) -> bool {
        // What the table is made from stays as it is.
        let mut table = std::mem::take(&mut stack.table);
        let mut ways = std::mem::take(&mut self.ways);
        ways.clear();
        let fits = self.regroup(stack, &mut table, task, &mut ways);
        table.told.note_all(&ways.notes);
        if fits {
            self.count(&mut table, &ways.list);
            stack.edited.clear();
        }
        self.ways = ways;
        stack.table = table;
        fits && !self.is_stale(&stack.table) && !self.exceeds(&stack.table)
    }

    /// Enters classes whose row may be another into their groups. Users are not counted.
    fn regroup(
        &mut self,
        stack: &Stack,
        table: &mut Table,
        task: Task<'_>,
        ways: &mut Ways,
    ) -> bool {
        let edited = edited_places(stack);
        let edits = self.edits(task.edited, &edited);
        let classes = self.classes;
        let mut maker = None;
        let mut entries = std::mem::take(&mut table.entries);
        let mut walk = Walk::new(&mut entries);
        let mut fits = true;
        for again in task.classes() {
            let class = again.class;
            let mut key = None;
            if !again.unknown && again.asked.is_empty() {
                key = again.edited.and_then(|place| edits.found[place]);
                if key.is_none() {
                    continue;
                }
            }
            let from = walk.next(class).unwrap_or(table.default_group);
            let key = key.map(|edits| (from, edits));
            let known = key.and_then(|key| ways.known.get(&key).copied());
            let at = match known {
                Some(at) => at,
                None => {
                    let Some(item) = classes.items.get(&class) else {
                        continue;
                    };
                    let again = (&again, &*item.signature, edited.as_slice());
                    let Ok(to) = self.group_again((stack, &mut maker), table, from, again) else {
                        fits = false;
                        break;
                    };
                    ways.add(key, Way::new(table, from, to))
                }
            };
            let way = &mut ways.list[at];
            if way.from != way.to {
                way.count += 1;
                ways.notes.extend(way.note(class));
                walk.set((way.to != table.default_group).then_some(way.to));
            }
        }
        table.entries = entries;
        self.put_away(maker);
        self.edits = edits;
        fits
    }

    /// What edited blocks make of a list of classes: for most stacks it is what it was for the one
    /// before.
    fn edits(&mut self, list: List<'_>, edited: &[(BlockId, Range<u32>)]) -> Edits {
        let mut edits = std::mem::take(&mut self.edits);
        let places = edited.iter().map(|(block, _)| *block);
        let known = edits.list == list.number && edits.found.len() == list.classes.len();
        if known && places.clone().eq(edits.blocks.iter().copied()) {
            return edits;
        }
        edits.list = list.number;
        edits.blocks.clear();
        edits.blocks.extend(places);
        edits.found.clear();
        let (blocks, classes) = (self.blocks, self.classes);
        let bodies = edits.blocks.iter();
        let bodies = bodies.map(|block| (*block, &*blocks.items[*block].body));
        for class in list.classes {
            let item = classes.items.get(class);
            let found = item.map(|item| {
                let bodies = bodies.clone();
                self.judged.of_all(*class, bodies, &item.signature)
            });
            edits.found.push(found);
        }
        edits
    }

    /// The group of a class of one group whose row may be another. It is made if need be.
    fn group_again<'s>(
        &mut self,
        (stack, maker): (&'s Stack, &mut Option<RowMaker<'s>>),
        table: &mut Table,
        from: u32,
        (again, signature, edited): (&Again<'_>, &'s Signature, &[(BlockId, Range<u32>)]),
    ) -> Result<u32, OverBudget>
    where
        'a: 's,
    {
        let mut marks = std::mem::take(&mut self.marks);
        let of_group = (stack, table.groups.get(from));
        let is_other = self.marks_again(of_group, again, (signature, edited), &mut marks);
        let to = if !is_other {
            Ok(from)
        } else {
            match table.groups.find(&marks) {
                Ok(group) => Ok(group),
                Err(at) => {
                    let row = self.row_of_marks(maker, stack, signature, &marks);
                    row.map(|row| {
                        table.cells += self.cells_of(row);
                        self.rows.retain(row);
                        table.groups.insert(at, &marks, row)
                    })
                }
            }
        };
        self.marks = marks;
        to
    }

    /// The marks of a class of one group whose row may be another; `false` if they are the same.
    fn marks_again(
        &mut self,
        (stack, group): (&Stack, &Group),
        again: &Again<'_>,
        (signature, edited): (&Signature, &[(BlockId, Range<u32>)]),
        marks: &mut Vec<(u32, Mark)>,
    ) -> bool {
        let class = again.class;
        marks.clear();
        if again.unknown && signature.unclaimed {
            self.all_marks(stack, class, marks);
            return true;
        }
        let asked = |block: BlockId| again.asked.iter().any(|asked| asked.block == block);
        for (block, steps) in edited.iter().filter(|(block, _)| !asked(*block)) {
            let body = &*self.blocks.items[*block].body;
            let judgement = self.judged.of(class, (*block, body), signature);
            for (rule, mark) in self.judged.get(judgement) {
                let step = stack.step_of(steps, *rule);
                // The others are among the marks that are known.
                let is_new = |step: &u32| again.unknown || stack.edited.binary_search(step).is_ok();
                marks.extend(step.filter(is_new).map(|step| (step, *mark)));
            }
        }
        if !again.unknown {
            if again.asked.is_empty() && marks.is_empty() && !group.stale {
                return false;
            }
            marks.extend_from_slice(&group.marks);
        }
        for asked in again.asked {
            let mut put = |steps: Range<u32>| {
                if !again.unknown {
                    marks.retain(|(step, _)| !steps.contains(step));
                }
                for (rule, mark) in self.judged.get(asked.judged) {
                    let step = stack.step_of(&steps, *rule);
                    marks.extend(step.map(|step| (step, *mark)));
                }
            };
            match stack.steps_at(asked.place, asked.block) {
                Some(steps) => put(steps),
                None => stack.steps_of(asked.block).for_each(put),
            }
        }
        marks.sort_unstable();
        marks.dedup();
        true
    }

    /// Whether a class is still in a stale group: more changed than the list of classes tells.
    fn is_stale(&self, table: &Table) -> bool {
        if !table.groups.has_stale() {
            return false;
        }
        let by_default = table.entries.len() < self.classes.items.len();
        let stale = table.groups.iter().any(|g| g.stale && g.users > 0);
        stale || by_default && table.groups.get(table.default_group).stale
    }

    fn load(&mut self, class: ClassId) {
        if self.loaded == Some(class) {
            return;
        }
        let loaded = [(self.loaded, false), (Some(class), true)];
        for (class, answer) in loaded {
            let item = class.and_then(|class| self.classes.items.get(&class));
            for (question, _) in item.iter().flat_map(|item| &item.signature.answers) {
                self.scratch[question.0 as usize] = answer;
            }
        }
        self.loaded = Some(class);
    }

    /// All that the row of an unclaimed class follows from: the rules that match or may match and
    /// would not without its answers, and the ports of those that know them by name.
    pub(super) fn all_marks(
        &mut self,
        stack: &Stack,
        class: ClassId,
        marks: &mut Vec<(u32, Mark)>,
    ) {
        marks.clear();
        self.load(class);
        let signature = &*self.classes.items[&class].signature;
        marks.push((UNCLAIMED, Mark::Truth(Truth::Unknown)));
        let has = |question: QuestionId| self.scratch[question.0 as usize];
        for (number, step) in (0u32..).zip(&stack.steps) {
            if let Some((block, rule)) = step.rule() {
                let body = &*self.blocks.items[block].body;
                mark(body, rule as usize, signature, has, |_, mark| {
                    marks.push((number, mark))
                });
            }
        }
        marks.sort_unstable();
    }
}

/// The marks that a rule makes, with its number.
fn mark(
    body: &Body,
    rule: usize,
    signature: &Signature,
    has: impl Fn(QuestionId) -> bool,
    mut with: impl FnMut(u32, Mark),
) {
    let number = u32::try_from(rule).unwrap_or(u32::MAX);
    let asked = &body.asked[rule];
    let truth = asked.far.truth(signature.unclaimed, has);
    if signature.unclaimed {
        // What neither allows nor denies.
        let action = body.rules[rule].action;
        let idle = truth == Truth::Unknown && matches!(action, Action::Allow | Action::Log);
        if truth == Truth::No || idle {
            return;
        }
        with(number, Mark::Truth(truth));
    } else {
        if (truth == Truth::Yes) != asked.far.base() {
            with(number, Mark::Truth(truth));
        }
        if truth != Truth::Yes {
            return;
        }
    }
    for question in asked.numbered() {
        let ports = signature.ports(question);
        ports.for_each(|port| with(number, Mark::Port(question.0, port)));
    }
}

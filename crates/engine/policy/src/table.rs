//! Tables: the rows of each stack, built whole or class by class.

use ocicat_flow::{Decider, Outcome, Verdict};
use ocicat_node::{ClassId, Row, RowId};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::block::{Blocks, Truth};
use crate::class::{ClassChanges, Classes, Signature};
use crate::entries::Entries;
use crate::group::{Group, Groups, Mark, Marks, UNCLAIMED};
use crate::list::PortSets;
use crate::outcome::{Outcomes, Rows};
use crate::paint::Sheet;
use crate::question::Questions;
use crate::row::{Budget, OverBudget, RowMaker, RowRoom};
use crate::stack::{Note, Stack, Step, Table, Told};

mod update;

pub(crate) use update::{Asked, Judged, Judgement, List, Task};
use update::{Edits, Ways};

/// What tables are made from.
pub(crate) type Parts<'a> = (&'a Blocks, &'a Questions, &'a Classes, &'a PortSets);

/// What tables are made of and made from.
pub(crate) struct Workshop<'a> {
    pub(crate) blocks: &'a Blocks,
    pub(crate) questions: &'a Questions,
    pub(crate) classes: &'a Classes,
    port_sets: &'a PortSets,
    pub(crate) outcomes: &'a mut Outcomes,
    pub(crate) rows: &'a mut Rows,
    pub(crate) budget: Budget,
    /// By number of question: whether the class that is loaded answers yes.
    scratch: &'a mut Vec<bool>,
    loaded: Option<ClassId>,
    /// All classes, sorted.
    all: Option<Vec<ClassId>>,
    pub(crate) judged: Judged,
    /// Room for lists that are made again and again.
    ways: Ways,
    edits: Edits,
    marks: Vec<(u32, Mark)>,
    applied: Vec<(u32, Truth)>,
    room: RowRoom,
}

/// How a class differs from one without answers, for one stack.
type Deviation = (ClassId, u32, Mark);

/// How classes come from one group to another.
#[derive(Debug, Clone, Copy)]
struct Way {
    from: u32,
    to: u32,
    /// Their own rows.
    old: Option<RowId>,
    new: Option<RowId>,
    /// How many go.
    count: u32,
}

impl Way {
    fn new(table: &Table, from: u32, to: u32) -> Self {
        Self {
            from,
            to,
            old: table.own_row(from),
            new: table.own_row(to),
            count: 0,
        }
    }

    /// What a class that goes has to note.
    fn note(&self, class: ClassId) -> Option<Note> {
        (self.old != self.new).then_some(Note {
            class,
            told: self.old,
            now: self.new,
        })
    }
}

/// A table that is made whole.
#[derive(Debug, Default)]
struct Built {
    numbers: FxHashMap<Box<Marks>, u32>,
    /// Of each group.
    rows: Vec<RowId>,
    /// The group of every class.
    classes: Vec<(ClassId, u32)>,
    distinct: FxHashSet<RowId>,
    cells: usize,
}

impl<'a> Workshop<'a> {
    pub(crate) fn new(
        (blocks, questions, classes, port_sets): Parts<'a>,
        (outcomes, rows): (&'a mut Outcomes, &'a mut Rows),
        budget: Budget,
        scratch: &'a mut Vec<bool>,
    ) -> Self {
        scratch.clear();
        scratch.resize(questions.items.span(), false);
        Self {
            blocks,
            questions,
            classes,
            port_sets,
            outcomes,
            rows,
            budget,
            scratch,
            loaded: None,
            all: None,
            judged: Judged::default(),
            ways: Ways::default(),
            edits: Edits::default(),
            marks: Vec::new(),
            applied: Vec::new(),
            room: RowRoom::default(),
        }
    }

    /// Builds the whole table.
    pub(crate) fn build(&mut self, stack: &mut Stack) {
        stack.edited.clear();
        let built = self.try_build(stack);
        match built {
            Ok(built) => {
                self.replace(&mut stack.table, built);
                if self.exceeds(&stack.table) {
                    self.close(&mut stack.table);
                }
            }
            Err(OverBudget) => self.close(&mut stack.table),
        }
    }

    /// `maker` is made when it is first needed; all of its rows must be of the same stack.
    fn row_of_marks<'s>(
        &mut self,
        maker: &mut Option<RowMaker<'s>>,
        stack: &'s Stack,
        signature: &'s Signature,
        marks: &Marks,
    ) -> Result<RowId, OverBudget>
    where
        'a: 's,
    {
        let maker = maker.get_or_insert_with(|| {
            let room = std::mem::take(&mut self.room);
            RowMaker::new(self.sheet(stack, signature), room)
        });
        let mut applied = std::mem::take(&mut self.applied);
        applied.clear();
        let bases: &[u32] = if signature.unclaimed {
            &[]
        } else {
            &stack.bases
        };
        add_applied(bases, marks, &mut applied);
        let steps = applied.iter().copied();
        let row = maker.make(signature, steps, self.outcomes, &self.budget);
        self.applied = applied;
        Ok(self.rows.intern(row?, self.outcomes))
    }

    /// Lets other stacks use the room of a maker.
    fn put_away(&mut self, maker: Option<RowMaker<'_>>) {
        if let Some(maker) = maker {
            self.room = maker.into_room();
        }
    }

    fn sheet<'s>(&self, stack: &'s Stack, signature: &'s Signature) -> Sheet<'s>
    where
        'a: 's,
    {
        Sheet {
            steps: &stack.steps,
            ends: &stack.ends,
            direction: stack.key.direction,
            blocks: &self.blocks.items,
            near_ports: &stack.key.near.ports,
            near_open: stack.key.near.open_ports,
            signature,
            port_sets: self.port_sets,
        }
    }

    fn try_build(&mut self, stack: &Stack) -> Result<Built, OverBudget> {
        let all = match self.all.take() {
            Some(all) => all,
            None => self.classes.ids(),
        };
        let mut built = Built {
            classes: Vec::with_capacity(all.len()),
            ..Built::default()
        };
        let mut maker = None;
        let result = self
            .build_claimed(stack, &mut maker, &all, &mut built)
            .and_then(|()| self.build_unclaimed(stack, &mut maker, &mut built));
        self.put_away(maker);
        self.all = Some(all);
        result?;
        built.classes.sort_unstable();
        Ok(built)
    }

    fn build_unclaimed<'s>(
        &mut self,
        stack: &'s Stack,
        maker: &mut Option<RowMaker<'s>>,
        built: &mut Built,
    ) -> Result<(), OverBudget>
    where
        'a: 's,
    {
        let mut marks = Vec::new();
        for class in &self.classes.unclaimed {
            self.all_marks(stack, *class, &mut marks);
            self.build_class((stack, maker), *class, &marks, built)?;
        }
        Ok(())
    }

    fn build_claimed<'s>(
        &mut self,
        stack: &'s Stack,
        maker: &mut Option<RowMaker<'s>>,
        all: &[ClassId],
        built: &mut Built,
    ) -> Result<(), OverBudget>
    where
        'a: 's,
    {
        let deviations = self.deviations(stack);
        let mut rest = deviations.as_slice();
        let mut marks = Vec::new();
        for class in all {
            if self.classes.unclaimed.binary_search(class).is_ok() {
                let skip = rest.partition_point(|(other, ..)| other <= class);
                rest = &rest[skip..];
                continue;
            }
            let count = rest.iter().take_while(|(other, ..)| other == class).count();
            let (own, after) = rest.split_at(count);
            rest = after;
            marks.clear();
            marks.extend(own.iter().map(|(_, step, mark)| (*step, *mark)));
            self.build_class((stack, maker), *class, &marks, built)?;
        }
        Ok(())
    }

    fn build_class<'s>(
        &mut self,
        (stack, maker): (&'s Stack, &mut Option<RowMaker<'s>>),
        class: ClassId,
        marks: &Marks,
        built: &mut Built,
    ) -> Result<(), OverBudget>
    where
        'a: 's,
    {
        let group = match built.numbers.get(marks) {
            Some(group) => *group,
            None => {
                let classes: &'a Classes = self.classes;
                let signature = &*classes.items[&class].signature;
                let row = self.row_of_marks(maker, stack, signature, marks)?;
                if built.distinct.insert(row) {
                    built.cells += self.cells_of(row);
                }
                if built.distinct.len() > self.budget.rows || built.cells > self.budget.cells {
                    return Err(OverBudget);
                }
                let group = u32::try_from(built.rows.len()).unwrap_or(u32::MAX);
                built.numbers.insert(marks.into(), group);
                built.rows.push(row);
                group
            }
        };
        built.classes.push((class, group));
        Ok(())
    }

    /// Sorted by class, then step.
    fn deviations(&self, stack: &Stack) -> Vec<Deviation> {
        let mut out: Vec<Deviation> = Vec::new();
        for (number, step) in (0u32..).zip(&stack.steps) {
            let Step::Rule { block, index, .. } = step else {
                continue;
            };
            let asked = &self.blocks.items[*block].body.asked[*index as usize];
            let base = asked.far.base();
            for class in asked.deviating(self.questions) {
                let signature = &self.classes.items[&class].signature;
                let truth = asked.far.truth(false, |q| signature.has(q)) == Truth::Yes;
                if truth != base {
                    let truth = if truth { Truth::Yes } else { Truth::No };
                    out.push((class, number, Mark::Truth(truth)));
                }
                if truth {
                    for question in asked.numbered() {
                        let ports = signature.ports(question);
                        out.extend(ports.map(|p| (class, number, Mark::Port(question.0, p))));
                    }
                }
            }
        }
        out.sort_unstable();
        out
    }

    /// Puts the rows of all classes in the place of what the table holds.
    fn replace(&mut self, table: &mut Table, built: Built) {
        let mut users = vec![0u32; built.rows.len()];
        let mut counts: FxHashMap<RowId, u32> = FxHashMap::default();
        for (_, group) in &built.classes {
            users[*group as usize] += 1;
        }
        for (row, users) in built.rows.iter().zip(&users) {
            *counts.entry(*row).or_default() += users;
        }
        let most = counts
            .iter()
            .map(|(row, count)| (*count, std::cmp::Reverse(*row)))
            .max();
        let (count, std::cmp::Reverse(mut default_row)) =
            most.expect("the classes of the two whole families exist always");
        // A default that is still common stays, so that little changes.
        if let Some(old) = table.default_row
            && counts.get(&old).is_some_and(|kept| kept * 2 >= count)
        {
            default_row = old;
        }
        let of_default = (0u32..)
            .zip(built.rows.iter().zip(&users))
            .filter(|(_, (row, _))| **row == default_row);
        let default_group = of_default
            .max_by_key(|(number, (_, users))| (**users, std::cmp::Reverse(*number)))
            .map(|(number, _)| number)
            .expect("a row is counted for its groups");
        users[default_group as usize] = 0;
        let mut marks: Vec<(u32, Box<Marks>)> =
            built.numbers.into_iter().map(|(m, n)| (n, m)).collect();
        marks.sort_unstable_by_key(|(number, _)| *number);
        let groups = marks.into_iter().zip(built.rows).zip(users);
        let group = |(((_, marks), row), users)| Group::new(marks, row, users);
        let groups = Groups::new(groups.map(group));
        let mut entries = built.classes;
        entries.retain(|(_, group)| *group != default_group);
        self.install(table, default_group, groups, &entries);
        table.over_budget = false;
    }

    fn install(
        &mut self,
        table: &mut Table,
        default_group: u32,
        groups: Groups,
        entries: &[(ClassId, u32)],
    ) {
        let default_row = groups.get(default_group).row;
        let mut new = Table {
            default_row: Some(default_row),
            default_group,
            cells: groups.iter().map(|group| self.cells_of(group.row)).sum(),
            groups,
            entries: Entries::new(entries),
            over_budget: table.over_budget,
            told: std::mem::take(&mut table.told),
        };
        new.groups
            .iter()
            .for_each(|group| self.rows.retain(group.row));
        // Of a table that is new, all is told.
        if table.default_row.is_some() {
            new.told.default_row = new.told.default_row.or(table.default_row);
            let mut told = std::mem::take(&mut new.told);
            note_differences(&mut told, table.own_rows(), new.own_rows());
            new.told = told;
        }
        self.discard(std::mem::replace(table, new));
    }

    /// Puts a class into another group.
    fn assign(&mut self, table: &mut Table, class: ClassId, to: u32) {
        let from = table.group_of(class);
        if from == to {
            return;
        }
        if to == table.default_group {
            table.entries.remove(class);
        } else {
            table.entries.insert(class, to);
        }
        let way = Way::new(table, from, to);
        way.note(class).into_iter().for_each(|n| table.told.note(n));
        self.count(table, &[Way { count: 1, ..way }]);
    }

    /// So many classes went from one group to another.
    fn count(&mut self, table: &mut Table, ways: &[Way]) {
        let default = table.default_group;
        let ways = || ways.iter().filter(|way| way.from != way.to);
        for way in ways().filter(|way| way.to != default) {
            table.groups.get_mut(way.to).users += way.count;
        }
        for way in ways().filter(|way| way.from != default) {
            let group = table.groups.get_mut(way.from);
            group.users -= way.count;
            if group.users == 0
                && let Some(group) = table.groups.remove(way.from)
            {
                table.cells -= self.cells_of(group.row);
                self.rows.release(group.row);
            }
        }
    }

    /// A new class is treated as the class that its members come from, until more is known; a
    /// class that went is forgotten.
    pub(crate) fn follow_classes(&mut self, table: &mut Table, changes: &ClassChanges) {
        for (class, origin) in changes.new_with_origin() {
            let group = table.group_of(origin);
            // This row is told first: it is what the members had.
            let row = table.own_row(group);
            table.told.note(Note {
                class,
                told: row,
                now: row,
            });
            self.assign(table, class, group);
        }
        for class in &changes.dead {
            self.assign(table, *class, table.default_group);
        }
    }

    /// Lets go of all rows of a table that is no longer used.
    pub(crate) fn discard(&mut self, table: Table) {
        table
            .groups
            .iter()
            .for_each(|group| self.rows.release(group.row));
    }

    fn cells_of(&self, row: RowId) -> usize {
        self.rows.get(row).map_or(0, |row| row.cell_count())
    }

    /// One row that denies everything, until the stack is built again.
    fn close(&mut self, table: &mut Table) {
        const KEY: [u32; 1] = [7];
        let outcome = self.outcomes.intern(&KEY, || Outcome {
            verdict: Verdict::Deny,
            decider: Decider::OverBudget,
            passed: Vec::new(),
            logged: Vec::new(),
        });
        let row = self.rows.intern(&Row::constant(outcome), self.outcomes);
        let group = Group::new(Box::default(), row, 0);
        let groups = Groups::new(std::iter::once(group));
        self.install(table, 0, groups, &[]);
        table.over_budget = true;
    }

    /// Counts exactly only where the cheap bounds do not decide.
    fn exceeds(&self, table: &Table) -> bool {
        let fits =
            |rows: usize, cells: usize| rows <= self.budget.rows && cells <= self.budget.cells;
        if fits(table.groups.len(), table.cells) {
            return false;
        }
        let by_default = table.entries.len() < self.classes.items.len();
        let used = table.groups.iter().filter(|group| group.users > 0);
        let mut distinct: Vec<RowId> = used.map(|group| group.row).collect();
        distinct.extend(table.default_row.filter(|_| by_default));
        distinct.sort_unstable();
        distinct.dedup();
        !fits(
            distinct.len(),
            distinct.iter().map(|row| self.cells_of(*row)).sum(),
        )
    }
}

/// The steps whose far side is not false, sorted: those of `bases`, unless marks say otherwise, and
/// those that marks name.
fn add_applied(bases: &[u32], marks: &Marks, applied: &mut Vec<(u32, Truth)>) {
    let truths = marks.iter().filter_map(|(step, mark)| match mark {
        Mark::Truth(truth) if *step < UNCLAIMED => Some((*step, *truth)),
        _ => None,
    });
    let mut truths = truths.peekable();
    for base in bases {
        while let Some(before) = truths.next_if(|(step, _)| step < base) {
            applied.push(before);
        }
        let own = truths.next_if(|(step, _)| step == base);
        applied.push(own.unwrap_or((*base, Truth::Yes)));
    }
    applied.extend(truths);
    applied.retain(|(_, truth)| *truth != Truth::No);
}

/// Notes each class whose own row is another one now.
fn note_differences(
    told: &mut Told,
    old: impl Iterator<Item = (ClassId, RowId)>,
    new: impl Iterator<Item = (ClassId, RowId)>,
) {
    let mut note = |class, old, new| {
        told.note(Note {
            class,
            told: old,
            now: new,
        });
    };
    let mut new = new.peekable();
    for (class, row) in old {
        while let Some((added, row)) = new.next_if(|(other, _)| *other < class) {
            note(added, None, Some(row));
        }
        match new.next_if(|(other, _)| *other == class) {
            Some((_, same)) if same == row => {}
            other => note(class, Some(row), other.map(|(_, row)| row)),
        }
    }
    for (added, row) in new {
        note(added, None, Some(row));
    }
}

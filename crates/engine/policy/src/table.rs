//! Tables: the rows of each stack, built whole or class by class.

use ocicat_flow::{Decider, Outcome, Verdict};
use ocicat_node::{ClassId, Row, RowId};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::block::{Blocks, Truth};
use crate::class::{ClassChanges, Classes, Signature};
use crate::outcome::{Outcomes, Rows};
use crate::paint::{Applied, Sheet};
use crate::question::Questions;
use crate::row::{self, Budget, OverBudget};
use crate::slab::QuestionId;
use crate::stack::{Gate, Stack, Step, Table};

/// A full table gets room for so many more entries.
const GROWTH: usize = 64;

/// What tables are made of and made from.
pub(crate) struct Workshop<'a> {
    pub(crate) blocks: &'a Blocks,
    pub(crate) questions: &'a Questions,
    pub(crate) classes: &'a Classes,
    pub(crate) outcomes: &'a mut Outcomes,
    pub(crate) rows: &'a mut Rows,
    pub(crate) budget: Budget,
    /// By number of question: whether the class that is loaded answers yes.
    scratch: &'a mut Vec<bool>,
    /// All classes, sorted.
    all: Option<Vec<ClassId>>,
}

/// How a class differs from one without answers, for one stack: step and truth, or a named port.
type Deviation = (ClassId, u32, Mark);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Mark {
    Truth(Truth),
    /// Which question, and the port number.
    Port(u32, u16),
}

impl<'a> Workshop<'a> {
    pub(crate) fn new(
        (blocks, questions, classes): (&'a Blocks, &'a Questions, &'a Classes),
        (outcomes, rows): (&'a mut Outcomes, &'a mut Rows),
        budget: Budget,
        scratch: &'a mut Vec<bool>,
    ) -> Self {
        let span = questions.items.span().max(scratch.len());
        scratch.resize(span, false);
        Self {
            blocks,
            questions,
            classes,
            outcomes,
            rows,
            budget,
            scratch,
            all: None,
        }
    }

    /// Builds the whole table.
    pub(crate) fn build(&mut self, stack: &mut Stack) {
        let built = self.try_build(stack);
        match built {
            Ok(rows) => {
                self.replace(&mut stack.table, rows);
                if self.exceeds(&stack.table) {
                    self.close(&mut stack.table);
                }
            }
            Err(OverBudget) => self.close(&mut stack.table),
        }
    }

    /// Brings the rows of some classes up to date. `false` if that may exceed the budget: the
    /// stack has to be built whole.
    pub(crate) fn update(
        &mut self,
        stack: &mut Stack,
        classes: impl ExactSizeIterator<Item = ClassId>,
    ) -> bool {
        let several = classes.len() > 1;
        let mut groups: FxHashMap<Vec<(u32, Mark)>, RowId> = FxHashMap::default();
        let mut key = Vec::new();
        for class in classes {
            let Some(item) = self.classes.items.get(&class) else {
                continue;
            };
            let signature = &*item.signature;
            self.marks(stack, signature, &mut key);
            let row = if let Some(row) = groups.get(&key) {
                *row
            } else {
                let Ok(row) = self.row_of_marks(stack, signature, &key) else {
                    return false;
                };
                let row = self.rows.intern(row, self.outcomes);
                if several {
                    groups.insert(key.clone(), row);
                }
                row
            };
            let own = (Some(row) != stack.table.default_row).then_some(row);
            self.set_own(&mut stack.table, class, own);
        }
        !self.exceeds(&stack.table)
    }

    fn load(&mut self, signature: &Signature, answer: bool) {
        for (question, _) in &signature.answers {
            self.scratch[question.0 as usize] = answer;
        }
    }

    /// All that the row of a class follows from: the rules that match or may match, and the
    /// ports of those that know them by name.
    fn marks(&mut self, stack: &Stack, signature: &Signature, marks: &mut Vec<(u32, Mark)>) {
        marks.clear();
        self.load(signature, true);
        let unclaimed = signature.unclaimed;
        if unclaimed {
            marks.push((u32::MAX, Mark::Truth(Truth::Unknown)));
        }
        for (number, gate) in (0u32..).zip(&stack.gates) {
            match gate {
                Gate::NoRule => continue,
                Gate::Question(question) if !unclaimed => {
                    if !self.scratch[question.0 as usize] {
                        continue;
                    }
                }
                Gate::Question(_) | Gate::Open => {}
            }
            let Step::Rule { block, index, .. } = &stack.steps[number as usize] else {
                continue;
            };
            let asked = &self.blocks.items[*block].body.asked[*index as usize];
            let has = |question: QuestionId| self.scratch[question.0 as usize];
            let truth = asked.far.truth(unclaimed, has);
            if truth == Truth::No {
                continue;
            }
            marks.push((number, Mark::Truth(truth)));
            for (.., question) in &asked.ports {
                let ports = signature.ports(*question);
                marks.extend(ports.map(|port| (number, Mark::Port(question.0, port))));
            }
        }
        self.load(signature, false);
    }

    fn row_of_marks(
        &mut self,
        stack: &Stack,
        signature: &Signature,
        marks: &[(u32, Mark)],
    ) -> Result<Row, OverBudget> {
        let sheet = self.sheet(stack, signature);
        let applied = marks.iter().filter_map(|(number, mark)| match mark {
            Mark::Truth(truth) if *number < u32::MAX => Applied::new(&sheet, *number, *truth),
            _ => None,
        });
        let mut rules: Vec<Applied<'_>> = Vec::with_capacity(marks.len());
        rules.extend(applied);
        row::build(sheet, &rules, self.outcomes, &self.budget)
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
        }
    }

    /// The row of every class, sorted by class.
    fn try_build(&mut self, stack: &Stack) -> Result<Vec<(ClassId, RowId)>, OverBudget> {
        let all = match self.all.take() {
            Some(all) => all,
            None => self.classes.ids(),
        };
        let mut rows = Vec::with_capacity(all.len());
        let result = self.build_claimed(stack, &all, &mut rows);
        self.all = Some(all);
        result?;
        let mut marks = Vec::new();
        for class in &self.classes.unclaimed {
            let signature = &*self.classes.items[class].signature;
            self.marks(stack, signature, &mut marks);
            let row = self.row_of_marks(stack, signature, &marks)?;
            rows.push((*class, self.rows.intern(row, self.outcomes)));
        }
        rows.sort_unstable();
        Ok(rows)
    }

    fn build_claimed(
        &mut self,
        stack: &Stack,
        all: &[ClassId],
        rows: &mut Vec<(ClassId, RowId)>,
    ) -> Result<(), OverBudget> {
        let base: Vec<u32> = self.base_steps(stack);
        let deviations = self.deviations(stack);
        let mut groups: FxHashMap<Vec<(u32, Mark)>, RowId> = FxHashMap::default();
        let mut plain = None;
        let (mut distinct, mut cells) = (FxHashSet::default(), 0);
        let mut rest = deviations.as_slice();
        let mut key = Vec::new();
        for class in all {
            if self.classes.unclaimed.binary_search(class).is_ok() {
                let skip = rest.partition_point(|(other, ..)| other <= class);
                rest = &rest[skip..];
                continue;
            }
            let count = rest.iter().take_while(|(other, ..)| other == class).count();
            let (own, after) = rest.split_at(count);
            rest = after;
            key.clear();
            key.extend(own.iter().map(|(_, step, mark)| (*step, *mark)));
            let known = if key.is_empty() {
                plain
            } else {
                groups.get(&key).copied()
            };
            let row = match known {
                Some(row) => row,
                None => {
                    let row = self.claimed_row(stack, *class, &base, &key)?;
                    let size = row.cell_count();
                    let row = self.rows.intern(row, self.outcomes);
                    if distinct.insert(row) {
                        cells += size;
                    }
                    if distinct.len() > self.budget.rows || cells > self.budget.cells {
                        return Err(OverBudget);
                    }
                    if key.is_empty() {
                        plain = Some(row);
                    } else {
                        groups.insert(key.clone(), row);
                    }
                    row
                }
            };
            rows.push((*class, row));
        }
        Ok(())
    }

    /// The rules that match claimed addresses without any answer.
    fn base_steps(&self, stack: &Stack) -> Vec<u32> {
        let steps = (0u32..).zip(&stack.steps);
        let base = steps.filter(|(_, step)| match step {
            Step::Rule { block, index, .. } => self.blocks.items[*block].body.asked
                [*index as usize]
                .far
                .base(),
            _ => false,
        });
        base.map(|(number, _)| number).collect()
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
                    for (.., question) in &asked.ports {
                        let ports = signature.ports(*question);
                        out.extend(ports.map(|p| (class, number, Mark::Port(question.0, p))));
                    }
                }
            }
        }
        out.sort_unstable();
        out
    }

    fn claimed_row(
        &mut self,
        stack: &Stack,
        class: ClassId,
        base: &[u32],
        deviations: &[(u32, Mark)],
    ) -> Result<Row, OverBudget> {
        let signature = self.classes.items[&class].signature.clone();
        let sheet = self.sheet(stack, &signature);
        let mut steps: Vec<u32> = Vec::with_capacity(base.len() + deviations.len());
        let off = |step: &u32| {
            deviations
                .binary_search(&(*step, Mark::Truth(Truth::No)))
                .is_err()
        };
        steps.extend(base.iter().copied().filter(off));
        let on = deviations
            .iter()
            .filter(|(_, mark)| *mark == Mark::Truth(Truth::Yes));
        steps.extend(on.map(|(step, _)| *step));
        steps.sort_unstable();
        let mut rules: Vec<Applied<'_>> = Vec::with_capacity(steps.len());
        let applied = steps.into_iter();
        rules.extend(applied.filter_map(|step| Applied::new(&sheet, step, Truth::Yes)));
        row::build(sheet, &rules, self.outcomes, &self.budget)
    }

    /// Puts the rows of all classes in the place of what the table holds.
    fn replace(&mut self, table: &mut Table, rows: Vec<(ClassId, RowId)>) {
        let mut counts: FxHashMap<RowId, usize> = FxHashMap::default();
        for (_, row) in &rows {
            *counts.entry(*row).or_default() += 1;
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
        let rows: Vec<(ClassId, RowId)> = rows
            .into_iter()
            .filter(|(_, row)| *row != default_row)
            .collect();
        self.install(table, default_row, rows);
        table.over_budget = false;
    }

    fn install(&mut self, table: &mut Table, default_row: RowId, mut rows: Vec<(ClassId, RowId)>) {
        self.rows.retain(default_row);
        rows.iter().for_each(|(_, row)| self.rows.retain(*row));
        table.cells = rows.iter().map(|(_, row)| self.cells_of(*row)).sum();
        rows.shrink_to_fit();
        let old = std::mem::replace(&mut table.rows, rows);
        let old_default = table.default_row.replace(default_row);
        // Of a table that is new, all is told.
        if old_default.is_some() {
            if table.told.default_row.is_none() {
                table.told.default_row = old_default;
            }
            note_differences(table, &old);
        }
        old.iter().for_each(|(_, row)| self.rows.release(*row));
        old_default
            .into_iter()
            .for_each(|row| self.rows.release(row));
    }

    /// Sets the row of one class; `None` is the default row.
    pub(crate) fn set_own(&mut self, table: &mut Table, class: ClassId, new: Option<RowId>) {
        let found = table.rows.binary_search_by_key(&class, |(class, _)| *class);
        let old = found.ok().map(|at| table.rows[at].1);
        if old == new {
            return;
        }
        table.told.rows.entry(class).or_insert(old);
        if let Some(new) = new {
            self.rows.retain(new);
            table.cells += self.cells_of(new);
        }
        match (found, new) {
            (Ok(at), Some(new)) => table.rows[at].1 = new,
            (Err(at), Some(new)) => {
                // Tables are many, large, and grow little.
                if table.rows.len() == table.rows.capacity() {
                    table.rows.reserve_exact(GROWTH);
                }
                table.rows.insert(at, (class, new));
            }
            (Ok(at), None) => {
                table.rows.remove(at);
            }
            (Err(_), None) => {}
        }
        if let Some(old) = old {
            table.cells -= self.cells_of(old);
            self.rows.release(old);
        }
    }

    /// A new class is treated as the class that its members come from, until more is known; a
    /// class that went is forgotten.
    pub(crate) fn follow_classes(&mut self, table: &mut Table, changes: &ClassChanges) {
        for (class, origin) in changes.new_with_origin() {
            let row = table.own_row_of(origin);
            self.set_own(table, class, row);
            // This row is told first: it is what the members had.
            table.told.rows.insert(class, row);
        }
        for class in &changes.dead {
            self.set_own(table, *class, None);
        }
    }

    /// Lets go of all rows of a table that is no longer used.
    pub(crate) fn discard(&mut self, table: Table) {
        let rows = table
            .rows
            .iter()
            .map(|(_, row)| *row)
            .chain(table.default_row);
        rows.for_each(|row| self.rows.release(row));
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
        let row = self.rows.intern(Row::constant(outcome), self.outcomes);
        self.install(table, row, Vec::new());
        table.over_budget = true;
    }

    /// Counts exactly only where the cheap bounds do not decide.
    fn exceeds(&self, table: &Table) -> bool {
        let default_row = table.default_row.into_iter();
        let default_cells: usize = default_row.clone().map(|row| self.cells_of(row)).sum();
        let fits =
            |rows: usize, cells: usize| rows <= self.budget.rows && cells <= self.budget.cells;
        if fits(table.rows.len() + 1, table.cells + default_cells) {
            return false;
        }
        let used = table.rows.len() < self.classes.items.len();
        let mut distinct: Vec<RowId> = table.rows.iter().map(|(_, row)| *row).collect();
        distinct.extend(default_row.filter(|_| used));
        distinct.sort_unstable();
        distinct.dedup();
        !fits(
            distinct.len(),
            distinct.iter().map(|row| self.cells_of(*row)).sum(),
        )
    }
}

/// Remembers, for each class whose own row is another one now, the row that was told.
fn note_differences(table: &mut Table, old: &[(ClassId, RowId)]) {
    let mut new = table.rows.iter().peekable();
    let told = &mut table.told.rows;
    for (class, row) in old {
        while let Some((added, _)) = new.next_if(|(other, _)| other < class) {
            told.entry(*added).or_insert(None);
        }
        match new.next_if(|(other, _)| other == class) {
            Some((_, same)) if same == row => {}
            _ => {
                told.entry(*class).or_insert(Some(*row));
            }
        }
    }
    for (added, _) in new {
        told.entry(*added).or_insert(None);
    }
}

//! Rows in the kernel, under numbers of their own.
//!
//! A row of the tables may have several numbers, and a number may come to stand for another row. Where
//! all that leads to a number shall lead to one other row, and the two rows differ in one look-up only,
//! the number's cells are changed instead of all the elements that lead to it. A packet in flight that
//! has the number meets the old row or the new one, because all its other look-ups find the same in both.

use std::sync::Arc;

use ocicat_node::{ClassId, OutcomeId, Row, RowId, StackId};
use rustc_hash::FxHashMap;

use super::plan::Plan;
use super::update::{Sorted, StackChange};
use super::{Compiler, Update};
use crate::cells::{self, Lists, PortCell, ProtocolCell};
use crate::layout::{self, RowNumber};

/// A row under a number.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) id: RowId,
    pub(super) row: Arc<Row>,
    pub(super) subrows: Vec<u32>,
    /// Elements and chains in the kernel that lead to it, those that wait to be removed included.
    holders: u32,
    /// How many of them the update at hand takes away, and where they go, if that is one row.
    going: u32,
    to: Option<RowId>,
}

/// A row of the tables, and the numbers that stand for it.
#[derive(Debug)]
struct Known {
    row: Arc<Row>,
    numbers: Vec<RowNumber>,
}

/// A stack that keeps its chain.
pub(super) struct Stays<'a> {
    pub(super) id: StackId,
    pub(super) rows: &'a [(ClassId, Option<RowId>)],
    /// What each class leads to before the update.
    pub(super) before: Vec<Option<RowNumber>>,
}

#[derive(Debug, Default)]
pub(super) struct Rows {
    known: FxHashMap<RowId, Known>,
    /// By number.
    placed: Vec<Option<Placed>>,
    free: Vec<RowNumber>,
    next_subrow: u32,
    /// Numbers that the kernel does not have yet.
    fresh: Vec<RowNumber>,
    /// Numbers to which nothing led any more when this was noted.
    idle: Vec<RowNumber>,
    /// Rows that the tables had before the update at hand and do not have after it.
    going: Vec<RowId>,
}

impl Rows {
    /// The row that a number stands for.
    pub(super) fn id(&self, number: RowNumber) -> Option<RowId> {
        self.get(number).map(|placed| placed.id)
    }

    pub(super) fn get(&self, number: RowNumber) -> Option<&Placed> {
        self.placed.get(number.0 as usize)?.as_ref()
    }

    fn get_mut(&mut self, number: RowNumber) -> Option<&mut Placed> {
        self.placed.get_mut(number.0 as usize)?.as_mut()
    }

    /// All numbers that lead somewhere.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RowNumber, &Placed)> {
        let numbers = (0u32..).map(RowNumber).zip(&self.placed);
        numbers.filter_map(|(number, placed)| Some((number, placed.as_ref()?)))
    }

    pub(super) fn len(&self) -> usize {
        self.placed.len() - self.free.len()
    }

    /// The largest number of a row or of one of its cuts.
    pub(super) fn largest(&self) -> u32 {
        let rows = u32::try_from(self.placed.len()).unwrap_or(u32::MAX);
        rows.max(self.next_subrow)
    }

    /// The tables have this row.
    pub(super) fn learn(&mut self, id: RowId, row: &Arc<Row>) {
        let row = Arc::clone(row);
        let numbers = Vec::new();
        self.known.entry(id).or_insert(Known { row, numbers });
    }

    /// The tables do not have this row any more. It is known until the end of the update.
    pub(super) fn forget(&mut self, id: RowId) {
        self.going.push(id);
    }

    /// Ends the update. Returns the numbers to which nothing leads any more.
    pub(super) fn end_update(&mut self) -> Vec<(RowNumber, Placed)> {
        for id in std::mem::take(&mut self.going) {
            self.known.remove(&id);
        }
        self.take_idle()
    }

    /// A number of a row for one more element or chain to lead to.
    pub(super) fn hold(&mut self, id: RowId) -> RowNumber {
        let Some(known) = self.known.get(&id) else {
            return RowNumber::NOWHERE;
        };
        let number = match known.numbers.first() {
            Some(number) => *number,
            None => self.place(id),
        };
        self.hold_again(number);
        number
    }

    /// One more element or chain leads to a number.
    pub(super) fn hold_again(&mut self, number: RowNumber) {
        if let Some(placed) = self.get_mut(number) {
            placed.holders += 1;
        }
    }

    /// An element or chain less leads to a number.
    pub(super) fn release(&mut self, number: RowNumber) {
        if let Some(placed) = self.get_mut(number) {
            placed.holders -= 1;
            if placed.holders == 0 {
                self.idle.push(number);
            }
        }
    }

    fn place(&mut self, id: RowId) -> RowNumber {
        let Some(known) = self.known.get_mut(&id) else {
            return RowNumber::NOWHERE;
        };
        let first = self.next_subrow;
        let count = u32::try_from(known.row.cuts.len()).unwrap_or(u32::MAX);
        self.next_subrow = first.saturating_add(count);
        let placed = Some(Placed {
            id,
            row: Arc::clone(&known.row),
            subrows: (first..self.next_subrow).collect(),
            holders: 0,
            going: 0,
            to: None,
        });
        let number = match self.free.pop() {
            Some(number) => {
                self.placed[number.0 as usize] = placed;
                number
            }
            None => {
                self.placed.push(placed);
                RowNumber(u32::try_from(self.placed.len() - 1).unwrap_or(u32::MAX))
            }
        };
        known.numbers.push(number);
        self.fresh.push(number);
        number
    }

    /// Something that leads to the number shall lead to another row, or to none. Returns whether it is
    /// the first.
    fn leave(&mut self, number: RowNumber, to: Option<RowId>) -> bool {
        let Some(placed) = self.get_mut(number) else {
            return false;
        };
        placed.going += 1;
        let is_first = placed.going == 1;
        placed.to = if is_first {
            to
        } else {
            placed.to.filter(|other| Some(*other) == to)
        };
        is_first
    }

    /// Makes a number stand for another row, if all that leads to it goes there, and if that costs no
    /// more than to lead it to a number of that row.
    fn turn(&mut self, number: RowNumber) -> Option<Repair> {
        let count = self.len();
        let placed = self.get_mut(number)?;
        let going = std::mem::take(&mut placed.going);
        let to = placed.to.take()?;
        if placed.holders != going || placed.id == to {
            return None;
        }
        let placed = self.get(number)?;
        let known = self.known.get(&to)?;
        let repair = Repair::new(&placed.row, &known.row)?;
        // Rows that have several numbers cost more elements, and more when they change.
        let is_first = known.numbers.is_empty();
        let row = if is_first { known.row.cell_count() } else { 0 };
        let rows = self.known.len() - self.going.len();
        let may = is_first || count < rows + rows / 4;
        if !may || repair.len() > 2 * going as usize + row {
            return None;
        }
        let row = Arc::clone(&known.row);
        let placed = self.get_mut(number)?;
        let old = std::mem::replace(&mut placed.id, to);
        placed.row = row;
        if let Some(known) = self.known.get_mut(&old) {
            known.numbers.retain(|other| *other != number);
        }
        self.known.get_mut(&to)?.numbers.push(number);
        Some(repair)
    }

    /// Takes out the numbers to which nothing leads. They may be used again once they are given to
    /// [`Rows::end`].
    pub(super) fn take_idle(&mut self) -> Vec<(RowNumber, Placed)> {
        let mut gone = Vec::new();
        for number in std::mem::take(&mut self.idle) {
            let idle = self.get(number).is_some_and(|placed| placed.holders == 0);
            if let Some(placed) = self.placed[number.0 as usize].take_if(|_| idle) {
                if let Some(known) = self.known.get_mut(&placed.id) {
                    known.numbers.retain(|other| *other != number);
                }
                gone.push((number, placed));
            }
        }
        gone
    }

    /// No packet can have this number any more.
    pub(super) fn end(&mut self, number: RowNumber) {
        self.free.push(number);
    }

    /// The numbers that the kernel does not have yet.
    pub(super) fn take_fresh(&mut self) -> Vec<RowNumber> {
        std::mem::take(&mut self.fresh)
    }
}

/// The cells that make one row another: those that go, and those that come.
#[derive(Debug)]
enum Repair {
    Ports(Vec<PortCell>, Vec<PortCell>),
    Protocols(Vec<ProtocolCell>, Vec<ProtocolCell>),
    Default(OutcomeId, OutcomeId),
}

impl Repair {
    /// `None` if more than one look-up differs.
    fn new(old: &Row, new: &Row) -> Option<Self> {
        let (a, b) = (&old.cells, &new.cells);
        if old.cuts != new.cuts || a.ranges != b.ranges || a.icmp != b.icmp {
            return None;
        }
        let same = (
            a.exact == b.exact,
            a.protocols == b.protocols,
            a.default == b.default,
        );
        Some(match same {
            (false, true, true) => Self::Ports(only(&a.exact, &b.exact), only(&b.exact, &a.exact)),
            (true, false, true) => {
                let (a, b) = (&a.protocols, &b.protocols);
                Self::Protocols(only(a, b), only(b, a))
            }
            (true, true, false) => Self::Default(a.default, b.default),
            _ => return None,
        })
    }

    fn len(&self) -> usize {
        match self {
            Self::Ports(gone, come) => gone.len() + come.len(),
            Self::Protocols(gone, come) => gone.len() + come.len(),
            Self::Default(..) => 2,
        }
    }

    fn write(&self, number: RowNumber, gone: &mut Lists, come: &mut Lists) {
        let row = &layout::row(number);
        match self {
            Self::Ports(old, new) => {
                old.iter().for_each(|cell| gone.port(row, *cell));
                new.iter().for_each(|cell| come.port(row, *cell));
            }
            Self::Protocols(old, new) => {
                old.iter().for_each(|cell| gone.protocol(row, *cell));
                new.iter().for_each(|cell| come.protocol(row, *cell));
            }
            Self::Default(old, new) => {
                gone.default(row, *old);
                come.default(row, *new);
            }
        }
    }
}

/// What the first list has and the second has not; both are sorted.
fn only<T: Copy + Ord>(list: &[T], other: &[T]) -> Vec<T> {
    let only = list
        .iter()
        .filter(|cell| other.binary_search(cell).is_err());
    only.copied().collect()
}

impl Compiler {
    /// The stacks that keep their chains and have other rows.
    pub(super) fn staying<'a>(&self, sorted: &'a Sorted<'_>, plan: &Plan) -> Vec<Stays<'a>> {
        let stays = |(id, change): (&StackId, &'a StackChange<'_>)| {
            let stays = !change.removed && !plan.left.contains_key(id);
            let installed = self.stacks.get(id).filter(|_| stays)?;
            let before = change.rows.iter();
            let before = before.map(|(class, _)| installed.rows.get(class).copied());
            Some(Stays {
                id: *id,
                rows: &change.rows,
                before: before.collect(),
            })
        };
        sorted.stacks.iter().filter_map(stays).collect()
    }

    /// Changes the cells of numbers where that is less than to change what leads to them. To be done
    /// before any stack changes.
    pub(super) fn change_cells(&mut self, staying: &[Stays<'_>], update: &mut Update) {
        let mut left: Vec<RowNumber> = Vec::new();
        for stays in staying {
            for ((_, row), number) in stays.rows.iter().zip(&stays.before) {
                left.extend(number.filter(|number| self.rows.leave(*number, *row)));
            }
        }
        let (mut gone, mut come) = (Lists::new(self.epoch), Lists::new(self.epoch));
        for number in left {
            if let Some(repair) = self.rows.turn(number) {
                repair.write(number, &mut gone, &mut come);
            }
        }
        update.apply.extend(gone.delete());
        update.apply.extend(come.add());
    }

    /// Gives the kernel the rows to which something leads for the first time, and lets go of those to
    /// which nothing leads any more. To be done when all stacks have changed.
    pub(super) fn place_rows(&mut self, update: &mut Update) {
        let mut elements = Lists::new(self.epoch);
        let mut ranges = Vec::new();
        for number in self.rows.take_fresh() {
            let Some(placed) = self.rows.get(number) else {
                continue;
            };
            elements.row(number, &placed.row, &placed.subrows);
            ranges.extend(cells::ranges(number, &placed.row, &placed.subrows));
        }
        update.apply.extend(elements.add());
        self.intervals
            .add(self.epoch, &ranges, update, &mut self.garbage.intervals);
        self.garbage.rows.extend(self.rows.end_update());
    }
}

#[cfg(test)]
mod tests {
    use ocicat_node::Protocol;

    use super::*;

    fn row(ports: &[(u16, u32)], default: u32) -> Arc<Row> {
        let mut row = Row::constant(OutcomeId(default));
        let cell = |(port, outcome): &(u16, u32)| (Protocol::TCP, *port, OutcomeId(*outcome));
        row.cells.exact = ports.iter().map(cell).collect();
        Arc::new(row)
    }

    fn rows(all: &[&Arc<Row>]) -> Rows {
        let mut rows = Rows::default();
        for (id, row) in (0u32..).zip(all) {
            rows.learn(RowId(id), row);
        }
        rows
    }

    /// So many of those that lead to a number go to a row.
    fn turn(rows: &mut Rows, number: RowNumber, to: RowId, going: u32) -> Option<Repair> {
        for _ in 0..going {
            rows.leave(number, Some(to));
        }
        rows.turn(number)
    }

    #[test]
    fn all_that_leads_to_a_number_turns_with_its_cells() {
        let mut rows = rows(&[&row(&[(80, 1), (443, 1)], 0), &row(&[(80, 1), (443, 2)], 0)]);
        let number = rows.hold(RowId(0));
        rows.hold_again(number);
        assert!(turn(&mut rows, number, RowId(1), 1).is_none(), "one stays");
        let repair = turn(&mut rows, number, RowId(1), 2).expect("both go");
        assert_eq!(repair.len(), 2);
        assert_eq!(rows.id(number), Some(RowId(1)));
        assert_eq!(rows.hold(RowId(1)), number);
        assert_ne!(rows.hold(RowId(0)), number);
    }

    #[test]
    fn two_look_ups_never_change_at_once() {
        let mut rows = rows(&[&row(&[(80, 1)], 0), &row(&[(443, 1)], 2)]);
        let number = rows.hold(RowId(0));
        assert!(turn(&mut rows, number, RowId(1), 1).is_none());
    }

    #[test]
    fn few_elements_are_not_spared_with_many_cells() {
        let many: Vec<(u16, u32)> = (1..50).map(|port| (port, 1)).collect();
        let mut rows = rows(&[&row(&many, 0), &row(&[], 0)]);
        let number = rows.hold(RowId(0));
        rows.hold(RowId(1));
        assert!(turn(&mut rows, number, RowId(1), 1).is_none());
    }

    #[test]
    fn rows_have_few_numbers_too_many() {
        let one = |outcome| row(&[(80, outcome)], 0);
        let all: Vec<Arc<Row>> = (0..1_000).map(one).collect();
        let mut rows = rows(&all.iter().collect::<Vec<_>>());
        let numbers: Vec<RowNumber> = (0..1_000).map(|id| rows.hold(RowId(id))).collect();
        (1..1_000).for_each(|id| rows.forget(RowId(id)));
        assert!(turn(&mut rows, numbers[1], RowId(0), 1).is_none());
        rows.going.truncate(100);
        assert!(turn(&mut rows, numbers[1], RowId(0), 1).is_some());
        // A row that has no number yet is not one too many.
        rows.going = (2..1_000).map(RowId).collect();
        assert!(turn(&mut rows, numbers[2], RowId(1), 1).is_some());
    }

    #[test]
    fn numbers_are_used_again_once_they_are_given_back() {
        let mut rows = rows(&[&row(&[], 0), &row(&[], 1)]);
        let number = rows.hold(RowId(0));
        rows.release(number);
        let gone = rows.end_update();
        assert_eq!(gone.len(), 1);
        let other = rows.hold(RowId(0));
        assert_ne!(other, number, "packets may have it still");
        rows.end(number);
        assert_eq!(rows.hold(RowId(1)), number);
    }
}

//! Port ranges: a map of disjoint intervals, each with a chain and a map of its own.
//!
//! The kernel's interval maps must be disjoint, so the ranges of all rows are cut at each other's
//! ends. A packet's port picks the interval, the interval's map has the rows that cover it. An
//! interval that is cut gets chains of fresh numbers; the old one stays until it is collected.

use std::collections::BTreeMap;

use ocicat_node::{PortRange, Protocol};
use ocicat_program::nft::build::{self, L4PROTO, PRIORITY};
use ocicat_program::nft::{
    Chain, Element, KeyType, MetaKey, Numbers, Op, Rule, Set, SetId, Value, Verdict,
};

use crate::Update;
use crate::cells::RangeCell;
use crate::layout::{Epoch, Named};

/// The kernel's numbers of rows, and of their outcomes.
type Covered = BTreeMap<(u32, Protocol), u32>;

#[derive(Debug, Clone)]
struct Interval {
    last: u16,
    number: u32,
    rows: Covered,
}

/// The intervals in force, by their first port.
#[derive(Debug, Clone, Default)]
pub(crate) struct Intervals {
    by_first: BTreeMap<u16, Interval>,
    next_number: u32,
    /// Intervals of this number and beyond were made by the update at hand.
    first_of_update: u32,
}

impl Intervals {
    /// Adds ranges of rows. Intervals that were replaced are put into `retired` by number.
    pub(crate) fn add(
        &mut self,
        epoch: Epoch,
        cells: &[RangeCell],
        update: &mut Update,
        retired: &mut Vec<u32>,
    ) {
        self.first_of_update = self.next_number;
        let mut come: BTreeMap<u32, Numbers> = BTreeMap::new();
        for cell in cells {
            self.cut(epoch, cell.ports, update, retired);
            for (number, interval) in self.covering(cell.ports) {
                let rows = come.entry(number).or_insert_with(|| rows_of(epoch, number));
                rows.push(row_key(cell.row, cell.protocol), cell.outcome);
                interval
                    .rows
                    .insert((cell.row, cell.protocol), cell.outcome);
            }
        }
        update.apply.extend(come.into_values().map(Op::AddNumbers));
    }

    /// Takes the ranges of rows away; intervals that no row covers go too.
    pub(crate) fn remove(&mut self, epoch: Epoch, cells: &[RangeCell], ops: &mut Vec<Op>) {
        let mut gone: BTreeMap<u32, Numbers> = BTreeMap::new();
        let mut dropped = Vec::new();
        for cell in cells {
            let mut empty = Vec::new();
            for (number, interval) in self.covering(cell.ports) {
                if interval.rows.remove(&(cell.row, cell.protocol)).is_some() {
                    let rows = gone.entry(number).or_insert_with(|| rows_of(epoch, number));
                    rows.push(row_key(cell.row, cell.protocol), cell.outcome);
                }
                if interval.rows.is_empty() {
                    empty.push(number);
                }
            }
            let gone: Vec<u16> = (self.by_first.iter())
                .filter(|(_, interval)| empty.contains(&interval.number))
                .map(|(first, _)| *first)
                .collect();
            for first in gone {
                if let Some(interval) = self.by_first.remove(&first) {
                    let element = port_element(epoch, first, &interval);
                    ops.push(Op::DelElements {
                        set: intervals_id(epoch),
                        elements: vec![element],
                    });
                    dropped.push(interval.number);
                }
            }
        }
        // A map that goes takes its elements along.
        gone.retain(|number, _| !dropped.contains(number));
        ops.extend(gone.into_values().map(Op::DelNumbers));
        let chains = dropped.into_iter();
        ops.extend(chains.flat_map(|number| drop_chain(epoch, number)));
    }

    /// The operations that make all of it in another epoch.
    pub(crate) fn program(&self, epoch: Epoch) -> Vec<Op> {
        let mut update = Update::default();
        for (first, interval) in &self.by_first {
            make(epoch, *first, interval, &mut update);
        }
        update.prepare.into_iter().chain(update.apply).collect()
    }

    fn covering(&mut self, ports: PortRange) -> impl Iterator<Item = (u32, &mut Interval)> {
        self.by_first
            .range_mut(ports.first..=ports.last)
            .map(|(_, interval)| (interval.number, interval))
    }

    /// Afterwards every port of the range is in an interval that lies inside the range.
    fn cut(&mut self, epoch: Epoch, ports: PortRange, update: &mut Update, retired: &mut Vec<u32>) {
        self.split_at(epoch, ports.first, update, retired);
        if let Some(after) = ports.last.checked_add(1) {
            self.split_at(epoch, after, update, retired);
        }
        let mut from = u32::from(ports.first);
        let present: Vec<(u16, u16)> = (self.by_first.range(ports.first..=ports.last))
            .map(|(first, interval)| (*first, interval.last))
            .collect();
        for (first, last) in present {
            self.fill(epoch, from, u32::from(first), update);
            from = u32::from(last) + 1;
        }
        self.fill(epoch, from, u32::from(ports.last) + 1, update);
    }

    /// A new interval for the ports from `from` up to but not including `until`.
    fn fill(&mut self, epoch: Epoch, from: u32, until: u32, update: &mut Update) {
        let (Ok(first), Some(Ok(last))) =
            (u16::try_from(from), until.checked_sub(1).map(u16::try_from))
        else {
            return;
        };
        if first <= last && from < until {
            self.insert(epoch, first, last, Covered::new(), update);
        }
    }

    fn split_at(&mut self, epoch: Epoch, port: u16, update: &mut Update, retired: &mut Vec<u32>) {
        let Some((&first, interval)) = self.by_first.range(..port).next_back() else {
            return;
        };
        if interval.last < port {
            return;
        }
        let old = interval.clone();
        self.by_first.remove(&first);
        let set = intervals_id(epoch);
        let elements = vec![port_element(epoch, first, &old)];
        // The kernel refuses to delete what the same transaction has added where something that it has
        // deleted ended.
        let added = Op::AddElements {
            set: set.clone(),
            elements: elements.clone(),
        };
        let made_now = match old.number >= self.first_of_update {
            true => update.apply.iter().rposition(|op| *op == added),
            false => None,
        };
        match made_now {
            Some(place) => drop(update.apply.remove(place)),
            None => update.apply.push(Op::DelElements { set, elements }),
        }
        retired.push(old.number);
        self.insert(epoch, first, port - 1, old.rows.clone(), update);
        self.insert(epoch, port, old.last, old.rows, update);
    }

    fn insert(&mut self, epoch: Epoch, first: u16, last: u16, rows: Covered, update: &mut Update) {
        let interval = Interval {
            last,
            number: self.next_number,
            rows,
        };
        self.next_number += 1;
        make(epoch, first, &interval, update);
        self.by_first.insert(first, interval);
    }
}

/// Deletes the chain and map of an interval that no port picks any more.
pub(crate) fn drop_chain(epoch: Epoch, number: u32) -> [Op; 3] {
    let chain = epoch.numbered("interval", number);
    [
        Op::FlushChain(chain.clone()),
        Op::DelChain(chain),
        Op::DelSet(rows_name(epoch, number)),
    ]
}

fn make(epoch: Epoch, first: u16, interval: &Interval, update: &mut Update) {
    let chain = epoch.numbered("interval", interval.number);
    let set = rows_set(epoch, interval.number);
    let look_up = build::meta_set_map(MetaKey::Priority, &[PRIORITY, L4PROTO], &set.name);
    let mut rows = rows_of(epoch, interval.number);
    for ((row, protocol), outcome) in &interval.rows {
        rows.push(row_key(*row, *protocol), *outcome);
    }
    update.prepare.push(Op::AddSet(set));
    if !rows.is_empty() {
        update.prepare.push(Op::AddNumbers(rows));
    }
    update.prepare.push(Op::AddChain(Chain::regular(&chain)));
    update
        .prepare
        .push(Op::AddRule(Rule::new(&chain).with(look_up)));
    let element = port_element(epoch, first, interval);
    update.apply.push(Op::AddElements {
        set: intervals_id(epoch),
        elements: vec![element],
    });
}

const ROW_KEY: [KeyType; 2] = [KeyType::ClassId, KeyType::InetProto];

fn rows_name(epoch: Epoch, number: u32) -> String {
    epoch.numbered("interval_rows", number)
}

fn rows_set(epoch: Epoch, number: u32) -> Set {
    Set::map(&rows_name(epoch, number), ROW_KEY, KeyType::ClassId)
}

/// No rows yet of an interval.
fn rows_of(epoch: Epoch, number: u32) -> Numbers {
    Numbers::new(rows_name(epoch, number), &ROW_KEY)
}

fn intervals_id(epoch: Epoch) -> SetId {
    crate::skeleton::set(Named::Interval, epoch).id()
}

fn row_key(row: u32, protocol: Protocol) -> [Value; 2] {
    [Value::ClassId(row), Value::InetProto(protocol.0)]
}

fn port_element(epoch: Epoch, first: u16, interval: &Interval) -> Element {
    Element::range(Value::InetService(first), Value::InetService(interval.last))
        .verdict(Verdict::Jump(epoch.numbered("interval", interval.number)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ocicat_node::OutcomeId;

    use super::*;
    use crate::layout::{self, RowNumber};

    fn cell(row: u32, first: u16, last: u16) -> RangeCell {
        RangeCell {
            row: layout::kernel_row(RowNumber(row)),
            protocol: Protocol::TCP,
            ports: PortRange { first, last },
            outcome: layout::kernel_outcome(OutcomeId(1)),
        }
    }

    #[test]
    fn an_interval_that_is_cut_twice_is_not_deleted_where_it_was_added() {
        let mut intervals = Intervals::default();
        let mut retired = Vec::new();
        let before = [cell(1, 30, 40)];
        intervals.add(Epoch::A, &before, &mut Update::default(), &mut retired);
        let mut update = Update::default();
        let cells = [cell(2, 30, 34), cell(3, 36, 40)];
        intervals.add(Epoch::A, &cells, &mut update, &mut retired);
        let ports = intervals_id(Epoch::A);
        let mut added = BTreeSet::new();
        let mut deleted = 0;
        for op in &update.apply {
            match op {
                Op::AddElements { set, elements } if *set == ports => {
                    added.extend(elements.iter().map(|element| element.key.clone()));
                }
                Op::DelElements { set, elements } if *set == ports => {
                    deleted += 1;
                    assert!(!added.contains(&elements[0].key), "{op:?}");
                }
                _ => {}
            }
        }
        // 30-40 is cut to 30-34, 35 and 36-40.
        assert_eq!((added.len(), deleted), (3, 1));
        assert_eq!(retired.len(), 2);
    }
}

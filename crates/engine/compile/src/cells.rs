//! Rows as map elements.

use ocicat_node::{Cells, OutcomeId, PortRange, Protocol, Row};
use ocicat_program::nft::{Element, Numbers, Op, SetId, Value};

use crate::layout::{self, Epoch, Named, RowNumber};
use crate::skeleton;

/// Elements of rows, by the map that they are of.
#[derive(Debug)]
pub(crate) struct Lists {
    epoch: Epoch,
    /// Source ports, which are ranges.
    cuts: Vec<Element>,
    maps: Vec<(Named, Numbers)>,
}

impl Lists {
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            cuts: Vec::new(),
            maps: Vec::new(),
        }
    }

    fn of(&mut self, named: Named) -> &mut Numbers {
        let known = self.maps.iter().position(|(other, _)| *other == named);
        let at = known.unwrap_or_else(|| {
            let set = skeleton::set(named, self.epoch);
            self.maps.push((named, Numbers::new(set.name, &set.key)));
            self.maps.len() - 1
        });
        &mut self.maps[at].1
    }

    /// The operations that add all of them.
    pub(crate) fn add(self) -> impl Iterator<Item = Op> {
        let (cuts, numbers) = self.take();
        let set = cuts.map(|(set, elements)| Op::AddElements { set, elements });
        set.into_iter().chain(numbers.map(Op::AddNumbers))
    }

    /// The operations that delete all of them.
    pub(crate) fn delete(self) -> impl Iterator<Item = Op> {
        let (cuts, numbers) = self.take();
        let set = cuts.map(|(set, elements)| Op::DelElements { set, elements });
        set.into_iter().chain(numbers.map(Op::DelNumbers))
    }

    fn take(mut self) -> (Option<(SetId, Vec<Element>)>, impl Iterator<Item = Numbers>) {
        self.maps.sort_unstable_by_key(|(named, _)| *named);
        let set = || skeleton::set(Named::Cut, self.epoch).id();
        let cuts = (!self.cuts.is_empty()).then(|| (set(), self.cuts));
        let numbers = self.maps.into_iter().map(|(_, numbers)| numbers);
        (cuts, numbers.filter(|numbers| !numbers.is_empty()))
    }

    /// The outcome of one destination port.
    pub(crate) fn port(&mut self, row: &Value, cell: PortCell) {
        let (protocol, port, outcome) = cell;
        let key = [
            row.clone(),
            Value::InetProto(protocol.0),
            Value::InetService(port),
        ];
        let outcome = layout::kernel_outcome(outcome);
        self.of(Named::Exact).push(key, outcome);
    }

    /// The outcome of the rest of a protocol.
    pub(crate) fn protocol(&mut self, row: &Value, (protocol, outcome): ProtocolCell) {
        let key = [row.clone(), Value::InetProto(protocol.0)];
        let outcome = layout::kernel_outcome(outcome);
        self.of(Named::Protocol).push(key, outcome);
    }

    /// The outcome of everything else.
    pub(crate) fn default(&mut self, row: &Value, outcome: OutcomeId) {
        let outcome = layout::kernel_outcome(outcome);
        self.of(Named::RowDefault).push([row.clone()], outcome);
    }

    fn icmp(&mut self, row: &Value, cell: &(Protocol, u8, Option<u8>, OutcomeId)) {
        let (protocol, kind, code, outcome) = *cell;
        let (row, outcome) = (row.clone(), layout::kernel_outcome(outcome));
        match (protocol == Protocol::ICMP, code) {
            (true, Some(code)) => {
                let key = [row, Value::IcmpType(kind), Value::IcmpCode(code)];
                self.of(Named::Icmp4Code).push(key, outcome);
            }
            (true, None) => {
                let key = [row, Value::IcmpType(kind)];
                self.of(Named::Icmp4Type).push(key, outcome);
            }
            (false, Some(code)) => {
                let key = [row, Value::Icmpv6Type(kind), Value::Icmpv6Code(code)];
                self.of(Named::Icmp6Code).push(key, outcome);
            }
            (false, None) => {
                let key = [row, Value::Icmpv6Type(kind)];
                self.of(Named::Icmp6Type).push(key, outcome);
            }
        }
    }

    fn cells(&mut self, row: &Value, cells: &Cells) {
        cells.exact.iter().for_each(|cell| self.port(row, *cell));
        cells.icmp.iter().for_each(|cell| self.icmp(row, cell));
        let protocols = cells.protocols.iter();
        protocols.for_each(|cell| self.protocol(row, *cell));
        self.default(row, cells.default);
    }

    /// All that a row is made of, but for its port ranges.
    pub(crate) fn row(&mut self, number: RowNumber, row: &Row, subrows: &[u32]) {
        self.cells(&layout::row(number), &row.cells);
        for (cut, subrow) in row.cuts.iter().zip(subrows) {
            let key = |port| {
                [
                    layout::row(number),
                    Value::InetProto(cut.protocol.0),
                    Value::InetService(port),
                ]
            };
            let subrow = layout::subrow(*subrow);
            let element = Element::range(key(cut.source.first), key(cut.source.last));
            self.cuts.push(element.value(subrow.clone()));
            self.cells(&subrow, &cut.cells);
        }
    }
}

/// The outcome of one destination port of a protocol.
pub(crate) type PortCell = (Protocol, u16, OutcomeId);
/// The outcome of a protocol.
pub(crate) type ProtocolCell = (Protocol, OutcomeId);

/// A port range of a row or of one of its cuts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RangeCell {
    /// The kernel's number.
    pub(crate) row: u32,
    pub(crate) protocol: Protocol,
    pub(crate) ports: PortRange,
    /// The kernel's number.
    pub(crate) outcome: u32,
}

/// The port ranges of a row and its cuts.
pub(crate) fn ranges(number: RowNumber, row: &Row, subrows: &[u32]) -> Vec<RangeCell> {
    let of = |row: u32, cells: &Cells| -> Vec<RangeCell> {
        let cell = |(protocol, ports, outcome): &(Protocol, PortRange, _)| RangeCell {
            row,
            protocol: *protocol,
            ports: *ports,
            outcome: layout::kernel_outcome(*outcome),
        };
        cells.ranges.iter().map(cell).collect()
    };
    let cuts = row.cuts.iter().zip(subrows);
    let mut out = of(layout::kernel_row(number), &row.cells);
    out.extend(cuts.flat_map(|(cut, number)| of(layout::kernel_subrow(*number), &cut.cells)));
    out
}

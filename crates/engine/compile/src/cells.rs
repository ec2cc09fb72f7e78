//! Rows as map elements.

use ocicat_node::{Cells, OutcomeId, PortRange, Protocol, Row};
use ocicat_program::nft::{Element, Value};

use crate::layout::{self, Named, RowNumber};

/// Elements by the map that they are of.
#[derive(Debug, Default)]
pub(crate) struct Lists(Vec<(Named, Vec<Element>)>);

impl Lists {
    pub(crate) fn of(&mut self, named: Named) -> &mut Vec<Element> {
        // They are of few maps, and most are of the same as the last.
        let known = self.0.iter().rposition(|(other, _)| *other == named);
        let at = known.unwrap_or_else(|| {
            self.0.push((named, Vec::new()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    /// All that have elements, in the order of the maps.
    pub(crate) fn take(mut self) -> Vec<(Named, Vec<Element>)> {
        self.0.sort_unstable_by_key(|(named, _)| *named);
        self.0.retain(|(_, elements)| !elements.is_empty());
        self.0
    }
}

/// Adds the elements that a row is made of, but for its port ranges.
pub(crate) fn elements(number: RowNumber, row: &Row, subrows: &[u32], out: &mut Lists) {
    of_cells(&layout::row(number), &row.cells, out);
    for (cut, subrow) in row.cuts.iter().zip(subrows) {
        let key = |port| {
            [
                layout::row(number),
                Value::InetProto(cut.protocol.0),
                Value::InetService(port),
            ]
        };
        let subrow = layout::subrow(*subrow);
        let element =
            Element::range(key(cut.source.first), key(cut.source.last)).value(subrow.clone());
        out.of(Named::Cut).push(element);
        of_cells(&subrow, &cut.cells, out);
    }
}

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

fn of_cells(row: &Value, cells: &Cells, out: &mut Lists) {
    if !cells.exact.is_empty() {
        let ports = cells.exact.iter().map(|cell| of_port(row, *cell));
        out.of(Named::Exact).extend(ports);
    }
    for (protocol, icmp_type, code, outcome) in &cells.icmp {
        let (named, key) = icmp(row, *protocol, *icmp_type, *code);
        let element = Element::new(key).value(layout::outcome(*outcome));
        out.of(named).push(element);
    }
    if !cells.protocols.is_empty() {
        let protocols = cells.protocols.iter().map(|cell| of_protocol(row, *cell));
        out.of(Named::Protocol).extend(protocols);
    }
    out.of(Named::RowDefault).push(default(row, cells.default));
}

/// The outcome of one destination port.
pub(crate) fn of_port(
    row: &Value,
    (protocol, port, outcome): (Protocol, u16, OutcomeId),
) -> Element {
    let key = [
        row.clone(),
        Value::InetProto(protocol.0),
        Value::InetService(port),
    ];
    Element::new(key).value(layout::outcome(outcome))
}

/// The outcome of the rest of a protocol.
pub(crate) fn of_protocol(row: &Value, (protocol, outcome): (Protocol, OutcomeId)) -> Element {
    let key = [row.clone(), Value::InetProto(protocol.0)];
    Element::new(key).value(layout::outcome(outcome))
}

/// The outcome of everything else.
pub(crate) fn default(row: &Value, outcome: OutcomeId) -> Element {
    Element::new(row.clone()).value(layout::outcome(outcome))
}

fn icmp(row: &Value, protocol: Protocol, icmp_type: u8, code: Option<u8>) -> (Named, Vec<Value>) {
    let row = row.clone();
    match (protocol == Protocol::ICMP, code) {
        (true, Some(code)) => (
            Named::Icmp4Code,
            vec![row, Value::IcmpType(icmp_type), Value::IcmpCode(code)],
        ),
        (true, None) => (Named::Icmp4Type, vec![row, Value::IcmpType(icmp_type)]),
        (false, Some(code)) => (
            Named::Icmp6Code,
            vec![row, Value::Icmpv6Type(icmp_type), Value::Icmpv6Code(code)],
        ),
        (false, None) => (Named::Icmp6Type, vec![row, Value::Icmpv6Type(icmp_type)]),
    }
}

//! Rows as map elements.

use ocicat_node::{Cells, OutcomeId, PortRange, Protocol, Row};
use ocicat_program::nft::{Element, Value};

use crate::layout::{self, Named, RowNumber};

/// The elements that a row is made of, but for its port ranges.
pub(crate) fn elements(number: RowNumber, row: &Row, subrows: &[u32]) -> Vec<(Named, Element)> {
    let mut out = Vec::new();
    of_cells(&layout::row(number), &row.cells, &mut out);
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
        out.push((Named::Cut, element));
        of_cells(&subrow, &cut.cells, &mut out);
    }
    out
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

fn of_cells(row: &Value, cells: &Cells, out: &mut Vec<(Named, Element)>) {
    let ports = cells.exact.iter();
    out.extend(ports.map(|cell| (Named::Exact, of_port(row, *cell))));
    for (protocol, icmp_type, code, outcome) in &cells.icmp {
        let (named, key) = icmp(row, *protocol, *icmp_type, *code);
        out.push((named, Element::new(key).value(layout::outcome(*outcome))));
    }
    let protocols = cells.protocols.iter();
    out.extend(protocols.map(|cell| (Named::Protocol, of_protocol(row, *cell))));
    out.push((Named::RowDefault, default(row, cells.default)));
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

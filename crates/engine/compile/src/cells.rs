//! Rows as map elements.

use ocicat_node::{Cells, PortRange, Protocol, Row, RowId};
use ocicat_program::nft::{Element, Value};

use crate::layout::{self, Named};

/// The elements that a row is made of, but for its port ranges.
pub(crate) fn elements(id: RowId, row: &Row, subrows: &[u32]) -> Vec<(Named, Element)> {
    let mut out = Vec::new();
    of_cells(&layout::row(id), &row.cells, &mut out);
    for (cut, number) in row.cuts.iter().zip(subrows) {
        let key = |port| {
            [
                layout::row(id),
                Value::InetProto(cut.protocol.0),
                Value::InetService(port),
            ]
        };
        let subrow = layout::subrow(*number);
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
    pub(crate) row: Value,
    pub(crate) protocol: Protocol,
    pub(crate) ports: PortRange,
    pub(crate) outcome: Value,
}

/// The port ranges of a row and its cuts.
pub(crate) fn ranges(id: RowId, row: &Row, subrows: &[u32]) -> Vec<RangeCell> {
    let of = |number: Value, cells: &Cells| -> Vec<RangeCell> {
        let cell = |(protocol, ports, outcome): &(Protocol, PortRange, _)| RangeCell {
            row: number.clone(),
            protocol: *protocol,
            ports: *ports,
            outcome: layout::outcome(*outcome),
        };
        cells.ranges.iter().map(cell).collect()
    };
    let cuts = row.cuts.iter().zip(subrows);
    let mut out = of(layout::row(id), &row.cells);
    out.extend(cuts.flat_map(|(cut, number)| of(layout::subrow(*number), &cut.cells)));
    out
}

fn of_cells(row: &Value, cells: &Cells, out: &mut Vec<(Named, Element)>) {
    for (protocol, port, outcome) in &cells.exact {
        let key = [
            row.clone(),
            Value::InetProto(protocol.0),
            Value::InetService(*port),
        ];
        out.push((
            Named::Exact,
            Element::new(key).value(layout::outcome(*outcome)),
        ));
    }
    for (protocol, icmp_type, code, outcome) in &cells.icmp {
        let (named, key) = icmp(row, *protocol, *icmp_type, *code);
        out.push((named, Element::new(key).value(layout::outcome(*outcome))));
    }
    for (protocol, outcome) in &cells.protocols {
        let key = [row.clone(), Value::InetProto(protocol.0)];
        out.push((
            Named::Protocol,
            Element::new(key).value(layout::outcome(*outcome)),
        ));
    }
    let default = Element::new(row.clone()).value(layout::outcome(cells.default));
    out.push((Named::RowDefault, default));
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

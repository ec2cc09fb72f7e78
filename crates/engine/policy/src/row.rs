//! Rows in canonical form: equal functions give equal rows.

use std::collections::BTreeSet;

use ocicat_node::{Cells, OutcomeId, PortRange, Protocol, Row, SourceCut};

use crate::cover::Plane;
use crate::outcome::Outcomes;
use crate::paint::{Applied, Line, Painter, Sheet};
use crate::rule::has_ports;

/// What a stack may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Distinct rows of a stack.
    pub rows: usize,
    /// Cells in the distinct rows of a stack, and in one row while it is made.
    pub cells: usize,
    /// Source port ranges of one protocol in one row that are treated differently.
    pub source_ranges: usize,
}

impl Default for Budget {
    /// 65,536 rows, 1,000,000 cells, 1,024 source port ranges.
    fn default() -> Self {
        Self {
            rows: 65_536,
            cells: 1_000_000,
            source_ranges: 1_024,
        }
    }
}

/// A row is larger than the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OverBudget;

/// The lines of one protocol.
struct Lines {
    protocol: u8,
    /// That of source port 0.
    first: Line,
    /// Of further source ports, each with the port that it begins at.
    more: Vec<(u16, Line)>,
    /// Which of them holds for most source ports.
    base: usize,
    /// The outcome of most ports of that one.
    main: OutcomeId,
}

impl Lines {
    fn new(protocol: u8, first: Line, more: Vec<(u16, Line)>) -> Self {
        let mut lines = Self {
            protocol,
            main: first[0].1,
            first,
            more,
            base: 0,
        };
        if !lines.more.is_empty() {
            lines.base = base_line(&lines);
        }
        lines.main = main_of(lines.line(lines.base));
        lines
    }

    fn count(&self) -> usize {
        1 + self.more.len()
    }

    fn line(&self, at: usize) -> &Line {
        match at.checked_sub(1) {
            None => &self.first,
            Some(at) => &self.more[at].1,
        }
    }

    /// First and last source port of a line.
    fn sources(&self, at: usize) -> (u16, u16) {
        let first = at.checked_sub(1).map_or(0, |at| self.more[at].0);
        let last = self.more.get(at).map_or(u16::MAX, |(next, _)| *next - 1);
        (first, last)
    }
}

/// The answers of a stack for one class. `applied` must be sorted by step.
pub(crate) fn build(
    sheet: Sheet<'_>,
    applied: &[Applied<'_>],
    outcomes: &mut Outcomes,
    budget: &Budget,
) -> Result<Row, OverBudget> {
    let mut named: Vec<u8> = applied.iter().flat_map(Applied::protocols).collect();
    named.sort_unstable();
    named.dedup();
    let mut painter = Painter::new(sheet, applied, outcomes);
    let mut paint = |protocol, source_port| {
        painter.paint(Plane {
            protocol,
            source_port,
        })
    };
    let rest = paint(None, 0)[0].1;
    let mut planes = Vec::with_capacity(named.len());
    let mut size = 0;
    for protocol in named {
        let starts = source_starts(applied, protocol);
        if starts.len() > budget.source_ranges {
            return Err(OverBudget);
        }
        let first = paint(Some(protocol), 0);
        size += first.len();
        let mut more: Vec<(u16, Line)> = Vec::new();
        for source_port in starts {
            let line = paint(Some(protocol), source_port);
            size += line.len();
            if size > budget.cells {
                return Err(OverBudget);
            }
            if more.last().map_or(&first, |(_, last)| last) != &line {
                more.push((source_port, line));
            }
        }
        if size > budget.cells {
            return Err(OverBudget);
        }
        planes.push(Lines::new(protocol, first, more));
    }
    Ok(canonical(&planes, rest))
}

/// Where ranges of source ports begin, besides 0; sorted.
fn source_starts(applied: &[Applied<'_>], protocol: u8) -> Vec<u16> {
    let mut starts = Vec::new();
    if has_ports(protocol) {
        for applied in applied {
            applied.add_source_starts(protocol, &mut starts);
        }
    }
    starts.sort_unstable();
    starts.dedup();
    if starts.first() == Some(&0) {
        starts.remove(0);
    }
    starts
}

/// `rest` is the outcome of every protocol without lines.
fn canonical(planes: &[Lines], rest: OutcomeId) -> Row {
    let unnamed = 256 - planes.len();
    let default = if unnamed > planes.len() {
        rest
    } else {
        let votes = planes.iter().map(|lines| (lines.main, 1));
        let unnamed = u32::try_from(unnamed).unwrap_or(0);
        most_common(votes.chain([(rest, unnamed)])).unwrap_or(rest)
    };
    let mut row = Row::constant(default);
    if default != rest {
        let named: BTreeSet<u8> = planes.iter().map(|lines| lines.protocol).collect();
        let others = (0..=u8::MAX).filter(|protocol| !named.contains(protocol));
        row.cells
            .protocols
            .extend(others.map(|protocol| (Protocol(protocol), rest)));
    }
    for lines in planes {
        add_lines(&mut row, lines);
    }
    row.cells.exact.sort_unstable();
    row.cells.ranges.sort_unstable();
    row.cells.protocols.sort_unstable();
    row
}

fn add_lines(row: &mut Row, lines: &Lines) {
    let protocol = Protocol(lines.protocol);
    if lines.main != row.cells.default {
        row.cells.protocols.push((protocol, lines.main));
    }
    let common = lines.line(lines.base);
    add_line(&mut row.cells, protocol, common, lines.main);
    for at in (0..lines.count()).filter(|at| lines.line(*at) != common) {
        let line = lines.line(at);
        let main = main_of(line);
        let mut cells = Cells::constant(main);
        add_line(&mut cells, protocol, line, main);
        let (first, last) = lines.sources(at);
        let source = PortRange { first, last };
        row.cuts.push(SourceCut {
            protocol,
            source,
            cells,
        });
    }
}

/// Adds what differs from the protocol's main outcome.
fn add_line(cells: &mut Cells, protocol: Protocol, line: &Line, main: OutcomeId) {
    let parts = segments(line).filter(|(.., outcome)| *outcome != main);
    if matches!(protocol, Protocol::ICMP | Protocol::ICMPV6) {
        return add_types(cells, protocol, line, main);
    }
    for (first, last, outcome) in parts {
        if first == last {
            cells.exact.push((protocol, first, outcome));
        } else {
            cells
                .ranges
                .push((protocol, PortRange { first, last }, outcome));
        }
    }
}

/// ICMP: for each type its most common outcome, and the codes that differ from it.
fn add_types(cells: &mut Cells, protocol: Protocol, line: &Line, main: OutcomeId) {
    let all: Vec<(u16, u16, OutcomeId)> = segments(line).collect();
    if all.len() == 1 {
        return;
    }
    for kind in 0..=u8::MAX {
        let (low, high) = (
            u16::from_be_bytes([kind, 0]),
            u16::from_be_bytes([kind, 0xff]),
        );
        let from = all.partition_point(|(_, last, _)| *last < low);
        let of_kind = all[from..].iter().take_while(|(first, ..)| *first <= high);
        let codes = of_kind.map(|(first, last, outcome)| {
            let [_, first] = (*first).max(low).to_be_bytes();
            let [_, last] = (*last).min(high).to_be_bytes();
            (first, last, *outcome)
        });
        let votes = codes
            .clone()
            .map(|(first, last, outcome)| (outcome, u32::from(last) - u32::from(first) + 1));
        let Some(common) = most_common(votes) else {
            continue;
        };
        let differing = codes.filter(|(.., outcome)| *outcome != common);
        let named = differing
            .flat_map(|(first, last, outcome)| (first..=last).map(move |code| (code, outcome)));
        let whole = (common != main).then_some((protocol, kind, None, common));
        cells.icmp.extend(whole);
        cells
            .icmp
            .extend(named.map(|(code, outcome)| (protocol, kind, Some(code), outcome)));
    }
}

/// First, last and outcome of each segment.
fn segments(line: &Line) -> impl Iterator<Item = (u16, u16, OutcomeId)> + '_ {
    line.iter().enumerate().map(|(at, (first, outcome))| {
        let last = line.get(at + 1).map_or(u16::MAX, |(next, _)| *next - 1);
        (*first, last, *outcome)
    })
}

/// The outcome of most ports.
fn main_of(line: &Line) -> OutcomeId {
    if let [(_, only)] = line.as_slice() {
        return *only;
    }
    let votes = segments(line)
        .map(|(first, last, outcome)| (outcome, u32::from(last) - u32::from(first) + 1));
    most_common(votes).unwrap_or(line[0].1)
}

/// Which line holds for most source ports; of equals the first.
fn base_line(lines: &Lines) -> usize {
    let width = |at: usize| {
        let (first, last) = lines.sources(at);
        u32::from(last) - u32::from(first) + 1
    };
    let mut totals: Vec<(usize, u32)> = Vec::new();
    for at in 0..lines.count() {
        let same = |(first, _): &&mut (usize, u32)| lines.line(*first) == lines.line(at);
        match totals.iter_mut().find(same) {
            Some((_, total)) => *total += width(at),
            None => totals.push((at, width(at))),
        }
    }
    let most = totals.iter().rev().max_by_key(|(_, total)| *total);
    most.map_or(0, |(at, _)| *at)
}

/// The outcome with most votes; of equals the one with the smallest number.
fn most_common(votes: impl Iterator<Item = (OutcomeId, u32)>) -> Option<OutcomeId> {
    let mut votes: Vec<(OutcomeId, u32)> = votes.collect();
    votes.sort_unstable();
    let mut best: Option<(OutcomeId, u32)> = None;
    for group in votes.chunk_by(|a, b| a.0 == b.0) {
        let total = group.iter().map(|(_, count)| count).sum();
        if best.is_none_or(|(_, most)| total > most) {
            best = Some((group[0].0, total));
        }
    }
    best.map(|(outcome, _)| outcome)
}

#[cfg(test)]
mod tests {
    use ocicat_node::ServiceMatch;

    use super::*;

    fn answers(row: &Row, lines: &Lines) {
        for at in 0..lines.count() {
            let (source, last) = lines.sources(at);
            for source_port in [source, last] {
                for (first, last, outcome) in segments(lines.line(at)) {
                    for port in [first, u16::midpoint(first, last), last] {
                        let protocol = Protocol(lines.protocol);
                        let service = ServiceMatch {
                            protocol,
                            source_port,
                            port,
                        };
                        assert_eq!(row.outcome(&service), outcome, "{service:?} in {row:?}");
                    }
                }
            }
        }
    }

    fn check(lines: &[Lines], rest: OutcomeId) -> Row {
        let row = canonical(lines, rest);
        lines.iter().for_each(|lines| answers(&row, lines));
        let named: BTreeSet<u8> = lines.iter().map(|lines| lines.protocol).collect();
        for protocol in (0..=u8::MAX).filter(|p| !named.contains(p)) {
            let protocol = Protocol(protocol);
            let service = ServiceMatch {
                protocol,
                source_port: 7,
                port: 9,
            };
            assert_eq!(row.outcome(&service), rest);
        }
        row
    }

    fn one(protocol: u8, line: &[(u16, u32)]) -> Lines {
        let line = line
            .iter()
            .map(|(start, outcome)| (*start, OutcomeId(*outcome)))
            .collect();
        Lines::new(protocol, line, Vec::new())
    }

    #[test]
    fn ports_become_exact_and_ranges() {
        let row = check(
            &[one(6, &[(0, 0), (80, 1), (81, 0), (90, 2), (100, 0)])],
            OutcomeId(0),
        );
        assert_eq!(row.cells.exact.len(), 1);
        assert_eq!(row.cells.ranges.len(), 1);
        assert!(row.cells.protocols.is_empty());
    }

    #[test]
    fn a_protocol_like_the_rest_is_not_named() {
        let row = check(&[one(47, &[(0, 3)]), one(6, &[(0, 1)])], OutcomeId(3));
        assert_eq!(row.cells.protocols, [(Protocol(6), OutcomeId(1))]);
    }

    #[test]
    fn icmp_types_and_codes() {
        let line = [
            (0, 0),
            (0x0800, 1),
            (0x0803, 2),
            (0x0804, 1),
            (0x0900, 0),
            (0x0a00, 3),
        ];
        let row = check(
            &[one(1, &line), one(58, &[(0, 1), (0x8000, 0)])],
            OutcomeId(0),
        );
        assert!(
            row.cells
                .icmp
                .contains(&(Protocol::ICMP, 8, None, OutcomeId(1)))
        );
        assert!(
            row.cells
                .icmp
                .contains(&(Protocol::ICMP, 8, Some(3), OutcomeId(2)))
        );
    }

    #[test]
    fn source_ports_become_cuts() {
        let line = |ports: &[(u16, u32)]| -> Line {
            ports
                .iter()
                .map(|(start, outcome)| (*start, OutcomeId(*outcome)))
                .collect()
        };
        let more = vec![
            (100, line(&[(0, 1), (5, 2)])),
            (200, line(&[(0, 1)])),
            (50_000, line(&[(0, 0)])),
        ];
        let row = check(&[Lines::new(17, line(&[(0, 1)]), more)], OutcomeId(0));
        assert_eq!(row.cuts.len(), 2);
    }

    #[test]
    fn every_protocol_named() {
        let all = (0..=u8::MAX).map(|protocol| one(protocol, &[(0, u32::from(protocol > 9))]));
        let row = check(&all.collect::<Vec<_>>(), OutcomeId(5));
        assert_eq!(row.cells.default, OutcomeId(1));
        assert_eq!(row.cells.protocols.len(), 10);
        let most = (0..u8::MAX).map(|protocol| one(protocol, &[(0, 1)]));
        let row = check(&most.collect::<Vec<_>>(), OutcomeId(5));
        assert_eq!(row.cells.protocols, [(Protocol(255), OutcomeId(5))]);
    }
}

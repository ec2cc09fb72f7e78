//! Rows in canonical form: equal functions give equal rows.

use ocicat_node::{Cells, OutcomeId, PortRange, Protocol, Row, SourceCut};

use crate::applied::{Applied, Protocols, Rules, RulesRoom};
use crate::block::Truth;
use crate::class::Signature;
use crate::cover::Plane;
use crate::outcome::Outcomes;
use crate::paint::{Brush, Sheet};
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

/// Where each segment starts, and what is decided there; sorted, from 0, adjacent ones differ.
type Line = [(u16, OutcomeId)];

/// A line of one protocol, for the source ports up to where the next one begins.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    protocol: u8,
    source: u16,
    /// Where its segments begin and end.
    start: usize,
    end: usize,
}

/// The lines of one row, by protocol and source port.
#[derive(Debug, Default)]
struct Drawing {
    lines: Vec<Drawn>,
    segments: Vec<(u16, OutcomeId)>,
    /// Room to count in.
    votes: Votes,
}

type Votes = Vec<(OutcomeId, u32)>;

impl Drawing {
    fn clear(&mut self) {
        self.lines.clear();
        self.segments.clear();
    }

    /// The segments from `start` on are another line, unless it is the one before.
    fn add(&mut self, protocol: u8, source: u16, start: usize) {
        let end = self.segments.len();
        let line = &self.segments[start..end];
        let same = |last: &&Drawn| last.protocol == protocol && self.line(last) == line;
        if self.lines.last().filter(same).is_some() {
            self.segments.truncate(start);
        } else {
            self.lines.push(Drawn {
                protocol,
                source,
                start,
                end,
            });
        }
    }

    fn line(&self, drawn: &Drawn) -> &Line {
        &self.segments[drawn.start..drawn.end]
    }
}

/// The lines of one protocol.
struct Lines<'d> {
    drawing: &'d Drawing,
    lines: &'d [Drawn],
}

impl<'d> Lines<'d> {
    fn protocol(&self) -> u8 {
        self.lines[0].protocol
    }

    fn line(&self, at: usize) -> &'d Line {
        self.drawing.line(&self.lines[at])
    }

    /// First and last source port of a line.
    fn sources(&self, at: usize) -> (u16, u16) {
        let next = self.lines.get(at + 1);
        let last = next.map_or(u16::MAX, |next| next.source - 1);
        (self.lines[at].source, last)
    }

    /// The line that holds for most source ports.
    fn common(&self) -> &'d Line {
        match self.lines {
            [only] => self.drawing.line(only),
            _ => self.line(base_line(self)),
        }
    }
}

/// Room to make rows in, to be used again.
#[derive(Debug, Default)]
pub(crate) struct RowRoom {
    rules: RulesRoom,
    brush: Brush,
    drawing: Drawing,
    row: Option<Row>,
}

/// Makes the rows of one stack.
pub(crate) struct RowMaker<'a> {
    rules: Rules<'a>,
    brush: Brush,
    drawing: Drawing,
    /// The outcome of protocols that no rule concerns.
    rest: Option<OutcomeId>,
    row: Row,
}

impl<'a> RowMaker<'a> {
    pub(crate) fn new(sheet: Sheet<'a>, room: RowRoom) -> Self {
        let mut brush = room.brush;
        brush.clear();
        Self {
            rules: Rules::new(sheet, room.rules),
            brush,
            drawing: room.drawing,
            rest: None,
            row: room.row.unwrap_or_else(|| Row::constant(OutcomeId(0))),
        }
    }

    pub(crate) fn into_room(self) -> RowRoom {
        RowRoom {
            rules: self.rules.into_room(),
            brush: self.brush,
            drawing: self.drawing,
            row: Some(self.row),
        }
    }

    /// The answers of the stack for one class. `applied`: steps whose far side is not false;
    /// sorted.
    pub(crate) fn make(
        &mut self,
        signature: &'a Signature,
        applied: impl Iterator<Item = (u32, Truth)>,
        outcomes: &mut Outcomes,
        budget: &Budget,
    ) -> Result<&Row, OverBudget> {
        self.rules.clear();
        self.rules.sheet.signature = signature;
        applied.for_each(|(step, far)| self.rules.add(step, far));
        let mut named = Protocols::default();
        let mut by_source = false;
        for rule in self.rules.iter() {
            named.add(rule.named);
            by_source |= rule.by_source;
        }
        let rest = self.paint_rest(outcomes);
        self.drawing.clear();
        let mut size = 0;
        for protocol in named.iter() {
            let starts = match by_source {
                true => source_starts(&self.rules, protocol),
                false => Vec::new(),
            };
            if starts.len() > budget.source_ranges {
                return Err(OverBudget);
            }
            for source in std::iter::once(0).chain(starts) {
                let start = self.paint(Some(protocol), source, outcomes);
                size += self.drawing.segments.len() - start;
                if size > budget.cells {
                    return Err(OverBudget);
                }
                self.drawing.add(protocol, source, start);
            }
        }
        canonical(&mut self.drawing, rest, &mut self.row);
        Ok(&self.row)
    }

    /// The outcome of every protocol that no rule names.
    fn paint_rest(&mut self, outcomes: &mut Outcomes) -> OutcomeId {
        let is_plain = !self.rules.iter().any(Applied::concerns_rest);
        if let Some(rest) = self.rest.filter(|_| is_plain) {
            return rest;
        }
        self.drawing.clear();
        self.paint(None, 0, outcomes);
        let rest = self.drawing.segments[0].1;
        if is_plain {
            self.rest = Some(rest);
        }
        rest
    }

    /// Where the segments of the line begin.
    fn paint(&mut self, protocol: Option<u8>, source_port: u16, outcomes: &mut Outcomes) -> usize {
        let plane = Plane {
            protocol,
            source_port,
        };
        let segments = &mut self.drawing.segments;
        let start = segments.len();
        self.brush.paint(&self.rules, plane, outcomes, segments);
        start
    }
}

/// Where ranges of source ports begin, besides 0; sorted.
fn source_starts(rules: &Rules<'_>, protocol: u8) -> Vec<u16> {
    let mut starts = Vec::new();
    if has_ports(protocol) {
        for applied in rules.iter() {
            applied.services.add_source_starts(protocol, &mut starts);
        }
    }
    starts.sort_unstable();
    starts.dedup();
    if starts.first() == Some(&0) {
        starts.remove(0);
    }
    starts
}

fn clear(row: &mut Row, default: OutcomeId) {
    row.cuts.clear();
    let cells = &mut row.cells;
    cells.exact.clear();
    cells.ranges.clear();
    cells.icmp.clear();
    cells.protocols.clear();
    cells.default = default;
}

/// `rest` is the outcome of every protocol without lines.
fn canonical(drawing: &mut Drawing, rest: OutcomeId, row: &mut Row) {
    let mut votes = std::mem::take(&mut drawing.votes);
    let protocols = drawing.lines.chunk_by(|a, b| a.protocol == b.protocol);
    let protocols = protocols.map(|lines| Lines { drawing, lines });
    let count = protocols.clone().count();
    let unnamed = 256 - count;
    let default = if unnamed > count {
        rest
    } else {
        let mut mains = vec![(rest, u32::try_from(unnamed).unwrap_or(0))];
        for lines in protocols.clone() {
            mains.push((main_of(lines.common(), &mut votes), 1));
        }
        most_common(&mut mains).unwrap_or(rest)
    };
    clear(row, default);
    if default != rest {
        let mut named = Protocols::default();
        protocols.clone().for_each(|l| named.insert(l.protocol()));
        let others = (0..=u8::MAX).filter(|protocol| !named.contains(*protocol));
        row.cells
            .protocols
            .extend(others.map(|protocol| (Protocol(protocol), rest)));
    }
    for lines in protocols {
        add_lines(row, &lines, &mut votes);
    }
    row.cells.exact.sort_unstable();
    row.cells.ranges.sort_unstable();
    row.cells.protocols.sort_unstable();
    drawing.votes = votes;
}

fn add_lines(row: &mut Row, lines: &Lines<'_>, votes: &mut Votes) {
    let protocol = Protocol(lines.protocol());
    let common = lines.common();
    let main = main_of(common, votes);
    if main != row.cells.default {
        row.cells.protocols.push((protocol, main));
    }
    add_line(&mut row.cells, protocol, common, main);
    for at in (0..lines.lines.len()).filter(|at| lines.line(*at) != common) {
        let line = lines.line(at);
        let main = main_of(line, votes);
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
        let Some(common) = most_common(&mut votes.collect()) else {
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

fn width(first: u16, last: u16) -> u32 {
    u32::from(last) - u32::from(first) + 1
}

/// The outcome of most ports.
fn main_of(line: &Line, votes: &mut Votes) -> OutcomeId {
    const HALF: u32 = 1 << 15;
    if let Some((.., outcome)) = segments(line).find(|(first, last, _)| width(*first, *last) > HALF)
    {
        return outcome;
    }
    votes.clear();
    votes.extend(segments(line).map(|(first, last, outcome)| (outcome, width(first, last))));
    most_common(votes).unwrap_or(line[0].1)
}

/// Which line holds for most source ports; of equals the first.
fn base_line(lines: &Lines<'_>) -> usize {
    let mut totals: Vec<(usize, u32)> = Vec::new();
    for at in 0..lines.lines.len() {
        let (first, last) = lines.sources(at);
        let same = |(first, _): &&mut (usize, u32)| lines.line(*first) == lines.line(at);
        match totals.iter_mut().find(same) {
            Some((_, total)) => *total += width(first, last),
            None => totals.push((at, width(first, last))),
        }
    }
    let most = totals.iter().rev().max_by_key(|(_, total)| *total);
    most.map_or(0, |(at, _)| *at)
}

/// The outcome with most votes; of equals the one with the smallest number.
fn most_common(votes: &mut Votes) -> Option<OutcomeId> {
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

    fn answers(row: &Row, lines: &Lines<'_>) {
        for at in 0..lines.lines.len() {
            let (source, last) = lines.sources(at);
            for source_port in [source, last] {
                for (first, last, outcome) in segments(lines.line(at)) {
                    for port in [first, u16::midpoint(first, last), last] {
                        let protocol = Protocol(lines.protocol());
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

    /// Protocol, source port, and the segments from there on.
    type Given = (u8, u16, Vec<(u16, u32)>);

    fn check(given: &[Given], rest: OutcomeId) -> Row {
        let mut drawing = Drawing::default();
        for (protocol, source, line) in given {
            let start = drawing.segments.len();
            let line = line.iter().map(|(at, outcome)| (*at, OutcomeId(*outcome)));
            drawing.segments.extend(line);
            drawing.add(*protocol, *source, start);
        }
        // What was in the room is of no concern.
        let mut row = Row::constant(OutcomeId(77));
        row.cells.exact.push((Protocol(6), 1, OutcomeId(78)));
        canonical(&mut drawing, rest, &mut row);
        let protocols = drawing.lines.chunk_by(|a, b| a.protocol == b.protocol);
        let drawing = &drawing;
        protocols.for_each(|lines| answers(&row, &Lines { drawing, lines }));
        let named = |protocol: &u8| given.iter().any(|(other, ..)| other == protocol);
        for protocol in (0..=u8::MAX).filter(|protocol| !named(protocol)) {
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

    fn one(protocol: u8, line: &[(u16, u32)]) -> Given {
        (protocol, 0, line.to_vec())
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
        let given = [
            (17, 0, vec![(0, 1)]),
            (17, 50, vec![(0, 1)]),
            (17, 100, vec![(0, 1), (5, 2)]),
            (17, 200, vec![(0, 1)]),
            (17, 50_000, vec![(0, 0)]),
        ];
        let row = check(&given, OutcomeId(0));
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

//! Painting: walks the steps of a stack over the ports that are still undecided.
//!
//! Ports of one protocol (and, where rules ask for source ports, of one range of them) are a
//! line from 0 to 65535. Each rule decides the part of the line that it matches; what is left at
//! the end of a tier gets its default. Types and codes of ICMP are a line too.

use std::sync::Arc;

use ocicat_api::rule::Action;
use ocicat_flow::{Decider, Direction, Outcome, RuleRef, Verdict};
use ocicat_node::OutcomeId;
use rustc_hash::FxHashMap;

use crate::applied::{Applied, Rules};
use crate::block::Block;
use crate::class::Signature;
use crate::cover::{Part, Plane};
use crate::identity::NamedPort;
use crate::interval::{self, ALL, Interval};
use crate::list::PortSets;
use crate::outcome::Outcomes;
use crate::policy::side;
use crate::slab::{BlockId, Slab};
use crate::stack::Step;

/// What one row is made from.
#[derive(Clone, Copy)]
pub(crate) struct Sheet<'a> {
    pub(crate) steps: &'a [Step],
    /// The steps that are no rules, sorted; the last step is one.
    pub(crate) ends: &'a [u32],
    pub(crate) direction: Direction,
    pub(crate) blocks: &'a Slab<BlockId, Block>,
    /// Named ports of the near address, sorted.
    pub(crate) near_ports: &'a [NamedPort],
    /// The named ports of the near address cannot be known.
    pub(crate) near_open: bool,
    pub(crate) signature: &'a Signature,
    pub(crate) port_sets: &'a PortSets,
}

/// A line while it is painted.
type Open = Vec<(u16, State)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Undecided; goes on at step `resume`, having met the rules of a path.
    Open {
        path: u32,
        resume: u32,
    },
    Done(OutcomeId),
}

/// The Pass and Log rules met on the way, as a list back to the start.
#[derive(Debug)]
struct Met {
    before: u32,
    step: u32,
}

/// What the lines of a stack are painted with. Kept for all of its rows.
#[derive(Debug, Default)]
pub(crate) struct Brush {
    met: Vec<Met>,
    /// What a step makes of a path: the outcome, or the next path.
    made: FxHashMap<(u32, u32, Sure), u32>,
    /// What was decided last: neighbours on a line are often decided alike.
    last: Option<((u32, u32, Sure), OutcomeId)>,
    /// Room for the key of an outcome, for a line, and for what a rule makes of it.
    key: Vec<u32>,
    line: Open,
    spare: Open,
}

/// Whether it is known that the step matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Sure {
    Yes,
    No,
}

impl Brush {
    /// Another stack is to be painted.
    pub(crate) fn clear(&mut self) {
        self.met.clear();
        self.made.clear();
        self.last = None;
    }

    /// Paints the line of a plane with the rules, and adds its segments: where each starts, and
    /// what is decided there. They are sorted, from 0, and adjacent ones differ.
    pub(crate) fn paint(
        &mut self,
        rules: &Rules<'_>,
        plane: Plane,
        outcomes: &mut Outcomes,
        segments: &mut Vec<(u16, OutcomeId)>,
    ) {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        line.push((0, State::Open { path: 0, resume: 0 }));
        let sheet = &rules.sheet;
        let mut rules = rules.iter().peekable();
        for &end in sheet.ends {
            while let Some(applied) = rules.next_if(|applied| applied.step < end) {
                if applied.concerns(plane) {
                    self.apply_rule(&mut line, plane, (sheet, applied), outcomes);
                }
            }
            if !self.apply_end(&mut line, sheet, end, outcomes) {
                break;
            }
        }
        let mut last = None;
        for (start, state) in &line {
            let State::Done(outcome) = *state else {
                unreachable!("the last step of every stack decides all that is left")
            };
            if last != Some(outcome) {
                segments.push((*start, outcome));
                last = Some(outcome);
            }
        }
        self.line = line;
    }

    fn apply_rule(
        &mut self,
        line: &mut Open,
        plane: Plane,
        (sheet, applied): (&Sheet<'_>, &Applied<'_>),
        outcomes: &mut Outcomes,
    ) {
        let Some(Part { certain, possible }) = applied.services.on(plane) else {
            return;
        };
        let mut spare = std::mem::take(&mut self.spare);
        let sure: &[Interval] = if applied.certain { &certain } else { &[] };
        let step = applied.step;
        match applied.action {
            Action::Allow | Action::Deny => {
                let verdict = match applied.action {
                    Action::Allow => Verdict::Allow,
                    _ => Verdict::Deny,
                };
                repaint(line, &mut spare, sure, step, |path, _| {
                    let by = By::Rule(applied);
                    State::Done(self.decide(sheet, (path, step), (verdict, by), outcomes))
                });
            }
            action @ (Action::Pass | Action::Log) => {
                repaint(line, &mut spare, sure, step, |before, resume| {
                    let path = self.meet(before, step);
                    let resume = if action == Action::Pass {
                        applied.resume
                    } else {
                        resume
                    };
                    State::Open { path, resume }
                })
            }
        }
        let closes = matches!(applied.action, Action::Deny | Action::Pass);
        if closes && (!applied.certain || certain != possible) {
            let unsure = interval::difference(&possible, sure);
            repaint(line, &mut spare, &unsure, step, |path, _| {
                let by = (Verdict::Deny, By::Undetermined(applied));
                State::Done(self.decide(sheet, (path, step), by, outcomes))
            });
        }
        self.spare = spare;
    }

    /// Whether anything is still undecided.
    fn apply_end(
        &mut self,
        line: &mut Open,
        sheet: &Sheet<'_>,
        number: u32,
        outcomes: &mut Outcomes,
    ) -> bool {
        let by = match &sheet.steps[number as usize] {
            Step::Rule { .. } => return true,
            Step::Closed { block } => By::Closed(&sheet.blocks[*block]),
            Step::Missing { block } => By::Missing(&sheet.blocks[*block]),
            Step::EndOfTier { name, token } => By::EndOfTier(name, *token),
            Step::EndOfProfiles => By::EndOfProfiles,
            Step::EndOfStage => By::EndOfStage,
            Step::OverBudget => By::OverBudget,
        };
        let verdict = match by {
            By::EndOfStage => Verdict::Next,
            _ => Verdict::Deny,
        };
        let mut is_open = false;
        for (_, state) in line {
            if let State::Open { path, resume } = *state {
                if resume <= number {
                    let outcome = self.decide(sheet, (path, number), (verdict, by), outcomes);
                    *state = State::Done(outcome);
                } else {
                    is_open = true;
                }
            }
        }
        is_open
    }

    /// The path that goes on from another one with a rule.
    fn meet(&mut self, before: u32, step: u32) -> u32 {
        let met = &mut self.met;
        let made = self.made.entry((before, step, Sure::Yes));
        *made.or_insert_with(|| {
            met.push(Met { before, step });
            u32::try_from(met.len()).unwrap_or(u32::MAX)
        })
    }

    fn decide(
        &mut self,
        sheet: &Sheet<'_>,
        (path, step): (u32, u32),
        (verdict, by): (Verdict, By<'_>),
        outcomes: &mut Outcomes,
    ) -> OutcomeId {
        let sure = match by {
            By::Undetermined(_) => Sure::No,
            _ => Sure::Yes,
        };
        let place = (path, step, sure);
        if let Some((_, outcome)) = self.last.filter(|(last, _)| *last == place) {
            return outcome;
        }
        if let Some(made) = self.made.get(&place) {
            self.last = Some((place, OutcomeId(*made)));
            return OutcomeId(*made);
        }
        let key = &mut self.key;
        key.clear();
        by.write_key(verdict, key);
        let met = path_from(sheet, &self.met, path);
        for of_action in [Action::Pass, Action::Log] {
            key.push(u32::MAX);
            for (block, index, _) in met.iter().filter(|(.., action)| *action == of_action) {
                key.extend([block.token, place_of(block, *index)]);
            }
        }
        let listed = |of_action| {
            let of_action = met.iter().filter(|(.., action)| *action == of_action);
            of_action
                .map(|(block, index, _)| rule_ref(block, *index))
                .collect()
        };
        let outcome = outcomes.intern(key, || Outcome {
            verdict,
            decider: by.decider(),
            passed: listed(Action::Pass),
            logged: listed(Action::Log),
        });
        self.made.insert(place, outcome.0);
        outcome
    }
}

/// The rules of a path, first met first.
fn path_from<'a>(sheet: &Sheet<'a>, all: &[Met], mut path: u32) -> Vec<(&'a Block, u32, Action)> {
    let mut met = Vec::new();
    while path > 0 {
        let last = &all[path as usize - 1];
        if let Some((block, index)) = sheet.steps[last.step as usize].rule() {
            let block = &sheet.blocks[block];
            met.push((block, index, block.body.rules[index as usize].action));
        }
        path = last.before;
    }
    met.reverse();
    met
}

/// What decides.
#[derive(Clone, Copy)]
enum By<'x> {
    Rule(&'x Applied<'x>),
    Undetermined(&'x Applied<'x>),
    Closed(&'x Block),
    Missing(&'x Block),
    EndOfTier(&'x Arc<str>, u32),
    EndOfProfiles,
    EndOfStage,
    OverBudget,
}

impl By<'_> {
    fn write_key(&self, verdict: Verdict, key: &mut Vec<u32>) {
        let rule =
            |applied: &Applied<'_>| [applied.block.token, place_of(applied.block, applied.index)];
        let (tag, [a, b]) = match self {
            Self::Rule(applied) if verdict == Verdict::Allow => (0, rule(applied)),
            Self::Rule(applied) => (1, rule(applied)),
            Self::Undetermined(applied) => (2, rule(applied)),
            Self::Closed(block) => (3, [block.token, 0]),
            Self::Missing(block) => (4, [block.token, 0]),
            Self::EndOfTier(_, token) => (5, [*token, 0]),
            Self::EndOfProfiles => (6, [0, 0]),
            Self::OverBudget => (7, [0, 0]),
            Self::EndOfStage => (8, [0, 0]),
        };
        key.extend([tag, a, b]);
    }

    fn decider(&self) -> Decider {
        match self {
            Self::Rule(applied) => Decider::Rule(applied.rule_ref()),
            Self::Undetermined(applied) => Decider::Undetermined(applied.rule_ref()),
            Self::Closed(block) => Decider::Unreadable(block.reference.clone()),
            Self::Missing(block) => Decider::MissingProfile {
                name: block.reference.name.clone(),
            },
            Self::EndOfTier(name, _) => Decider::EndOfTier {
                tier: (*name).clone(),
            },
            Self::EndOfProfiles => Decider::EndOfProfiles,
            Self::EndOfStage => Decider::EndOfStage,
            Self::OverBudget => Decider::OverBudget,
        }
    }
}

/// The rule's index and direction in one number.
fn place_of(block: &Block, index: u32) -> u32 {
    index * 2 + u32::from(side(block.direction) == 1)
}

pub(crate) fn rule_ref(block: &Block, index: u32) -> RuleRef {
    RuleRef {
        policy: block.reference.clone(),
        direction: block.direction,
        index,
    }
}

/// Gives the open parts of the line that lie in `intervals`, and that this step concerns, the
/// state that `with` makes of path and resume.
fn repaint(
    line: &mut Open,
    spare: &mut Open,
    intervals: &[Interval],
    step: u32,
    mut with: impl FnMut(u32, u32) -> State,
) {
    if intervals.is_empty() {
        return;
    }
    let mut change = |state: State| match state {
        State::Open { path, resume } if resume <= step => with(path, resume),
        other => other,
    };
    if intervals == ALL {
        for (_, state) in line {
            *state = change(*state);
        }
        return;
    }
    if intervals.len() <= FEW {
        for interval in intervals {
            if !repaint_inside(line, *interval, &mut change) {
                sweep(line, spare, &[*interval], &mut change);
            }
        }
    } else {
        sweep(line, spare, intervals, &mut change);
    }
}

/// So many intervals are painted one by one.
const FEW: usize = 4;

/// Repaints an interval if it is inside one segment.
fn repaint_inside(
    line: &mut Open,
    (first, last): Interval,
    change: &mut impl FnMut(State) -> State,
) -> bool {
    let after = line.iter().position(|(start, _)| *start > first);
    let after = after.unwrap_or(line.len());
    let end = line.get(after).map_or(u16::MAX, |(next, _)| *next - 1);
    if last > end {
        return false;
    }
    let (start, state) = line[after - 1];
    let changed = change(state);
    if changed == state {
        return true;
    }
    let mut at = after;
    if first > start {
        line.insert(at, (first, changed));
        at += 1;
    } else {
        line[after - 1].1 = changed;
    }
    if last < end {
        line.insert(at, (last + 1, state));
    }
    true
}

/// Repaints any intervals, from the start of the line to its end.
fn sweep(
    line: &mut Open,
    spare: &mut Open,
    intervals: &[Interval],
    change: &mut impl FnMut(State) -> State,
) {
    let out = spare;
    out.clear();
    out.reserve(line.len() + 2 * intervals.len());
    let mut next = 0;
    for (at, &(start, state)) in line.iter().enumerate() {
        let last = line.get(at + 1).map_or(u16::MAX, |(next, _)| *next - 1);
        while intervals.get(next).is_some_and(|(_, end)| *end < start) {
            next += 1;
        }
        let met = intervals.get(next).is_some_and(|(first, _)| *first <= last);
        let changed = if met { change(state) } else { state };
        if changed == state {
            out.push((start, state));
            continue;
        }
        let mut from = Some(start);
        let mut cut = next;
        while let Some(position) = from {
            let Some(&(first, end)) = intervals.get(cut).filter(|(first, _)| *first <= last) else {
                out.push((position, state));
                break;
            };
            if first > position {
                out.push((position, state));
            }
            out.push((first.max(position), changed));
            from = end.min(last).checked_add(1).filter(|next| *next <= last);
            cut += 1;
        }
    }
    std::mem::swap(line, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: State = State::Open { path: 0, resume: 0 };

    fn at(line: &Open, port: u16) -> State {
        let after = line.partition_point(|(start, _)| *start <= port);
        line[after - 1].1
    }

    /// What is open in the intervals is done afterwards, and nothing else is different.
    #[test]
    fn few_and_many_intervals_are_painted_alike() {
        let lists: [&[Interval]; 7] = [
            &[(80, 80)],
            &[(0, 0), (u16::MAX, u16::MAX)],
            &[(0, 99), (200, 300), (65_000, u16::MAX)],
            &[(50, 250)],
            &[(10, 10), (12, 20), (30, 40), (99, 100), (200, 250)],
            &[(1, 1), (3, 3), (5, 5), (7, 7), (9, 9), (100, 60_000)],
            ALL,
        ];
        for first in lists {
            for second in lists {
                let (mut line, mut spare) = (vec![(0, OPEN)], Vec::new());
                let mut swept = line.clone();
                for (number, list) in (1u32..).zip([first, second]) {
                    let before = line.clone();
                    let done = State::Done(OutcomeId(number));
                    repaint(&mut line, &mut spare, list, number, |_, _| done);
                    let mut change = |state| if state == OPEN { done } else { state };
                    sweep(&mut swept, &mut spare, list, &mut change);
                    for port in 0..=u16::MAX {
                        let inside = interval::contains(list, port);
                        let expected = match at(&before, port) {
                            OPEN if inside => done,
                            other => other,
                        };
                        assert_eq!(at(&line, port), expected, "{port} of {line:?}");
                    }
                    assert_eq!(line, swept);
                    assert!(line.is_sorted_by_key(|(start, _)| *start));
                }
            }
        }
    }
}

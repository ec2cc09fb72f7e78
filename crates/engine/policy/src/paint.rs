//! Painting: walks the steps of a stack over the ports that are still undecided.
//!
//! Ports of one protocol (and, where rules ask for source ports, of one range of them) are a
//! line from 0 to 65535. Each rule decides the part of the line that it matches; what is left at
//! the end of a tier gets its default. Types and codes of ICMP are a line too.

use std::sync::Arc;

use ocicat_api::rule::Action;
use ocicat_flow::{Decider, Direction, Outcome, RuleRef, Verdict};
use ocicat_node::OutcomeId;

use crate::block::{Block, Truth};
use crate::class::Signature;
use crate::cover::{Part, Plane, Services};
use crate::identity::NamedPort;
use crate::interval::{self, ALL, Interval};
use crate::list::{PortSets, TOO_MANY};
use crate::outcome::Outcomes;
use crate::policy::side;
use crate::rule::Rule;
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

/// A rule whose far side is not false.
pub(crate) struct Applied<'a> {
    step: u32,
    resume: u32,
    block: &'a Block,
    index: u32,
    rule: &'a Rule,
    /// Nothing but protocol and ports is open.
    certain: bool,
    services: Services<'a>,
}

/// Where each segment starts, and what is decided there; sorted, from 0, adjacent ones differ.
pub(crate) type Line = Vec<(u16, OutcomeId)>;

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
struct Met<'a> {
    before: u32,
    block: &'a Block,
    index: u32,
    action: Action,
}

impl<'a> Applied<'a> {
    /// `None` if the step is no rule or cannot match.
    pub(crate) fn new(sheet: &Sheet<'a>, number: u32, far: Truth) -> Option<Self> {
        let Step::Rule {
            block,
            index,
            resume,
            open,
        } = sheet.steps[number as usize]
        else {
            return None;
        };
        let block = &sheet.blocks[block];
        let rule = &block.body.rules[index as usize];
        let asked = &block.body.asked[index as usize];
        let known = asked.backend.is_none_or(|question| {
            let mut sets = sheet.signature.ports(question);
            sets.all(|number| number != TOO_MANY)
        });
        let certain = far == Truth::Yes && !rule.unreadable && !open && known;
        let idle = matches!(rule.action, Action::Allow | Action::Log) && !certain;
        if far == Truth::No || idle {
            return None;
        }
        let services = Services::new(sheet, &rule.services, asked);
        Some(Self {
            step: number,
            resume,
            block,
            index,
            rule,
            certain,
            services,
        })
    }

    /// The protocols that the rule treats differently from those that nobody names.
    pub(crate) fn protocols(&self) -> impl Iterator<Item = u8> + '_ {
        let of_rule = self.rule.services.iter().flat_map(|service| {
            let icmp = service.icmp.is_some() || service.not_icmp.is_some();
            let icmp: &[u8] = if icmp { &[1, 58] } else { &[] };
            let named = service.protocol.into_iter().chain(service.not_protocol);
            named.chain(icmp.iter().copied())
        });
        of_rule.chain(self.services.protocols())
    }

    /// Adds where a source port range of the protocol begins that is treated differently.
    pub(crate) fn add_source_starts(&self, protocol: u8, starts: &mut Vec<u16>) {
        self.services.add_source_starts(protocol, starts);
    }

    fn rule_ref(&self) -> RuleRef {
        rule_ref(self.block, self.index)
    }
}

/// Paints the lines of one row.
pub(crate) struct Painter<'a, 'o> {
    sheet: Sheet<'a>,
    applied: &'o [Applied<'a>],
    outcomes: &'o mut Outcomes,
    met: Vec<Met<'a>>,
    key: Vec<u32>,
    /// Room for a line, and for what a rule makes of it.
    line: Vec<(u16, State)>,
    spare: Vec<(u16, State)>,
}

impl<'a, 'o> Painter<'a, 'o> {
    /// `applied` must be sorted by step.
    pub(crate) fn new(
        sheet: Sheet<'a>,
        applied: &'o [Applied<'a>],
        outcomes: &'o mut Outcomes,
    ) -> Self {
        Self {
            sheet,
            applied,
            outcomes,
            met: Vec::new(),
            key: Vec::new(),
            line: Vec::new(),
            spare: Vec::new(),
        }
    }

    pub(crate) fn paint(&mut self, plane: Plane) -> Line {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        line.push((0, State::Open { path: 0, resume: 0 }));
        let applied = self.applied;
        let mut rules = applied.iter().peekable();
        for &end in self.sheet.ends {
            while let Some(applied) = rules.next_if(|applied| applied.step < end) {
                self.apply_rule(&mut line, plane, applied);
            }
            self.apply_end(&mut line, end);
            if line
                .iter()
                .all(|(_, state)| matches!(state, State::Done(_)))
            {
                break;
            }
        }
        let mut done: Line = Vec::with_capacity(line.len());
        for (start, state) in line.drain(..) {
            let State::Done(outcome) = state else {
                unreachable!("the last step of every stack decides all that is left")
            };
            if done.last().is_none_or(|(_, last)| *last != outcome) {
                done.push((start, outcome));
            }
        }
        self.line = line;
        done
    }

    fn apply_rule(&mut self, line: &mut Vec<(u16, State)>, plane: Plane, applied: &Applied<'a>) {
        let Some(Part { certain, possible }) = applied.services.on(plane) else {
            return;
        };
        let mut spare = std::mem::take(&mut self.spare);
        let sure: &[Interval] = if applied.certain { &certain } else { &[] };
        let step = applied.step;
        match applied.rule.action {
            Action::Allow | Action::Deny => {
                let verdict = match applied.rule.action {
                    Action::Allow => Verdict::Allow,
                    _ => Verdict::Deny,
                };
                repaint(line, &mut spare, sure, step, |path, _| {
                    State::Done(self.decide(path, verdict, By::Rule(applied)))
                });
            }
            action @ (Action::Pass | Action::Log) => {
                repaint(line, &mut spare, sure, step, |before, resume| {
                    let met = Met {
                        before,
                        block: applied.block,
                        index: applied.index,
                        action,
                    };
                    self.met.push(met);
                    let path = u32::try_from(self.met.len()).unwrap_or(u32::MAX);
                    let resume = if action == Action::Pass {
                        applied.resume
                    } else {
                        resume
                    };
                    State::Open { path, resume }
                })
            }
        }
        let closes = matches!(applied.rule.action, Action::Deny | Action::Pass);
        if closes && (!applied.certain || certain != possible) {
            let unsure = interval::difference(&possible, sure);
            repaint(line, &mut spare, &unsure, step, |path, _| {
                State::Done(self.decide(path, Verdict::Deny, By::Undetermined(applied)))
            });
        }
        self.spare = spare;
    }

    fn apply_end(&mut self, line: &mut Vec<(u16, State)>, number: u32) {
        let sheet = self.sheet;
        let by = match &sheet.steps[number as usize] {
            Step::Rule { .. } => return,
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
        repaint(line, &mut Vec::new(), ALL, number, |path, _| {
            State::Done(self.decide(path, verdict, by))
        });
    }

    fn decide(&mut self, path: u32, verdict: Verdict, by: By<'_, 'a>) -> OutcomeId {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        by.write_key(verdict, &mut key);
        let met = path_from(&self.met, path);
        for action in [Action::Pass, Action::Log] {
            key.push(u32::MAX);
            for met in met.iter().filter(|met| met.action == action) {
                key.extend([met.block.token, place_of(met.block, met.index)]);
            }
        }
        let listed = |action| {
            let of_action = met.iter().filter(|met| met.action == action);
            of_action
                .map(|met| rule_ref(met.block, met.index))
                .collect()
        };
        let outcome = self.outcomes.intern(&key, || Outcome {
            verdict,
            decider: by.decider(),
            passed: listed(Action::Pass),
            logged: listed(Action::Log),
        });
        self.key = key;
        outcome
    }
}

/// The rules of a path, first met first.
fn path_from<'m, 'a>(all: &'m [Met<'a>], mut path: u32) -> Vec<&'m Met<'a>> {
    let mut met = Vec::new();
    while path > 0 {
        let last = &all[path as usize - 1];
        met.push(last);
        path = last.before;
    }
    met.reverse();
    met
}

/// What decides.
#[derive(Clone, Copy)]
enum By<'x, 'a> {
    Rule(&'x Applied<'a>),
    Undetermined(&'x Applied<'a>),
    Closed(&'x Block),
    Missing(&'x Block),
    EndOfTier(&'x Arc<str>, u32),
    EndOfProfiles,
    EndOfStage,
    OverBudget,
}

impl By<'_, '_> {
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

fn rule_ref(block: &Block, index: u32) -> RuleRef {
    RuleRef {
        policy: block.reference.clone(),
        direction: block.direction,
        index,
    }
}

/// Gives the open parts of the line that lie in `intervals`, and that this step concerns, the
/// state that `with` makes of path and resume.
fn repaint(
    line: &mut Vec<(u16, State)>,
    spare: &mut Vec<(u16, State)>,
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

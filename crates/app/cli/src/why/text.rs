//! An explanation in words, for a terminal.

use std::fmt::Write as _;

use ocicat_analysis::{
    Answer, Case, DefaultAction, Explanation, HostStep, Party, PolicyEnd, PolicyStep, Rule, Side,
    TierEnd, TierStep,
};
use ocicat_flow::{Decider, Direction, Verdict};

use super::question::Asked;
use ocicat_input::paint::{Stream, Style, paint};

/// The whole answer, each line ending in a newline.
pub fn render(asked: &Asked) -> String {
    let explanation = &asked.explanation;
    let mut text = Text::default();
    let (source, destination) = (name(&explanation.source), name(&explanation.destination));
    let head = format!("{source} → {destination}, {}", explanation.service);
    text.line(0, &paint(Stream::Out, Style::Bold, &head));
    text.cases(asked);
    text.line(0, "");
    text.verdict(asked);
    if let Some(pending) = &asked.pending {
        text.line(0, "");
        if pending.explanation.cases == explanation.cases && pending.others == asked.others {
            text.line(0, "Pending: with staged policies in force, the same.");
        } else {
            let head = "Pending: with staged policies in force";
            text.line(0, &paint(Stream::Out, Style::Bold, head));
            text.cases(pending);
            text.line(0, "");
            text.verdict(pending);
        }
    }
    text.0
}

const END_OF_TIER: &str = "end of tier";

/// Whether the host says what becomes of the traffic on that side: it begins or ends there.
fn judged_by_host(case: &Case, direction: Direction) -> bool {
    case.hosts
        .iter()
        .any(|step| step.direction == direction && matches!(step.stage, None | Some("local")))
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, indent: usize, text: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{:indent$}{}", "", text.trim_end());
    }

    fn cases(&mut self, asked: &Asked) {
        for case in &asked.explanation.cases {
            self.line(0, "");
            self.case(case, &asked.explanation);
        }
    }

    fn case(&mut self, case: &Case, explanation: &Explanation) {
        let pairs: Vec<String> = case
            .pairs
            .iter()
            .map(|x| format!("{} → {}", x.source, x.destination))
            .collect();
        let several = explanation.cases.len() > 1;
        for pair in &pairs {
            self.line(0, &paint(Stream::Out, Style::Dim, pair));
        }
        if case.within_endpoint {
            self.line(
                2,
                "Traffic of a workload to itself does not leave it and is not judged.",
            );
        }
        let ends = [
            (&case.egress, &explanation.source, Direction::Egress),
            (&case.ingress, &explanation.destination, Direction::Ingress),
        ];
        for (side, party, direction) in ends {
            if direction == Direction::Ingress {
                case.hosts.iter().for_each(|step| self.host(step));
            }
            match side {
                Some(side) => self.side(side),
                None if case.within_endpoint || judged_by_host(case, direction) => {}
                None => {
                    let why = if party.host_network {
                        "in its host's network"
                    } else {
                        "no workload"
                    };
                    let name = name(party);
                    self.line(2, &format!("{direction} of {name}: not judged ({why})"));
                }
            }
        }
        if several {
            self.line(
                2,
                &format!("verdict for these addresses: {}", verdict(case.verdict)),
            );
        }
    }

    /// One stage, or why none judges.
    fn host(&mut self, step: &HostStep) {
        let what = match (&step.endpoint, step.stage) {
            (Some(endpoint), Some(stage)) => format!("{} of {endpoint}, {stage}", step.direction),
            _ => format!("{} of host {}", step.direction, step.node),
        };
        let Some(side) = &step.judged else {
            let judged = match step.verdict {
                Verdict::Next => "not judged".into(),
                decided => verdict(decided),
            };
            self.line(2, &format!("{what}: {judged} ({})", step.reason));
            return;
        };
        let judged = match step.verdict {
            Verdict::Next => "goes on".into(),
            decided => verdict(decided),
        };
        self.line(2, &format!("{what}: {judged}"));
        self.story(side);
    }

    fn side(&mut self, side: &Side) {
        let judged = verdict(side.verdict);
        self.line(
            2,
            &format!("{} of {}: {judged}", side.direction, side.endpoint),
        );
        self.story(side);
    }

    fn story(&mut self, side: &Side) {
        let judged = verdict(side.verdict);
        if side.outcome.decider == Decider::OverBudget {
            self.line(
                4,
                "its policies need more table rows than the budget allows: closed",
            );
        }
        if side.tiers.is_empty() {
            self.line(4, "no policy selects it in this direction");
        }
        let reached = |step: &&PolicyStep| step.end != PolicyEnd::NotReached;
        let profiles: Vec<&PolicyStep> = side.profiles.iter().filter(reached).collect();
        let tiers = side
            .tiers
            .iter()
            .filter(|tier| tier.end != TierEnd::NotReached);
        let shown = tiers
            .flat_map(|tier| &tier.policies)
            .chain(profiles.iter().copied());
        let names = shown.map(|step| step.policy.chars().count());
        let wide = names.max().unwrap_or(0).max(END_OF_TIER.len());
        for tier in &side.tiers {
            self.tier(tier, side, wide);
        }
        let exhausted = side.outcome.decider == Decider::EndOfProfiles;
        if exhausted || !profiles.is_empty() {
            self.line(4, "profiles");
        }
        for step in profiles {
            self.step(step, side, wide);
        }
        if exhausted {
            self.line(6, &format!("no profile decides: {judged}"));
        }
    }

    fn tier(&mut self, tier: &TierStep, side: &Side, wide: usize) {
        let order = tier
            .order
            .map_or("no order".into(), |order| format!("order {order}"));
        if tier.end == TierEnd::NotReached {
            let line = format!("tier {} ({order}): not reached", tier.tier);
            self.line(4, &paint(Stream::Out, Style::Dim, &line));
            return;
        }
        self.line(4, &format!("tier {} ({order})", tier.tier));
        for step in &tier.policies {
            self.step(step, side, wide);
        }
        match (tier.end, tier.default_action) {
            (TierEnd::Default, DefaultAction::Deny) => {
                let deny = verdict(Verdict::Deny);
                self.line(
                    6,
                    &format!("{END_OF_TIER:wide$}  {deny}, as no rule matched"),
                );
            }
            (TierEnd::Default, DefaultAction::Pass) => {
                self.line(6, &format!("{END_OF_TIER:wide$}  Pass to the next tier"));
            }
            _ => {}
        }
    }

    fn step(&mut self, step: &PolicyStep, side: &Side, wide: usize) {
        for rule in &step.logged {
            self.line(6, &format!("{:wide$}  Log by {}", step.policy, place(rule)));
        }
        let by = || step.rule.as_ref().map(place).unwrap_or_default();
        let what = match step.end {
            PolicyEnd::Allow | PolicyEnd::Deny => {
                format!("{} by {}", verdict(side.verdict), by())
            }
            PolicyEnd::Pass => format!("Pass by {}", by()),
            PolicyEnd::NoMatch => "no rule matches".into(),
            PolicyEnd::Undetermined => format!(
                "{} by {}: whether it matches cannot be known, so it denies",
                verdict(side.verdict),
                by()
            ),
            PolicyEnd::Unreadable => format!(
                "{}: its selector cannot be read, so it closes its namespace{}",
                verdict(side.verdict),
                step.at
                    .as_ref()
                    .map(|at| format!("  {at}"))
                    .unwrap_or_default()
            ),
            PolicyEnd::Missing => {
                format!("{}: there is no such profile", verdict(side.verdict))
            }
            PolicyEnd::NotReached => "not reached".into(),
        };
        let line = format!("{:wide$}  {what}", step.policy);
        match step.end {
            PolicyEnd::NoMatch | PolicyEnd::NotReached => {
                self.line(6, &paint(Stream::Out, Style::Dim, &line));
            }
            _ => self.line(6, &line),
        }
    }

    fn verdict(&mut self, asked: &Asked) {
        let explanation = &asked.explanation;
        match asked.verdict() {
            Answer::Allow => self.line(0, &verdict(Verdict::Allow)),
            Answer::Deny => {
                let denying = explanation.cases.iter().find_map(denial);
                let why = denying.map(|why| format!(", {why}"));
                self.line(
                    0,
                    &format!("{}{}", verdict(Verdict::Deny), why.unwrap_or_default()),
                );
            }
            Answer::Depends => {
                let word = paint(Stream::Out, Style::Yellow, "Depends");
                if asked.others.is_empty() {
                    self.line(0, &format!("{word} on the addresses, as above"));
                } else {
                    self.line(0, &format!("{word} on the replica:"));
                    for other in std::iter::once(explanation).chain(&asked.others) {
                        let (from, to) = (name(&other.source), name(&other.destination));
                        self.line(2, &format!("{from} → {to}: {}", other.verdict));
                    }
                }
            }
        }
    }
}

/// Where and by what the first that denies does.
fn denial(case: &Case) -> Option<String> {
    let at = |side: &Side| {
        side.at
            .as_ref()
            .map(|at| format!(" ({at})"))
            .unwrap_or_default()
    };
    let of_end = |side: &Option<Side>, name: &str| {
        let side = side.as_ref().filter(|side| side.verdict == Verdict::Deny)?;
        Some(format!("at the {name}: {}{}", side.reason, at(side)))
    };
    let of_host = || {
        let denies = |step: &&HostStep| step.verdict == Verdict::Deny;
        let step = case.hosts.iter().find(denies)?;
        let at = step.judged.as_ref().map(at).unwrap_or_default();
        let name = step.endpoint.as_deref().unwrap_or("its host");
        Some(format!("at {name}: {}{at}", step.reason))
    };
    of_end(&case.egress, "source")
        .or_else(of_host)
        .or_else(|| of_end(&case.ingress, "destination"))
}

/// `egress[1]  shop.yaml:33`.
fn place(rule: &Rule) -> String {
    let at = rule
        .at
        .as_ref()
        .map(|at| format!("  {at}"))
        .unwrap_or_default();
    format!("{}[{}]{at}", rule.direction, rule.index)
}

fn name(party: &Party) -> String {
    match (&party.endpoint, party.places.first()) {
        (Some(endpoint), _) => endpoint.to_string(),
        (None, Some(place)) => place.to_string(),
        (None, None) => String::new(),
    }
}

fn verdict(verdict: Verdict) -> String {
    let style = match verdict {
        Verdict::Allow | Verdict::Next => Style::Green,
        Verdict::Deny => Style::Red,
    };
    paint(Stream::Out, style, &verdict.to_string())
}

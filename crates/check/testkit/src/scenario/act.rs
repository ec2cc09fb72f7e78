//! A scenario as what happens and what is then asked.

use ocicat_oracle::{Census, Judgement, Packet, Saying, Verdict, Verdicts, World};

use super::host;
use super::query::expectation;
use super::{HostPath, Link, Scenario, ScenarioError, Span, Step};
use crate::Change;

/// Some changes, and what is asked of the world that they lead to.
#[derive(Debug, Clone, PartialEq)]
pub struct Act {
    pub changes: Vec<Change>,
    /// After the changes.
    pub world: World,
    /// Of all hosts, those of earlier acts included.
    pub links: Vec<Link>,
    pub asks: Vec<Ask>,
}

/// One packet, and what should become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Asks of one query share it.
    pub span: Span,
    pub packet: Packet,
    /// After the translation of its destination, if it is translated.
    pub translated: Option<Packet>,
    /// The host that is asked; without, both ends are.
    pub path: Option<HostPath>,
    pub expected: Verdict,
    pub pending: Option<Verdict>,
    /// Empty where nothing is expected.
    pub decider: String,
}

/// What somebody says of an [`Ask`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub verdict: Verdict,
    /// Where it was asked for.
    pub pending: Option<Verdict>,
    /// Of every judgement that led to the verdict, in the oracle's words; empty if nobody judged.
    pub deciders: Vec<String>,
}

impl Scenario {
    /// The acts, in order. The last may change something and ask nothing.
    ///
    /// # Errors
    ///
    /// The first query that names someone who is not there.
    pub fn acts(&self) -> Result<Vec<Act>, ScenarioError> {
        let mut acts = Vec::new();
        let mut act = Act {
            changes: Vec::new(),
            world: World::default(),
            links: Vec::new(),
            asks: Vec::new(),
        };
        for step in &self.steps {
            let asked = !act.asks.is_empty();
            if asked && !matches!(step, Step::Query(_)) {
                acts.push(act.clone());
                act.changes.clear();
                act.asks.clear();
            }
            match step {
                Step::Change(change) => {
                    change.apply(&mut act.world);
                    act.changes.push(change.clone());
                }
                Step::Link(link) => act.links.push(link.clone()),
                Step::Query(query) => {
                    let packets = query.packets(&Census::new(&act.world));
                    let packets = packets.map_err(|message| ScenarioError {
                        line: query.span.line,
                        message,
                    })?;
                    act.asks
                        .extend(packets.into_iter().map(|(packet, translated)| Ask {
                            span: query.span.clone(),
                            packet,
                            translated,
                            path: query.path.clone(),
                            expected: query.expected,
                            pending: query.pending,
                            decider: query.decider.clone(),
                        }));
                }
            }
        }
        acts.push(act);
        Ok(acts)
    }

    /// Asks `judge` everything; returns what is not as expected, a line for each.
    pub fn disagreements(
        &self,
        mut judge: impl FnMut(&Act, &Ask) -> Result<Answer, String>,
    ) -> Vec<String> {
        let acts = match self.acts() {
            Ok(acts) => acts,
            Err(error) => return vec![error.to_string()],
        };
        let mut found = Vec::new();
        for act in &acts {
            for ask in &act.asks {
                let line = ask.span.line;
                let text = match judge(act, ask) {
                    Err(message) => format!("line {line}: {}: {message}", ask.packet),
                    Ok(answer) if ask.agrees(&answer) => continue,
                    Ok(answer) => {
                        let expected = expectation(ask.expected, ask.pending, &ask.decider);
                        let deciders = answer.deciders.join("; ");
                        let got = expectation(answer.verdict, answer.pending, &deciders);
                        format!(
                            "line {line}: {}: expected {expected}, got {got}",
                            ask.packet
                        )
                    }
                };
                found.push(text);
            }
        }
        found
    }
}

impl Ask {
    /// Whether all that is expected is so.
    #[must_use]
    pub fn agrees(&self, answer: &Answer) -> bool {
        let pending = self.pending.is_none() || self.pending == answer.pending;
        let decider = self.decider.is_empty() || answer.deciders.contains(&self.decider);
        self.expected == answer.verdict && pending && decider
    }
}

impl From<&Verdicts> for Answer {
    fn from(verdicts: &Verdicts) -> Self {
        let judgements = verdicts.egress.iter().chain(&verdicts.ingress);
        Self::of(verdicts.verdict, judgements.map(|(_, judgement)| judgement))
    }
}

impl Answer {
    fn of<'j>(verdict: Verdict, judgements: impl Iterator<Item = &'j Judgement>) -> Self {
        let decisive = judgements.filter(|judgement| judgement.verdict == verdict);
        Self {
            verdict,
            pending: None,
            deciders: decisive
                .map(|judgement| judgement.decider.to_string())
                .collect(),
        }
    }
}

/// What the oracle says.
///
/// # Errors
///
/// A question that it has no answer to.
pub fn ask_oracle(act: &Act, ask: &Ask) -> Result<Answer, String> {
    let mut answer = ask_enforced(&act.world, act, ask)?;
    if ask.pending.is_some() {
        answer.pending = Some(ask_enforced(&act.world.pending(), act, ask)?.verdict);
    }
    Ok(answer)
}

fn ask_enforced(world: &World, act: &Act, ask: &Ask) -> Result<Answer, String> {
    let Some(path) = &ask.path else {
        return Ok(Answer::from(&ocicat_oracle::verdict(world, &ask.packet)));
    };
    let host = host::of(world, &act.links, &path.node);
    let passage = host::passage(world, &host, path, ask)?;
    let fate = ocicat_oracle::judge_host(world, &host, &passage);
    let decisive = fate
        .stations
        .iter()
        .filter_map(|station| match &station.saying {
            Saying::Judged(judgement) if judgement.verdict != fate.verdict => None,
            Saying::Judged(judgement) => Some(judgement.decider.to_string()),
            Saying::Failsafe => Some("failsafe".to_owned()),
            Saying::EndpointToHost(action) => Some(format!("endpoint to host {action:?}")),
        });
    Ok(Answer {
        verdict: fate.verdict,
        pending: None,
        deciders: decisive.collect(),
    })
}

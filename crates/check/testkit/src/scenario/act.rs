//! A scenario as what happens and what is then asked.

use ocicat_oracle::{
    Census, Fate, Host, Judgement, Packet, Passage, Saying, Verdicts, World, judge_stage,
};

use super::host;
use super::query::expectation;
use super::{Answer, HostPath, Link, Scenario, ScenarioError, Span, Step, Whom};
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
    pub whom: Whom,
    pub expected: Answer,
    pub pending: Option<Answer>,
    /// Empty where nothing is expected.
    pub decider: String,
}

/// What somebody says of an [`Ask`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub answer: Answer,
    /// Where it was asked for.
    pub pending: Option<Answer>,
    /// Of every judgement that led to the answer, in the oracle's words; empty if nobody judged.
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
        let is_query = |step: &Step| matches!(step, Step::Query(_));
        for steps in self.steps.chunk_by(|a, b| is_query(a) == is_query(b)) {
            if steps.first().is_some_and(is_query) {
                act.asks = asks(&Census::new(&act.world), steps)?;
                acts.push(act.clone());
                act.changes.clear();
                continue;
            }
            act.asks.clear();
            for step in steps {
                match step {
                    Step::Change(change) => {
                        change.apply(&mut act.world);
                        act.changes.push(change.clone());
                    }
                    Step::Link(link) => act.links.push(link.clone()),
                    Step::Query(_) => {}
                }
            }
        }
        if !act.changes.is_empty() {
            acts.push(act);
        }
        Ok(acts)
    }

    /// Asks `judge` everything, with the census of each act; returns what is not as expected, a line for each.
    pub fn disagreements(
        &self,
        mut judge: impl FnMut(&Act, &Census<'_>, &Ask) -> Result<Reply, String>,
    ) -> Vec<String> {
        let acts = match self.acts() {
            Ok(acts) => acts,
            Err(error) => return vec![error.to_string()],
        };
        let mut found = Vec::new();
        for act in &acts {
            let census = Census::new(&act.world);
            for ask in &act.asks {
                let line = ask.span.line;
                let text = match judge(act, &census, ask) {
                    Err(message) => format!("line {line}: {}: {message}", ask.packet),
                    Ok(reply) if ask.agrees(&reply) => continue,
                    Ok(reply) => {
                        let expected = expectation(ask.expected, ask.pending, &ask.decider);
                        let deciders = reply.deciders.join("; ");
                        let got = expectation(reply.answer, reply.pending, &deciders);
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

impl Act {
    /// The host of that name, with its interfaces and its configuration.
    #[must_use]
    pub fn host(&self, node: &str) -> Host {
        host::of(&self.world, &self.links, node)
    }

    /// The way of a packet through a host of this act.
    ///
    /// # Errors
    ///
    /// An address that is neither the host's nor of its workloads, or an interface it does not have.
    pub fn passage(
        &self,
        census: &Census<'_>,
        host: &Host,
        path: &HostPath,
        ask: &Ask,
    ) -> Result<Passage, String> {
        host::passage(census, host, path, ask)
    }
}

fn asks(census: &Census<'_>, steps: &[Step]) -> Result<Vec<Ask>, ScenarioError> {
    let mut asks = Vec::new();
    for step in steps {
        let Step::Query(query) = step else { continue };
        let packets = query.packets(census).map_err(|message| ScenarioError {
            line: query.span.line,
            message,
        })?;
        asks.extend(packets.into_iter().map(|(packet, translated)| Ask {
            span: query.span.clone(),
            packet,
            translated,
            whom: query.whom.clone(),
            expected: query.expected,
            pending: query.pending,
            decider: query.decider.clone(),
        }));
    }
    Ok(asks)
}

impl Ask {
    /// Whether all that is expected is so.
    #[must_use]
    pub fn agrees(&self, reply: &Reply) -> bool {
        let pending = self.pending.is_none() || self.pending == reply.pending;
        let decider = self.decider.is_empty() || reply.deciders.contains(&self.decider);
        self.expected == reply.answer && pending && decider
    }
}

impl From<&Verdicts> for Reply {
    fn from(verdicts: &Verdicts) -> Self {
        let judgements = verdicts.egress.iter().chain(&verdicts.ingress);
        let decisive = judgements.filter(|(_, judgement)| judgement.verdict == verdicts.verdict);
        let deciders = decisive.map(|(_, judgement)| judgement.decider.to_string());
        Self {
            answer: verdicts.verdict.into(),
            pending: None,
            deciders: deciders.collect(),
        }
    }
}

impl From<&Fate> for Reply {
    fn from(fate: &Fate) -> Self {
        let deciders = fate
            .stations
            .iter()
            .filter_map(|station| match &station.saying {
                Saying::Judged(judgement) if judgement.verdict != fate.verdict => None,
                Saying::Judged(judgement) => Some(judgement.decider.to_string()),
                Saying::Failsafe => Some("failsafe".to_owned()),
                Saying::LinkUpkeep => Some("link upkeep".to_owned()),
                Saying::EndpointToHost(action) => Some(format!("endpoint to host {action:?}")),
            });
        Self {
            answer: fate.verdict.into(),
            pending: None,
            deciders: deciders.collect(),
        }
    }
}

impl From<Option<Judgement>> for Reply {
    fn from(judgement: Option<Judgement>) -> Self {
        Self {
            answer: (judgement.as_ref()).map_or(Answer::Absent, |x| x.verdict.into()),
            pending: None,
            deciders: judgement.iter().map(|x| x.decider.to_string()).collect(),
        }
    }
}

/// What the oracle says, with the census of the act.
///
/// # Errors
///
/// A packet whose way is not known: its addresses are neither the host's nor of its workloads.
pub fn ask_oracle(act: &Act, census: &Census<'_>, ask: &Ask) -> Result<Reply, String> {
    let mut reply = ask_enforced(census, act, ask)?;
    if ask.pending.is_some() {
        let pending = act.world.pending();
        reply.pending = Some(ask_enforced(&Census::new(&pending), act, ask)?.answer);
    }
    Ok(reply)
}

fn ask_enforced(census: &Census<'_>, act: &Act, ask: &Ask) -> Result<Reply, String> {
    let world = census.world;
    Ok(match &ask.whom {
        Whom::Ends => Reply::from(&census.verdict(&ask.packet)),
        Whom::Host(path) => {
            let host = act.host(&path.node);
            let passage = act.passage(census, &host, path, ask)?;
            Reply::from(&census.judge_host(&host, &passage))
        }
        Whom::Stage(post) => {
            let (key, packet) = (post.key(), &ask.packet);
            let judgement = judge_stage(world, &key, post.stage, post.direction, packet);
            Reply::from(judgement)
        }
    })
}

//! Many questions, one a line.
//!
//! Each line of input gives one line of output, in the same order, and nothing else goes to
//! stdout. A line that is no question gives a line with `error`. Workloads without address get one
//! for the whole of a batch, so that every verdict is Allow or Deny (unless replicas of one
//! controller fare differently).

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use ocicat_analysis::{Answer, HostStep, Side};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::question::{Asked, Question, Worlds};
use super::target::{ServiceText, Target, read_protocol};
use super::world::Known;
use crate::failure::Failure;

/// A line of input.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    from: String,
    to: String,
    /// Default TCP.
    #[serde(default)]
    protocol: Option<Value>,
    /// A number, or the name of a port; for ICMP `TYPE` or `TYPE.CODE`; ignored for other protocols.
    /// Default: the first that the destination has.
    #[serde(default)]
    port: Option<Value>,
}

/// A line of output.
#[derive(Debug, Serialize)]
struct Reply<'a> {
    from: &'a str,
    to: &'a str,
    protocol: &'a str,
    /// ICMP type and code as `8.0`.
    port: Value,
    #[serde(flatten)]
    ruling: Ruling<'a>,
    /// With staged policies in force; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<Ruling<'a>>,
}

/// The answer of one world.
#[derive(Debug, Serialize)]
struct Ruling<'a> {
    verdict: Answer,
    egress: Option<Half<'a>>,
    /// Stages of host endpoints on the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<HostHalf<'a>>,
    ingress: Option<Half<'a>>,
    /// For `Depends`: on what.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cases: Vec<Value>,
}

/// What a host says.
#[derive(Debug, Serialize)]
struct HostHalf<'a> {
    node: &'a str,
    endpoint: Option<&'a str>,
    stage: Option<&'a str>,
    direction: ocicat_flow::Direction,
    verdict: ocicat_flow::Verdict,
    policy: Option<&'a str>,
    rule: Option<u32>,
    reason: &'a str,
}

/// What one side says.
#[derive(Debug, Serialize)]
struct Half<'a> {
    verdict: ocicat_flow::Verdict,
    tier: Option<&'a str>,
    policy: Option<&'a str>,
    rule: Option<u32>,
    reason: &'a str,
}

/// Answers all lines of a file, or of stdin for `-`.
pub fn run(
    path: &Path,
    known: &Known,
    worlds: &mut Worlds,
    namespace: &str,
) -> Result<ExitCode, Failure> {
    let wrong = |error: std::io::Error| Failure::Input(format!("{}: {error}", path.display()));
    let mut input: Box<dyn BufRead> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).map_err(wrong)?))
    };
    let mut output = BufWriter::new(std::io::stdout().lock());
    let unheard = |error: std::io::Error| Failure::Unasked(format!("stdout: {error}"));
    let mut bad = 0_usize;
    for number in 1_usize.. {
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line).map_err(wrong)? == 0 {
            break;
        }
        let shown = String::from_utf8_lossy(&line);
        if shown.trim().is_empty() {
            continue;
        }
        let text = std::str::from_utf8(&line)
            .map_err(|error| format!("byte {}: not UTF-8; {EXPECTED}", error.valid_up_to() + 1));
        let reply = text.and_then(|text| answer(text, known, worlds, namespace));
        let reply = reply.unwrap_or_else(|error| {
            bad += 1;
            let query = query(shown.trim_end_matches(['\r', '\n']));
            json!({"line": number, "query": query, "error": error}).to_string()
        });
        writeln!(output, "{reply}").map_err(unheard)?;
    }
    output.flush().map_err(unheard)?;
    if bad == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::Input(format!(
        "{bad} lines of {} are no questions",
        path.display()
    )))
}

/// The line as it was: as JSON where it is JSON, else as text.
fn query(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|_| Value::String(line.to_owned()))
}

fn answer(
    text: &str,
    known: &Known,
    worlds: &mut Worlds,
    namespace: &str,
) -> Result<String, String> {
    let line: Line = serde_json::from_str(text).map_err(|error| format!("{error}; {EXPECTED}"))?;
    let question = Question {
        source: Target::read(&line.from).map_err(|error| format!("from: {error}"))?,
        destination: Target::read(&line.to).map_err(|error| format!("to: {error}"))?,
        service: service(&line)?,
    };
    let asked = question.ask(&known.world, worlds, namespace)?;
    serde_json::to_string(&Reply::of(&line, &asked)).map_err(|error| error.to_string())
}

const EXPECTED: &str =
    r#"expected {"from":"shop/web","to":"shop/api","protocol":"TCP","port":8080}"#;

fn service(line: &Line) -> Result<ServiceText, String> {
    let word = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let protocol = line.protocol.as_ref().filter(|value| !value.is_null());
    let protocol = protocol
        .map(|value| read_protocol(&word(value)))
        .transpose()?;
    let port = match line.port.as_ref().filter(|value| !value.is_null()) {
        None => None,
        Some(value) => {
            let text = match protocol {
                Some(protocol) => format!("{}/{protocol}", word(value)),
                None => word(value),
            };
            ServiceText::read(&text)?.port
        }
    };
    Ok(ServiceText { port, protocol })
}

impl<'a> Reply<'a> {
    fn of(line: &'a Line, asked: &'a Asked) -> Self {
        let explanation = &asked.explanation;
        let service = &explanation.service;
        let port = match (service.port, service.icmp) {
            (Some(port), _) => port.into(),
            (None, Some((kind, code))) => format!("{kind}.{code}").into(),
            (None, None) => Value::Null,
        };
        Self {
            from: &line.from,
            to: &line.to,
            protocol: &service.protocol,
            port,
            ruling: Ruling::of(asked),
            pending: asked.pending.as_deref().map(Ruling::of),
        }
    }
}

impl<'a> Ruling<'a> {
    fn of(asked: &'a Asked) -> Self {
        let verdict = asked.verdict();
        let case = asked.explanation.decisive();
        Self {
            verdict,
            egress: case.egress.as_ref().map(Half::of),
            hosts: case.hosts.iter().map(HostHalf::of).collect(),
            ingress: case.ingress.as_ref().map(Half::of),
            cases: if verdict == Answer::Depends {
                split(asked)
            } else {
                Vec::new()
            },
        }
    }
}

impl<'a> HostHalf<'a> {
    fn of(step: &'a HostStep) -> Self {
        let judged = step.judged.as_ref();
        Self {
            node: &step.node,
            endpoint: step.endpoint.as_deref(),
            stage: step.stage,
            direction: step.direction,
            verdict: step.verdict,
            policy: judged.and_then(|side| side.policy.as_deref()),
            rule: judged.and_then(|side| side.rule),
            reason: &step.reason,
        }
    }
}

/// What a verdict depends on: addresses or replicas.
fn split(asked: &Asked) -> Vec<Value> {
    let mut cases = Vec::new();
    for explanation in std::iter::once(&asked.explanation).chain(&asked.others) {
        for case in &explanation.cases {
            cases.push(json!({
                "source": explanation.source.endpoint,
                "destination": explanation.destination.endpoint,
                "pairs": case.pairs,
                "verdict": case.verdict,
            }));
        }
    }
    cases
}

impl<'a> Half<'a> {
    fn of(side: &'a Side) -> Self {
        Self {
            verdict: side.verdict,
            tier: side.tier.as_deref(),
            policy: side.policy.as_deref(),
            rule: side.rule,
            reason: &side.reason,
        }
    }
}

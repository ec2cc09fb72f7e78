//! Scenario files: a world, what happens to it, and what is expected, as text.
//!
//! ```text
//! What this is about, in free text.
//!
//! -- resources --
//! apiVersion: v1
//! kind: Namespace
//! metadata: { name: shop }
//!
//! -- queries --
//! tcp shop/web > shop/db:5432 Allow
//! udp 192.0.2.1:40000 > [fd00::2]:53 Deny     # by end of tier default
//! icmp shop/web > 8.8.8.8 type 8 code 0 Allow
//! 47 10.0.0.1 > 10.0.0.2 Deny
//!
//! -- delete --
//! NetworkPolicy/shop/db
//!
//! -- queries --
//! tcp shop/web > shop/db:5432 Deny
//! ```
//!
//! Sections are read in order: `resources` puts objects, `delete` removes them (by kind, namespace
//! and name), and `queries` asks of the world as it then is. A query names ends by address or as
//! `namespace/name` of a Pod or WorkloadEndpoint; of two families it takes that of the other end,
//! IPv4 before IPv6. The source port is 40000 unless it is written. `#` begins a comment.
//!
//! What is expected is the verdict of both ends, or of one stage of a host endpoint, where it may
//! be Absent; after `pending` what it would be if staged policies were enforced:
//!
//! ```text
//! tcp 192.0.2.1 > 10.0.0.1:22 at eth0 prednat ingress Next
//! tcp shop/web > shop/db:80 Allow pending Deny
//! ```

mod query;
mod reader;

use std::fmt;

use ocicat_api::{Kind, ObjectKey};
use ocicat_oracle::{Packet, World, judge_stage, verdict};

use crate::{Change, print_object};

pub use query::{Answer, End, Post, Query};

/// A scenario file.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// The free text at its head, without surrounding blank lines.
    pub title: String,
    pub steps: Vec<Step>,
}

/// What a scenario does next.
#[allow(clippy::large_enum_variant, reason = "scenarios are short")]
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Change(Change),
    Query(Query),
}

/// Why a text is not a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioError {
    /// From 1.
    pub line: usize,
    pub message: String,
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    ///
    /// The first line that cannot be read. Problems of a resource are none, except that it must
    /// yield an object: scenarios test bad policies too.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        reader::read(text)
    }

    /// A world and what is expected of it.
    #[must_use]
    pub fn of(title: &str, world: &World, queries: impl IntoIterator<Item = Query>) -> Self {
        let objects = world.objects.values().cloned();
        let objects = objects.map(|object| Step::Change(Change::Put(object)));
        let steps = objects
            .chain(queries.into_iter().map(Step::Query))
            .collect();
        Self {
            title: title.to_owned(),
            steps,
        }
    }

    /// Follows the scenario and asks `judge` every query, of the world and of the pending one;
    /// returns what is not as expected, a line for each.
    pub fn disagreements(
        &self,
        mut judge: impl FnMut(&World, Option<&Post>, &Packet) -> Answer,
    ) -> Vec<String> {
        let mut world = World::default();
        let mut found = Vec::new();
        for step in &self.steps {
            let query = match step {
                Step::Change(change) => {
                    change.apply(&mut world);
                    continue;
                }
                Step::Query(query) => query,
            };
            let line = query.line;
            let packet = match query.packet(&world) {
                Ok(packet) => packet,
                Err(message) => {
                    found.push(format!("line {line}: {message}"));
                    continue;
                }
            };
            let mut compare = |world: &World, expected: Answer, word: &str| {
                let answer = judge(world, query.post.as_ref(), &packet);
                if answer != expected {
                    found.push(format!(
                        "line {line}: {packet}: expected {word}{expected}, got {answer}"
                    ));
                }
            };
            compare(&world, query.expected, "");
            if let Some(pending) = query.pending {
                compare(&world.pending(), pending, "pending ");
            }
        }
        found
    }
}

impl Post {
    /// The key of its host endpoint.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        ObjectKey {
            kind: Kind::HostEndpoint,
            namespace: None,
            name: self.host.as_str().into(),
        }
    }
}

impl Answer {
    /// What the oracle says.
    #[must_use]
    pub fn of_oracle(world: &World, post: Option<&Post>, packet: &Packet) -> Self {
        let Some(post) = post else {
            return Self::Verdict(verdict(world, packet).verdict);
        };
        judge_stage(world, &post.key(), post.stage, post.direction, packet)
            .map_or(Self::Absent, |judgement| Self::Verdict(judgement.verdict))
    }
}

/// Writes the file. Objects and queries that follow each other share a section.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        let mut before = None;
        for step in &self.steps {
            let section = match step {
                Step::Change(Change::Put(_)) => "resources",
                Step::Change(Change::Delete(_)) => "delete",
                Step::Query(_) => "queries",
            };
            let is_next = before.replace(section) == Some(section);
            if !is_next {
                writeln!(f, "\n-- {section} --")?;
            }
            match step {
                Step::Change(Change::Put(object)) => {
                    let separator = if is_next { "---\n" } else { "" };
                    write!(f, "{separator}{}", print_object(object))?;
                }
                Step::Change(Change::Delete(key)) => writeln!(f, "{key}")?,
                Step::Query(query) => writeln!(f, "{query}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for ScenarioError {}

#[cfg(test)]
mod tests;

//! Scenario files: a world, what happens to it, and what is expected, as text.
//!
//! ```text
//! Restates SUITE: NAME OF THE CASE
//! What this is about, in free text.
//!
//! -- namespaces --
//! shop  team=sales
//!
//! -- pods --
//! shop/web  10.0.0.1 fd00::1  app=web
//! shop/db   10.0.0.2 fd00::2  app=db  sql:5432/tcp @node-1
//!
//! -- resources --
//! apiVersion: networking.k8s.io/v1
//! kind: NetworkPolicy
//! metadata: { name: db, namespace: shop }
//! spec: { podSelector: { matchLabels: { app: db } } }
//!
//! -- queries --
//! tcp shop/web > shop/db:5432 Deny by end of tier default
//! udp 192.0.2.1:40000 > [fd00::2]:53 Deny     # why, for people
//! icmp 8.8.8.8 > shop/web type 8 code 0 Allow
//! 47 10.0.0.1 > 10.0.0.2 Deny
//!
//! -- reach tcp 80 5432 --
//!            shop/web shop/db 192.0.2.1
//! shop/web       .       -        +
//! shop/db        +       .        +
//!
//! -- delete --
//! NetworkPolicy/shop/db
//! ```
//!
//! Sections are read in order. `namespaces`, `pods` (addresses, labels, `NAME:PORT/PROTOCOL`, and
//! `@NODE`) and `resources` put objects; `delete` removes them by kind, namespace and name. `queries`
//! and `reach` ask of the world as it then is, and must be answered alike whatever becomes of it
//! later. `reach` is a matrix: from each row to each column `+` is Allow, `-` is Deny, and `.` is
//! not asked; each port is asked. `hosts` says which addresses the interfaces of hosts have.
//!
//! Ends are addresses, or `namespace/name` of a Pod or WorkloadEndpoint. Between names every family
//! is asked that both ends have; ICMP is IPv4 and ICMPv6 is IPv6. The source port is 40000 unless it
//! is written. Further words of a query are:
//!
//! - `to END:PORT`: where the packet goes after the translation of its destination;
//! - `at NODE`, `at NODE in INTERFACE`, `at NODE out INTERFACE`, or both: what this host says of a
//!   packet that it receives, sends or forwards;
//! - `at HOSTENDPOINT STAGE DIRECTION`: what one stage (`untracked`, `prednat`, `forward`, `local`) of
//!   a host endpoint says; here `Next` and `Absent` are answers too;
//! - `pending ANSWER`: the answer if staged policy were enforced;
//! - `by DECIDER`: what must have decided, in the oracle's words.
//!
//! `#` begins a comment.

mod act;
mod cast;
mod host;
mod matrix;
mod query;
mod reader;
mod rewrite;

use std::fmt;
use std::net::IpAddr;

use ocicat_oracle::World;

use crate::{Change, print_object};

pub use act::{Act, Ask, Reply, ask_oracle};
pub use host::of as host_of;
pub use query::{Answer, End, HostPath, Post, Query, Span, Whom};

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
    Link(Link),
    Query(Query),
}

/// An interface of a host, as far as its addresses say which host endpoint it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub node: String,
    pub interface: String,
    pub addresses: Vec<IpAddr>,
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

    /// What the scenario restates: the rest of its first line after `Restates `.
    #[must_use]
    pub fn restates(&self) -> Option<&str> {
        self.title.lines().next()?.strip_prefix("Restates ")
    }
}

/// Writes the file, matrices as queries. Objects and queries that follow each other share a section.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        let mut before = None;
        for step in &self.steps {
            let section = match step {
                Step::Change(Change::Put(_)) => "resources",
                Step::Change(Change::Delete(_)) => "delete",
                Step::Link(_) => "hosts",
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
                Step::Link(link) => writeln!(f, "{link}")?,
                Step::Query(query) => writeln!(f, "{query}")?,
            }
        }
        Ok(())
    }
}

/// As a line of `hosts`.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.node, self.interface)?;
        self.addresses
            .iter()
            .try_for_each(|address| write!(f, " {address}"))
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

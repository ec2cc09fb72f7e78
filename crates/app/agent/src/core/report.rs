//! What the core tells: its status, how policies fare, and what was counted.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use ocicat_api::{Kind, ObjectKey, Problem, Severity};
use ocicat_compile::{Named, TABLE};
use ocicat_flow::{Decider, Outcome, RuleRef};
use ocicat_node::{Change, OutcomeId};
use ocicat_program::nft::{ElementKey, TableId, Value as NftValue};
use serde_json::{Value, json};

use super::Core;
use super::kernel::Attachments;

/// How the policies of this host fare.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Policies that select a local endpoint or have problems.
    pub policies: BTreeMap<ObjectKey, PolicyReport>,
    /// The newest resource version of any policy object that is in force here.
    pub revision: u64,
    pub ready: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PolicyReport {
    pub tier: Arc<str>,
    /// The policy's resource version as it was calculated.
    pub resource_version: Arc<str>,
    /// Local endpoints that it selects.
    pub endpoints: usize,
    /// With an error among them the policy is enforced as far as it is understood and fails closed
    /// for the rest.
    pub problems: Vec<FieldProblem>,
}

/// What is wrong with a field; the field is empty if it is the whole object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldProblem {
    pub severity: Severity,
    pub field: String,
    pub message: String,
}

/// What was counted since the agent started.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Packets that a rule, or the end of a tier, decided: new flows for what allows, all packets
    /// for what denies.
    pub deciders: BTreeMap<(String, &'static str), u64>,
    /// Packets that Pass and Log rules matched.
    pub passed: BTreeMap<String, u64>,
    pub logged: BTreeMap<String, u64>,
    /// Prefixes, stacks, rows and cells in force.
    pub size: [usize; 4],
    pub endpoints: usize,
    pub commits: u64,
    pub ready: bool,
}

/// Counts of outcomes whose elements are gone, and of those that stand.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// By outcome's text, because numbers are not kept over a restart of the program.
    total: HashMap<OutcomeId, (Arc<Outcome>, u64)>,
    /// What the elements that stand showed when they were last read.
    seen: HashMap<OutcomeId, u64>,
}

impl Counted {
    /// New elements count from 0.
    pub(super) fn restart(&mut self) {
        self.seen.clear();
    }

    fn note(&mut self, id: OutcomeId, outcome: &Arc<Outcome>, packets: u64) {
        let seen = self.seen.insert(id, packets).unwrap_or(0);
        let total = self
            .total
            .entry(id)
            .or_insert_with(|| (Arc::clone(outcome), 0));
        total.1 += packets.saturating_sub(seen);
    }
}

pub(super) fn is_policy(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::NetworkPolicy
            | Kind::CalicoNetworkPolicy
            | Kind::GlobalNetworkPolicy
            | Kind::Tier
            | Kind::NetworkSet
            | Kind::GlobalNetworkSet
            | Kind::Profile
            | Kind::HostEndpoint
            | Kind::ClusterNetworkPolicy
            | Kind::StagedNetworkPolicy
            | Kind::StagedGlobalNetworkPolicy
            | Kind::StagedKubernetesNetworkPolicy
            | Kind::FelixConfiguration
            | Kind::KubeControllersConfiguration
    )
}

impl Core {
    pub(super) fn status(&self) -> Value {
        let [prefixes, stacks, rows, cells] = self.compiler.size();
        let endpoints: Vec<Value> = self
            .compiler
            .endpoints()
            .map(|(id, attachment, policy)| {
                json!({
                    "endpoint": id,
                    "interface": attachment.interface,
                    "addresses": attachment.addresses,
                    "policyInForce": policy.is_some(),
                })
            })
            .collect();
        let missing: Vec<String> = self.missing.iter().map(ToString::to_string).collect();
        json!({
            "node": self.config.node,
            "ready": self.in_force && self.failure.is_none(),
            "waitingFor": missing,
            "failure": self.failure,
            "commits": self.commits,
            "prefixes": prefixes,
            "stacks": stacks,
            "rows": rows,
            "cells": cells,
            "endpoints": endpoints,
            "hostEndpoints": self.host_status(),
        })
    }

    /// The host endpoints of this host, and their interfaces.
    fn host_status(&self) -> Vec<Value> {
        let of = |id: &str| -> Vec<&str> {
            let links = self.hosts.links.iter().map(|link| link.name.as_str());
            let has = |link: &&str| {
                self.compiler
                    .host_endpoint_of(link)
                    .is_some_and(|x| **x == *id)
            };
            links.filter(has).collect()
        };
        let endpoints = self.compiler.host_endpoints();
        let state = |(id, _): (&ocicat_node::EndpointId, _)| json!({ "endpoint": id, "interfaces": of(id) });
        endpoints.map(state).collect()
    }

    /// The addresses that no element of the class map names by themselves.
    pub(super) fn unknown(&self, addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        let known = |address: &IpAddr| self.compiler.knows(&IpNet::from(*address));
        addresses
            .into_iter()
            .filter(|address| !self.in_force || !known(address))
            .collect()
    }

    /// Keeps the report, and logs what is wrong with the policy if it is new and was not seen in
    /// decoding already.
    pub(super) fn note_fare(&mut self, fare: ocicat_policy::PolicyReport) {
        let known = self
            .fares
            .get(&fare.key)
            .map_or(&[][..], |known| &known.problems);
        let decoded = self.problems.get(&fare.key).map_or(&[][..], Vec::as_slice);
        let is_new = |problem: &&Problem| !known.contains(problem) && !decoded.contains(problem);
        for problem in fare.problems.iter().filter(is_new) {
            log_problem(&fare.key, problem);
        }
        self.fares.insert(fare.key.clone(), fare);
    }

    /// Tells the status task how policies fare now.
    pub(super) fn report(&mut self) {
        let mut policies = BTreeMap::new();
        for (key, fare) in &self.fares {
            let problems = self.problems_of(key, &fare.problems);
            if fare.endpoints == 0 && problems.is_empty() {
                continue;
            }
            let report = self.policy_report(key, Arc::clone(&fare.policy.tier), fare.endpoints);
            policies.insert(key.clone(), PolicyReport { problems, ..report });
        }
        let here = self.configuration_problems.keys();
        let keys = self.problems.keys().chain(here);
        let keys = keys.chain(self.hosts.suspended.keys());
        for key in keys.chain(self.hosts.astray.keys()) {
            let problems = self.problems_of(key, &[]);
            if !problems.is_empty() && !policies.contains_key(key) {
                let report = self.policy_report(key, Arc::default(), 0);
                policies.insert(key.clone(), PolicyReport { problems, ..report });
            }
        }
        let ready = self.in_force && self.failure.is_none();
        let report = Report {
            policies,
            revision: self.revision,
            ready,
        };
        self.reports.send_if_modified(|known| {
            let changed = *known != report;
            *known = report;
            changed
        });
    }

    fn policy_report(&self, key: &ObjectKey, tier: Arc<str>, endpoints: usize) -> PolicyReport {
        PolicyReport {
            tier,
            resource_version: self.versions.get(key).cloned().unwrap_or_default(),
            endpoints,
            problems: Vec::new(),
        }
    }

    /// All that is known to be wrong with an object, each once.
    fn problems_of(&self, key: &ObjectKey, calculated: &[Problem]) -> Vec<FieldProblem> {
        let here = self.configuration_problems.get(key).into_iter().flatten();
        let suspended = self.hosts.suspended.get(key).map(|it| &it.problem);
        let mut problems: Vec<FieldProblem> = (self.problems.get(key).into_iter().flatten())
            .chain(here)
            .chain(calculated)
            .chain(suspended)
            .chain(self.hosts.astray.get(key))
            .map(text_of)
            .collect();
        problems.sort();
        problems.dedup();
        problems
    }

    /// New outcomes, for the reader of denied packets.
    pub(super) fn publish_outcomes(&self, delta: &[Change]) {
        let outcomes = delta.iter().filter_map(|change| match change {
            Change::Outcome(id, Some(outcome)) => Some((*id, Arc::clone(outcome))),
            _ => None,
        });
        self.denied.add_outcomes(outcomes);
    }

    /// Who is behind which interface, for the reader of denied packets.
    pub(super) fn publish_attachments(&self, attachments: &Attachments) {
        for (id, attachment) in attachments {
            let interface = attachment.as_ref().map(|x| x.interface.as_str());
            self.denied.set_attachment(id, interface);
        }
    }

    pub(super) fn publish_host_links(&self) {
        let (links, rest) = self.compiler.host_links();
        let links = links.map(|(name, id)| (name.to_owned(), id.clone()));
        self.denied.set_links(links.collect(), rest.cloned());
    }

    pub(super) fn metrics(&mut self) -> Metrics {
        self.count_before_removal();
        let mut metrics = Metrics {
            size: self.compiler.size(),
            endpoints: self.compiler.endpoints().count(),
            commits: self.commits,
            ready: self.in_force && self.failure.is_none(),
            ..Metrics::default()
        };
        for (outcome, packets) in self.counted.total.values() {
            let verdict = match outcome.verdict {
                ocicat_flow::Verdict::Allow => "allow",
                ocicat_flow::Verdict::Deny => "deny",
                ocicat_flow::Verdict::Next => "next",
            };
            let decider = decider_text(&outcome.decider);
            *metrics.deciders.entry((decider, verdict)).or_default() += packets;
            for rule in &outcome.passed {
                *metrics.passed.entry(rule.to_string()).or_default() += packets;
            }
            for rule in &outcome.logged {
                *metrics.logged.entry(rule.to_string()).or_default() += packets;
            }
        }
        metrics
    }

    /// Reads the counters, so that those of elements that are about to go are not lost.
    pub(super) fn count_before_removal(&mut self) {
        if !self.in_force {
            return;
        }
        let table = TableId::inet(TABLE);
        for named in [Named::Allow, Named::Deny] {
            let set = self.compiler.set(named);
            let counters = match self.nft.counters(&table, &set) {
                Ok(counters) => counters,
                Err(error) => {
                    // A table that is gone has none.
                    tracing::debug!(%error, "cannot read counters");
                    continue;
                }
            };
            for (key, counter) in counters {
                let ElementKey::Exact(key) = key else {
                    continue;
                };
                let [NftValue::ClassId(number)] = key.0[..] else {
                    continue;
                };
                let Some(id) = ocicat_compile::outcome_of(number) else {
                    continue;
                };
                if let Some(outcome) = self.compiler.outcome(id) {
                    self.counted.note(id, outcome, counter.packets);
                }
            }
        }
    }
}

pub(super) fn log_problem(object: &ObjectKey, problem: &Problem) {
    let Problem { field, message, .. } = problem;
    // A selector's error points into its text on lines of their own.
    let message = one_line(message);
    if problem.is_error() {
        tracing::error!(%object, field, "{message}");
    } else {
        tracing::warn!(%object, field, "{message}");
    }
}

/// A line of the log is one line.
fn one_line(message: &str) -> String {
    let lines = message.lines().map(str::trim);
    let words: Vec<&str> = lines
        .filter(|line| line.contains(char::is_alphanumeric))
        .collect();
    words.join(" | ")
}

fn text_of(problem: &Problem) -> FieldProblem {
    let Problem {
        severity,
        field,
        message,
    } = problem.clone();
    FieldProblem {
        severity,
        field,
        message,
    }
}

fn decider_text(decider: &Decider) -> String {
    match decider {
        Decider::Rule(rule) | Decider::Undetermined(rule) => RuleRef::to_string(rule),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_is_one_line() {
        let message =
            "column 20: expected '=='\n    app == 'a' && tier = 'b'\n                       ^";
        assert_eq!(
            one_line(message),
            "column 20: expected '==' | app == 'a' && tier = 'b'"
        );
    }
}

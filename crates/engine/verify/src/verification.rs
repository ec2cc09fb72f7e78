//! Everything that endpoints can send and receive, against the tables.

mod hosts;
mod judged;
mod outside;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ocicat_compile::{Config, Epoch, Named};
use ocicat_node::{Attachment, EndpointId, NodeState, StackId};
use ocicat_program::nft::{ElementKey, Key, Ruleset, Value, Verdict};
use rustc_hash::FxHashSet;

use crate::Unsupported;
use crate::packets::{IpFamily, Packets};
use crate::run::Run;
use crate::tables::Tables;
use task::{Task, tasks};

pub use hosts::host_links;

/// Differences that are kept; more are only counted.
const NAMED: usize = 100;

/// What is compared.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The table as it was read back.
    pub ruleset: &'a Ruleset,
    pub state: &'a NodeState,
    pub config: &'a Config,
    /// Interfaces that have a host endpoint by name or by address.
    pub links: &'a BTreeMap<String, EndpointId>,
    pub numbering: Numbering,
}

/// How the kernel's numbers of outcomes are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbering {
    /// They are those of the tables.
    Same,
    /// The tables were calculated anew: outcomes are told apart by the words that stand beside them in
    /// the kernel.
    Fresh,
}

/// An endpoint on its interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    pub endpoint: EndpointId,
    pub attachment: Attachment,
}

/// What was checked and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Attached endpoints.
    pub endpoints: usize,
    /// Addresses of them in a direction, each with all that it can send or receive.
    pub directions: usize,
    /// Of the tables, that judge any of these.
    pub stacks: usize,
    pub classes: usize,
    /// Parts of the packets of a stack and class in which the tables answer alike: ports, types and codes,
    /// protocols. Every one was decided by the program.
    pub cells: u64,
    /// Stages of host endpoints, each at one interface with the packets of some near addresses.
    pub stages: usize,
    /// Pairs of local addresses, judged on both sides.
    pub pairs: usize,
    /// Questions besides: forged sources, unknown interfaces, packets to the host, ended connections.
    pub questions: usize,
    /// The first differences, in words.
    pub differences: Vec<String>,
    /// All of them.
    pub differing: u64,
}

/// A comparison in steps, so that its work can be spread over time.
pub struct Verification<'a> {
    subject: Subject<'a>,
    attached: Vec<Attached>,
    links: Vec<hosts::Link<'a>>,
    run: Run<'a>,
    tables: Tables<'a>,
    tasks: Vec<Task>,
    /// All packets of each family. Their sets are shared, so that what is known of them is found again.
    whole: [Packets; 2],
    stacks: BTreeSet<StackId>,
    agreed: FxHashSet<judged::Agreement>,
    report: Report,
}

impl<'a> Verification<'a> {
    /// Prepares a comparison for these endpoints.
    #[must_use]
    pub fn new(subject: Subject<'a>, attached: Vec<Attached>) -> Self {
        let mut tasks = tasks(&attached, subject.state);
        let mut tables = Tables::new(subject.state);
        let links = hosts::links(&subject);
        tasks.extend(hosts::tasks(&links, subject.ruleset, &mut tables));
        let classes: BTreeSet<_> = subject.state.classes.values().collect();
        let report = Report {
            endpoints: attached.len(),
            classes: classes.len(),
            ..Report::default()
        };
        Self {
            run: Run::new(subject.ruleset),
            tables,
            links,
            subject,
            attached,
            tasks,
            whole: [IpFamily::V4, IpFamily::V6].map(|family| Packets::all(family, "", "")),
            stacks: BTreeSet::new(),
            agreed: FxHashSet::default(),
            report,
        }
    }

    /// How many steps there are.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.tasks.len()
    }

    /// Does one of them, counted from 0. Others need not have been done.
    pub fn step(&mut self, number: usize) {
        let Some(task) = self.tasks.get(number).copied() else {
            return;
        };
        if let Err(error) = self.check(task) {
            let what = self.said(task);
            self.differ(format!("{what}: {error}"));
        }
    }

    /// Does all of them.
    #[must_use]
    pub fn complete(mut self) -> Report {
        for number in 0..self.steps() {
            self.step(number);
        }
        self.report()
    }

    /// What the steps so far have found.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            stacks: self.stacks.len(),
            ..self.report.clone()
        }
    }

    fn all(&self, family: IpFamily, iif: &str, oif: &str) -> Packets {
        let whole = match family {
            IpFamily::V4 => &self.whole[0],
            IpFamily::V6 => &self.whole[1],
        };
        whole.between(iif, oif)
    }

    fn differ(&mut self, difference: String) {
        self.report.differing += 1;
        if self.report.differences.len() < NAMED {
            self.report.differences.push(difference);
        }
    }
}

/// The endpoints that a table has on its interfaces, by what stands beside its elements. For who does
/// not know them by himself.
#[must_use]
pub fn attached(ruleset: &Ruleset) -> Vec<Attached> {
    let Some(epoch) = epoch(ruleset) else {
        return Vec::new();
    };
    let mut found: BTreeMap<EndpointId, Attachment> = BTreeMap::new();
    for named in [Named::SourceMac, Named::Source4, Named::Source6] {
        let set = ruleset.sets.get(&named.name(epoch));
        for element in set.iter().flat_map(|set| &set.elements) {
            let (ElementKey::Exact(Key(values)), Some(comment)) = (&element.key, &element.comment)
            else {
                continue;
            };
            let [Value::IfName(interface), Value::EtherAddr(mac), rest @ ..] = &values[..] else {
                continue;
            };
            let attachment = found
                .entry(comment.as_str().into())
                .or_insert_with(|| Attachment {
                    interface: interface.to_string(),
                    mac: *mac,
                    addresses: Vec::new(),
                });
            attachment
                .addresses
                .extend(rest.iter().filter_map(|value| match value {
                    Value::Ipv4Addr(address) => Some(IpAddr::V4(*address)),
                    Value::Ipv6Addr(address) => Some(IpAddr::V6(*address)),
                    _ => None,
                }));
        }
    }
    let attached = found.into_iter();
    attached
        .map(|(endpoint, attachment)| Attached {
            endpoint,
            attachment,
        })
        .collect()
}

/// The epoch that the base chains lead to.
fn epoch(ruleset: &Ruleset) -> Option<Epoch> {
    let rules = &ruleset.chains.get("forward")?.rules;
    let expressions = rules.iter().flat_map(|rule| &rule.rule.expressions);
    expressions.rev().find_map(|expression| match expression {
        ocicat_program::nft::Expression::Verdict(Verdict::Goto(to) | Verdict::Jump(to)) => {
            Epoch::of_name(to)
        }
        _ => None,
    })
}

type Checked = Result<(), Unsupported>;

//! The state of the program in force, and the operations that change it.

mod drift;
mod garbage;
mod host;
mod moves;
mod plan;
mod rows;
mod update;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ocicat_flow::{Outcome, Verdict as FlowVerdict};
use ocicat_node::{
    Attachment, ClassId, EndpointId, EndpointPolicy, OutcomeId, ServiceMatch, StackId,
};
use ocicat_program::nft::{Element, Op, Ruleset, Transaction, Value, Verdict};

use crate::Config;
use crate::cells::Lists;
use crate::endpoint;
use crate::intervals::Intervals;
use crate::layout::{self, Epoch, Named, RowNumber};
use crate::prefixes::Prefixes;
use crate::skeleton;
use crate::stack::{self, ClassRows, StackNumber};
use garbage::Garbage;
use host::Hosts;
use rows::Rows;

/// A change in two transactions, to be committed one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Update {
    /// New chains, which nothing leads to yet. Often empty: then there is nothing to commit first.
    pub prepare: Vec<Op>,
    /// Everything else.
    pub apply: Vec<Op>,
    /// These transactions would give some packet in flight a verdict that neither the old nor the
    /// new state gives. Commit [`Compiler::install`] instead, which is safe whatever changes.
    pub replace: bool,
}

impl Update {
    /// The transactions that are not empty, in order.
    pub fn transactions(self) -> impl Iterator<Item = Transaction> {
        let steps = [self.prepare, self.apply]
            .into_iter()
            .filter(|ops| !ops.is_empty());
        steps.map(|ops| Transaction {
            table: layout::table(),
            ops,
        })
    }
}

/// What the kernel holds, so that a change costs what it changes.
///
/// If the kernel refuses a transaction, the compiler is ahead of it: make it right with
/// [`Compiler::install`].
#[derive(Debug)]
pub struct Compiler {
    config: Config,
    epoch: Epoch,
    prefixes: Prefixes,
    outcomes: BTreeMap<OutcomeId, Arc<Outcome>>,
    rows: Rows,
    stacks: BTreeMap<StackId, InstalledStack>,
    endpoints: BTreeMap<EndpointId, InstalledEndpoint>,
    hosts: Hosts,
    intervals: Intervals,
    next_stack: u32,
    largest_id: u32,
    garbage: Garbage,
}

#[derive(Debug)]
struct InstalledStack {
    number: StackNumber,
    default_row: RowNumber,
    rows: ClassRows,
    /// Elements of its map in the kernel, garbage included, and for how many there is room.
    held: usize,
    capacity: usize,
}

impl InstalledStack {
    fn new(number: StackNumber, default_row: RowNumber, rows: ClassRows) -> Self {
        let mut installed = Self {
            number,
            default_row,
            rows,
            held: 0,
            capacity: 0,
        };
        installed.made();
        installed
    }

    /// The map was made anew with the rows of the stack.
    fn made(&mut self) {
        self.held = self.rows.len();
        self.capacity = stack::capacity(self.held) as usize;
    }

    fn make(&self, epoch: Epoch) -> Vec<Op> {
        self.number.make(epoch, self.default_row, &self.rows)
    }

    /// The row of a class.
    fn row(&self, class: ClassId) -> RowNumber {
        self.rows.get(&class).copied().unwrap_or(self.default_row)
    }
}

#[derive(Debug, Default)]
struct InstalledEndpoint {
    policy: Option<EndpointPolicy>,
    attachment: Option<Attachment>,
    elements: Vec<(Named, Element)>,
}

impl Compiler {
    /// A compiler for a kernel in which nothing is in force yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            epoch: Epoch::B,
            prefixes: Prefixes::default(),
            outcomes: BTreeMap::new(),
            rows: Rows::default(),
            stacks: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            hosts: Hosts::default(),
            intervals: Intervals::default(),
            next_stack: 0,
            largest_id: 0,
            garbage: Garbage::default(),
        }
    }

    /// The transaction that puts the whole program beside the one in force and turns over to it.
    /// `found` is the table as the kernel has it, if there is one. Afterwards and after a grace
    /// period, [`Compiler::sweep`] gives the transaction that removes the other program.
    #[must_use]
    pub fn install(&mut self, found: Option<&Ruleset>) -> Transaction {
        let in_force = found.and_then(epoch_in_force);
        self.epoch = in_force.unwrap_or(Epoch::B).other();
        // It stays behind in the other program.
        let _ = self.collect();
        self.stacks.values_mut().for_each(InstalledStack::made);
        self.name_endpoints();
        self.name_links();
        let with_hosts = self.has_hosts();
        let mut transaction = Transaction::new(layout::table());
        transaction.push(Op::AddTable {
            comment: Some("layout 1".into()),
        });
        // A start that was cut short may have left a part of this epoch behind.
        transaction.ops.extend(
            found
                .into_iter()
                .flat_map(|found| remove(found, self.epoch)),
        );
        transaction.ops.extend(skeleton::base_chains(with_hosts));
        transaction.ops.extend(self.program());
        transaction
            .ops
            .extend(skeleton::turn_over(self.epoch, &self.config, with_hosts));
        transaction.ops.extend(
            found
                .into_iter()
                .flat_map(|found| skeleton::drop_base_chains(with_hosts, found)),
        );
        transaction
    }

    /// Changes what can be chosen. Returns whether it is another configuration: then
    /// [`Compiler::install`] must follow.
    pub fn configure(&mut self, config: Config) -> bool {
        let is_other = self.config != config;
        self.config = config;
        if is_other {
            self.hosts.is_stale = true;
        }
        is_other
    }

    /// How many base chains the table has.
    #[must_use]
    pub fn base_chains(&self) -> usize {
        skeleton::count_base_chains(self.has_hosts())
    }

    /// The transaction that removes everything of `found` that is not of the epoch in force.
    #[must_use]
    pub fn sweep(&self, found: &Ruleset) -> Transaction {
        let mut transaction = Transaction::new(layout::table());
        transaction.ops = remove(found, self.epoch.other());
        transaction
    }

    /// Everything of this epoch but the base chains.
    fn program(&self) -> Vec<Op> {
        let epoch = self.epoch;
        let mut ops: Vec<Op> = skeleton::sets(epoch).collect();
        let mut elements = Lists::new(epoch);
        for (number, placed) in self.rows.iter() {
            elements.row(number, &placed.row, &placed.subrows);
        }
        ops.extend(skeleton::chains(epoch, &self.config));
        for (id, outcome) in &self.outcomes {
            let Update { prepare, apply, .. } = self.outcome_ops(*id, outcome);
            ops.extend(prepare.into_iter().chain(apply));
        }
        ops.extend(elements.add());
        ops.extend(self.intervals.program(epoch));
        ops.extend(self.prefixes.program(epoch));
        for installed in self.stacks.values() {
            ops.extend(installed.make(epoch));
        }
        ops.extend(self.host_program(epoch));
        let endpoints = self
            .endpoints
            .values()
            .flat_map(|endpoint| &endpoint.elements);
        let mut elements: BTreeMap<Named, Vec<Element>> = BTreeMap::new();
        for (named, element) in endpoints {
            elements.entry(*named).or_default().push(element.clone());
        }
        ops.extend(elements.into_iter().map(|(named, e)| add(named, epoch, e)));
        ops
    }

    /// Writes the names of the epoch into the elements of all endpoints.
    fn name_endpoints(&mut self) {
        let mut endpoints = std::mem::take(&mut self.endpoints);
        for (id, endpoint) in &mut endpoints {
            endpoint.elements = self.endpoint_elements(id, endpoint);
        }
        self.endpoints = endpoints;
    }

    fn endpoint_elements(&self, id: &str, e: &InstalledEndpoint) -> Vec<(Named, Element)> {
        endpoint::elements(
            id,
            e.attachment.as_ref(),
            e.policy.as_ref(),
            &self.config,
            self.epoch,
            |stack| self.stacks.get(&stack).map(|installed| installed.number),
        )
    }

    /// An outcome's element, with what its verdict needs.
    fn outcome_ops(&self, id: OutcomeId, outcome: &Outcome) -> Update {
        let (epoch, key) = (self.epoch, layout::outcome(id));
        let element = Element::new(key.clone()).comment(outcome.to_string());
        if outcome.verdict == FlowVerdict::Deny {
            let mark = Element::new(key).value(Value::Mark(layout::kernel_outcome(id)));
            let log = Verdict::Goto(epoch.name("deny_log"));
            let marks = add(Named::DenyMark, epoch, vec![mark]);
            let denies = add(Named::Deny, epoch, vec![element.verdict(log)]);
            return Update {
                apply: vec![marks, denies],
                ..Update::default()
            };
        }
        // A stage of which no policy decided leaves no number.
        let next = (outcome.verdict == FlowVerdict::Next).then(|| epoch.name("next"));
        if outcome.logged.is_empty() {
            let verdict = next.map_or(Verdict::Return, Verdict::Goto);
            return Update {
                apply: vec![add(Named::Allow, epoch, vec![element.verdict(verdict)])],
                ..Update::default()
            };
        }
        let chain = epoch.numbered("log", id.0);
        let number = layout::kernel_outcome(id);
        let prepare = skeleton::log_chain(&chain, number, &self.config, next);
        let allows = add(
            Named::Allow,
            epoch,
            vec![element.verdict(Verdict::Goto(chain))],
        );
        Update {
            prepare,
            apply: vec![allows],
            replace: false,
        }
    }

    /// The epoch in force.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The outcome of a number in force, or of one that may still be on its way in a log message.
    #[must_use]
    pub fn outcome(&self, id: OutcomeId) -> Option<&Arc<Outcome>> {
        self.outcomes.get(&id).or_else(|| self.garbage.outcome(id))
    }

    /// The class of an address by longest match.
    #[must_use]
    pub fn class_of(&self, address: IpAddr) -> Option<ClassId> {
        self.prefixes.class_of(address)
    }

    /// Whether the prefix has a class of its own.
    #[must_use]
    pub fn knows(&self, prefix: &ipnet::IpNet) -> bool {
        self.prefixes.get(prefix).is_some()
    }

    /// A map or set of the epoch in force.
    #[must_use]
    pub fn set(&self, named: Named) -> ocicat_program::nft::Set {
        skeleton::set(named, self.epoch)
    }

    /// What the program in force says of a packet at a stack.
    #[must_use]
    pub fn judge(&self, stack: StackId, far: IpAddr, service: &ServiceMatch) -> Option<&Outcome> {
        let row = self.stacks.get(&stack)?.row(self.class_of(far)?);
        let id = self.rows.get(row)?.row.outcome(service);
        self.outcomes.get(&id).map(AsRef::as_ref)
    }

    /// Endpoints that are attached, and what judges them.
    pub fn endpoints(
        &self,
    ) -> impl Iterator<Item = (&EndpointId, &Attachment, Option<&EndpointPolicy>)> {
        self.endpoints
            .iter()
            .filter_map(|(id, e)| Some((id, e.attachment.as_ref()?, e.policy.as_ref())))
    }

    /// Whether a number has grown beyond what the kernel's ranges hold: 134,217,727. The
    /// calculation must then start again from 0, with a new compiler.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.largest_id.max(self.rows.largest()) > layout::LARGEST_ID
    }

    /// Prefixes, stacks, rows and cells in force.
    #[must_use]
    pub fn size(&self) -> [usize; 4] {
        let cells = self
            .rows
            .iter()
            .map(|(_, placed)| placed.row.cell_count())
            .sum();
        [
            self.prefixes.len(),
            self.stacks.len(),
            self.rows.len(),
            cells,
        ]
    }
}

pub(crate) fn add(named: Named, epoch: Epoch, elements: Vec<Element>) -> Op {
    Op::AddElements {
        set: skeleton::set(named, epoch).id(),
        elements,
    }
}

pub(crate) fn delete(named: Named, epoch: Epoch, elements: Vec<Element>) -> Op {
    Op::DelElements {
        set: skeleton::set(named, epoch).id(),
        elements,
    }
}

/// The epoch that the base chains lead to.
fn epoch_in_force(found: &Ruleset) -> Option<Epoch> {
    let rules = &found.chains.get("forward")?.rules;
    rules
        .iter()
        .flat_map(|installed| &installed.rule.expressions)
        .find_map(|expression| match expression {
            ocicat_program::nft::Expression::Verdict(
                Verdict::Goto(chain) | Verdict::Jump(chain),
            ) => Epoch::of_name(chain),
            _ => None,
        })
}

/// Empties and deletes every chain and set of an epoch: first what refers, then what is referred
/// to.
fn remove(found: &Ruleset, epoch: Epoch) -> Vec<Op> {
    let of_epoch = |name: &&String| Epoch::of_name(name) == Some(epoch);
    let chains = || found.chains.keys().filter(of_epoch).cloned();
    let sets = || found.sets.keys().filter(of_epoch).cloned();
    let mut ops: Vec<Op> = chains().map(Op::FlushChain).collect();
    ops.extend(sets().map(Op::FlushSet));
    ops.extend(sets().map(Op::DelSet));
    ops.extend(chains().map(Op::DelChain));
    ops
}

#[cfg(test)]
mod tests;

//! From a delta to operations that are safe in one commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use ocicat_flow::{Direction, Outcome};
use ocicat_node::{
    Attachment, Change, ClassId, EndpointId, EndpointPolicy, HostEndpoint, OutcomeId, Row, RowId,
    StackId,
};
use ocicat_program::nft::{Numbers, Op};

use super::garbage::LeftStack;
use super::host::Handover;
use super::moves::{Moves, users};
use super::plan::{Bridge, Plan, Planner};
use super::rows::Stays;
use super::{Compiler, InstalledStack, Update, add, delete};
use crate::layout::RowNumber;
use crate::stack::{self, ClassRows, StackNumber};

/// A delta, sorted by what it is about.
#[derive(Default)]
pub(super) struct Sorted<'a> {
    pub(super) classes: Vec<(IpNet, Option<ClassId>)>,
    outcomes: Vec<(OutcomeId, Option<&'a Arc<Outcome>>)>,
    pub(super) rows: Vec<(RowId, Option<&'a Arc<Row>>)>,
    pub(super) stacks: BTreeMap<StackId, StackChange<'a>>,
    pub(super) endpoints: BTreeMap<&'a EndpointId, Option<&'a EndpointPolicy>>,
    pub(super) hosts: BTreeMap<&'a EndpointId, Option<&'a Arc<HostEndpoint>>>,
}

impl Sorted<'_> {
    fn largest_id(&self) -> u32 {
        let classes = self
            .classes
            .iter()
            .filter_map(|(_, class)| Some(class.as_ref()?.0));
        let outcomes = self.outcomes.iter().map(|(id, _)| id.0);
        classes.chain(outcomes).max().unwrap_or(0)
    }
}

#[derive(Default)]
pub(super) struct StackChange<'a> {
    pub(super) set: Option<(Direction, RowId)>,
    pub(super) removed: bool,
    /// The rows of many classes, sorted; before `rows`.
    pub(super) many: &'a [(ClassId, RowId)],
    /// Sorted, each class once.
    pub(super) rows: Vec<(ClassId, Option<RowId>)>,
}

impl StackChange<'_> {
    /// Writes `many` as `rows`.
    fn spread(&mut self) {
        let many = std::mem::take(&mut self.many);
        if !many.is_empty() {
            let later = std::mem::take(&mut self.rows);
            self.rows = many
                .iter()
                .map(|(class, row)| (*class, Some(*row)))
                .collect();
            self.rows.extend(later);
            last_of_each(&mut self.rows, |(class, _)| *class);
        }
    }
}

/// Sorts by key, and of equal keys keeps what came last.
fn last_of_each<T: Copy, K: Ord>(list: &mut Vec<T>, key: impl Fn(&T) -> K) {
    list.sort_by_key(&key);
    list.dedup_by(|later, kept| {
        let same = key(later) == key(kept);
        if same {
            *kept = *later;
        }
        same
    });
}

impl Compiler {
    /// The operations that bring the kernel from the state in force to the changed one. What is no
    /// longer used is kept for [`Compiler::collect`].
    #[must_use]
    pub fn update(
        &mut self,
        changes: &[Change],
        attachments: &[(EndpointId, Option<Attachment>)],
    ) -> Update {
        let mut sorted = sort(changes);
        self.largest_id = self.largest_id.max(sorted.largest_id());
        let mut update = Update::default();
        for (id, outcome) in &sorted.outcomes {
            self.update_outcome(*id, *outcome, &mut update);
        }
        for (id, row) in &sorted.rows {
            match row {
                Some(row) => self.rows.learn(*id, row),
                None => self.rows.forget(*id),
            }
        }
        let mut moves = Moves::before(&self.prefixes, &sorted);
        self.prefixes
            .change(self.epoch, &sorted.classes, &mut update.apply);
        moves.after(&self.prefixes, &sorted);
        let handovers = self.change_hosts(&sorted.hosts, &mut update);
        for (id, change) in &mut sorted.stacks {
            if self.stacks.contains_key(id) {
                change.spread();
            }
        }
        let plan = self.plan(&sorted, &moves, &handovers);
        update.replace |= plan.replace;
        let staying = self.staying(&sorted, &plan);
        self.change_cells(&staying, &mut update);
        for stays in staying {
            self.change_rows(stays, &moves, &mut update.apply);
        }
        for (id, change) in &sorted.stacks {
            self.update_stack(*id, change, &plan, &mut update);
        }
        for id in plan
            .left
            .keys()
            .filter(|id| !sorted.stacks.contains_key(*id))
        {
            self.rebuild_stack(*id, &StackChange::default(), &plan, &mut update);
        }
        self.place_rows(&mut update);
        let rebuilt: BTreeSet<StackId> = plan.left.into_keys().collect();
        self.update_endpoints(&sorted.endpoints, attachments, &rebuilt, &mut update.apply);
        self.update_hosts(&handovers, &moves, &mut update);
        update
    }

    /// What becomes of the stacks in force.
    fn plan(&self, sorted: &Sorted<'_>, moves: &Moves, handovers: &[Handover]) -> Plan {
        let users_change =
            !sorted.endpoints.is_empty() || handovers.iter().any(Handover::is_change);
        let may_mix = match sorted.classes.is_empty() {
            true => users_change && !sorted.stacks.is_empty(),
            false => {
                let asks = handovers.iter().any(Handover::asks_near);
                users_change || asks || !sorted.stacks.is_empty() || !moves.detours.is_empty()
            }
        };
        let users = match may_mix {
            true => users(&self.endpoints, handovers, sorted, (moves, &self.prefixes)),
            false => BTreeMap::new(),
        };
        let planner = Planner {
            stacks: &self.stacks,
            rows: &self.rows,
            sorted,
            prefixes: &self.prefixes,
            moves,
        };
        planner.plan(&users)
    }

    fn update_outcome(
        &mut self,
        id: OutcomeId,
        outcome: Option<&Arc<Outcome>>,
        update: &mut Update,
    ) {
        match outcome {
            Some(outcome) => {
                if self.outcomes.insert(id, outcome.clone()).is_none() {
                    let ops = self.outcome_ops(id, outcome);
                    update.prepare.extend(ops.prepare);
                    update.apply.extend(ops.apply);
                }
            }
            None => {
                if let Some(outcome) = self.outcomes.remove(&id) {
                    self.garbage.outcomes.insert(id, outcome);
                }
            }
        }
    }

    /// A stack that comes, goes or gets a fresh number.
    fn update_stack(
        &mut self,
        id: StackId,
        change: &StackChange<'_>,
        plan: &Plan,
        update: &mut Update,
    ) {
        if change.removed {
            if let Some(installed) = self.stacks.remove(&id) {
                self.leave_stack(&installed, plan.left.get(&id), update);
            }
        } else if !self.stacks.contains_key(&id) {
            self.new_stack(id, change, update);
        } else if plan.left.contains_key(&id) {
            self.rebuild_stack(id, change, plan, update);
        }
    }

    fn new_stack(&mut self, id: StackId, change: &StackChange<'_>, update: &mut Update) {
        let Some((direction, default_row)) = change.set else {
            return;
        };
        let many = change.many.iter();
        let many = many.map(|(class, row)| (*class, self.rows.hold(*row)));
        let mut rows: ClassRows = many.collect();
        self.set_rows(&mut rows, &change.rows);
        let default_row = self.rows.hold(default_row);
        self.make_stack(id, direction, default_row, rows, update);
    }

    /// Builds the stack under a fresh number.
    fn rebuild_stack(
        &mut self,
        id: StackId,
        change: &StackChange<'_>,
        plan: &Plan,
        update: &mut Update,
    ) {
        let Some(old) = self.stacks.remove(&id) else {
            return;
        };
        let mut rows = old.rows.clone();
        rows.values().for_each(|row| self.rows.hold_again(*row));
        self.set_rows(&mut rows, &change.rows);
        let default_row = match change.set {
            Some((_, row)) => self.rows.hold(row),
            None => {
                self.rows.hold_again(old.default_row);
                old.default_row
            }
        };
        self.leave_stack(&old, plan.left.get(&id), update);
        self.make_stack(id, old.number.direction, default_row, rows, update);
    }

    fn make_stack(
        &mut self,
        id: StackId,
        direction: Direction,
        default_row: RowNumber,
        rows: ClassRows,
        update: &mut Update,
    ) {
        let number = self.fresh_number(direction);
        let installed = InstalledStack::new(number, default_row, rows);
        update.prepare.extend(installed.make(self.epoch));
        self.stacks.insert(id, installed);
    }

    /// Leads classes to rows, in a map that the kernel does not have yet.
    fn set_rows(&mut self, rows: &mut ClassRows, changes: &[(ClassId, Option<RowId>)]) {
        for (class, row) in changes {
            let old = match row {
                Some(row) => rows.insert(*class, self.rows.hold(*row)),
                None => rows.remove(class),
            };
            old.into_iter().for_each(|row| self.rows.release(row));
        }
    }

    /// Nothing leads to the chain any more, but packets may be inside.
    fn leave_stack(&mut self, old: &InstalledStack, bridge: Option<&Bridge>, update: &mut Update) {
        let mut rows: Vec<RowNumber> = old.rows.values().copied().collect();
        rows.push(old.default_row);
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        for (class, row) in bridge.into_iter().flatten() {
            let row = self.rows.hold(*row);
            rows.push(row);
            pairs.push(stack::pair(*class, row));
        }
        if !pairs.is_empty() {
            let numbers = Numbers::pairs(old.number.rows(self.epoch), pairs);
            update.apply.push(Op::AddNumbers(numbers));
        }
        let number = old.number;
        self.garbage.stacks.push(LeftStack { number, rows });
    }

    fn change_rows(&mut self, stays: Stays<'_>, moves: &Moves, ops: &mut Vec<Op>) {
        let Some(installed) = self.stacks.get_mut(&stays.id) else {
            return;
        };
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        for ((class, row), old) in stays.rows.iter().zip(stays.before) {
            if old.and_then(|old| self.rows.id(old)) == *row {
                continue;
            }
            let new = row.map(|row| self.rows.hold(row));
            match new {
                Some(new) => installed.rows.insert(*class, new),
                None => installed.rows.remove(class),
            };
            let is_vacant = || self.prefixes.is_vacant(*class) && !moves.vacant.contains(class);
            let dead = row.is_none() && is_vacant();
            if let Some(old) = old {
                if dead {
                    self.garbage.classes.push((installed.number, *class, old));
                } else {
                    self.rows.release(old);
                    gone.push(stack::pair(*class, old));
                }
            }
            come.extend(new.map(|new| stack::pair(*class, new)));
        }
        installed.held = installed.held + come.len() - gone.len();
        let map = installed.number.rows(self.epoch);
        if !gone.is_empty() {
            ops.push(Op::DelNumbers(Numbers::pairs(&map, gone)));
        }
        if !come.is_empty() {
            ops.push(Op::AddNumbers(Numbers::pairs(map, come)));
        }
    }

    fn update_endpoints(
        &mut self,
        policies: &BTreeMap<&EndpointId, Option<&EndpointPolicy>>,
        attachments: &[(EndpointId, Option<Attachment>)],
        rebuilt: &BTreeSet<StackId>,
        ops: &mut Vec<Op>,
    ) {
        let mut touched: BTreeSet<EndpointId> = BTreeSet::new();
        for (id, policy) in policies {
            self.endpoints.entry((*id).clone()).or_default().policy = policy.cloned();
            touched.insert((*id).clone());
        }
        for (id, attachment) in attachments {
            self.endpoints
                .entry(id.clone())
                .or_default()
                .attachment
                .clone_from(attachment);
            touched.insert(id.clone());
        }
        if !rebuilt.is_empty() {
            let uses = |policy: &EndpointPolicy| {
                policy.addresses.iter().any(|local| {
                    rebuilt.contains(&local.ingress) || rebuilt.contains(&local.egress)
                })
            };
            let users = self
                .endpoints
                .iter()
                .filter(|(_, e)| e.policy.as_ref().is_some_and(uses));
            touched.extend(users.map(|(id, _)| id.clone()));
        }
        let (mut gone, mut come): (BTreeMap<_, Vec<_>>, BTreeMap<_, Vec<_>>) = Default::default();
        for id in touched {
            let Some(endpoint) = self.endpoints.get(&id) else {
                continue;
            };
            let elements = self.endpoint_elements(&id, endpoint);
            let Some(endpoint) = self.endpoints.get_mut(&id) else {
                continue;
            };
            let old = std::mem::replace(&mut endpoint.elements, elements);
            for pair in old.iter().filter(|pair| !endpoint.elements.contains(pair)) {
                gone.entry(pair.0).or_default().push(pair.1.clone());
            }
            for pair in endpoint.elements.iter().filter(|pair| !old.contains(pair)) {
                come.entry(pair.0).or_default().push(pair.1.clone());
            }
            if endpoint.policy.is_none() && endpoint.attachment.is_none() {
                self.endpoints.remove(&id);
            }
        }
        ops.extend(
            gone.into_iter()
                .map(|(named, e)| delete(named, self.epoch, e)),
        );
        ops.extend(come.into_iter().map(|(named, e)| add(named, self.epoch, e)));
    }

    fn fresh_number(&mut self, direction: Direction) -> StackNumber {
        let number = self.next_stack;
        self.next_stack += 1;
        StackNumber { direction, number }
    }
}

fn sort(changes: &[Change]) -> Sorted<'_> {
    let mut sorted = Sorted::default();
    let mut rows: Vec<(StackId, ClassId, Option<RowId>)> = Vec::new();
    for change in changes {
        match change {
            Change::Class(prefix, class) => sorted.classes.push((*prefix, *class)),
            Change::Outcome(id, outcome) => sorted.outcomes.push((*id, outcome.as_ref())),
            Change::Row(id, row) => sorted.rows.push((*id, row.as_ref())),
            Change::Stack(id, direction, row) => {
                sorted.stacks.entry(*id).or_default().set = Some((*direction, *row));
            }
            Change::StackRemoved(id) => sorted.stacks.entry(*id).or_default().removed = true,
            Change::StackRow(id, class, row) => {
                rows.push((*id, *class, *row));
            }
            Change::StackRows(id, many) => {
                let change = sorted.stacks.entry(*id).or_default();
                if change.many.is_empty() && rows.iter().all(|(stack, ..)| stack != id) {
                    change.many = many;
                } else {
                    rows.extend(many.iter().map(|(class, row)| (*id, *class, Some(*row))));
                }
            }
            Change::Endpoint(id, policy) => {
                sorted.endpoints.insert(id, policy.as_ref());
            }
            Change::HostEndpoint(id, endpoint) => {
                sorted.hosts.insert(id, endpoint.as_ref());
            }
        }
    }
    last_of_each(&mut sorted.classes, |(prefix, _)| *prefix);
    last_of_each(&mut rows, |(stack, class, _)| (*stack, *class));
    for of_stack in rows.chunk_by(|a, b| a.0 == b.0) {
        let rows = of_stack.iter().map(|(_, class, row)| (*class, *row));
        let change = sorted.stacks.entry(of_stack[0].0).or_default();
        change.rows = rows.collect();
    }
    sorted
}

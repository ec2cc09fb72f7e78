//! Telling what a commit changed, in an order that is safe to follow.

use std::collections::BTreeSet;
use std::sync::Arc;

use ipnet::IpNet;
use ocicat_api::{Kind, ObjectKey};
use ocicat_node::{Change, ClassId, EndpointId, EndpointPolicy, LocalAddress, NodeDelta};

use crate::Engine;
use crate::class::ClassChanges;
use crate::local::Local;
use crate::slab::{KindId, StackIndex};
use crate::status::PolicyReport;

/// What a commit changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Commit {
    /// All changes. A number never refers to something that is not there yet.
    pub delta: NodeDelta,
    /// Where the second and third part of `delta` begin: see [`Commit::steps`].
    pub barriers: [usize; 2],
    /// Of each policy that fares differently than before.
    pub reports: Vec<PolicyReport>,
    /// Policies that are gone.
    pub removed: Vec<ObjectKey>,
}

impl Commit {
    /// The delta in three parts. Applied one after the other, with time between them for packets
    /// in flight, no packet gets a verdict that neither the old nor the new state gives:
    ///
    /// 1. what is new, and addresses and endpoints that move to other numbers;
    /// 2. numbers that keep their holders and change their meaning, and tables that forget
    ///    numbers nobody has any more;
    /// 3. stacks, rows and outcomes that nothing refers to.
    #[must_use]
    pub fn steps(&self) -> [&[Change]; 3] {
        let [second, third] = self.barriers;
        [&self.delta[..second], &self.delta[second..third], &self.delta[third..]]
    }
}

/// The number outside of an endpoint: `pod/shop/web-1`, `wep/office/printer`.
#[must_use]
pub fn endpoint_id(key: &ObjectKey) -> EndpointId {
    let kind = if key.kind == Kind::Pod { "pod" } else { "wep" };
    let namespace = key.namespace.as_deref().unwrap_or_default();
    format!("{kind}/{namespace}/{}", key.name).into()
}

impl Engine {
    pub(crate) fn tell(&mut self, changes: &ClassChanges) -> Commit {
        let dead_rows = self.rows.take_dead(&mut self.outcomes);
        let mut delta = NodeDelta::new();
        let outcomes = self.outcomes.take_fresh().into_iter();
        delta.extend(outcomes.map(|(id, outcome)| Change::Outcome(id, Some(outcome))));
        let rows = self.rows.take_fresh().into_iter();
        delta.extend(rows.map(|(id, row)| Change::Row(id, Some(row))));
        for index in self.stacks.fresh.clone() {
            self.tell_new_stack(&mut delta, index);
        }
        let tables: BTreeSet<StackIndex> = std::mem::take(&mut self.touched_tables);
        let fresh: Vec<ClassId> = (changes.changed.iter())
            .filter(|changed| changed.origin != Some(changed.class))
            .map(|changed| changed.class)
            .collect();
        let standing: Vec<StackIndex> = (tables.iter().copied())
            .filter(|index| !self.stacks.fresh.contains(index))
            .filter(|index| self.stacks.items.get(*index).is_some())
            .collect();
        for index in &standing {
            self.tell_new_classes(&mut delta, *index, &fresh);
        }
        self.tell_addresses(&mut delta, changes);
        self.tell_endpoints(&mut delta);
        let second = delta.len();
        for index in &standing {
            self.tell_rows(&mut delta, *index, &fresh);
        }
        for index in tables {
            if let Some(stack) = self.stacks.items.get_mut(index) {
                stack.table.told = crate::stack::Told::default();
            }
        }
        let third = delta.len();
        delta.extend(self.gone_stacks.drain(..).map(Change::StackRemoved));
        delta.extend(dead_rows.into_iter().map(|row| Change::Row(row, None)));
        let dead = self.outcomes.take_dead().into_iter();
        delta.extend(dead.map(|outcome| Change::Outcome(outcome, None)));
        let (reports, removed) = self.take_reports();
        Commit { delta, barriers: [second, third], reports, removed }
    }

    fn tell_new_stack(&self, delta: &mut NodeDelta, index: StackIndex) {
        let Some(stack) = self.stacks.items.get(index) else { return };
        let Some(default_row) = stack.table.default_row else { return };
        delta.push(Change::Stack(stack.id, stack.key.direction, default_row));
        let rows = stack.table.rows.iter();
        delta.extend(rows.map(|(class, row)| Change::StackRow(stack.id, *class, Some(*row))));
    }

    /// Rows of new classes, against the default row that the table was last said to have.
    fn tell_new_classes(&self, delta: &mut NodeDelta, index: StackIndex, fresh: &[ClassId]) {
        let stack = &self.stacks.items[index];
        let table = &stack.table;
        let told_default = table.told.default_row.or(table.default_row);
        for class in fresh {
            let row = table.row_of(*class).filter(|row| Some(*row) != told_default);
            delta.extend(row.map(|row| Change::StackRow(stack.id, *class, Some(row))));
        }
    }

    /// The default row, and rows of classes that were there before or are no longer.
    fn tell_rows(&self, delta: &mut NodeDelta, index: StackIndex, fresh: &[ClassId]) {
        let stack = &self.stacks.items[index];
        let table = &stack.table;
        let told_default = table.told.default_row.or(table.default_row);
        let new_default = table.default_row.filter(|row| Some(*row) != told_default);
        if let Some(row) = new_default {
            delta.push(Change::Stack(stack.id, stack.key.direction, row));
        }
        for (class, told) in &table.told.rows {
            let own = table.own_row_of(*class);
            if own != *told && fresh.binary_search(class).is_err() {
                delta.push(Change::StackRow(stack.id, *class, own));
            }
        }
        for class in fresh.iter().filter(|_| new_default.is_some()) {
            let (own, row) = (table.own_row_of(*class), table.row_of(*class));
            let told = row.filter(|row| Some(*row) != told_default);
            if own != told {
                delta.push(Change::StackRow(stack.id, *class, own));
            }
        }
    }

    fn tell_addresses(&mut self, delta: &mut NodeDelta, changes: &ClassChanges) {
        let space = &mut self.space;
        let slots = std::mem::take(&mut space.moved_slots);
        let class_of = |kinds: &crate::slab::Slab<KindId, crate::space::Kind>, kind: KindId| {
            kinds[kind].class.expect("every kind has a class once classes are settled")
        };
        let members = changes.moved.iter().filter_map(|kind| space.kind_items.get(*kind));
        let members: Vec<_> = members.flat_map(|kind| kind.members.iter().copied()).collect();
        for id in slots.into_iter().chain(members) {
            let Some(slot) = space.slots.items.get_mut(id) else { continue };
            let Some(kind) = slot.kind else { continue };
            let class = class_of(&space.kind_items, kind);
            if slot.emitted != Some(class) {
                slot.emitted = Some(class);
                delta.push(Change::Class(IpNet::from(slot.address), Some(class)));
            }
        }
        for id in &changes.moved {
            let Some(kind) = space.kind_items.get(*id).filter(|kind| kind.of_region) else { continue };
            let class = class_of(&space.kind_items, *id);
            let region = &mut space.regions.items[kind.key.region];
            if region.emitted != Some(class) {
                region.emitted = Some(class);
                delta.push(Change::Class(region.prefix, Some(class)));
            }
        }
        let mut vacated: Vec<IpNet> = space.vacated.drain().map(|(prefix, _)| prefix).collect();
        vacated.sort_unstable();
        delta.extend(vacated.into_iter().map(|prefix| Change::Class(prefix, None)));
    }

    fn tell_endpoints(&mut self, delta: &mut NodeDelta) {
        let mut removed = Vec::new();
        let mut added = Vec::new();
        for entry in std::mem::take(&mut self.touched_endpoints) {
            let Some(key) = self.endpoints.items.get(entry).map(|entry| entry.key.clone()) else {
                continue;
            };
            let id = endpoint_id(&key);
            match self.locals.items.get(&entry) {
                Some(local) => added.push((id, self.endpoint_policy(local))),
                None => removed.push(id),
            }
        }
        // A name may have gone and come again within the commit.
        let again: BTreeSet<&EndpointId> = added.iter().map(|(id, _)| id).collect();
        removed.retain(|id| !again.contains(id));
        for id in removed {
            if self.told_endpoints.remove(&id).is_some() {
                delta.push(Change::Endpoint(id, None));
            }
        }
        for (id, policy) in added {
            if self.told_endpoints.get(&id).is_none_or(|told| **told != policy) {
                self.told_endpoints.insert(id.clone(), Arc::new(policy.clone()));
                delta.push(Change::Endpoint(id, Some(policy)));
            }
        }
    }

    fn endpoint_policy(&self, local: &Local) -> EndpointPolicy {
        let id = |stack: Option<StackIndex>| {
            let index = stack.expect("every local address has its stacks once endpoints moved");
            self.stacks.items[index].id
        };
        let addresses = local.addresses.iter().map(|address| LocalAddress {
            address: address.address,
            ingress: id(address.stacks[0]),
            egress: id(address.stacks[1]),
        });
        EndpointPolicy { addresses: addresses.collect() }
    }
}

//! Telling what a commit changed, in an order in which nothing refers to what is not there.

use std::collections::BTreeSet;
use std::sync::Arc;

use ipnet::IpNet;
use ocicat_api::{Kind, ObjectKey};
use ocicat_node::{Change, ClassId, EndpointId, EndpointPolicy, LocalAddress, NodeDelta, RowId};
use rustc_hash::FxHashSet;

use crate::Engine;
use crate::class::{ClassChanges, Origin};
use crate::local::Local;
use crate::slab::{KindId, StackIndex};
use crate::stack::{Note, Stack, Told};
use crate::status::PolicyReport;
use crate::table::Workshop;

/// What a commit changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Commit {
    /// All changes. A number never refers to something that is not there yet.
    pub delta: NodeDelta,
    /// Of each policy that fares differently than before.
    pub reports: Vec<PolicyReport>,
    /// Policies that are gone.
    pub removed: Vec<ObjectKey>,
}

/// The parts of a delta while it is put together.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    fresh: NodeDelta,
    merging: NodeDelta,
    going: NodeDelta,
    dead_rows: Vec<RowId>,
}

/// How a Pod, WorkloadEndpoint or HostEndpoint is named below: `pod/shop/web-1`,
/// `wep/office/printer`, `hep/router`.
#[must_use]
pub fn endpoint_id(key: &ObjectKey) -> EndpointId {
    let kind = match key.kind {
        Kind::HostEndpoint => return format!("hep/{}", key.name).into(),
        Kind::Pod => "pod",
        _ => "wep",
    };
    let namespace = key.namespace.as_deref().unwrap_or_default();
    format!("{kind}/{namespace}/{}", key.name).into()
}

impl Engine {
    /// Everything up to the moment when all endpoints use their new tables.
    pub(crate) fn tell_tables(&mut self, steps: &mut Steps, changes: &ClassChanges) {
        // Rows that nobody came to hold are not told of; the others may still be in use.
        steps.dead_rows = self.rows.take_dead(&mut self.outcomes);
        let outcomes = self.outcomes.take_fresh().into_iter();
        steps
            .fresh
            .extend(outcomes.map(|(id, outcome)| Change::Outcome(id, Some(outcome))));
        let rows = self.rows.take_fresh().into_iter();
        steps
            .fresh
            .extend(rows.map(|(id, row)| Change::Row(id, Some(row))));
        let new_stacks: FxHashSet<StackIndex> = self.stacks.fresh.iter().copied().collect();
        for index in self.stacks.fresh.clone() {
            self.tell_new_stack(&mut steps.fresh, index);
        }
        let mut tables: Vec<StackIndex> = std::mem::take(&mut self.touched_tables);
        tables.sort_unstable();
        tables.dedup();
        let new_classes: Vec<(ClassId, Origin)> = changes.new_classes().collect();
        let mut noted: Vec<(StackIndex, Vec<Note>)> = Vec::with_capacity(tables.len());
        for index in tables {
            let Some(stack) = self.stacks.items.get_mut(index) else {
                continue;
            };
            if new_stacks.contains(&index) {
                stack.table.told = Told::default();
                continue;
            }
            let mut notes = stack.table.told.take_notes();
            tell_new_classes(&mut steps.fresh, stack, &new_classes, &mut notes);
            noted.push((index, notes));
        }
        self.tell_addresses(&mut steps.fresh, &changes.moved);
        self.tell_endpoints(&mut steps.fresh);
        self.tell_gone_host_endpoints(&mut steps.fresh);
        self.tell_host_endpoints(&mut steps.fresh);
        let count: usize = noted.iter().map(|(_, notes)| notes.len()).sum();
        if count > 0 {
            // With these nearly all is told.
            let dead = steps.dead_rows.len();
            steps.fresh.reserve_exact(count + dead + dead / 8 + 64);
        }
        for (index, notes) in noted {
            let stack = &mut self.stacks.items[index];
            tell_rows(&mut steps.fresh, stack, &notes);
            stack.table.told = Told::default();
        }
    }

    /// Classes that became one.
    pub(crate) fn tell_merged(&mut self, steps: &mut Steps, changes: &ClassChanges) {
        self.tell_addresses(&mut steps.merging, &changes.moved);
        let parts = (
            &self.blocks,
            &self.questions,
            &self.classes,
            &self.lists.port_sets,
        );
        let store = (&mut self.outcomes, &mut self.rows);
        let mut workshop = Workshop::new(parts, store, self.budget, &mut self.scratch);
        let indices: Vec<StackIndex> = self.stacks.items.iter().map(|(index, _)| index).collect();
        for index in indices {
            let stack = &mut self.stacks.items[index];
            workshop.follow_classes(&mut stack.table, changes);
            let notes = stack.table.told.take_notes();
            tell_rows(&mut steps.going, stack, &notes);
            stack.table.told = Told::default();
        }
        self.tell_host_endpoints(&mut steps.going);
    }

    /// What nothing refers to any more, and the whole.
    pub(crate) fn tell_rest(&mut self, steps: Steps) -> Commit {
        let mut delta = steps.fresh;
        delta.extend(steps.merging);
        delta.extend(steps.going);
        delta.extend(self.gone_stacks.drain(..).map(Change::StackRemoved));
        let dead_rows = steps.dead_rows.into_iter();
        let dead_rows = dead_rows.chain(self.rows.take_dead(&mut self.outcomes));
        delta.extend(dead_rows.map(|row| Change::Row(row, None)));
        let dead = self.outcomes.take_dead().into_iter();
        delta.extend(dead.map(|outcome| Change::Outcome(outcome, None)));
        let (reports, removed) = self.take_reports();
        Commit {
            delta,
            reports,
            removed,
        }
    }

    fn tell_new_stack(&self, delta: &mut NodeDelta, index: StackIndex) {
        let Some(stack) = self.stacks.items.get(index) else {
            return;
        };
        let Some(default_row) = stack.table.default_row else {
            return;
        };
        delta.push(Change::Stack(stack.id, stack.key.direction, default_row));
        let mut rows: Vec<(ClassId, RowId)> = Vec::with_capacity(stack.table.entries.len());
        stack.table.own_rows().for_each(|row| rows.push(row));
        if !rows.is_empty() {
            delta.push(Change::StackRows(stack.id, rows.into()));
        }
    }

    pub(crate) fn tell_addresses(&mut self, delta: &mut NodeDelta, moved: &[KindId]) {
        let space = &mut self.space;
        let mut slots = std::mem::take(&mut space.moved_slots);
        let class_of = |kinds: &crate::slab::Slab<KindId, crate::space::Kind>, kind: KindId| {
            kinds[kind]
                .class
                .expect("every kind has a class once classes are settled")
        };
        let of_kinds = moved.iter().filter_map(|kind| space.kind_items.get(*kind));
        let members: usize = of_kinds.clone().map(|kind| kind.members.len()).sum();
        // The first time these are all addresses there are.
        delta.reserve_exact(slots.len().max(members) + moved.len());
        slots.reserve_exact(members);
        slots.extend(of_kinds.flat_map(|kind| kind.members.iter().copied()));
        for id in &slots {
            let Some(slot) = space.slots.items.get_mut(*id) else {
                continue;
            };
            let Some(kind) = slot.kind() else { continue };
            let class = class_of(&space.kind_items, kind);
            if slot.emitted() != Some(class) {
                slot.set_emitted(Some(class));
                delta.push(Change::Class(IpNet::from(slot.address), Some(class)));
            }
        }
        slots.clear();
        space.moved_slots = slots;
        for id in moved {
            let Some(kind) = space.kind_items.get(*id).filter(|kind| kind.of_region) else {
                continue;
            };
            let class = class_of(&space.kind_items, *id);
            let region = &mut space.regions.items[kind.key.region];
            if region.emitted != Some(class) {
                region.emitted = Some(class);
                delta.push(Change::Class(region.prefix, Some(class)));
            }
        }
        if space.vacated.is_empty() {
            return;
        }
        let vacated = std::mem::take(&mut space.vacated);
        let mut vacated: Vec<IpNet> = vacated.into_keys().collect();
        vacated.sort_unstable();
        delta.extend(
            vacated
                .into_iter()
                .map(|prefix| Change::Class(prefix, None)),
        );
    }

    fn tell_endpoints(&mut self, delta: &mut NodeDelta) {
        let mut removed = Vec::new();
        let mut added = Vec::new();
        for entry in std::mem::take(&mut self.touched_endpoints) {
            let Some(key) = self
                .endpoints
                .items
                .get(entry)
                .map(|entry| entry.key.clone())
            else {
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
            let told = self.told_endpoints.get(&id);
            if told.is_some_and(|told| **told == policy) {
                continue;
            }
            self.told_endpoints
                .insert(id.clone(), Arc::new(policy.clone()));
            delta.push(Change::Endpoint(id, Some(policy)));
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
        EndpointPolicy {
            addresses: addresses.collect(),
        }
    }
}

/// Rows of new classes, against the default row that the table was last said to have. A class
/// that comes out of another is told the row that its members had.
fn tell_new_classes(
    delta: &mut NodeDelta,
    stack: &Stack,
    new_classes: &[(ClassId, Origin)],
    notes: &mut Vec<Note>,
) {
    let table = &stack.table;
    let told_default = table.told.default_row.or(table.default_row);
    for (class, origin) in new_classes {
        let at = notes.binary_search_by_key(class, |note| note.class);
        let row = match origin {
            Origin::Class(_) => at.ok().and_then(|at| notes[at].told),
            Origin::None | Origin::Itself => table
                .row_of(*class)
                .filter(|row| Some(*row) != told_default),
        };
        match at {
            Ok(at) => notes[at].told = row,
            Err(at) => {
                let note = Note {
                    class: *class,
                    told: row,
                    now: table.own_row_of(*class),
                };
                notes.insert(at, note);
            }
        }
        delta.extend(row.map(|row| Change::StackRow(stack.id, *class, Some(row))));
    }
}

/// What differs from what was told of a table.
fn tell_rows(delta: &mut NodeDelta, stack: &Stack, notes: &[Note]) {
    let table = &stack.table;
    let told_default = table.told.default_row.or(table.default_row);
    if let Some(row) = table.default_row.filter(|row| Some(*row) != told_default) {
        delta.push(Change::Stack(stack.id, stack.key.direction, row));
    }
    for Note { class, told, now } in notes {
        debug_assert_eq!(*now, table.own_row_of(*class));
        if now != told {
            delta.push(Change::StackRow(stack.id, *class, *now));
        }
    }
}

//! Telling what host endpoints have become, and reading it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ocicat_api::ObjectKey;
use ocicat_flow::{Direction, Outcome};
use ocicat_node::{
    Change, ClassId, EndpointId, HostEndpoint, NodeDelta, ServiceMatch, StackId, Stage, StageStacks,
};

use crate::Engine;
use crate::class::{ClassChanges, Origin};
use crate::delta::endpoint_id;
use crate::explain::Explanation;
use crate::slab::StackIndex;

use super::Host;

impl Engine {
    /// Tells what host endpoints become before addresses move to other classes. What may not be
    /// told yet waits for [`Engine::tell_host_endpoints`].
    pub(crate) fn tell_host_endpoints_first(
        &mut self,
        delta: &mut NodeDelta,
        changes: &ClassChanges,
        different: &BTreeSet<StackId>,
    ) {
        let mut removed = std::mem::take(&mut self.hosts.removed);
        for host in self.hosts.items.values() {
            removed.remove(&host.id);
        }
        for id in removed {
            if self.hosts.told.remove(&id).is_some() {
                delta.push(Change::HostEndpoint(id, None));
            }
        }
        for entry in self.hosts.touched.clone() {
            let Some(host) = self.hosts.items.get(&entry) else {
                continue;
            };
            let mut new = self.host_policy(host);
            let waits = |stacks: &StageStacks| {
                !stacks.by_near.is_empty() || stacks.stacks().any(|s| different.contains(&s))
            };
            match self.hosts.told.get(&host.id) {
                None if new.stages.values().any(waits) => continue,
                None => {}
                Some(told) => {
                    new.stages.retain(|way, stacks| match told.stages.get(way) {
                        Some(before) => {
                            *stacks = between(before, stacks, changes, different);
                            true
                        }
                        None => !waits(stacks),
                    });
                    if **told == new {
                        continue;
                    }
                }
            }
            let (id, new) = (host.id.clone(), Arc::new(new));
            delta.push(Change::HostEndpoint(id.clone(), Some(new.clone())));
            self.hosts.told.insert(id, new);
        }
    }

    /// Tells the rest.
    pub(crate) fn tell_host_endpoints(&mut self, delta: &mut NodeDelta) {
        for (id, new) in self.touched_host_endpoints() {
            delta.push(Change::HostEndpoint(id.clone(), Some(new.clone())));
            self.hosts.told.insert(id, new);
        }
    }

    fn touched_host_endpoints(&mut self) -> Vec<(EndpointId, Arc<HostEndpoint>)> {
        let touched = std::mem::take(&mut self.hosts.touched);
        let hosts = touched
            .iter()
            .filter_map(|entry| self.hosts.items.get(entry));
        let new = hosts.map(|host| (host.id.clone(), self.host_policy(host)));
        new.filter(|(id, new)| self.hosts.told.get(id).is_none_or(|told| **told != *new))
            .map(|(id, new)| (id, Arc::new(new)))
            .collect()
    }

    fn host_policy(&self, host: &Host) -> HostEndpoint {
        let id = |index: StackIndex| self.stacks.items[index].id;
        let stacks = |groups: &super::Groups| StageStacks {
            default: id(groups
                .default_stack()
                .expect("every stage has its stacks once groups moved")),
            by_near: groups
                .others()
                .map(|(class, index)| (class, id(index)))
                .collect(),
        };
        let stages = host.stages.iter();
        let stages: BTreeMap<_, _> = stages.map(|(way, s)| (*way, stacks(&s.groups))).collect();
        HostEndpoint {
            interfaces: host.interfaces.clone(),
            stages,
        }
    }

    /// The host endpoints of this host, as of the last commit.
    pub fn host_endpoints(&self) -> impl Iterator<Item = (&EndpointId, &Arc<HostEndpoint>)> {
        self.hosts.told.iter()
    }

    /// A host endpoint of this host, as of the last commit.
    #[must_use]
    pub fn host_endpoint(&self, key: &ObjectKey) -> Option<&Arc<HostEndpoint>> {
        self.hosts.told.get(&endpoint_id(key))
    }

    /// What a stage of a host endpoint makes of a packet between a near and a far address. `None`
    /// if the host endpoint is not of this host or has no such stage: it judges nothing then.
    #[must_use]
    pub fn judge_stage(
        &self,
        key: &ObjectKey,
        (stage, direction): (Stage, Direction),
        (near, far): (IpAddr, IpAddr),
        service: &ServiceMatch,
    ) -> Option<Arc<Outcome>> {
        let index = self.stage_stack(key, (stage, direction), near)?;
        let table = &self.stacks.items[index].table;
        let row = self.rows.get(table.row_of(self.class_of(far)?)?)?;
        self.outcome(row.outcome(service))
    }

    /// Which tiers, policies and profiles judge at a stage of a host endpoint; `None` if it has no
    /// such stage.
    #[must_use]
    pub fn explain_stage(
        &self,
        key: &ObjectKey,
        (stage, direction): (Stage, Direction),
    ) -> Option<Explanation> {
        let entry = self.endpoints.find(key)?;
        let state = self.hosts.stage(entry, (stage, direction))?;
        Some(self.explanation(&state.blocks, &state.profiles))
    }

    /// The stack of a stage for a near address.
    fn stage_stack(
        &self,
        key: &ObjectKey,
        way: (Stage, Direction),
        near: IpAddr,
    ) -> Option<StackIndex> {
        let stage = self.hosts.stage(self.endpoints.find(key)?, way)?;
        stage.groups.stack_of(self.class_of(near)?)
    }
}

/// What a stage is while tables have not changed yet: each class has its old stack or the new one.
/// The new one, unless that is about to change its rows, or addresses leave the class, which may
/// have been read of them before.
fn between(
    old: &StageStacks,
    new: &StageStacks,
    changes: &ClassChanges,
    different: &BTreeSet<StackId>,
) -> StageStacks {
    let default = if different.contains(&new.default) {
        old.default
    } else {
        new.default
    };
    let mut stacks = StageStacks {
        default,
        by_near: BTreeMap::new(),
    };
    let mut add = |class: ClassId, before: StackId, may: bool| {
        let after = new.of(class);
        let may = may && !different.contains(&after);
        let stack = if may { after } else { before };
        if stack == default {
            stacks.by_near.remove(&class);
        } else {
            stacks.by_near.insert(class, stack);
        }
    };
    for class in old.by_near.keys().chain(new.by_near.keys()) {
        add(*class, old.of(*class), true);
    }
    for changed in &changes.changed {
        match changed.origin {
            Origin::Itself => {}
            Origin::Class(origin) => add(changed.class, old.of(origin), true),
            Origin::None => add(changed.class, new.of(changed.class), true),
        }
    }
    let left = changes
        .changed
        .iter()
        .filter_map(|changed| match changed.origin {
            Origin::Itself => Some(changed.class),
            Origin::Class(origin) => Some(origin),
            Origin::None => None,
        });
    for class in left.chain(changes.dead.iter().copied()) {
        add(class, old.of(class), false);
    }
    stacks
}

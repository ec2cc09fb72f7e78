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
use crate::class::Origin;
use crate::delta::{Steps, endpoint_id};
use crate::explain::Explanation;
use crate::slab::StackIndex;

use super::Host;

impl Engine {
    /// A new class is judged as the class that its members come from, until the rest is told.
    pub(crate) fn tell_new_near_classes(
        &mut self,
        delta: &mut NodeDelta,
        new_classes: &[(ClassId, Origin)],
    ) {
        if self.hosts.told.is_empty() || new_classes.is_empty() {
            return;
        }
        for host in self.hosts.items.values() {
            let Some(told) = self.hosts.told.get_mut(&host.id) else {
                continue;
            };
            let mut new = (**told).clone();
            for (way, stacks) in &mut new.stages {
                for (class, origin) in new_classes {
                    let stack = match origin {
                        Origin::Class(origin) => Some(stacks.of(*origin)),
                        Origin::None | Origin::Itself => {
                            let stage = host.stages.get(way);
                            let index = stage.and_then(|stage| stage.groups.stack_of(*class));
                            index.map(|index| self.stacks.items[index].id)
                        }
                    };
                    if let Some(stack) = stack.filter(|stack| *stack != stacks.default) {
                        stacks.by_near.insert(*class, stack);
                    }
                }
            }
            if new != **told {
                *told = Arc::new(new);
                delta.push(Change::HostEndpoint(host.id.clone(), Some(told.clone())));
            }
        }
    }

    /// Host endpoints that join a table that changes rows, or that tell near classes apart in
    /// another way, have to wait until tables and addresses have changed.
    pub(crate) fn tell_host_endpoints(&mut self, steps: &mut Steps, different: &BTreeSet<StackId>) {
        let mut removed = std::mem::take(&mut self.hosts.removed);
        for host in self.hosts.items.values() {
            removed.remove(&host.id);
        }
        for id in removed {
            if self.hosts.told.remove(&id).is_some() {
                steps.fresh.push(Change::HostEndpoint(id, None));
            }
        }
        for (id, new) in self.touched_host_endpoints() {
            let told = self.hosts.told.get(&id);
            let waits = told.is_some_and(|told| waits(told, &new, different));
            let step = if waits {
                &mut steps.joining
            } else {
                &mut steps.fresh
            };
            step.push(Change::HostEndpoint(id.clone(), Some(new.clone())));
            self.hosts.told.insert(id, new);
        }
    }

    /// What is left to say once classes have become one.
    pub(crate) fn tell_host_endpoints_after(&mut self, delta: &mut NodeDelta) {
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

fn waits(told: &HostEndpoint, new: &HostEndpoint, different: &BTreeSet<StackId>) -> bool {
    new.stages.iter().any(|(way, stacks)| {
        let Some(before) = told.stages.get(way) else {
            // It joins stacks that may be others'.
            return stacks.stacks().any(|stack| different.contains(&stack));
        };
        let moved = |class: &ClassId| before.of(*class) != stacks.of(*class);
        let mut classes = before.by_near.keys().chain(stacks.by_near.keys());
        let joins = before.default != stacks.default && different.contains(&stacks.default);
        joins || classes.any(moved)
    })
}

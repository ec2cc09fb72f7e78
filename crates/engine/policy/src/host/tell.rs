//! Telling what host endpoints have become, and reading it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ocicat_api::ObjectKey;
use ocicat_flow::{Direction, Outcome};
use ocicat_node::{Change, EndpointId, HostEndpoint, NodeDelta, ServiceMatch, Stage, StageStacks};

use crate::Engine;
use crate::delta::endpoint_id;
use crate::explain::Explanation;
use crate::slab::StackIndex;

use super::Host;

impl Engine {
    /// Tells which host endpoints are gone.
    pub(crate) fn tell_gone_host_endpoints(&mut self, delta: &mut NodeDelta) {
        let mut removed = std::mem::take(&mut self.hosts.removed);
        for host in self.hosts.items.values() {
            removed.remove(&host.id);
        }
        for id in removed {
            if self.hosts.told.remove(&id).is_some() {
                delta.push(Change::HostEndpoint(id, None));
            }
        }
    }

    /// Tells what the others have become.
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

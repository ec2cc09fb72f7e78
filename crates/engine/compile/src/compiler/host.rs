//! Host endpoints: from what shall be to operations.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ocicat_flow::{Direction, Outcome};
use ocicat_node::{ClassId, EndpointId, HostEndpoint, ServiceMatch, Stage, StageStacks};
use ocicat_program::nft::{Element, Op, Verdict};

use super::moves::Moves;
use super::{Compiler, Update, add, delete};
use crate::Failsafe;
use crate::host::{Assignment, BuiltStage, HostLink, link_element, near_element, near_set};
use crate::layout::{Epoch, HostStage, Named};
use crate::stack::StackNumber;

mod stage;

use stage::{StageChange, is_left};

type Key = (EndpointId, HostStage);

/// What is known of host endpoints, and what of them is in the kernel.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    pub(super) endpoints: BTreeMap<EndpointId, Arc<HostEndpoint>>,
    links: Vec<HostLink>,
    assignment: Assignment,
    built: BTreeMap<Key, BuiltStage>,
    elements: BTreeMap<HostStage, BTreeSet<Element>>,
    next_number: u32,
    pub(super) is_stale: bool,
}

/// What a stage shall lead to.
pub(super) struct Wanted {
    pub(super) default: StackNumber,
    pub(super) near: BTreeMap<ClassId, StackNumber>,
}

impl Wanted {
    pub(super) fn of(&self, near: ClassId) -> StackNumber {
        self.near.get(&near).copied().unwrap_or(self.default)
    }
}

/// A stage of the host endpoint of some interface, and the host endpoint that the interface has next.
pub(super) struct Handover {
    way: (Stage, Direction),
    from: (EndpointId, Arc<HostEndpoint>),
    to: Option<(EndpointId, Arc<HostEndpoint>)>,
}

impl Handover {
    pub(super) fn before(&self) -> Option<&StageStacks> {
        self.from.1.stages.get(&self.way)
    }

    /// `None` if nothing judges there any more.
    pub(super) fn after(&self) -> Option<&StageStacks> {
        self.to.as_ref()?.1.stages.get(&self.way)
    }

    pub(super) fn is_change(&self) -> bool {
        self.before() != self.after()
    }

    pub(super) fn asks_near(&self) -> bool {
        let both = [self.before(), self.after()];
        both.into_iter()
            .flatten()
            .any(|stacks| !stacks.by_near.is_empty())
    }
}

impl Compiler {
    /// Tells which interfaces the host has, with their addresses. Returns whether that may change
    /// what [`Compiler::update`] does.
    pub fn set_links(&mut self, links: Vec<HostLink>) -> bool {
        if self.hosts.links == links {
            return false;
        }
        self.hosts.links = links;
        self.hosts.is_stale = true;
        !self.hosts.endpoints.is_empty()
    }

    /// Whether there is any host endpoint: without one the program has no chains for them.
    #[must_use]
    pub fn has_hosts(&self) -> bool {
        !self.hosts.endpoints.is_empty()
    }

    /// The host endpoints in force.
    pub fn host_endpoints(&self) -> impl Iterator<Item = (&EndpointId, &HostEndpoint)> {
        let endpoints = self.hosts.endpoints.iter();
        endpoints.map(|(id, endpoint)| (id, &**endpoint))
    }

    /// The host endpoint of an interface.
    #[must_use]
    pub fn host_endpoint_of(&self, link: &str) -> Option<&EndpointId> {
        self.hosts.assignment.get(link, &self.config)
    }

    /// Interfaces that have a host endpoint by name or address, and the endpoint of all others.
    pub fn host_links(
        &self,
    ) -> (
        impl Iterator<Item = (&str, &EndpointId)>,
        Option<&EndpointId>,
    ) {
        let assignment = &self.hosts.assignment;
        let links = assignment
            .links
            .iter()
            .map(|(name, id)| (name.as_str(), id));
        (links, assignment.rest.as_ref())
    }

    /// What the program in force says of a packet at a stage of the interface's host endpoint.
    /// `None` if that stage judges nothing there.
    #[must_use]
    pub fn judge_stage(
        &self,
        link: &str,
        (stage, direction): (Stage, Direction),
        (near, far): (IpAddr, IpAddr),
        service: &ServiceMatch,
    ) -> Option<&Outcome> {
        let endpoint = self.hosts.endpoints.get(self.host_endpoint_of(link)?)?;
        let stacks = endpoint.stages.get(&(stage, direction))?;
        let stack = self
            .class_of(near)
            .map_or(stacks.default, |near| stacks.of(near));
        self.judge(stack, far, service)
    }

    /// Whether a packet passes the stages of host endpoints by a fail-safe port. `is_reply`: by its
    /// source port, as where connections are not known.
    #[must_use]
    pub fn is_failsafe(
        &self,
        direction: Direction,
        far: IpAddr,
        service: &ServiceMatch,
        is_reply: bool,
    ) -> bool {
        let list = match (direction, is_reply) {
            (Direction::Ingress, false) | (Direction::Egress, true) => {
                &self.config.failsafe_inbound
            }
            _ => &self.config.failsafe_outbound,
        };
        let port = match is_reply {
            true => service.source_port,
            false => service.port,
        };
        let fits = |x: &Failsafe| {
            (x.protocol, x.port) == (service.protocol, port)
                && x.net.is_none_or(|net| net.contains(&far))
        };
        service.protocol.has_ports() && list.iter().any(fits)
    }

    /// Takes over what host endpoints shall be. Returns what becomes of the stages that interfaces have.
    pub(super) fn change_hosts(
        &mut self,
        changes: &BTreeMap<&EndpointId, Option<&Arc<HostEndpoint>>>,
        update: &mut Update,
    ) -> Vec<Handover> {
        let had_any = self.has_hosts();
        let old = self.hosts.endpoints.clone();
        for (id, endpoint) in changes {
            match endpoint {
                Some(endpoint) => {
                    let endpoint = Arc::clone(endpoint);
                    self.hosts.endpoints.insert((*id).clone(), endpoint)
                }
                None => self.hosts.endpoints.remove(*id),
            };
        }
        // The base chains are others.
        update.replace |= had_any != self.has_hosts();
        let is_stale = std::mem::take(&mut self.hosts.is_stale) || !changes.is_empty();
        let new = match is_stale {
            true => Assignment::of(&self.hosts.endpoints, &self.hosts.links, &self.config),
            false => self.hosts.assignment.clone(),
        };
        let before = std::mem::replace(&mut self.hosts.assignment, new);
        self.handovers(&old, &before)
    }

    fn handovers(
        &self,
        old: &BTreeMap<EndpointId, Arc<HostEndpoint>>,
        before: &Assignment,
    ) -> Vec<Handover> {
        let now = &self.hosts.assignment;
        let links = before.links.keys().chain(now.links.keys());
        let of_links = links.map(|link| {
            let of = |assignment: &Assignment| assignment.get(link, &self.config).cloned();
            (of(before), of(now))
        });
        let rest = (before.rest.clone(), now.rest.clone());
        let pairs: BTreeSet<(Option<EndpointId>, Option<EndpointId>)> =
            of_links.chain([rest]).collect();
        let mut out = Vec::new();
        for (from, to) in pairs {
            let Some((from, old)) = from.and_then(|id| Some((id.clone(), old.get(&id)?))) else {
                continue;
            };
            let new = to.and_then(|id| Some((id.clone(), self.hosts.endpoints.get(&id)?.clone())));
            out.extend(old.stages.keys().map(|way| Handover {
                way: *way,
                from: (from.clone(), Arc::clone(old)),
                to: new.clone(),
            }));
        }
        out
    }

    /// Brings the stages of host endpoints to what they shall be.
    pub(super) fn update_hosts(
        &mut self,
        handovers: &[Handover],
        moves: &Moves,
        update: &mut Update,
    ) {
        if self.hosts.endpoints.is_empty() && self.hosts.built.is_empty() {
            return;
        }
        let wanted = self.wanted_stages();
        let mut to: BTreeMap<Key, Vec<Option<&Wanted>>> = BTreeMap::new();
        for handover in handovers {
            let Some(stage) = HostStage::of(handover.way.0, handover.way.1) else {
                continue;
            };
            let now = handover.to.as_ref();
            let now = now.and_then(|(id, _)| wanted.get(&(id.clone(), stage)));
            let key = (handover.from.0.clone(), stage);
            to.entry(key).or_default().push(now);
        }
        for (key, built) in std::mem::take(&mut self.hosts.built) {
            let to = to.remove(&key).unwrap_or_default();
            let change = StageChange {
                built: &built,
                wanted: wanted.get(&key),
                to,
                moves,
                prefixes: &self.prefixes,
            };
            let stays = wanted.get(&key).filter(|_| change.stays());
            let bridge = stays.is_none().then(|| change.bridge()).flatten();
            if let Some(wanted) = stays {
                self.change_stage(&key, built, wanted, moves, update);
                continue;
            }
            match bridge {
                Some(bridge) => add_near(&built, &bridge, self.epoch, update),
                None => update.replace = true,
            }
            self.garbage.stages.push(built);
        }
        for (key, wanted) in &wanted {
            if !self.hosts.built.contains_key(key) {
                self.build_stage(key, wanted, update);
            }
        }
        self.point_links(update);
    }

    fn wanted_stages(&self) -> BTreeMap<Key, Wanted> {
        let number = |id| self.stacks.get(&id).map(|stack| stack.number);
        let mut out = BTreeMap::new();
        for (id, endpoint) in &self.hosts.endpoints {
            for ((stage, direction), stacks) in &endpoint.stages {
                let Some(stage) = HostStage::of(*stage, *direction) else {
                    continue;
                };
                let Some(default) = number(stacks.default) else {
                    continue;
                };
                let near = (stacks.by_near.iter())
                    .filter_map(|(class, stack)| Some((*class, number(*stack)?)))
                    .collect();
                out.insert((id.clone(), stage), Wanted { default, near });
            }
        }
        out
    }

    fn build_stage(&mut self, key: &Key, wanted: &Wanted, update: &mut Update) {
        let built = BuiltStage {
            number: self.hosts.next_number,
            stage: key.1,
            default: wanted.default,
            near: wanted.near.clone(),
            asks_near: !wanted.near.is_empty(),
        };
        self.hosts.next_number += 1;
        update.prepare.extend(built.make(self.epoch));
        self.hosts.built.insert(key.clone(), built);
    }

    /// Changes the near classes of a stage that keeps its chains.
    fn change_stage(
        &mut self,
        key: &Key,
        mut built: BuiltStage,
        wanted: &Wanted,
        moves: &Moves,
        update: &mut Update,
    ) {
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        let epoch = self.epoch;
        let classes: BTreeSet<ClassId> = (built.near.keys().chain(wanted.near.keys()))
            .copied()
            .collect();
        for class in classes {
            let (old, new) = (built.near.get(&class), wanted.near.get(&class));
            let garbage = self.garbage.take_near(built.number, class);
            if old == new || new.is_some() && new == garbage.as_ref() {
                continue;
            }
            match (old.or(garbage.as_ref()), new) {
                (Some(stack), None) if is_left(class, moves, &self.prefixes) => {
                    // Packets in flight may still carry the class.
                    self.garbage.near.push((built.number, class, *stack));
                }
                (old, _) => {
                    gone.extend(old.map(|stack| near_element(class, *stack, epoch)));
                    come.extend(new.map(|stack| near_element(class, *stack, epoch)));
                }
            }
        }
        let set = near_set(built.number, epoch).id();
        for (elements, is_gone) in [(gone, true), (come, false)] {
            let set = set.clone();
            match elements.is_empty() {
                true => {}
                false if is_gone => update.apply.push(Op::DelElements { set, elements }),
                false => update.apply.push(Op::AddElements { set, elements }),
            }
        }
        built.near.clone_from(&wanted.near);
        self.hosts.built.insert(key.clone(), built);
    }

    /// Points interfaces at the chains of their endpoints.
    fn point_links(&mut self, update: &mut Update) {
        let epoch = self.epoch;
        for stage in HostStage::ALL {
            let elements = self.link_elements(stage);
            let old = self.hosts.elements.entry(stage).or_default();
            let gone: Vec<Element> = old.difference(&elements).cloned().collect();
            let come: Vec<Element> = elements.difference(old).cloned().collect();
            *old = elements;
            if !gone.is_empty() {
                let named = Named::Host(stage);
                update.apply.push(delete(named, epoch, gone));
            }
            if !come.is_empty() {
                let named = Named::Host(stage);
                update.apply.push(add(named, epoch, come));
            }
        }
    }

    fn link_elements(&self, stage: HostStage) -> BTreeSet<Element> {
        let element = |link: Option<&str>, id: &EndpointId| {
            let verdict = match self.hosts.built.get(&(id.clone(), stage)) {
                Some(built) => Verdict::Goto(built.chain(self.epoch)),
                // A stage without its stack is closed.
                None if self.has_stage(id, stage) => Verdict::Drop,
                None => Verdict::Return,
            };
            link_element(link, id, verdict)
        };
        let assignment = &self.hosts.assignment;
        let links = assignment.links.iter();
        links
            .filter_map(|(link, id)| element(Some(link), id))
            .chain(assignment.rest.iter().filter_map(|id| element(None, id)))
            .collect()
    }

    fn has_stage(&self, id: &EndpointId, stage: HostStage) -> bool {
        let endpoint = self.hosts.endpoints.get(id);
        endpoint.is_some_and(|endpoint| {
            let mut stages = endpoint.stages.keys();
            stages.any(|(of, direction)| HostStage::of(*of, *direction) == Some(stage))
        })
    }

    /// Writes the names of the epoch into the elements of all interfaces.
    pub(super) fn name_links(&mut self) {
        // Without endpoints nothing has ever been pointed.
        for stage in HostStage::ALL {
            let elements = self.link_elements(stage);
            self.hosts.elements.insert(stage, elements);
        }
    }

    /// The chains and elements of host endpoints.
    pub(super) fn host_program(&self, epoch: Epoch) -> Vec<Op> {
        let built = self.hosts.built.values();
        let mut ops: Vec<Op> = built.flat_map(|built| built.make(epoch)).collect();
        let elements = self.hosts.elements.iter();
        ops.extend(
            elements
                .filter(|(_, elements)| !elements.is_empty())
                .map(|(stage, e)| add(Named::Host(*stage), epoch, e.iter().cloned().collect())),
        );
        ops
    }
}

/// Leads near classes that are new to a stage that is about to go.
fn add_near(
    built: &BuiltStage,
    bridge: &[(ClassId, StackNumber)],
    epoch: Epoch,
    update: &mut Update,
) {
    let elements: Vec<Element> = (bridge.iter())
        .map(|(class, stack)| near_element(*class, *stack, epoch))
        .collect();
    if !elements.is_empty() {
        let set = near_set(built.number, epoch).id();
        update.apply.push(Op::AddElements { set, elements });
    }
}

#[cfg(test)]
mod tests {
    use ocicat_flow::{Decider, Verdict as FlowVerdict};
    use ocicat_node::{Change, HostInterfaces, OutcomeId, Row, RowId, StackId, StageStacks};

    use super::*;
    use crate::Config;

    fn near(classes: &[u32]) -> Change {
        let by_near = classes.iter().map(|class| (ClassId(*class), StackId(2)));
        let stacks = StageStacks {
            default: StackId(1),
            by_near: by_near.collect(),
        };
        let stages = BTreeMap::from([((Stage::Local, Direction::Ingress), stacks)]);
        let interfaces = HostInterfaces::Named("eth0".into());
        let endpoint = Arc::new(HostEndpoint { interfaces, stages });
        Change::HostEndpoint("hep/a".into(), Some(endpoint))
    }

    fn class(prefix: &str, class: u32) -> Change {
        Change::Class(prefix.parse().expect("a prefix"), Some(ClassId(class)))
    }

    /// An endpoint of which the first stack allows and the second, for near class 5, denies.
    fn guarded() -> Compiler {
        let outcome = |verdict| {
            Arc::new(Outcome {
                verdict,
                decider: Decider::EndOfProfiles,
                passed: vec![],
                logged: vec![],
            })
        };
        let row = |outcome| Arc::new(Row::constant(OutcomeId(outcome)));
        let mut compiler = Compiler::new(Config::default());
        let update = compiler.update(
            &[
                Change::Outcome(OutcomeId(1), Some(outcome(FlowVerdict::Allow))),
                Change::Outcome(OutcomeId(2), Some(outcome(FlowVerdict::Deny))),
                Change::Row(RowId(1), Some(row(1))),
                Change::Row(RowId(2), Some(row(2))),
                Change::Stack(StackId(1), Direction::Ingress, RowId(1)),
                Change::Stack(StackId(2), Direction::Ingress, RowId(2)),
                class("0.0.0.0/0", 4),
                class("10.0.0.5/32", 5),
                near(&[5]),
            ],
            &[],
        );
        assert!(update.replace, "the base chains are others");
        compiler
    }

    #[test]
    fn the_near_address_chooses_the_stack() {
        let compiler = guarded();
        let ask = |link, near: &str| {
            let near = near.parse().expect("an address");
            let far = "192.0.2.1".parse().expect("an address");
            let service = ServiceMatch {
                protocol: ocicat_node::Protocol::TCP,
                source_port: 40_000,
                port: 80,
            };
            let stage = (Stage::Local, Direction::Ingress);
            let outcome = compiler.judge_stage(link, stage, (near, far), &service);
            outcome.map(|outcome| outcome.verdict)
        };
        assert_eq!(ask("eth0", "10.0.0.4"), Some(FlowVerdict::Allow));
        assert_eq!(ask("eth0", "10.0.0.5"), Some(FlowVerdict::Deny));
        assert_eq!(ask("eth1", "10.0.0.5"), None);
    }

    #[test]
    fn a_new_near_class_is_one_element() {
        let mut compiler = guarded();
        let update = compiler.update(&[class("10.0.0.6/32", 6), near(&[5, 6])], &[]);
        assert!(!update.replace && update.prepare.is_empty(), "{update:?}");
        let of_near =
            |op: &&Op| matches!(op, Op::AddElements { set, .. } if set.name.starts_with("near"));
        assert_eq!(update.apply.iter().filter(of_near).count(), 1);
        assert_eq!(update.apply.len(), 2);
    }

    #[test]
    fn a_near_class_without_addresses_waits_for_packets_in_flight() {
        let mut compiler = guarded();
        let gone = Change::Class("10.0.0.5/32".parse().expect("a prefix"), None);
        let update = compiler.update(&[gone, near(&[])], &[]);
        assert!(!update.replace);
        let of_near =
            |op: &Op| matches!(op, Op::DelElements { set, .. } if set.name.starts_with("near"));
        assert!(!update.apply.iter().any(of_near), "{update:?}");
        assert!(compiler.collect().iter().any(of_near));
    }

    #[test]
    fn near_classes_may_change_stacks_while_addresses_come() {
        let mut compiler = guarded();
        let update = compiler.update(&[class("10.0.0.7/32", 5), near(&[4, 5])], &[]);
        assert!(!update.replace && update.prepare.is_empty(), "{update:?}");
        let mut compiler = guarded();
        let update = compiler.update(&[near(&[4, 5])], &[]);
        assert!(!update.replace && update.apply.len() == 1, "{update:?}");
    }

    #[test]
    fn classes_that_change_stacks_and_addresses_with_each_other_are_a_replacement() {
        let mut compiler = guarded();
        let _ = compiler.update(&[class("10.0.0.6/32", 5)], &[]);
        // The address is judged by the second stack before and after, but not by what its old class leads
        // to now, nor by what its new one led to.
        let update = compiler.update(&[class("10.0.0.6/32", 4), near(&[4])], &[]);
        assert!(update.replace);
    }
}

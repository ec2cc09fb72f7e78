//! Hosts on the way of traffic: which host endpoints judge it, and at which stages.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ocicat_api::config::{EndpointToHost, Failsafe, FelixConfiguration};
use ocicat_api::core::HostInterface;
use ocicat_api::{Object, ObjectKey};
use ocicat_flow::{Direction, Outcome, Verdict};
use ocicat_node::{ServiceMatch, Stage};

use crate::explanation::HostStep;
use crate::tables::Tables;
use crate::walk;

/// Where one end of traffic is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum At {
    /// A workload of this host, or of none that is known.
    Workload(Option<Arc<str>>),
    /// The host itself; by this host endpoint, if one was named.
    Host(Arc<str>, Option<ObjectKey>),
    Elsewhere,
}

/// What a host says to traffic on its way, in order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) node: Arc<str>,
    pub(crate) direction: Direction,
    pub(crate) saying: Saying,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Saying {
    Judged(ObjectKey, Stage, Arc<Outcome>),
    /// A fail-safe port: the stage does not judge.
    Failsafe(ObjectKey, Stage),
    /// What keeps a link of IPv6: the stage does not judge.
    LinkUpkeep(ObjectKey, Stage),
    /// Several host endpoints, and which interface traffic passes is not known.
    Unknown(Vec<ObjectKey>),
    /// `defaultEndpointToHostAction`, by its name.
    ToHost(Verdict, &'static str),
    /// Between a workload and its own host, what nobody judges.
    AtHome(&'static str),
}

impl Found {
    /// In words.
    pub(crate) fn step(&self, tables: &Tables) -> HostStep {
        let (endpoint, stage, outcome) = match &self.saying {
            Saying::Judged(key, stage, outcome) => (Some(key), Some(*stage), Some(outcome)),
            Saying::Failsafe(key, stage) | Saying::LinkUpkeep(key, stage) => {
                (Some(key), Some(*stage), None)
            }
            Saying::Unknown(_) | Saying::ToHost(..) | Saying::AtHome(_) => (None, None, None),
        };
        let judged = endpoint
            .zip(stage)
            .zip(outcome)
            .map(|((key, stage), outcome)| {
                let stack = tables.stage(key, (stage, self.direction));
                walk::side(Tables::id(key), self.direction, &stack, outcome.clone())
            });
        let reason = match &self.saying {
            Saying::Judged(.., outcome) => outcome.decider.to_string(),
            Saying::Failsafe(..) => "fail-safe port".into(),
            Saying::LinkUpkeep(..) => LINK_UPKEEP.into(),
            Saying::Unknown(several) => {
                let names: Vec<String> =
                    several.iter().map(|x| Tables::id(x).to_string()).collect();
                let names = names.join(", ");
                format!("which interface it passes is not known, so none of {names} is asked")
            }
            Saying::ToHost(_, action) => format!("defaultEndpointToHostAction {action}"),
            Saying::AtHome(why) => (*why).into(),
        };
        HostStep {
            node: self.node.clone(),
            direction: self.direction,
            endpoint: endpoint.map(Tables::id),
            stage: stage.map(|stage| match stage {
                Stage::Untracked => "untracked",
                Stage::PreDnat => "pre-DNAT",
                Stage::Forward => "forwarded",
                Stage::Local => "local",
            }),
            verdict: self.verdict(),
            reason,
            judged,
        }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        match &self.saying {
            Saying::Judged(.., outcome) => outcome.verdict,
            Saying::Failsafe(..) | Saying::LinkUpkeep(..) | Saying::Unknown(_) => Verdict::Next,
            Saying::ToHost(verdict, _) => *verdict,
            Saying::AtHome(_) => Verdict::Allow,
        }
    }
}

/// Hosts by name.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    items: BTreeMap<Arc<str>, Host>,
    owners: BTreeMap<IpAddr, Arc<str>>,
    felix: BTreeMap<Arc<str>, FelixConfiguration>,
}

#[derive(Debug, Default)]
struct Host {
    addresses: Vec<IpAddr>,
    endpoints: BTreeMap<ObjectKey, (HostInterface, Vec<IpAddr>)>,
}

/// One connection between two addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) service: ServiceMatch,
}

impl Hosts {
    pub(crate) fn put(&mut self, object: &Object) {
        match object {
            Object::Node(node) => {
                let name = &node.metadata.name;
                self.items.entry(name.clone()).or_default().addresses = node.addresses.clone();
                for address in &node.addresses {
                    self.owners.insert(*address, name.clone());
                }
            }
            Object::HostEndpoint(hep) => {
                let host = self.items.entry(hep.node.clone()).or_default();
                let value = (hep.interface.clone(), hep.expected_ips.clone());
                host.endpoints.insert(object.key(), value);
                for address in &hep.expected_ips {
                    let node = || hep.node.clone();
                    self.owners.entry(*address).or_insert_with(node);
                }
            }
            Object::FelixConfiguration(felix) => {
                self.felix
                    .insert(felix.metadata.name.clone(), felix.clone());
            }
            _ => {}
        }
    }

    /// Addresses of a host, or of one of its endpoints; `None` if it is not known.
    pub(crate) fn addresses(
        &self,
        node: &str,
        endpoint: Option<&ObjectKey>,
    ) -> Option<Vec<IpAddr>> {
        let host = self.items.get(node)?;
        let own = endpoint.and_then(|key| host.endpoints.get(key));
        let own = own
            .map(|(_, expected)| expected)
            .filter(|own| !own.is_empty());
        let expected = || {
            host.endpoints
                .values()
                .flat_map(|(_, expected)| expected)
                .copied()
        };
        Some(match own {
            Some(own) => own.clone(),
            None if host.addresses.is_empty() => {
                expected().collect::<BTreeSet<_>>().into_iter().collect()
            }
            None => host.addresses.clone(),
        })
    }

    /// The host that a host endpoint is of.
    pub(crate) fn node_of(&self, endpoint: &ObjectKey) -> Option<&Arc<str>> {
        let has = |(_, host): &(&Arc<str>, &Host)| host.endpoints.contains_key(endpoint);
        self.items.iter().find(has).map(|(name, _)| name)
    }

    pub(crate) fn owner(&self, address: IpAddr) -> Option<&Arc<str>> {
        self.owners.get(&address)
    }

    /// The host endpoints of the host of one end.
    pub(crate) fn endpoints(&self, at: &At) -> impl Iterator<Item = &ObjectKey> {
        let host = at.node().and_then(|node| self.items.get(node));
        host.into_iter().flat_map(|host| host.endpoints.keys())
    }

    /// What hosts say between the egress of the source and the ingress of the destination.
    pub(crate) fn judge(&self, tables: &Tables, from: &At, to: &At, flow: Flow) -> Vec<Found> {
        if let Some(found) = self.at_home(from, to, flow) {
            return vec![found];
        }
        let (left, reached) = (from.node(), to.node());
        if left.is_some() && left == reached {
            return match (from, to) {
                (At::Workload(_), At::Host(node, _)) => vec![self.to_host(node)],
                _ => Vec::new(),
            };
        }
        let mut found = Vec::new();
        for (at, direction) in [(from, Direction::Egress), (to, Direction::Ingress)] {
            let leg = match at {
                At::Elsewhere | At::Workload(None) => continue,
                At::Workload(Some(node)) => Leg {
                    node,
                    own: false,
                    named: None,
                },
                At::Host(node, named) => Leg {
                    node,
                    own: true,
                    named: named.as_ref(),
                },
            };
            self.pass(tables, &leg, direction, flow, &mut found);
        }
        found
    }

    /// What nobody judges because it stays between a workload and its own host: all that the host sends,
    /// and what keeps their link.
    pub(crate) fn at_home(&self, from: &At, to: &At, flow: Flow) -> Option<Found> {
        let is_discovery = flow.icmpv6_type().is_some_and(is_discovery);
        let (node, direction, why) = match (from, to) {
            (At::Host(node, _), At::Workload(Some(home))) if node == home => {
                (node, Direction::Egress, "a host reaches its own workloads")
            }
            (At::Workload(Some(home)), At::Host(node, _)) if node == home && is_discovery => {
                (node, Direction::Ingress, LINK_UPKEEP)
            }
            _ => return None,
        };
        Some(Found {
            node: node.clone(),
            direction,
            saying: Saying::AtHome(why),
        })
    }

    fn to_host(&self, node: &Arc<str>) -> Found {
        let action = self.configured(node, |felix| felix.default_endpoint_to_host);
        let (verdict, name) = match action.unwrap_or(EndpointToHost::Drop) {
            EndpointToHost::Drop => (Verdict::Deny, "Drop"),
            EndpointToHost::Return => (Verdict::Allow, "Return"),
            EndpointToHost::Accept => (Verdict::Allow, "Accept"),
        };
        Found {
            node: node.clone(),
            direction: Direction::Ingress,
            saying: Saying::ToHost(verdict, name),
        }
    }

    fn configured<T>(
        &self,
        node: &str,
        field: impl Fn(&FelixConfiguration) -> Option<T>,
    ) -> Option<T> {
        let own = self.felix.get(&*format!("node.{node}"));
        let all = self.felix.get("default");
        own.and_then(&field).or_else(|| all.and_then(&field))
    }

    fn pass(
        &self,
        tables: &Tables,
        leg: &Leg<'_>,
        direction: Direction,
        flow: Flow,
        found: &mut Vec<Found>,
    ) {
        let (near, far) = match direction {
            Direction::Ingress => (flow.destination, flow.source),
            Direction::Egress => (flow.source, flow.destination),
        };
        let mut add = |saying: Saying| {
            found.push(Found {
                node: leg.node.clone(),
                direction,
                saying,
            });
        };
        let endpoint = match self.endpoint(leg, near) {
            Ok(Some(endpoint)) => endpoint,
            Ok(None) => return,
            Err(several) => return add(Saying::Unknown(several)),
        };
        let stages: &[Stage] = match (leg.own, direction) {
            (true, Direction::Ingress) => &[Stage::Untracked, Stage::PreDnat, Stage::Local],
            (true, Direction::Egress) => &[Stage::Untracked, Stage::Local],
            (false, Direction::Ingress) => &[Stage::Untracked, Stage::PreDnat, Stage::Forward],
            (false, Direction::Egress) => &[Stage::Forward],
        };
        for stage in stages {
            let way = (*stage, direction);
            let judged = tables.judge_stage(&endpoint, way, (near, far), flow.service);
            let Some(outcome) = judged else { continue };
            if *stage != Stage::Forward && flow.icmpv6_type().is_some_and(is_upkeep) {
                add(Saying::LinkUpkeep(endpoint.clone(), *stage));
                continue;
            }
            if leg.own && self.is_failsafe(leg.node, direction, far, flow.service) {
                add(Saying::Failsafe(endpoint.clone(), *stage));
                continue;
            }
            let verdict = outcome.verdict;
            add(Saying::Judged(endpoint.clone(), *stage, outcome));
            if verdict != Verdict::Next {
                return;
            }
        }
    }

    /// The host endpoint of the interface that traffic passes: that which was named, else that
    /// which has the host's own address, else the only one.
    fn endpoint(&self, leg: &Leg<'_>, near: IpAddr) -> Result<Option<ObjectKey>, Vec<ObjectKey>> {
        if let Some(named) = leg.named {
            return Ok(Some(named.clone()));
        }
        let Some(host) = self.items.get(leg.node) else {
            return Ok(None);
        };
        let has = |(_, (_, expected)): &(&ObjectKey, &(_, Vec<IpAddr>))| expected.contains(&near);
        if let Some((key, _)) = host.endpoints.iter().filter(|_| leg.own).find(has) {
            return Ok(Some(key.clone()));
        }
        match host.endpoints.len() {
            0 | 1 => Ok(host.endpoints.keys().next().cloned()),
            _ => Err(host.endpoints.keys().cloned().collect()),
        }
    }

    fn is_failsafe(
        &self,
        node: &str,
        direction: Direction,
        far: IpAddr,
        service: ServiceMatch,
    ) -> bool {
        let list = match direction {
            Direction::Ingress => self
                .configured(node, |felix| felix.failsafe_inbound.clone())
                .unwrap_or_else(Failsafe::default_inbound),
            Direction::Egress => self
                .configured(node, |felix| felix.failsafe_outbound.clone())
                .unwrap_or_else(Failsafe::default_outbound),
        };
        list.iter().any(|open| {
            open.protocol.0 == service.protocol.0
                && open.port == service.port
                && open.net.is_none_or(|net| net.contains(&far))
        })
    }
}

impl At {
    fn node(&self) -> Option<&Arc<str>> {
        match self {
            Self::Workload(node) => node.as_ref(),
            Self::Host(node, _) => Some(node),
            Self::Elsewhere => None,
        }
    }
}

impl Flow {
    /// Only in IPv6 does that protocol mean something.
    fn icmpv6_type(&self) -> Option<u8> {
        let is_icmpv6 = self.service.protocol.0 == 58 && self.source.is_ipv6();
        is_icmpv6.then_some(self.service.port.to_be_bytes()[0])
    }
}

const LINK_UPKEEP: &str = "what keeps a link of IPv6";

/// Multicast listener (130-132, 143), router and neighbour discovery (133-136).
fn is_upkeep(kind: u8) -> bool {
    matches!(kind, 130..=136 | 143)
}

/// Of these, what a workload and its host need.
fn is_discovery(kind: u8) -> bool {
    matches!(kind, 130..=133 | 135 | 136)
}

/// The way past one host.
struct Leg<'a> {
    node: &'a Arc<str>,
    /// The host itself is the end; else it forwards.
    own: bool,
    named: Option<&'a ObjectKey>,
}

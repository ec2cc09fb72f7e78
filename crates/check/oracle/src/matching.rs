//! Whether a rule matches a packet: yes, no, or not to be known.

pub mod cluster;
mod service;

use std::net::IpAddr;

use ipnet::IpNet;
use ocicat_api::policy::{KubePeer, KubePort, KubeRule};
use ocicat_api::rule::{EntityRule, Icmp, Rule, ServiceAccountMatch};
use ocicat_api::{Family, PortSpec};
use ocicat_selector::Selector;

use crate::Packet;
use crate::census::{Census, Endpoint, Owner, namespace_labels, service_account_labels};
use crate::expression::{Sense, satisfies};

/// A truth value of three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    No,
    Undetermined,
    Yes,
}

/// One end of the packet.
#[derive(Debug, Clone, Copy)]
pub struct Side {
    pub address: IpAddr,
    pub port: u16,
}

/// Where the selectors of a rule look when they do not say.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// Rules of GlobalNetworkPolicies and profiles. [5]
    Everywhere,
    /// Rules of the Calico NetworkPolicies of this namespace. [5]
    Namespace(&'a str),
}

/// [10] No part may be false; then none may be unknown.
pub fn rule(census: &Census<'_>, scope: Scope<'_>, rule: &Rule, packet: &Packet) -> Answer {
    let readable = if rule.unreadable.is_empty() {
        Answer::Yes
    } else {
        Answer::Undetermined
    };
    let source = Side {
        address: packet.source,
        port: packet.source_port,
    };
    let destination = Side {
        address: packet.destination,
        port: packet.destination_port,
    };
    all(&[
        Answer::from(right_family(rule, packet)),
        // [12] By number only.
        Answer::from(
            rule.protocol
                .is_none_or(|protocol| protocol.0 == packet.protocol),
        ),
        Answer::from(
            rule.not_protocol
                .is_none_or(|protocol| protocol.0 != packet.protocol),
        ),
        Answer::from(rule.icmp.is_none_or(|icmp| is_icmp(icmp, packet))),
        Answer::from(rule.not_icmp.is_none_or(|icmp| !is_icmp(icmp, packet))),
        entity(census, scope, &rule.source, source, packet),
        entity(census, scope, &rule.destination, destination, packet),
        service::source(census, rule.source.service.as_ref(), packet),
        service::destination(census, rule.destination.service.as_ref(), packet),
        readable,
    ])
}

/// [6] Peers and ports of a Kubernetes rule in the policy's namespace. `far` is the peer.
pub fn kube_rule(
    census: &Census<'_>,
    namespace: &str,
    rule: &KubeRule,
    far: IpAddr,
    packet: &Packet,
) -> Answer {
    let peers = match &rule.peers {
        None => Answer::Yes,
        Some(peers) => {
            let each = peers
                .iter()
                .map(|peer| kube_peer(census, namespace, peer, far));
            any(&each.collect::<Vec<_>>())
        }
    };
    let ports = match &rule.ports {
        None => Answer::Yes,
        Some(ports) => {
            let each = ports.iter().map(|port| kube_port(census, port, packet));
            any(&each.collect::<Vec<_>>())
        }
    };
    all(&[peers, ports])
}

impl From<bool> for Answer {
    fn from(known: bool) -> Self {
        if known { Self::Yes } else { Self::No }
    }
}

pub fn all(parts: &[Answer]) -> Answer {
    if parts.contains(&Answer::No) {
        Answer::No
    } else if parts.contains(&Answer::Undetermined) {
        Answer::Undetermined
    } else {
        Answer::Yes
    }
}

pub fn any(parts: &[Answer]) -> Answer {
    if parts.contains(&Answer::Yes) {
        Answer::Yes
    } else if parts.contains(&Answer::Undetermined) {
        Answer::Undetermined
    } else {
        Answer::No
    }
}

fn not(answer: Answer) -> Answer {
    match answer {
        Answer::No => Answer::Yes,
        Answer::Undetermined => Answer::Undetermined,
        Answer::Yes => Answer::No,
    }
}

/// [11] Every CIDR and `ipVersion` must be of the packet's family.
fn right_family(rule: &Rule, packet: &Packet) -> bool {
    let is_ipv4 = packet.source.is_ipv4();
    let lists = [
        &rule.source.nets,
        &rule.source.not_nets,
        &rule.destination.nets,
        &rule.destination.not_nets,
    ];
    let nets_agree = lists
        .iter()
        .all(|nets| nets.iter().all(|net| net.addr().is_ipv4() == is_ipv4));
    let family = if is_ipv4 { Family::Ipv4 } else { Family::Ipv6 };
    nets_agree && rule.ip_version.is_none_or(|version| version == family)
}

/// [12]
fn is_icmp(icmp: Icmp, packet: &Packet) -> bool {
    packet.is_icmp()
        && icmp.icmp_type.is_none_or(|kind| kind == packet.icmp_type)
        && icmp.code.is_none_or(|code| code == packet.icmp_code)
}

/// [5, 13] `source` or `destination` of a rule, near or far alike.
fn entity(
    census: &Census<'_>,
    scope: Scope<'_>,
    entity: &EntityRule,
    side: Side,
    packet: &Packet,
) -> Answer {
    let holds = |net: &IpNet| net.contains(&side.address);
    let ports = match (entity.ports.is_empty(), packet.has_ports()) {
        (true, _) => Answer::Yes,
        (false, false) => Answer::No,
        (false, true) => listed(census, &entity.ports, side, packet),
    };
    let not_ports = match (entity.not_ports.is_empty(), packet.has_ports()) {
        (true, _) | (false, false) => Answer::Yes,
        (false, true) => not(listed(census, &entity.not_ports, side, packet)),
    };
    all(&[
        Answer::from(entity.nets.is_empty() || entity.nets.iter().any(holds)),
        Answer::from(!entity.not_nets.iter().any(holds)),
        positive(census, scope, entity, side.address),
        negative(census, entity, side.address),
        ports,
        not_ports,
    ])
}

/// [5] One owner must satisfy everything that is asked; [9] of an unclaimed address only sets can.
fn positive(census: &Census<'_>, scope: Scope<'_>, entity: &EntityRule, address: IpAddr) -> Answer {
    let asks_for_owner_of_namespace =
        matches!(scope, Scope::Namespace(_)) && entity.not_selector.is_some();
    let asks = entity.selector.is_some()
        || entity.namespace_selector.is_some()
        || entity.service_accounts.is_some()
        || asks_for_owner_of_namespace;
    if !asks {
        return Answer::Yes;
    }
    if census
        .owners(address)
        .iter()
        .any(|owner| owner_satisfies(census, scope, entity, *owner))
    {
        return Answer::Yes;
    }
    if census.is_unclaimed(address) {
        Answer::Undetermined
    } else {
        Answer::No
    }
}

fn owner_satisfies(
    census: &Census<'_>,
    scope: Scope<'_>,
    entity: &EntityRule,
    owner: Owner<'_>,
) -> bool {
    let in_scope = match (scope, &entity.namespace_selector) {
        (Scope::Namespace(namespace), None) => owner.namespace() == Some(namespace),
        _ => true,
    };
    in_scope
        && entity
            .selector
            .as_ref()
            .is_none_or(|x| satisfies(owner.labels(), x, Sense::Plain))
        && entity
            .namespace_selector
            .as_ref()
            .is_none_or(|x| namespace_satisfies(census, x, owner))
        && entity
            .service_accounts
            .as_ref()
            .is_none_or(|x| account_satisfies(census, x, owner))
}

/// [4] `all()` is "namespaced", `global()` is "not namespaced", who has no namespace has no labels.
fn namespace_satisfies(census: &Census<'_>, selector: &Selector, owner: Owner<'_>) -> bool {
    match owner.namespace() {
        Some(name) => satisfies(
            &namespace_labels(census.world, name),
            selector,
            Sense::Namespaced,
        ),
        None => satisfies(
            &std::collections::BTreeMap::new(),
            selector,
            Sense::NotNamespaced,
        ),
    }
}

/// [4] Sets, and endpoints without a service account, never match.
fn account_satisfies(census: &Census<'_>, wanted: &ServiceAccountMatch, owner: Owner<'_>) -> bool {
    let Owner::Endpoint(endpoint) = owner else {
        return false;
    };
    let Some(account) = &endpoint.service_account else {
        return false;
    };
    let labels = service_account_labels(census.world, &endpoint.namespace, account);
    (wanted.names.is_empty() || wanted.names.iter().any(|name| **name == **account))
        && wanted
            .selector
            .as_ref()
            .is_none_or(|x| satisfies(&labels, x, Sense::Plain))
}

/// [5] No owner, of any namespace, may match; [9] who owns an unclaimed address is not known.
fn negative(census: &Census<'_>, entity: &EntityRule, address: IpAddr) -> Answer {
    let Some(selector) = &entity.not_selector else {
        return Answer::Yes;
    };
    let matches = |owner: &Owner<'_>| satisfies(owner.labels(), selector, Sense::Plain);
    if census.owners(address).iter().any(matches) {
        Answer::No
    } else if census.is_unclaimed(address) {
        Answer::Undetermined
    } else {
        Answer::Yes
    }
}

/// [12] Whether a list of ports holds the packet's port on this side; [9] names are not known for
/// unclaimed addresses.
pub fn listed(census: &Census<'_>, ports: &[PortSpec], side: Side, packet: &Packet) -> Answer {
    let each = ports.iter().map(|port| match port {
        PortSpec::Range { first, last } => Answer::from(*first <= side.port && side.port <= *last),
        PortSpec::Name(_) if census.is_unclaimed(side.address) => Answer::Undetermined,
        PortSpec::Name(name) => Answer::from(census.ports_at(side.address).any(|port| {
            port.name == *name && port.protocol.0 == packet.protocol && port.port == side.port
        })),
    });
    any(&each.collect::<Vec<_>>())
}

/// [6] Pod peers are endpoints of orchestrator `k8s`; [11] a block holds addresses of its family.
fn kube_peer(census: &Census<'_>, namespace: &str, peer: &KubePeer, far: IpAddr) -> Answer {
    match peer {
        KubePeer::IpBlock { cidr, except } => {
            Answer::from(cidr.contains(&far) && !except.iter().any(|net| net.contains(&far)))
        }
        KubePeer::Pods {
            namespace_selector,
            pod_selector,
        } => {
            let known = census.endpoints_at(far).any(|endpoint| {
                let pod = pod_selector.as_ref();
                match namespace_selector {
                    None => endpoint.namespace == namespace && is_pod(endpoint, pod),
                    Some(selector) => is_pod_of(census, endpoint, selector, pod),
                }
            });
            match known {
                true => Answer::Yes,
                false if census.is_unclaimed(far) => Answer::Undetermined,
                false => Answer::No,
            }
        }
    }
}

/// [6] Whether an endpoint is a pod that satisfies the selectors, that of its namespace first.
pub fn is_pod_of(
    census: &Census<'_>,
    endpoint: &Endpoint,
    namespace: &Selector,
    pod: Option<&Selector>,
) -> bool {
    let labels = namespace_labels(census.world, &endpoint.namespace);
    satisfies(&labels, namespace, Sense::Namespaced) && is_pod(endpoint, pod)
}

/// [6]
fn is_pod(endpoint: &Endpoint, selector: Option<&Selector>) -> bool {
    endpoint.orchestrator == "k8s"
        && selector.is_none_or(|x| satisfies(&endpoint.labels, x, Sense::Plain))
}

/// [6, 12] Ports of Kubernetes rules are destination ports.
fn kube_port(census: &Census<'_>, wanted: &KubePort, packet: &Packet) -> Answer {
    if wanted.protocol.0 != packet.protocol {
        return Answer::No;
    }
    match &wanted.port {
        None => Answer::Yes,
        Some(_) if !packet.has_ports() => Answer::No,
        Some(port) => {
            let side = Side {
                address: packet.destination,
                port: packet.destination_port,
            };
            listed(census, std::slice::from_ref(port), side, packet)
        }
    }
}

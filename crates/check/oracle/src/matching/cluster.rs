//! [21] Rules of ClusterNetworkPolicies.

use std::net::IpAddr;

use ocicat_api::policy::{ClusterPeer, ClusterProtocol, ClusterRule};
use ocicat_api::rule::Action;
use ocicat_api::{Object, PortSpec};
use ocicat_selector::Selector;

use super::{Answer, Side, all, any, is_pod_of, listed};
use crate::census::{Census, plain};
use crate::expression::{Sense, satisfies};
use crate::{Direction, Packet};

/// One peer and one protocol must match. What cannot be read is not there for Allow; for Deny and
/// Pass it may be anything.
pub fn rule(
    census: &Census<'_>,
    rule: &ClusterRule,
    direction: Direction,
    packet: &Packet,
) -> Answer {
    let far = match direction {
        Direction::Ingress => packet.source,
        Direction::Egress => packet.destination,
    };
    let mut peers: Vec<Answer> = (rule.peers.iter())
        .map(|peer| self::peer(census, peer, far))
        .collect();
    let mut protocols: Vec<Answer> = match &rule.protocols {
        None => vec![Answer::Yes],
        Some(list) => (list.iter())
            .map(|wanted| protocol(census, wanted, packet))
            .collect(),
    };
    let mut readable = Answer::Yes;
    if rule.action != Action::Allow && !rule.unreadable.is_empty() {
        readable = Answer::Undetermined;
        if rule.unreadable_peers {
            peers.push(Answer::Undetermined);
        }
        if rule.unreadable_protocols {
            protocols.push(Answer::Undetermined);
        }
    }
    all(&[any(&peers), any(&protocols), readable])
}

fn peer(census: &Census<'_>, peer: &ClusterPeer, far: IpAddr) -> Answer {
    match peer {
        ClusterPeer::Namespaces(namespaces) => pods(census, namespaces, None, far),
        ClusterPeer::Pods {
            namespace_selector,
            pod_selector,
        } => pods(census, namespace_selector, Some(pod_selector), far),
        ClusterPeer::Nodes(selector) => {
            let is_wanted = |object: &Object| match object {
                Object::Node(node) => {
                    node.addresses.contains(&far)
                        && satisfies(&plain(&node.metadata.labels), selector, Sense::Plain)
                }
                _ => false,
            };
            Answer::from(census.world.objects.values().any(is_wanted))
        }
        ClusterPeer::Networks(nets) => Answer::from(nets.iter().any(|net| net.contains(&far))),
        ClusterPeer::Domains(_) => Answer::No,
    }
}

fn pods(
    census: &Census<'_>,
    namespaces: &Selector,
    pods: Option<&Selector>,
    far: IpAddr,
) -> Answer {
    let is_known = census
        .endpoints_at(far)
        .any(|endpoint| is_pod_of(census, endpoint, namespaces, pods));
    match is_known {
        true => Answer::Yes,
        false if census.is_unclaimed(far) => Answer::Undetermined,
        false => Answer::No,
    }
}

/// Ports are those of the destination. [12]
fn protocol(census: &Census<'_>, wanted: &ClusterProtocol, packet: &Packet) -> Answer {
    let side = Side {
        address: packet.destination,
        port: packet.destination_port,
    };
    let port = |port: &PortSpec| match packet.has_ports() {
        true => listed(census, std::slice::from_ref(port), side, packet),
        false => Answer::No,
    };
    match wanted {
        ClusterProtocol::Ports(protocol, _) if protocol.0 != packet.protocol => Answer::No,
        ClusterProtocol::Ports(_, None) => Answer::Yes,
        ClusterProtocol::Ports(_, Some(wanted)) => port(wanted),
        ClusterProtocol::Named(name) => port(&PortSpec::Name(name.clone())),
    }
}

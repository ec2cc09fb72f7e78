//! Random ClusterNetworkPolicies.

use std::collections::BTreeMap;

use ocicat_api::PortSpec;
use ocicat_api::policy::{
    ClusterNetworkPolicy, ClusterPeer, ClusterProtocol, ClusterRule, ClusterSubject, ClusterTier,
};
use ocicat_api::rule::Action;
use ocicat_oracle::Direction;
use ocicat_selector::Selector;

use super::problem;
use crate::words::{PORT_NAMES, metadata, net_of, port_protocol, port_spec};
use crate::{Random, expression};

/// Equal priorities included.
pub fn cluster(random: &mut Random, name: &str) -> ClusterNetworkPolicy {
    ClusterNetworkPolicy {
        metadata: metadata(None, name, BTreeMap::new()),
        tier: random.pick(&[
            ClusterTier::Admin,
            ClusterTier::Admin,
            ClusterTier::Baseline,
        ]),
        priority: random.pick(&[0, 1, 50, 50, 1000]),
        subject: subject(random),
        ingress: random.several(0, 4, |random| rule(random, Direction::Ingress)),
        egress: random.several(0, 4, |random| rule(random, Direction::Egress)),
    }
}

fn subject(random: &mut Random) -> ClusterSubject {
    match random.below(100) {
        0..4 => ClusterSubject::Unreadable,
        4..50 => ClusterSubject::Namespaces(namespaces(random)),
        _ => ClusterSubject::Pods {
            namespace_selector: namespaces(random),
            pod_selector: expression::of_pods(random),
        },
    }
}

fn namespaces(random: &mut Random) -> Selector {
    match random.chance(40) {
        true => Selector::All,
        false => expression::of_kube_namespaces(random),
    }
}

pub fn rule(random: &mut Random, direction: Direction) -> ClusterRule {
    let action = random.weighted(&[(35, Action::Allow), (35, Action::Deny), (30, Action::Pass)]);
    let mut rule = ClusterRule {
        name: random.pick(&["", "first", "second"]).into(),
        action,
        peers: random.several(1, 3, |random| peer(random, direction, action)),
        protocols: random.maybe(45, |random| random.several(1, 3, protocol)),
        unreadable: Vec::new(),
        unreadable_peers: random.chance(5),
        unreadable_protocols: random.chance(4),
    };
    if rule.unreadable_peers && random.chance(30) {
        rule.peers.clear();
    }
    if rule.unreadable_protocols {
        let list = rule.protocols.get_or_insert_default();
        if random.chance(30) {
            list.clear();
        }
    }
    let names = |peer: &ClusterPeer| matches!(peer, ClusterPeer::Domains(_));
    let is_nameless = |peer: &ClusterPeer| {
        matches!(
            peer,
            ClusterPeer::Nodes(_) | ClusterPeer::Networks(_) | ClusterPeer::Domains(_)
        )
    };
    if let Some(list) = &mut rule.protocols
        && rule.peers.iter().any(is_nameless)
    {
        // Those peers have no ports by name.
        for wanted in list {
            if let ClusterProtocol::Named(_) = wanted {
                *wanted = ClusterProtocol::Ports(port_protocol(random), Some(PortSpec::single(80)));
            }
        }
    }
    if rule.unreadable_peers || rule.unreadable_protocols || rule.peers.iter().any(names) {
        rule.unreadable = vec![problem()];
    }
    rule
}

fn peer(random: &mut Random, direction: Direction, action: Action) -> ClusterPeer {
    let in_egress = match direction {
        Direction::Ingress => 0,
        Direction::Egress => 1,
    };
    let kind = random.weighted(&[
        (25, 0),
        (35, 1),
        (15 * in_egress, 2),
        (25 * in_egress, 3),
        (if action == Action::Allow { 4 } else { 0 } * in_egress, 4),
    ]);
    match kind {
        0 => ClusterPeer::Namespaces(namespaces(random)),
        1 => ClusterPeer::Pods {
            namespace_selector: namespaces(random),
            pod_selector: expression::of_pods(random),
        },
        2 => ClusterPeer::Nodes(match random.chance(40) {
            true => Selector::All,
            false => expression::of_nodes(random),
        }),
        3 => ClusterPeer::Networks(random.several(1, 3, |random| {
            // Of both families in one list.
            let version = random.pick(&[4, 4, 6]);
            net_of(random, version)
        })),
        _ => ClusterPeer::Domains(vec!["*.example.com".into()]),
    }
}

fn protocol(random: &mut Random) -> ClusterProtocol {
    if random.chance(25) {
        return ClusterProtocol::Named(random.pick(&PORT_NAMES).into());
    }
    let port = match port_spec(random) {
        PortSpec::Range { first, last } => PortSpec::Range {
            first: first.max(1),
            last,
        },
        // Names have a field of their own.
        PortSpec::Name(_) => PortSpec::single(80),
    };
    ClusterProtocol::Ports(port_protocol(random), Some(port))
}

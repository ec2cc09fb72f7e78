//! ClusterNetworkPolicy.

use ocicat_api::policy::{
    ClusterNetworkPolicy, ClusterPeer, ClusterProtocol, ClusterRule, ClusterSubject, ClusterTier,
};
use ocicat_api::rule::Action;
use ocicat_api::{Kind, Object, PortSpec, Problem, Protocol};
use ocicat_flow::Direction::Egress;

use super::world::*;
use crate::Engine;

fn cluster_rule(action: Action, peer: ClusterPeer) -> ClusterRule {
    ClusterRule {
        name: "".into(),
        action,
        peers: vec![peer],
        protocols: None,
        unreadable: Vec::new(),
        unreadable_peers: false,
        unreadable_protocols: false,
    }
}

/// Of the pods of namespace `shop`.
fn cluster(
    name: &str,
    tier: ClusterTier,
    ingress: Vec<ClusterRule>,
    egress: Vec<ClusterRule>,
) -> ClusterNetworkPolicy {
    ClusterNetworkPolicy {
        metadata: metadata(name, ""),
        tier,
        priority: 10,
        subject: ClusterSubject::Namespaces(selector("team == 'red'")),
        ingress,
        egress,
    }
}

fn engine_of(policies: impl IntoIterator<Item = ClusterNetworkPolicy>) -> Engine {
    let mut labelled = node("big", "192.0.2.9");
    if let Object::Node(node) = &mut labelled {
        node.metadata.labels = labels("size=big");
    }
    let mut objects = vec![labelled, node("small", "192.0.2.8")];
    objects.extend(policies.into_iter().map(Object::ClusterNetworkPolicy));
    with(objects)
}

fn blue() -> ClusterPeer {
    ClusterPeer::Namespaces(selector("team == 'blue'"))
}

fn all() -> ClusterPeer {
    ClusterPeer::Namespaces(selector("all()"))
}

#[test]
fn admin_stands_before_and_baseline_after_all_others() {
    let mut first = cluster(
        "b",
        ClusterTier::Admin,
        vec![cluster_rule(Action::Deny, blue())],
        vec![],
    );
    first.priority = 1;
    let second = cluster(
        "a",
        ClusterTier::Admin,
        vec![cluster_rule(Action::Allow, all())],
        vec![],
    );
    let baseline = cluster(
        "base",
        ClusterTier::Baseline,
        vec![cluster_rule(Action::Deny, blue())],
        vec![],
    );
    let engine = engine_of([first, second.clone()]);
    assert_eq!(
        into(&engine, "shop/db", "10.0.0.3", 1),
        "Deny by clusternp/b ingress[0]"
    );
    assert_eq!(
        into(&engine, "shop/db", "10.0.0.1", 1),
        "Allow by clusternp/a ingress[0]"
    );
    assert_eq!(
        into(&engine, "bank/web", "10.0.0.1", 1),
        "Allow by profile/kns.bank ingress[0]"
    );
    // Only pods are peers.
    assert_eq!(
        into(&engine, "shop/db", "192.0.2.9", 1),
        "Allow by profile/kns.shop ingress[0]"
    );
    let mut engine = engine_of([baseline]);
    assert_eq!(
        into(&engine, "shop/db", "10.0.0.3", 1),
        "Deny by clusternp/base ingress[0]"
    );
    let allow = kube_rule(None, None);
    engine.upsert(&Object::NetworkPolicy(netpol(
        "shop/np",
        "all()",
        vec![allow],
    )));
    engine.commit();
    assert_eq!(
        into(&engine, "shop/db", "10.0.0.3", 1),
        "Allow by netpol/shop/np ingress[0]"
    );
}

#[test]
fn a_direction_without_rules_is_not_governed() {
    let policy = cluster(
        "c",
        ClusterTier::Admin,
        vec![cluster_rule(Action::Deny, all())],
        vec![],
    );
    let engine = engine_of([policy]);
    let out = ask(&engine, "shop/db", Egress, "10.0.0.3", on_tcp(1));
    assert_eq!(out, "Allow by profile/kns.shop egress[0]");
    let explanation = engine.explain(&key(Kind::Pod, "shop/db"), Egress).unwrap();
    assert!(explanation.tiers.is_empty());
}

#[test]
fn nodes_and_networks_and_ports() {
    let mut nodes = cluster_rule(Action::Deny, ClusterPeer::Nodes(selector("size == 'big'")));
    nodes.protocols = Some(vec![ClusterProtocol::Ports(Protocol::TCP, None)]);
    let nets = ClusterPeer::Networks(vec!["198.51.100.0/24".parse().unwrap()]);
    let mut nets = cluster_rule(Action::Deny, nets);
    let ports = PortSpec::Range {
        first: 80,
        last: 90,
    };
    nets.protocols = Some(vec![ClusterProtocol::Ports(Protocol::TCP, Some(ports))]);
    let mut named = cluster_rule(Action::Deny, blue());
    named.protocols = Some(vec![ClusterProtocol::Named("http".into())]);
    let policy = cluster("c", ClusterTier::Admin, vec![], vec![nodes, nets, named]);
    let mut engine = engine_of([policy]);
    let out = |engine: &Engine, far, port| ask(engine, "shop/db", Egress, far, on_tcp(port));
    let free = "Allow by profile/kns.shop egress[0]";
    assert_eq!(
        out(&engine, "192.0.2.9", 1),
        "Deny by clusternp/c egress[0]"
    );
    assert_eq!(out(&engine, "192.0.2.8", 1), free);
    assert_eq!(
        out(&engine, "198.51.100.1", 80),
        "Deny by clusternp/c egress[1]"
    );
    assert_eq!(out(&engine, "198.51.100.1", 91), free);
    assert_eq!(
        out(&engine, "10.0.0.3", 8080),
        "Deny by clusternp/c egress[2]"
    );
    assert_eq!(out(&engine, "10.0.0.3", 8081), free);
    assert_eq!(out(&engine, "10.0.0.1", 8080), free);
    let mut grown = node("small", "192.0.2.8");
    if let Object::Node(node) = &mut grown {
        node.metadata.labels = labels("size=big");
    }
    engine.upsert(&grown);
    engine.commit();
    assert_eq!(
        out(&engine, "192.0.2.8", 1),
        "Deny by clusternp/c egress[0]"
    );
}

#[test]
fn what_cannot_be_read_closes() {
    let broken = |action| ClusterRule {
        unreadable: vec![Problem::error("to[1]", "no known field")],
        unreadable_peers: true,
        ..cluster_rule(action, blue())
    };
    let verdict = |rules, far| {
        let engine = engine_of([cluster("c", ClusterTier::Admin, rules, vec![])]);
        let report = engine
            .report(&key(Kind::ClusterNetworkPolicy, "c"))
            .unwrap();
        assert_eq!(report.problems.len(), 1);
        into(&engine, "shop/db", far, 1)
    };
    let closed = "Deny by clusternp/c ingress[0] (undetermined)";
    assert_eq!(verdict(vec![broken(Action::Deny)], "10.0.0.1"), closed);
    assert_eq!(verdict(vec![broken(Action::Pass)], "198.51.100.1"), closed);
    assert_eq!(
        verdict(vec![broken(Action::Allow)], "10.0.0.3"),
        "Allow by clusternp/c ingress[0]"
    );
    let mut nowhere = cluster(
        "c",
        ClusterTier::Admin,
        vec![cluster_rule(Action::Deny, all())],
        vec![],
    );
    nowhere.subject = ClusterSubject::Unreadable;
    let engine = engine_of([nowhere]);
    let report = engine
        .report(&key(Kind::ClusterNetworkPolicy, "c"))
        .unwrap();
    assert_eq!((report.endpoints, report.problems.len()), (0, 1));
}

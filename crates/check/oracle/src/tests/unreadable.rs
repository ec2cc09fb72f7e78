//! [8], [10]: what could not be understood.

use ocicat_api::core::WorkloadEndpoint;
use ocicat_api::policy::{CalicoPolicy, NetworkPolicy, Subject};
use ocicat_api::rule::{Action, Rule};
use ocicat_api::{Object, Protocol};

use super::build::*;
use crate::{Decider, Judgement, PolicyKind, Verdict, World};

const AT: &str = "10.0.0.1";
const BARE: &str = "10.0.0.2";
const OTHER: &str = "10.0.0.3";

fn shop(objects: Vec<Object>) -> World {
    let mut world = World::new(objects);
    world.put(namespace("shop", &[]));
    world.put(namespace("ops", &[]));
    world.put(Object::Pod(pod("shop", "web", AT, &[])));
    world.put(Object::Pod(pod("ops", "other", OTHER, &[])));
    world.put(Object::WorkloadEndpoint(WorkloadEndpoint {
        profiles: vec!["kns.shop".into()],
        ..wep("shop", "printer", BARE, &[])
    }));
    world
}

fn at(objects: Vec<Object>, address: &str) -> Judgement {
    receive(&shop(objects), &tcp("8.8.8.8", address, 80))
}

fn unreadable(namespace: &str) -> CalicoPolicy {
    CalicoPolicy {
        subject: Subject::Unreadable,
        types: INGRESS,
        ingress: vec![rule(Allow)],
        order: Some(10.0),
        ..policy(namespace, "p")
    }
}

#[test]
fn a_namespaced_subject_closes_its_namespace_in_its_types() {
    let policy = Object::CalicoNetworkPolicy(unreadable("shop"));
    let name = policy_name(PolicyKind::CalicoNetworkPolicy, "shop", "p", "default");
    for address in [AT, BARE] {
        let judgement = at(vec![policy.clone()], address);
        assert_eq!(judgement.decider, Decider::Unreadable(name.clone()));
        assert_eq!(judgement.verdict, Verdict::Deny);
    }
    assert_eq!(at(vec![policy.clone()], OTHER).verdict, Verdict::Allow);
    let out = send(&shop(vec![policy]), &tcp(AT, "8.8.8.8", 80));
    assert_eq!(out.verdict, Verdict::Allow);
}

#[test]
fn it_closes_at_its_place_in_the_order() {
    let mut before = policy("shop", "before");
    before.order = Some(9.0);
    before.ingress = vec![Rule {
        protocol: Some(Protocol::TCP),
        ..rule(Allow)
    }];
    let world = vec![
        Object::CalicoNetworkPolicy(unreadable("shop")),
        Object::CalicoNetworkPolicy(before),
    ];
    assert_eq!(at(world.clone(), AT).verdict, Verdict::Allow);
    let mut udp = tcp("8.8.8.8", AT, 80);
    udp.protocol = 17;
    assert!(matches!(
        receive(&shop(world), &udp).decider,
        Decider::Unreadable(_)
    ));
}

#[test]
fn a_global_subject_is_enforced_nowhere() {
    let judgement = at(vec![Object::GlobalNetworkPolicy(unreadable(""))], AT);
    assert_eq!(judgement.verdict, Verdict::Allow);
}

#[test]
fn a_kubernetes_subject_closes_its_namespace() {
    let policy = Object::NetworkPolicy(NetworkPolicy {
        metadata: meta("shop", "p", &[]),
        pod_selector: None,
        types: INGRESS,
        ingress: vec![kube_rule(None, None)],
        egress: vec![],
    });
    let name = policy_name(PolicyKind::NetworkPolicy, "shop", "p", "default");
    for address in [AT, BARE] {
        let judgement = at(vec![policy.clone()], address);
        assert_eq!(judgement.decider, Decider::Unreadable(name.clone()));
    }
    assert_eq!(at(vec![policy], OTHER).verdict, Verdict::Allow);
}

#[test]
fn an_unreadable_rule_closes_only_what_the_rest_of_it_matches() {
    let decider = |action: Action, protocol: Protocol| {
        let garbled = Rule {
            protocol: Some(protocol),
            unreadable: vec![problem()],
            ..rule(action)
        };
        let mut p = policy("shop", "p");
        p.ingress = vec![garbled, rule(Allow)];
        at(vec![Object::CalicoNetworkPolicy(p)], AT)
    };
    let rule_at = |index| ingress_rule(PolicyKind::CalicoNetworkPolicy, "shop", "p", index);
    for action in [Deny, Pass] {
        let judgement = decider(action, Protocol::TCP);
        assert_eq!(judgement.decider, Decider::Undetermined(rule_at(0)));
        assert_eq!(
            (judgement.verdict, judgement.passed),
            (Verdict::Deny, vec![])
        );
    }
    for action in [Allow, Log] {
        let judgement = decider(action, Protocol::TCP);
        assert_eq!(judgement.decider, Decider::Rule(rule_at(1)));
        assert!(judgement.logged.is_empty());
    }
    assert_eq!(
        decider(Deny, Protocol::UDP).decider,
        Decider::Rule(rule_at(1))
    );
}

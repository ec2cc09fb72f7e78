//! [9]: addresses of pools whose owner is not known.

use ocicat_api::core::Pod;
use ocicat_api::policy::{KubePeer, KubePort};
use ocicat_api::rule::{Action, EntityRule, Rule, ServiceAccountMatch};
use ocicat_api::{Object, PortSpec, Protocol};
use ocicat_selector::Selector;

use super::build::*;
use crate::{Census, Decider, Packet, PolicyKind, Verdict, World};

const TARGET: &str = "10.0.0.1";
const FREE: &str = "10.0.0.77";
const IN_SET: &str = "10.0.1.77";
const STRANGER: &str = "8.8.8.8";

fn shop() -> World {
    World::new([
        namespace("shop", &[]),
        Object::Pod(pod("shop", "target", TARGET, &[])),
        pool("10.0.0.0/16"),
        node("10.0.0.200"),
        set("shop", "s", "10.0.1.0/24", &[("app", "x")]),
    ])
}

#[derive(Debug, PartialEq)]
enum Met {
    Yes,
    No,
    Undetermined,
}

/// How a rule of a NetworkPolicy meets a packet: asked with Allow, Pass and Deny.
fn met(mut rule: Rule, packet: &Packet) -> Met {
    let mut ask = |action: Action| {
        rule.action = action;
        let mut world = shop();
        world.put(cnp("shop", "p", rule.clone()));
        receive(&world, packet)
    };
    let at = || ingress_rule(PolicyKind::CalicoNetworkPolicy, "shop", "p", 0);
    let (allow, deny, pass, log) = (ask(Allow), ask(Deny), ask(Pass), ask(Log));
    if deny.decider == Decider::Undetermined(at()) {
        assert_eq!(pass.decider, Decider::Undetermined(at()));
        assert_eq!((pass.verdict, pass.passed), (Verdict::Deny, vec![]));
        assert_eq!(
            (allow.decider, log.decider),
            (end_of_default(), end_of_default())
        );
        assert!(log.logged.is_empty());
        return Met::Undetermined;
    }
    if allow.verdict == Verdict::Allow {
        assert_eq!(deny.decider, Decider::Rule(at()));
        return Met::Yes;
    }
    Met::No
}

fn tcp_from(source: EntityRule) -> Rule {
    Rule {
        protocol: Some(Protocol::TCP),
        ..from(Allow, source)
    }
}

#[test]
fn which_addresses_are_unclaimed() {
    let mut world = shop();
    let unclaimed = |world: &World, address: &str| {
        Census::new(world).is_unclaimed(address.parse().expect("an address"))
    };
    assert!(unclaimed(&world, FREE) && unclaimed(&world, IN_SET));
    assert!(!unclaimed(&world, TARGET) && !unclaimed(&world, STRANGER));
    assert!(!unclaimed(&world, "10.0.0.200"));
    // The address of a finished pod is free; the pool may be disabled.
    world.put(Object::Pod(Pod {
        finished: true,
        ..pod("shop", "target", TARGET, &[])
    }));
    assert!(unclaimed(&world, TARGET));
}

#[test]
fn selectors_are_undetermined_unless_a_set_satisfies_them() {
    let rule = || from(Allow, selecting(eq("app", "x")));
    assert_eq!(met(rule(), &tcp(FREE, TARGET, 80)), Met::Undetermined);
    assert_eq!(met(rule(), &tcp(IN_SET, TARGET, 80)), Met::Yes);
    assert_eq!(met(rule(), &tcp(STRANGER, TARGET, 80)), Met::No);
    assert_eq!(met(rule(), &tcp("10.0.0.200", TARGET, 80)), Met::No);
    let other = || from(Allow, selecting(eq("app", "y")));
    assert_eq!(met(other(), &tcp(IN_SET, TARGET, 80)), Met::Undetermined);
    let everywhere = EntityRule {
        namespace_selector: Some(Selector::All),
        ..entity()
    };
    assert_eq!(
        met(from(Allow, everywhere), &tcp(FREE, TARGET, 80)),
        Met::Undetermined
    );
}

#[test]
fn service_accounts_are_undetermined() {
    let any = ServiceAccountMatch {
        names: vec![],
        selector: None,
    };
    let source = EntityRule {
        service_accounts: Some(any),
        ..entity()
    };
    assert_eq!(
        met(from(Allow, source.clone()), &tcp(IN_SET, TARGET, 80)),
        Met::Undetermined
    );
    assert_eq!(
        met(from(Allow, source), &tcp(STRANGER, TARGET, 80)),
        Met::No
    );
}

#[test]
fn not_selectors_are_false_if_a_set_matches() {
    let source = || EntityRule {
        nets: vec![],
        ..not_selecting(eq("app", "x"))
    };
    assert_eq!(
        met(from(Allow, source()), &tcp(FREE, TARGET, 80)),
        Met::Undetermined
    );
    assert_eq!(
        met(from(Allow, source()), &tcp(IN_SET, TARGET, 80)),
        Met::No
    );
    // The set is an owner of this namespace, and still who owns the address may match.
    let other = from(Allow, not_selecting(eq("app", "y")));
    assert_eq!(met(other, &tcp(IN_SET, TARGET, 80)), Met::Undetermined);
}

#[test]
fn nets_and_rules_without_peers_apply_as_to_any_address() {
    assert_eq!(met(rule(Allow), &tcp(FREE, TARGET, 80)), Met::Yes);
    let nets = vec!["10.0.0.0/24".parse().expect("a CIDR")];
    let source = EntityRule { nets, ..entity() };
    assert_eq!(
        met(from(Allow, source.clone()), &tcp(FREE, TARGET, 80)),
        Met::Yes
    );
    // What is false stays false, whatever is not known besides.
    let both = EntityRule {
        selector: Some(eq("app", "y")),
        ..source
    };
    assert_eq!(
        met(from(Allow, both.clone()), &tcp(FREE, TARGET, 80)),
        Met::Undetermined
    );
    assert_eq!(
        met(from(Allow, both.clone()), &tcp(IN_SET, TARGET, 80)),
        Met::No
    );
    let udp = Rule {
        protocol: Some(Protocol::UDP),
        ..from(Allow, both)
    };
    assert_eq!(met(udp, &tcp(FREE, TARGET, 80)), Met::No);
}

#[test]
fn named_ports_are_undetermined_unless_a_number_of_the_list_matches() {
    let named = || PortSpec::Name("web".into());
    let ports = |ports| tcp_from(EntityRule { ports, ..entity() });
    let not_ports = |not_ports| {
        tcp_from(EntityRule {
            not_ports,
            ..entity()
        })
    };
    let free = tcp(FREE, TARGET, 80);
    assert_eq!(met(ports(vec![named()]), &free), Met::Undetermined);
    assert_eq!(met(ports(vec![named(), exactly(40_000)]), &free), Met::Yes);
    assert_eq!(
        met(ports(vec![named(), exactly(1)]), &free),
        Met::Undetermined
    );
    assert_eq!(met(not_ports(vec![named()]), &free), Met::Undetermined);
    assert_eq!(
        met(not_ports(vec![named(), exactly(40_000)]), &free),
        Met::No
    );
    assert_eq!(
        met(
            ports(vec![named()]),
            &Packet {
                protocol: 17,
                ..free
            }
        ),
        Met::No
    );
    assert_eq!(
        met(ports(vec![named()]), &tcp(STRANGER, TARGET, 80)),
        Met::No
    );
    assert_eq!(
        met(not_ports(vec![named()]), &tcp(STRANGER, TARGET, 80)),
        Met::Yes
    );
}

#[test]
fn a_rule_in_a_kubernetes_policy_that_cannot_be_known_does_not_match() {
    let pods = KubePeer::Pods {
        namespace_selector: None,
        pod_selector: Some(Selector::All),
    };
    let web = KubePort {
        protocol: Protocol::TCP,
        port: Some(PortSpec::Name("web".into())),
    };
    let mut world = shop();
    world.put(kube("shop", "p", kube_rule(Some(vec![pods]), None)));
    assert!(!lets_in(&world, FREE, TARGET));
    let Object::NetworkPolicy(mut out) = kube("shop", "q", kube_rule(None, None)) else {
        unreachable!("`kube` makes policies")
    };
    out.types = EGRESS;
    out.egress = vec![kube_rule(None, Some(vec![web]))];
    world.put(Object::NetworkPolicy(out));
    assert_eq!(
        send(&world, &tcp(TARGET, FREE, 80)).decider,
        end_of_default()
    );
    // A block is compared with the address alone.
    let block = KubePeer::IpBlock {
        cidr: "10.0.0.0/24".parse().expect("a CIDR"),
        except: vec![],
    };
    world.put(kube("shop", "p", kube_rule(Some(vec![block]), None)));
    assert!(lets_in(&world, FREE, TARGET));
}

//! [21]: ClusterNetworkPolicy.

use ocicat_api::core::{Node, Pod, WorkloadEndpoint};
use ocicat_api::policy::{
    ClusterNetworkPolicy, ClusterPeer, ClusterProtocol, ClusterRule, ClusterSubject, ClusterTier,
};
use ocicat_api::{Object, PortSpec, Protocol};
use ocicat_selector::Selector;

use super::build::*;
use crate::{Packet, Verdict, World};

const AT: &str = "10.0.0.1";
const SAME: &str = "10.0.0.2";
const OTHER: &str = "10.0.0.3";
const WEP: &str = "10.0.0.4";
const FREE: &str = "10.0.0.77";
const NODE: &str = "192.168.0.1";
const FAR: &str = "8.8.8.8";

use ClusterTier::{Admin, Baseline};

fn world(policies: impl IntoIterator<Item = Object>) -> World {
    let target = Pod {
        ports: vec![
            port("web", Protocol::TCP, 8080),
            port("web", Protocol::UDP, 53),
        ],
        ..pod("shop", "web", AT, &[("app", "web")])
    };
    let mut world = World::new(policies);
    for object in [
        namespace("shop", &[("env", "prod")]),
        namespace("ops", &[("env", "test")]),
        pool("10.0.0.0/16"),
        Object::Pod(target),
        Object::Pod(pod("shop", "same", SAME, &[("app", "x")])),
        Object::Pod(pod("ops", "other", OTHER, &[("app", "x")])),
        Object::WorkloadEndpoint(WorkloadEndpoint {
            profiles: vec!["kns.shop".into()],
            ..wep("shop", "printer", WEP, &[("app", "x")])
        }),
        Object::Node(Node {
            metadata: meta("", "n", &[("zone", "a")]),
            addresses: vec![NODE.parse().expect("an address")],
        }),
    ] {
        world.put(object);
    }
    world
}

fn decider(world: &World, source: &str) -> String {
    receive(world, &tcp(source, AT, 80)).decider.to_string()
}

/// Those that a Deny rule for the peers denies.
fn denied(peer: ClusterPeer) -> Vec<&'static str> {
    let world = world([cluster("p", Admin, 0, vec![cluster_rule(Deny, vec![peer])])]);
    let mut all = vec![SAME, OTHER, WEP, FREE, NODE, FAR];
    all.retain(|source| !lets_in(&world, source, AT));
    all
}

fn everybody() -> ClusterPeer {
    let nets = ["0.0.0.0/0", "::/0"].map(|net| net.parse().expect("a CIDR"));
    ClusterPeer::Networks(nets.to_vec())
}

#[test]
fn tiers_and_priorities() {
    let deny = || vec![cluster_rule(Deny, vec![everybody()])];
    let by = |policies: Vec<Object>| decider(&world(policies), FAR);
    let admin = cluster("b", Admin, 5, deny());
    assert_eq!(by(vec![admin.clone()]), "kube-admin clusternp/b ingress[0]");
    let first = cluster("c", Admin, 4, deny());
    assert_eq!(
        by(vec![admin.clone(), first]),
        "kube-admin clusternp/c ingress[0]"
    );
    let equal = cluster("a", Admin, 5, deny());
    assert_eq!(
        by(vec![admin.clone(), equal]),
        "kube-admin clusternp/a ingress[0]"
    );
    // Of that order and name, other kinds of the tier come before it.
    let other = ocicat_api::policy::CalicoPolicy {
        tier: "kube-admin".into(),
        order: Some(5.0),
        ingress: vec![rule(Deny)],
        types: INGRESS,
        ..policy("", "b")
    };
    let other = Object::GlobalNetworkPolicy(other);
    assert_eq!(by(vec![admin, other]), "kube-admin gnp/b ingress[0]");
    // Baseline comes after NetworkPolicy, and ends in allow.
    let late = cluster("b", Baseline, 0, deny());
    let open = kube("shop", "p", kube_rule(None, None));
    assert_eq!(
        by(vec![late.clone(), open]),
        "default netpol/shop/p ingress[0]"
    );
    assert_eq!(by(vec![late]), "kube-baseline clusternp/b ingress[0]");
    let nobody = cluster("b", Baseline, 0, vec![cluster_rule(Deny, vec![])]);
    assert_eq!(by(vec![nobody]), "profile/kns.shop ingress[0]");
}

#[test]
fn pass_leaves_the_tier() {
    let pass = cluster_rule(Pass, vec![everybody()]);
    let deny = cluster_rule(Deny, vec![everybody()]);
    let world = world([
        cluster("p", Admin, 0, vec![pass, deny.clone()]),
        cluster("q", Admin, 1, vec![deny]),
    ]);
    let judgement = receive(&world, &tcp(FAR, AT, 80));
    assert_eq!(judgement.verdict, Verdict::Allow);
    assert_eq!(judgement.passed.len(), 1);
}

#[test]
fn subjects() {
    let selects = |subject: ClusterSubject| {
        let policy = ClusterNetworkPolicy {
            metadata: meta("", "p", &[]),
            tier: Admin,
            priority: 0,
            subject,
            ingress: vec![cluster_rule(Deny, vec![everybody()])],
            egress: vec![],
        };
        let world = world([Object::ClusterNetworkPolicy(policy)]);
        let mut all = vec![AT, SAME, OTHER, WEP];
        all.retain(|at| !lets_in(&world, FAR, at));
        all
    };
    let namespaces = ClusterSubject::Namespaces;
    // Never endpoints of another orchestrator.
    assert_eq!(selects(namespaces(Selector::All)), [AT, SAME, OTHER]);
    assert_eq!(selects(namespaces(eq("env", "test"))), [OTHER]);
    let pods = |namespace_selector, pod_selector| ClusterSubject::Pods {
        namespace_selector,
        pod_selector,
    };
    assert_eq!(selects(pods(Selector::All, eq("app", "x"))), [SAME, OTHER]);
    assert_eq!(selects(pods(eq("env", "prod"), eq("app", "x"))), [SAME]);
    assert_eq!(selects(ClusterSubject::Unreadable), [""; 0]);
}

#[test]
fn a_direction_without_rules_is_not_governed() {
    let world = world([
        cluster("p", Admin, 0, vec![cluster_rule(Deny, vec![])]),
        cluster("q", Admin, 0, vec![]),
    ]);
    let census = crate::Census::new(&world);
    let web = census.endpoints_at(AT.parse().expect("an address")).next();
    let web = web.expect("a pod");
    let tiers = |direction| census.standing(web, direction).tiers;
    assert_eq!(tiers(Ingress)[0].policies.len(), 1);
    assert_eq!(tiers(Egress), []);
}

#[test]
fn peers() {
    // Of an address that nobody is known to have, it is not known whether it is a pod's.
    assert_eq!(
        denied(ClusterPeer::Namespaces(Selector::All)),
        [SAME, OTHER, FREE]
    );
    assert_eq!(
        denied(ClusterPeer::Namespaces(eq("env", "test"))),
        [OTHER, FREE]
    );
    let pods = ClusterPeer::Pods {
        namespace_selector: eq("env", "prod"),
        pod_selector: eq("app", "x"),
    };
    assert_eq!(denied(pods), [SAME, FREE]);
    assert_eq!(denied(ClusterPeer::Nodes(Selector::All)), [NODE]);
    assert_eq!(denied(ClusterPeer::Nodes(eq("zone", "b"))), [""; 0]);
    let net = "10.0.0.2/31".parse().expect("a CIDR");
    assert_eq!(denied(ClusterPeer::Networks(vec![net])), [SAME, OTHER]);
    assert_eq!(denied(everybody()), [SAME, OTHER, WEP, FREE, NODE, FAR]);
    assert_eq!(
        denied(ClusterPeer::Domains(vec!["a.example".into()])),
        [""; 0]
    );
}

#[test]
fn egress_peers_are_destinations() {
    let Object::ClusterNetworkPolicy(mut policy) = cluster("p", Admin, 0, vec![]) else {
        unreachable!("`cluster` makes policies")
    };
    policy.egress = vec![cluster_rule(Deny, vec![ClusterPeer::Nodes(Selector::All)])];
    let world = world([Object::ClusterNetworkPolicy(policy)]);
    assert_eq!(send(&world, &tcp(AT, NODE, 80)).verdict, Verdict::Deny);
    assert_eq!(send(&world, &tcp(AT, SAME, 80)).verdict, Verdict::Allow);
    assert!(lets_in(&world, NODE, AT));
}

#[test]
fn protocols() {
    let denies = |protocols: Option<Vec<ClusterProtocol>>, protocol: u8, port: u16| {
        let rule = ClusterRule {
            protocols,
            ..cluster_rule(Deny, vec![everybody()])
        };
        let world = world([cluster("p", Admin, 0, vec![rule])]);
        let packet = Packet {
            protocol,
            ..tcp(FAR, AT, port)
        };
        receive(&world, &packet).verdict == Verdict::Deny
    };
    let ports = |protocol, port| Some(vec![ClusterProtocol::Ports(protocol, port)]);
    assert!(denies(None, 47, 0) && !denies(Some(vec![]), 6, 80));
    assert!(
        denies(ports(Protocol::SCTP, None), 132, 9) && !denies(ports(Protocol::SCTP, None), 6, 9)
    );
    let range = || {
        Some(PortSpec::Range {
            first: 80,
            last: 90,
        })
    };
    assert!(denies(ports(Protocol::UDP, range()), 17, 90));
    assert!(!denies(ports(Protocol::UDP, range()), 17, 91));
    assert!(!denies(ports(Protocol::UDP, range()), 6, 80));
    // A name is of whatever protocol it has there.
    let named = || Some(vec![ClusterProtocol::Named("web".into())]);
    assert!(denies(named(), 6, 8080) && denies(named(), 17, 53));
    assert!(!denies(named(), 17, 8080) && !denies(named(), 6, 53) && !denies(named(), 1, 0));
}

#[test]
fn what_cannot_be_read_fails_closed() {
    let outcome = |action, edit: &dyn Fn(&mut ClusterRule), source: &str, protocol: u8| {
        let mut rule = ClusterRule {
            protocols: Some(vec![ClusterProtocol::Ports(Protocol::TCP, None)]),
            unreadable: vec![problem()],
            ..cluster_rule(action, vec![ClusterPeer::Namespaces(eq("env", "test"))])
        };
        edit(&mut rule);
        let last = cluster_rule(Deny, vec![everybody()]);
        let world = world([cluster("p", Admin, 0, vec![rule, last])]);
        let packet = Packet {
            protocol,
            ..tcp(source, AT, 80)
        };
        receive(&world, &packet).decider.to_string()
    };
    let first = "kube-admin clusternp/p ingress[0]";
    let undetermined = "kube-admin clusternp/p ingress[0] (undetermined)";
    let last = "kube-admin clusternp/p ingress[1]";
    let peers: &dyn Fn(&mut ClusterRule) = &|x| x.unreadable_peers = true;
    let protocols: &dyn Fn(&mut ClusterRule) = &|x| x.unreadable_protocols = true;
    let other: &dyn Fn(&mut ClusterRule) = &|_| {};
    // Allow keeps what can be read.
    for edit in [peers, protocols] {
        assert_eq!(outcome(Allow, edit, OTHER, 6), first);
        assert_eq!(outcome(Allow, edit, FAR, 6), last);
        assert_eq!(outcome(Allow, edit, OTHER, 17), last);
    }
    for action in [Deny, Pass] {
        assert_eq!(outcome(action, peers, OTHER, 6), undetermined);
        assert_eq!(outcome(action, peers, FAR, 6), undetermined);
        assert_eq!(outcome(action, peers, FAR, 17), last);
        assert_eq!(outcome(action, protocols, OTHER, 17), undetermined);
        assert_eq!(outcome(action, protocols, FAR, 17), last);
        // Another part of the rule: it denies what the rest matches.
        assert_eq!(outcome(action, other, OTHER, 6), undetermined);
        assert_eq!(outcome(action, other, FAR, 6), last);
    }
}

//! [6]: Kubernetes NetworkPolicy.

use ocicat_api::core::{Pod, WorkloadEndpoint};
use ocicat_api::policy::{KubePeer, KubePort, KubeRule};
use ocicat_api::{Object, PortSpec, Protocol};
use ocicat_selector::Selector;

use super::build::*;
use crate::{Decider, Packet, PolicyKind, Verdict, World};

const TARGET: &str = "10.0.0.1";
const SAME: &str = "10.0.0.2";
const OTHER: &str = "10.0.0.3";
const WEP: &str = "10.0.0.4";
const SET: &str = "172.16.0.5";
const STRANGER: &str = "8.8.8.8";

fn shop(rule: KubeRule) -> World {
    let app = [("app", "x")];
    let target = Pod {
        ports: vec![port("web", Protocol::TCP, 8080)],
        ..pod("shop", "target", TARGET, &[])
    };
    World::new([
        namespace("shop", &[("env", "prod")]),
        namespace("ops", &[("env", "test")]),
        Object::Pod(target),
        Object::Pod(pod("shop", "same", SAME, &app)),
        Object::Pod(pod("ops", "other", OTHER, &app)),
        Object::WorkloadEndpoint(WorkloadEndpoint {
            profiles: vec!["kns.shop".into()],
            ..wep("shop", "printer", WEP, &app)
        }),
        set("shop", "s", "172.16.0.0/16", &app),
        kube("shop", "p", rule),
    ])
}

fn admitted(peers: Option<Vec<KubePeer>>) -> Vec<&'static str> {
    let world = shop(kube_rule(peers, None));
    let mut all = vec![SAME, OTHER, WEP, SET, STRANGER];
    all.retain(|source| lets_in(&world, source, TARGET));
    all
}

fn pods(namespace_selector: Option<Selector>, pod_selector: Option<Selector>) -> KubePeer {
    KubePeer::Pods {
        namespace_selector,
        pod_selector,
    }
}

#[test]
fn peers() {
    assert_eq!(admitted(None), [SAME, OTHER, WEP, SET, STRANGER]);
    assert_eq!(admitted(Some(vec![])), [""; 0]);
    // Never sets, never endpoints of another orchestrator.
    assert_eq!(
        admitted(Some(vec![pods(None, Some(Selector::All))])),
        [SAME]
    );
    assert_eq!(
        admitted(Some(vec![pods(Some(Selector::All), None)])),
        [SAME, OTHER]
    );
    assert_eq!(
        admitted(Some(vec![pods(Some(eq("env", "test")), None)])),
        [OTHER]
    );
    let both = pods(Some(eq("env", "test")), Some(eq("app", "y")));
    assert_eq!(admitted(Some(vec![both])), [""; 0]);
    let by_name = pods(
        Some(eq("projectcalico.org/name", "ops")),
        Some(eq("app", "x")),
    );
    assert_eq!(admitted(Some(vec![by_name])), [OTHER]);
    // Labels that come from elsewhere count too.
    let inherited = pods(Some(Selector::All), Some(eq("pcns.env", "test")));
    assert_eq!(admitted(Some(vec![inherited])), [OTHER]);
}

#[test]
fn a_workload_endpoint_of_orchestrator_k8s_is_a_pod() {
    let mut world = shop(kube_rule(Some(vec![pods(None, Some(Selector::All))]), None));
    assert!(!lets_in(&world, WEP, TARGET));
    world.put(Object::WorkloadEndpoint(WorkloadEndpoint {
        orchestrator: "k8s".into(),
        profiles: vec!["kns.shop".into()],
        ..wep("shop", "printer", WEP, &[])
    }));
    assert!(lets_in(&world, WEP, TARGET));
    // It is selected too now.
    assert!(!lets_in(&world, STRANGER, WEP));
}

#[test]
fn the_subject_is_pods_of_the_namespace() {
    let world = shop(kube_rule(Some(vec![]), None));
    assert!(!lets_in(&world, STRANGER, TARGET));
    assert!(lets_in(&world, STRANGER, OTHER));
    assert!(lets_in(&world, STRANGER, WEP));
    assert_eq!(
        receive(&world, &tcp(STRANGER, TARGET, 80)).decider,
        end_of_default()
    );
}

#[test]
fn blocks_with_exceptions_hold_pods_too() {
    let block = |cidr: &str, except: &[&str]| KubePeer::IpBlock {
        cidr: cidr.parse().expect("a CIDR"),
        except: except
            .iter()
            .map(|net| net.parse().expect("a CIDR"))
            .collect(),
    };
    assert_eq!(
        admitted(Some(vec![block("10.0.0.0/8", &[])])),
        [SAME, OTHER, WEP]
    );
    assert_eq!(
        admitted(Some(vec![block("10.0.0.0/8", &["10.0.0.2/31"])])),
        [WEP]
    );
    // Of two peers each stands for itself.
    let two = vec![
        block("10.0.0.0/8", &["10.0.0.2/31"]),
        pods(None, Some(Selector::All)),
    ];
    assert_eq!(admitted(Some(two)), [SAME, WEP]);
}

#[test]
fn a_block_fixes_the_family_of_its_peer_only() {
    let block = KubePeer::IpBlock {
        cidr: "10.0.0.0/8".parse().expect("a CIDR"),
        except: vec![],
    };
    let mut world = shop(kube_rule(
        Some(vec![block, pods(None, Some(Selector::All))]),
        None,
    ));
    for (name, address) in [("target", "fd00::1"), ("same", "fd00::2")] {
        world.put(Object::Pod(pod("shop", name, address, &[])));
    }
    assert!(lets_in(&world, "fd00::2", "fd00::1"));
    assert!(!lets_in(&world, "2001:db8::1", "fd00::1"));
}

#[test]
fn ports() {
    let lets = |ports: Option<Vec<KubePort>>, protocol: u8, port: u16| {
        let world = shop(kube_rule(None, ports));
        let packet = Packet {
            protocol,
            ..tcp(STRANGER, TARGET, port)
        };
        receive(&world, &packet).verdict == Verdict::Allow
    };
    let one = |protocol, port| Some(vec![KubePort { protocol, port }]);
    assert!(lets(None, 47, 0));
    assert!(!lets(Some(vec![]), 6, 80));
    assert!(lets(one(Protocol::TCP, None), 6, 80) && !lets(one(Protocol::TCP, None), 17, 80));
    let range = PortSpec::Range {
        first: 80,
        last: 90,
    };
    assert!(lets(one(Protocol::UDP, Some(range.clone())), 17, 90));
    assert!(!lets(one(Protocol::UDP, Some(range)), 17, 91));
    let named = one(Protocol::TCP, Some(PortSpec::Name("web".into())));
    assert!(lets(named.clone(), 6, 8080) && !lets(named.clone(), 6, 80));
    let of_udp = one(Protocol::UDP, Some(PortSpec::Name("web".into())));
    assert!(!lets(named, 17, 8080) && !lets(of_udp, 17, 8080));
}

#[test]
fn a_named_port_of_egress_is_the_destinations() {
    let mut world = shop(kube_rule(None, None));
    let Object::NetworkPolicy(mut policy) = kube("shop", "out", kube_rule(None, None)) else {
        unreachable!("`kube` makes policies")
    };
    policy.types = EGRESS;
    let web = KubePort {
        protocol: Protocol::TCP,
        port: Some(PortSpec::Name("web".into())),
    };
    policy.egress = vec![
        kube_rule(Some(vec![]), None),
        kube_rule(None, Some(vec![web])),
    ];
    world.put(Object::NetworkPolicy(policy));
    let judgement = send(&world, &tcp(SAME, TARGET, 8080));
    assert_eq!(
        judgement.decider.to_string(),
        "default netpol/shop/out egress[1]"
    );
    assert_eq!(
        send(&world, &tcp(SAME, TARGET, 80)).decider,
        end_of_default()
    );
    assert_eq!(
        send(&world, &tcp(SAME, OTHER, 8080)).decider,
        end_of_default()
    );
}

#[test]
fn policies_add_up_and_rules_are_numbered() {
    let mut world = shop(kube_rule(Some(vec![]), None));
    world.put(kube("shop", "q", kube_rule(None, None)));
    let judgement = receive(&world, &tcp(STRANGER, TARGET, 80));
    let at = ingress_rule(PolicyKind::NetworkPolicy, "shop", "q", 0);
    assert_eq!(
        (judgement.verdict, judgement.decider),
        (Verdict::Allow, Decider::Rule(at))
    );
}

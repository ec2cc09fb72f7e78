//! [16], [17]: host endpoints as owners of addresses.

use ocicat_api::core::{HostEndpoint, HostInterface};
use ocicat_api::rule::EntityRule;
use ocicat_api::{Object, PortSpec, Protocol};
use ocicat_selector::Selector;

use super::build::*;
use crate::{Census, Interface, Verdict, World};

const POD: &str = "10.0.0.1";
const HOST: &str = "10.0.0.200";
const STRANGER: &str = "8.8.8.8";

/// Whether a rule with that source lets an address in to a pod of namespace `shop`.
fn lets(policy: fn(&str, ocicat_api::rule::Rule) -> Object, source: EntityRule) -> World {
    World::new([
        namespace("shop", &[]),
        pool("10.0.0.0/16"),
        Object::Pod(pod("shop", "web", POD, &[])),
        Object::HostEndpoint(HostEndpoint {
            profiles: vec!["given".into(), "kns.shop".into()],
            ports: vec![port("ssh", Protocol::TCP, 22)],
            ..hep("eth0", HOST, &[("role", "edge")])
        }),
        profile("given", vec![], &[("role", "other"), ("zone", "a")]),
        policy("p", from(Allow, source)),
    ])
}

fn of_namespace(name: &str, rule: ocicat_api::rule::Rule) -> Object {
    cnp("shop", name, rule)
}

#[test]
fn labels_are_its_own_then_those_of_its_profiles() {
    for (selector, expected) in [
        (eq("role", "edge"), true),
        (eq("role", "other"), false),
        (eq("zone", "a"), true),
        // None of those that say what a workload is.
        (Selector::Has("projectcalico.org/namespace".into()), false),
        (
            Selector::Has("projectcalico.org/orchestrator".into()),
            false,
        ),
        (Selector::All, true),
    ] {
        let world = lets(gnp, selecting(selector.clone()));
        assert_eq!(lets_in(&world, HOST, POD), expected, "{selector}");
        assert!(!lets_in(&world, STRANGER, POD), "{selector}");
    }
}

#[test]
fn it_has_no_namespace_and_no_service_account() {
    let in_namespaces = |selector| EntityRule {
        namespace_selector: Some(selector),
        ..entity()
    };
    assert!(lets_in(
        &lets(gnp, in_namespaces(Selector::Global)),
        HOST,
        POD
    ));
    assert!(!lets_in(
        &lets(gnp, in_namespaces(Selector::All)),
        HOST,
        POD
    ));
    let accounts = EntityRule {
        service_accounts: Some(ocicat_api::rule::ServiceAccountMatch {
            names: vec![],
            selector: None,
        }),
        ..entity()
    };
    assert!(!lets_in(&lets(gnp, accounts), HOST, POD));
    // A namespaced policy finds it only where it asks outside of its namespace.
    let role = || selecting(eq("role", "edge"));
    assert!(!lets_in(&lets(of_namespace, role()), HOST, POD));
    let global = EntityRule {
        namespace_selector: Some(Selector::Global),
        ..role()
    };
    assert!(lets_in(&lets(of_namespace, global), HOST, POD));
}

#[test]
fn its_address_is_known() {
    let not_bad = not_selecting(eq("role", "bad"));
    assert!(lets_in(&lets(gnp, not_bad.clone()), HOST, POD));
    // Another address of the pool is nobody's.
    assert!(!lets_in(&lets(gnp, not_bad), "10.0.0.201", POD));
}

#[test]
fn its_ports_have_names() {
    let named = EntityRule {
        ports: vec![PortSpec::Name("ssh".into())],
        ..entity()
    };
    let mut world = lets(gnp, entity());
    let mut out = policy("", "out");
    out.types = EGRESS;
    out.egress = vec![ocicat_api::rule::Rule {
        protocol: Some(Protocol::TCP),
        destination: named,
        ..rule(Allow)
    }];
    world.put(Object::GlobalNetworkPolicy(out));
    let to = |port| send(&world, &tcp(POD, HOST, port)).verdict;
    assert_eq!((to(22), to(80)), (Verdict::Allow, Verdict::Deny));
}

#[test]
fn an_interface_has_one_of_them() {
    let with = |name, interface| {
        Object::HostEndpoint(HostEndpoint {
            interface,
            ..hep(name, HOST, &[])
        })
    };
    let named = |name: &str| HostInterface::Named(name.into());
    let mut world = World::new([
        with("z-named", named("eth0")),
        with("y-named", named("eth0")),
        with("b-all", HostInterface::All),
        with("c-all", HostInterface::All),
        with("a-address", HostInterface::ByAddress),
        Object::HostEndpoint(HostEndpoint {
            node: "other".into(),
            ..hep("a-other", HOST, &[])
        }),
    ]);
    let of = |world: &World, name: &str, address: &str| {
        let interface = Interface {
            name: name.to_owned(),
            addresses: vec![address.parse().expect("an address")],
        };
        let census = Census::new(world);
        census
            .host_of("host", &interface)
            .map(|host| host.key.name.to_string())
    };
    assert_eq!(of(&world, "eth0", HOST).as_deref(), Some("y-named"));
    assert_eq!(of(&world, "eth1", HOST).as_deref(), Some("a-address"));
    assert_eq!(of(&world, "eth1", STRANGER).as_deref(), Some("b-all"));
    assert_eq!(of(&world, "lo", HOST), None);
    for name in ["b-all", "c-all"] {
        world.delete(&key(&with(name, HostInterface::All)));
    }
    assert_eq!(of(&world, "eth1", STRANGER), None);
}

//! [19]: `services`.

use ocicat_api::core::{EndpointSlice, SlicePort};
use ocicat_api::rule::{EntityRule, Rule, ServiceMatch};
use ocicat_api::{Object, Protocol};

use super::build::*;
use crate::{Decider, Packet, Verdict, World};

const NEAR: &str = "10.0.0.1";
const BACKEND: &str = "10.0.0.2";
const OUTSIDE: &str = "8.8.8.8";
const FREE: &str = "10.0.0.77";

fn slice(name: &str, service: &str, address: &str, ports: &[(u8, Option<u16>)]) -> EndpointSlice {
    let port = |(protocol, port): &(u8, Option<u16>)| SlicePort {
        protocol: Protocol(*protocol),
        port: *port,
    };
    EndpointSlice {
        metadata: meta("shop", name, &[]),
        service: Some(service.into()),
        addresses: vec![address.parse().expect("an address")],
        ports: ports.iter().map(port).collect(),
    }
}

fn services(name: &str) -> EntityRule {
    EntityRule {
        service: Some(ServiceMatch {
            namespace: "shop".into(),
            name: name.into(),
        }),
        ..entity()
    }
}

fn world(rule: Rule, slices: impl IntoIterator<Item = EndpointSlice>) -> World {
    let mut world = World::new(slices.into_iter().map(Object::EndpointSlice));
    world.put(namespace("shop", &[]));
    world.put(pool("10.0.0.0/16"));
    for (name, address) in [("near", NEAR), ("backend", BACKEND)] {
        world.put(Object::Pod(pod("shop", name, address, &[])));
    }
    let both = ocicat_api::policy::CalicoPolicy {
        ingress: vec![rule.clone()],
        egress: vec![rule],
        ..policy("", "p")
    };
    world.put(Object::GlobalNetworkPolicy(both));
    world
}

fn sends(world: &World, to: &str, protocol: u8, port: u16) -> Decider {
    let packet = Packet {
        protocol,
        ..tcp(NEAR, to, port)
    };
    let judgement = send(world, &packet);
    assert_eq!(
        judgement.verdict == Verdict::Allow,
        matches!(judgement.decider, Decider::Rule(ref x) if !x.policy.tier.is_empty()),
        "the only rule allows"
    );
    judgement.decider
}

fn to_service(action: ocicat_api::rule::Action) -> Rule {
    Rule {
        destination: services("db"),
        ..rule(action)
    }
}

fn allows(world: &World, to: &str, protocol: u8, port: u16) -> bool {
    sends(world, to, protocol, port) != end_of_default()
}

#[test]
fn a_destination_has_the_ports_of_its_slice() {
    let world = world(
        to_service(Allow),
        [
            slice("a", "db", BACKEND, &[(6, Some(5432)), (17, None)]),
            slice("b", "db", OUTSIDE, &[(6, Some(80))]),
            slice("c", "other", BACKEND, &[(6, Some(9999))]),
        ],
    );
    assert!(allows(&world, BACKEND, 6, 5432));
    // The port of another slice, of another service, of another protocol.
    assert!(!allows(&world, BACKEND, 6, 80));
    assert!(!allows(&world, BACKEND, 6, 9999));
    assert!(!allows(&world, BACKEND, 132, 5432));
    assert!(allows(&world, BACKEND, 17, 1) && allows(&world, BACKEND, 17, 65535));
    // Whoever has the address.
    assert!(allows(&world, OUTSIDE, 6, 80));
    assert!(!allows(&world, "1.2.3.4", 6, 80));
}

#[test]
fn its_own_protocol_is_asked_too() {
    let rule = Rule {
        protocol: Some(Protocol::UDP),
        ..to_service(Allow)
    };
    let world = world(
        rule,
        [slice("a", "db", BACKEND, &[(6, Some(80)), (17, Some(80))])],
    );
    assert!(allows(&world, BACKEND, 17, 80));
    assert!(!allows(&world, BACKEND, 6, 80));
}

#[test]
fn a_service_is_of_its_namespace() {
    let mut elsewhere = slice("a", "db", BACKEND, &[(6, None)]);
    elsewhere.metadata = meta("ops", "a", &[]);
    let mut world = world(to_service(Allow), [elsewhere]);
    assert!(!allows(&world, BACKEND, 6, 80));
    // A slice without ports serves none, one without its label is of no service.
    let mut orphan = slice("b", "db", BACKEND, &[(6, None)]);
    orphan.service = None;
    world.put(Object::EndpointSlice(orphan));
    world.put(Object::EndpointSlice(slice("c", "db", BACKEND, &[])));
    assert!(!allows(&world, BACKEND, 6, 80));
    world.put(Object::EndpointSlice(slice(
        "b",
        "db",
        BACKEND,
        &[(6, None)],
    )));
    assert!(allows(&world, BACKEND, 6, 80));
}

#[test]
fn a_source_has_no_ports() {
    let world = world(
        from(Allow, services("db")),
        [slice("a", "db", OUTSIDE, &[(6, Some(80))])],
    );
    let packet = |protocol| Packet {
        protocol,
        ..tcp(OUTSIDE, NEAR, 9)
    };
    assert_eq!(receive(&world, &packet(6)).verdict, Verdict::Allow);
    assert_eq!(receive(&world, &packet(1)).verdict, Verdict::Allow);
    assert!(!lets_in(&world, "1.2.3.4", NEAR));
}

#[test]
fn an_unclaimed_address_is_known_only_by_its_slice() {
    let db = || slice("a", "db", FREE, &[(6, Some(80))]);
    let rule_name = |world: &World| match sends(world, FREE, 6, 81) {
        Decider::Undetermined(_) => "undetermined",
        Decider::EndOfTier(_) => "no match",
        _ => "a match",
    };
    assert_eq!(rule_name(&world(to_service(Deny), [])), "undetermined");
    assert_eq!(rule_name(&world(to_service(Deny), [db()])), "no match");
    assert!(!allows(&world(to_service(Allow), []), FREE, 6, 80));
    assert!(allows(&world(to_service(Allow), [db()]), FREE, 6, 80));
    // An address outside of the pools is known to be in no slice.
    let denying = world(to_service(Deny), []);
    assert_eq!(sends(&denying, OUTSIDE, 6, 80), end_of_default());
}

//! [11], [12]: families, CIDRs, protocols, ICMP, ports.

use ocicat_api::core::{Pod, WorkloadEndpoint};
use ocicat_api::rule::{EntityRule, Icmp, Rule};
use ocicat_api::{Family, Object, PortSpec, Protocol};

use super::build::*;
use crate::{Packet, Verdict, World};

const TARGET: &str = "10.0.0.1";
const TARGET6: &str = "fd00::1";

/// Whether one Allow rule in a policy on `target` matches the packet.
fn matches(rule: Rule, packet: &Packet) -> bool {
    let mut target = pod("shop", "target", TARGET, &[]);
    target.addresses.push(TARGET6.parse().expect("an address"));
    target.ports = vec![
        port("web", Protocol::TCP, 8080),
        port("dns", Protocol::UDP, 53),
    ];
    let client = Pod {
        ports: vec![port("web", Protocol::TCP, 7000)],
        ..pod("shop", "client", "10.0.0.2", &[])
    };
    let world = World::new([
        namespace("shop", &[]),
        Object::Pod(target),
        Object::Pod(client),
        cnp("shop", "p", rule),
    ]);
    receive(&world, packet).verdict == Verdict::Allow
}

fn bare(protocol: u8) -> Packet {
    let address = |text: &str| text.parse().expect("an address");
    Packet {
        protocol,
        ..Packet::bare(address("8.8.8.8"), address(TARGET), protocol)
    }
}

fn icmp(kind: u8, code: u8) -> Packet {
    Packet {
        icmp_type: kind,
        icmp_code: code,
        ..bare(1)
    }
}

fn nets(list: &[&str]) -> Vec<ipnet::IpNet> {
    list.iter()
        .map(|net| net.parse().expect("a CIDR"))
        .collect()
}

fn v4() -> Packet {
    tcp("8.8.8.8", TARGET, 80)
}

fn v6() -> Packet {
    tcp("2001:db8::1", TARGET6, 80)
}

#[test]
fn ip_version() {
    let only = |family| Rule {
        ip_version: Some(family),
        ..rule(Allow)
    };
    assert!(matches(only(Family::Ipv4), &v4()) && !matches(only(Family::Ipv4), &v6()));
    assert!(!matches(only(Family::Ipv6), &v4()) && matches(only(Family::Ipv6), &v6()));
}

#[test]
fn nets_are_ored_and_not_nets_anded() {
    let source = EntityRule {
        nets: nets(&["9.0.0.0/8", "8.0.0.0/8"]),
        ..entity()
    };
    assert!(matches(from(Allow, source.clone()), &v4()));
    assert!(!matches(
        from(Allow, source.clone()),
        &tcp("7.0.0.1", TARGET, 80)
    ));
    let cut = EntityRule {
        not_nets: nets(&["8.8.0.0/16", "8.9.0.0/16"]),
        ..source
    };
    assert!(!matches(from(Allow, cut.clone()), &v4()));
    assert!(matches(from(Allow, cut), &tcp("8.7.0.1", TARGET, 80)));
}

#[test]
fn any_cidr_fixes_the_family() {
    let with = |nets4: EntityRule| Rule {
        destination: nets4,
        ..rule(Allow)
    };
    for entity in [
        EntityRule {
            nets: nets(&["0.0.0.0/0"]),
            ..entity()
        },
        EntityRule {
            not_nets: nets(&["1.1.1.1/32"]),
            ..entity()
        },
    ] {
        assert!(matches(with(entity.clone()), &v4()));
        assert!(!matches(with(entity.clone()), &v6()));
        assert!(!matches(from(Allow, entity), &v6()));
    }
}

#[test]
fn protocols_by_number() {
    let only = Rule {
        protocol: Some(Protocol::TCP),
        ..rule(Allow)
    };
    assert!(matches(only.clone(), &v4()) && matches(only.clone(), &v6()));
    assert!(!matches(only, &bare(17)));
    let all_but = Rule {
        not_protocol: Some(Protocol::TCP),
        ..rule(Allow)
    };
    assert!(!matches(all_but.clone(), &v4()));
    assert!(matches(all_but.clone(), &bare(17)) && matches(all_but, &bare(47)));
}

#[test]
fn icmp_by_type_and_code() {
    let with = |icmp_type, code| Rule {
        icmp: Some(Icmp { icmp_type, code }),
        ..rule(Allow)
    };
    assert!(matches(with(Some(8), None), &icmp(8, 3)));
    assert!(!matches(with(Some(8), None), &icmp(0, 3)));
    assert!(matches(with(Some(3), Some(1)), &icmp(3, 1)));
    assert!(!matches(with(Some(3), Some(1)), &icmp(3, 2)));
    assert!(matches(with(None, None), &icmp(3, 2)));
    assert!(matches(with(None, None), &bare(58)));
    // Type 0 is not "no type", and TCP has none.
    assert!(!matches(with(Some(0), None), &v4()) && !matches(with(None, None), &v4()));
}

#[test]
fn not_icmp_is_the_opposite() {
    let without = Icmp {
        icmp_type: Some(8),
        code: None,
    };
    let without = Rule {
        not_icmp: Some(without),
        ..rule(Allow)
    };
    assert!(!matches(without.clone(), &icmp(8, 0)));
    assert!(matches(without.clone(), &icmp(0, 0)));
    assert!(matches(without, &v4()));
}

#[test]
fn ports_by_number_and_range() {
    let to = |ports| Rule {
        protocol: Some(Protocol::TCP),
        destination: EntityRule { ports, ..entity() },
        ..rule(Allow)
    };
    let range = PortSpec::Range {
        first: 100,
        last: 102,
    };
    for (number, expected) in [
        (80, true),
        (99, false),
        (100, true),
        (102, true),
        (103, false),
    ] {
        let packet = tcp("8.8.8.8", TARGET, number);
        assert_eq!(
            matches(to(vec![exactly(80), range.clone()]), &packet),
            expected,
            "{number}"
        );
        let opposite = Rule {
            protocol: Some(Protocol::TCP),
            destination: EntityRule {
                not_ports: vec![exactly(80), range.clone()],
                ..entity()
            },
            ..rule(Allow)
        };
        assert_eq!(matches(opposite, &packet), !expected, "{number}");
    }
    let udp = Packet {
        protocol: 17,
        ..v4()
    };
    assert!(!matches(to(vec![exactly(80)]), &udp));
}

#[test]
fn source_ports() {
    let source = EntityRule {
        ports: vec![exactly(40_000)],
        ..entity()
    };
    let only = Rule {
        protocol: Some(Protocol::TCP),
        ..from(Allow, source)
    };
    assert!(matches(only.clone(), &v4()));
    assert!(!matches(
        only,
        &Packet {
            source_port: 40_001,
            ..v4()
        }
    ));
}

#[test]
fn packets_without_ports_have_none_of_the_ports() {
    let with = |destination| Rule {
        destination,
        ..rule(Allow)
    };
    let zero = vec![PortSpec::Range {
        first: 0,
        last: u16::MAX,
    }];
    assert!(!matches(
        with(EntityRule {
            ports: zero.clone(),
            ..entity()
        }),
        &bare(47)
    ));
    assert!(matches(
        with(EntityRule {
            not_ports: zero,
            ..entity()
        }),
        &bare(47)
    ));
}

#[test]
fn a_named_port_is_that_of_the_addresss_owner_with_its_protocol() {
    let to = |protocol, name: &str| Rule {
        protocol: Some(protocol),
        destination: EntityRule {
            ports: vec![PortSpec::Name(name.into())],
            ..entity()
        },
        ..rule(Allow)
    };
    let packet = |protocol: u8, port| Packet {
        protocol,
        ..tcp("10.0.0.2", TARGET, port)
    };
    assert!(matches(to(Protocol::TCP, "web"), &packet(6, 8080)));
    assert!(!matches(to(Protocol::TCP, "web"), &packet(6, 8081)));
    // 7000 is the client's `web`, not the target's.
    assert!(!matches(to(Protocol::TCP, "web"), &packet(6, 7000)));
    assert!(!matches(to(Protocol::UDP, "web"), &packet(17, 8080)));
    assert!(matches(to(Protocol::UDP, "dns"), &packet(17, 53)));
    assert!(!matches(to(Protocol::TCP, "dns"), &packet(6, 53)));

    let source = EntityRule {
        ports: vec![PortSpec::Name("web".into())],
        ..entity()
    };
    let of_client = Rule {
        protocol: Some(Protocol::TCP),
        ..from(Allow, source)
    };
    let packet = tcp("10.0.0.2", TARGET, 1);
    assert!(matches(
        of_client.clone(),
        &Packet {
            source_port: 7000,
            ..packet
        }
    ));
    assert!(!matches(
        of_client.clone(),
        &Packet {
            source_port: 8080,
            ..packet
        }
    ));
    // Nobody known has a `web` at 8.8.8.8.
    assert!(!matches(
        of_client,
        &Packet {
            source_port: 7000,
            ..tcp("8.8.8.8", TARGET, 1)
        }
    ));
}

#[test]
fn a_named_not_port_of_a_stranger_excludes_nothing() {
    let source = EntityRule {
        not_ports: vec![PortSpec::Name("web".into())],
        ..entity()
    };
    let without = Rule {
        protocol: Some(Protocol::TCP),
        ..from(Allow, source)
    };
    let client = tcp("10.0.0.2", TARGET, 1);
    assert!(matches(
        without.clone(),
        &Packet {
            source_port: 7000,
            ..tcp("8.8.8.8", TARGET, 1)
        }
    ));
    assert!(!matches(
        without,
        &Packet {
            source_port: 7000,
            ..client
        }
    ));
}

#[test]
fn every_owner_of_an_address_names_ports() {
    let two = WorkloadEndpoint {
        ports: vec![port("web", Protocol::TCP, 9)],
        ..wep("shop", "two", TARGET, &[])
    };
    let only = Rule {
        protocol: Some(Protocol::TCP),
        destination: EntityRule {
            ports: vec![PortSpec::Name("web".into())],
            ..entity()
        },
        ..rule(Allow)
    };
    let one = Object::Pod(pod("shop", "one", TARGET, &[]));
    let world = World::new([one.clone(), Object::WorkloadEndpoint(two), gnp("p", only)]);
    let at_one = crate::judge(&world, &key(&one), Ingress, &tcp("8.8.8.8", TARGET, 9));
    assert_eq!(
        at_one.map(|judgement| judgement.verdict),
        Some(Verdict::Allow)
    );
}

#[test]
fn all_parts_must_hold() {
    let mut both = from(
        Allow,
        EntityRule {
            nets: nets(&["8.0.0.0/8"]),
            ..entity()
        },
    );
    both.destination = EntityRule {
        nets: nets(&["10.0.0.0/8"]),
        ..entity()
    };
    both.protocol = Some(Protocol::TCP);
    assert!(matches(both.clone(), &v4()));
    assert!(!matches(both.clone(), &tcp("9.9.9.9", TARGET, 80)));
    assert!(!matches(
        Rule {
            protocol: Some(Protocol::UDP),
            ..both
        },
        &v4()
    ));
}

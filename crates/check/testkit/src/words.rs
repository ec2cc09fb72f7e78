//! The few words that random worlds are made of, so that things meet by chance.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use ocicat_api::{Metadata, PortSpec, Protocol};

use crate::Random;

pub const NAMESPACES: [&str; 4] = ["edge", "lab", "ops", "shop"];
/// `robot` is an account of its own; the last is of nobody in most worlds.
pub const ACCOUNTS: [&str; 3] = ["default", "robot", "spare"];
pub const VALUES: [&str; 5] = ["a", "ab", "b", "ba", "c"];
/// Labels of endpoints and sets.
pub const LABELS: [&str; 4] = ["app", "env", "role", "tier"];
/// Labels of namespaces and service accounts.
pub const OUTER_LABELS: [&str; 3] = ["env", "team", "zone"];
/// Labels that endpoints get from elsewhere, and may claim to have.
pub const GIVEN_LABELS: [&str; 6] = [
    "projectcalico.org/namespace",
    "projectcalico.org/orchestrator",
    "projectcalico.org/serviceaccount",
    "pcns.env",
    "pcns.team",
    "pcsa.env",
];
pub const PORT_NAMES: [&str; 3] = ["admin", "dns", "web"];
/// Of the tiers here `gone` never has an object.
pub const TIERS: [&str; 6] = [
    "alpha",
    "beta",
    "default",
    "gone",
    "kube-admin",
    "kube-baseline",
];
/// Of the services here `gone` never has a slice.
pub const SERVICES: [&str; 3] = ["db", "front", "gone"];
/// Where services are.
pub const SERVICE_SPACES: [&str; 3] = ["shop", "shop", "ops"];
/// Of the nodes here only the first is the host of tests that look at one host.
pub const NODES: [&str; 2] = ["node-1", "node-2"];
pub const INTERFACES: [&str; 2] = ["eth0", "eth1"];
/// Of the profiles here `missing` never has an object.
pub const PROFILES: [&str; 5] = ["first", "missing", "open", "second", "third"];

const NETS_V4: [&str; 20] = [
    "0.0.0.0/0",
    "0.0.0.0/1",
    "8.8.8.8/32",
    "10.0.0.0/8",
    "10.0.0.0/24",
    "10.0.0.0/27",
    "10.0.0.0/28",
    "10.0.0.4/30",
    "10.0.0.5/32",
    "10.0.0.8/29",
    "10.0.0.128/25",
    "10.0.0.250/32",
    "128.0.0.0/1",
    "172.16.0.0/12",
    "172.16.0.0/28",
    "172.16.0.4/30",
    "172.16.0.9/32",
    "192.168.0.0/16",
    "192.168.7.0/24",
    "203.0.113.0/24",
];
const NETS_V6: [&str; 12] = [
    "::/0",
    "2001:db8::/32",
    "2001:db8:7::/64",
    "8000::/1",
    "fd00::/8",
    "fd00::/64",
    "fd00::/120",
    "fd00::/124",
    "fd00::4/126",
    "fd00::5/128",
    "fd00:16::/124",
    "fd00:16::8/125",
];
pub const POOLS: [&str; 7] = [
    "10.0.0.0/24",
    "fd00::/120",
    "10.0.0.0/24",
    "fd00::/120",
    "172.16.0.0/28",
    "fd00:16::/124",
    "10.0.0.128/25",
];
const NODE_ADDRESSES: [&str; 6] = [
    "192.168.0.1",
    "192.168.0.2",
    "10.0.0.250",
    "10.0.0.3",
    "fd00::fa",
    "2001:db8::1",
];

const PORTS: [(u16, u16); 11] = [
    (80, 80),
    (80, 80),
    (443, 443),
    (53, 53),
    (8080, 8080),
    (1000, 2000),
    (1500, 2500),
    (1, 1023),
    (0, 65535),
    (40000, 40000),
    (32768, 60999),
];

pub fn net(text: &str) -> IpNet {
    text.parse().expect("a CIDR of this file")
}

/// A prefix of the same family that few others are equal to, around a few addresses of endpoints.
pub fn narrow_net(random: &mut Random, version: u8) -> IpNet {
    let (address, longest) = match version {
        4 => (pool_address(random, 4), 32),
        _ => (pool_address(random, 6), 128),
    };
    let length = longest - u8::try_from(random.between(0, 5)).expect("at most 5");
    let net = IpNet::new(address, length).expect("a length of that family");
    net.trunc()
}

/// A prefix of either family.
pub fn random_net(random: &mut Random) -> IpNet {
    let version = random.pick(&[4, 4, 6]);
    net_of(random, version)
}

/// A prefix of IP version 4 or 6.
pub fn net_of(random: &mut Random, version: u8) -> IpNet {
    net(if version == 4 {
        random.pick(&NETS_V4)
    } else {
        random.pick(&NETS_V6)
    })
}

pub fn node_address(random: &mut Random) -> IpAddr {
    random
        .pick(&NODE_ADDRESSES)
        .parse()
        .expect("an address of this file")
}

/// An address of pods' pools: low ones, so that two endpoints meet now and then.
pub fn pool_address(random: &mut Random, version: u8) -> IpAddr {
    let host = random.between(1, 60);
    let text = if version == 4 {
        format!("10.0.0.{host}")
    } else {
        format!("fd00::{host:x}")
    };
    text.parse()
        .expect("a host number of one byte makes an address")
}

/// An address of a host: one of nodes, of pods, or of neither.
pub fn host_address(random: &mut Random, version: u8) -> IpAddr {
    let of_nodes: Vec<&str> = NODE_ADDRESSES
        .into_iter()
        .filter(|text| text.contains(':') == (version == 6))
        .collect();
    match random.below(10) {
        0..5 => random
            .pick(&of_nodes)
            .parse()
            .expect("an address of this file"),
        5..8 => outer_address(random, version),
        _ => pool_address(random, version),
    }
}

/// An address that no pool holds, or only the pool around the sets.
pub fn outer_address(random: &mut Random, version: u8) -> IpAddr {
    let host = random.between(1, 12);
    let prefix = match (version, random.chance(50)) {
        (4, true) => "192.168.7.",
        (4, false) => "172.16.0.",
        (_, true) => "2001:db8:7::",
        (_, false) => "fd00:16::",
    };
    // Below ten, decimal and hexadecimal are the same to the eye, and both parse.
    format!("{prefix}{host}")
        .parse()
        .expect("a host number of one byte makes an address")
}

/// A range of destination or source ports, or a name.
pub fn port_spec(random: &mut Random) -> PortSpec {
    if random.chance(30) {
        return PortSpec::Name(random.pick(&PORT_NAMES).into());
    }
    let (first, last) = random.pick(&PORTS);
    PortSpec::Range { first, last }
}

/// One whose ports rules may ask for.
pub fn port_protocol(random: &mut Random) -> Protocol {
    random.weighted(&[
        (60, Protocol::TCP),
        (25, Protocol::UDP),
        (15, Protocol::SCTP),
    ])
}

/// One that a rule may name.
pub fn rule_protocol(random: &mut Random) -> Protocol {
    let other = Protocol(u8::try_from(random.between(1, 255)).expect("at most 255"));
    random.weighted(&[
        (35, Protocol::TCP),
        (20, Protocol::UDP),
        (18, Protocol::ICMP),
        (16, Protocol::ICMPV6),
        (8, Protocol::SCTP),
        (6, Protocol::UDPLITE),
        (4, Protocol(47)),
        (5, other),
    ])
}

/// Absent, equal and negative ones included; 0 of both signs, which are equal.
pub fn order(random: &mut Random) -> Option<f64> {
    random.pick(&[
        None,
        None,
        Some(-3.0),
        Some(-0.0),
        Some(0.0),
        Some(1.0),
        Some(50.5),
        Some(1000.0),
        Some(1000.0),
    ])
}

/// Some of these names with random values.
pub fn labels(random: &mut Random, names: &[&str], percent: usize) -> BTreeMap<Arc<str>, Arc<str>> {
    let mut labels = BTreeMap::new();
    for name in names {
        if random.chance(percent) {
            labels.insert((*name).into(), random.pick(&VALUES).into());
        }
    }
    labels
}

pub fn metadata(
    namespace: Option<&str>,
    name: &str,
    labels: BTreeMap<Arc<str>, Arc<str>>,
) -> Metadata {
    Metadata {
        name: name.into(),
        namespace: namespace.map(Into::into),
        labels,
        ..Metadata::default()
    }
}

//! `examples/shop` means what its comments and its README say.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use ocicat_api::Object;
use ocicat_api::world::World;
use ocicat_oracle::{Census, Packet, Verdict};

/// The shop with its pods, each with an address of both default pools.
fn shop() -> ocicat_oracle::World {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../examples/shop");
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "yaml") {
            sources.push((
                path.display().to_string(),
                std::fs::read_to_string(&path).unwrap(),
            ));
        }
    }
    let loaded = World::load(sources);
    assert!(
        loaded.problems.is_empty() && loaded.skipped.is_empty(),
        "{:?}",
        loaded.problems
    );
    let mut world = loaded.world;
    let hosts: Vec<Arc<str>> = (1..=3).map(|n| format!("host-{n}").into()).collect();
    world.expand(&hosts);
    let mut next = 0;
    let mut give_addresses = |mut object: Object| {
        if let Object::Pod(pod) = &mut object {
            next += 1;
            let v4 = Ipv4Addr::new(10, 244, 0, next);
            let v6 = Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, next.into());
            pod.addresses = vec![v4.into(), v6.into()];
        }
        object
    };
    ocicat_oracle::World::new(world.objects.into_values().map(&mut give_addresses))
}

/// `tcp 80` from each `from` to each `to`, in both families: what all of them get, which must agree.
fn ask(world: &ocicat_oracle::World, from: &str, to: &str, what: &str) -> Verdict {
    let census = Census::new(world);
    let (protocol, port) = what.split_once(' ').unwrap();
    let protocol = if protocol == "tcp" { 6 } else { 17 };
    let mut verdicts = BTreeSet::new();
    for source in addresses(world, from) {
        for target in addresses(world, to) {
            if source.is_ipv4() == target.is_ipv4() && source != target {
                let port = port.parse().unwrap();
                let packet = Packet::with_ports(source, target, protocol, 40_000, port);
                verdicts.insert(census.verdict(&packet).verdict);
            }
        }
    }
    assert_eq!(verdicts.len(), 1, "{from} to {to} {what}: {verdicts:?}");
    verdicts.pop_first().unwrap()
}

fn addresses(world: &ocicat_oracle::World, app: &str) -> Vec<IpAddr> {
    let of = |object: &Object| match object {
        Object::Pod(pod) if pod.metadata.labels.get("app").is_some_and(|x| **x == *app) => {
            pod.addresses.clone()
        }
        Object::WorkloadEndpoint(machine) if *machine.metadata.name == *app => {
            machine.addresses.clone()
        }
        _ => Vec::new(),
    };
    let found: Vec<IpAddr> = world.objects.values().flat_map(of).collect();
    assert!(!found.is_empty(), "no workload {app}");
    found
}

#[test]
fn what_is_meant_to_happen_happens() {
    let world = shop();
    for (from, to, what) in [
        ("backoffice", "web", "tcp 8080"),
        ("web", "api", "tcp 9000"),
        ("api", "cart", "tcp 7000"),
        ("api", "db", "tcp 5432"),
        ("api", "gateway", "tcp 8443"),
        ("gateway", "ledger", "tcp 5432"),
        ("cart", "cart", "udp 7001"),
        ("cart", "cart", "udp 7003"),
        ("db", "db", "tcp 5432"),
        ("web", "resolver", "udp 53"),
        ("web", "resolver", "tcp 53"),
        ("gateway", "resolver", "udp 53"),
        ("db", "log-collector", "udp 514"),
        ("prometheus", "web", "tcp 9100"),
        ("prometheus", "api", "tcp 9101"),
        ("prometheus", "db", "tcp 9187"),
        ("prometheus", "gateway", "tcp 9100"),
        ("prometheus", "backoffice", "tcp 9100"),
        ("log-collector", "prometheus", "tcp 9090"),
    ] {
        assert_eq!(
            ask(&world, from, to, what),
            Verdict::Allow,
            "{from} to {to} {what}"
        );
    }
}

#[test]
fn what_is_not_meant_to_happen_does_not() {
    let world = shop();
    for (from, to, what) in [
        ("backoffice", "api", "tcp 9000"),
        ("backoffice", "web", "tcp 9100"),
        ("backoffice", "resolver", "udp 53"),
        ("backoffice", "prometheus", "tcp 9090"),
        ("web", "db", "tcp 5432"),
        ("web", "api", "tcp 9101"),
        ("web", "api", "udp 9000"),
        ("web", "gateway", "tcp 8443"),
        ("resolver", "web", "tcp 8080"),
        ("cart", "cart", "udp 7004"),
        ("cart", "db", "tcp 5432"),
        ("cart", "ledger", "tcp 5432"),
        ("api", "ledger", "tcp 5432"),
        ("ledger", "resolver", "udp 53"),
        ("gateway", "resolver", "tcp 53"),
        ("prometheus", "api", "tcp 9000"),
        ("prometheus", "api", "tcp 9100"),
        ("prometheus", "ledger", "tcp 5432"),
        ("log-collector", "web", "tcp 9100"),
        ("web", "prometheus", "tcp 9090"),
        ("api", "backoffice", "tcp 9100"),
    ] {
        assert_eq!(
            ask(&world, from, to, what),
            Verdict::Deny,
            "{from} to {to} {what}"
        );
    }
}

#[test]
fn it_is_as_large_as_it_says() {
    let world = shop();
    let pods = world
        .objects
        .values()
        .filter(|x| matches!(x, Object::Pod(_)))
        .count();
    assert_eq!(pods, 19, "and one machine outside the cluster");
}

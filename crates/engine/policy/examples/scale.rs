//! Times the engine on a world of the size that `SPECIFICATION.md` speaks of.
//!
//! `cargo run --release -p ocicat-policy --example scale` prints milliseconds. No network, no
//! kernel: objects are made here and given to the engine.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use ocicat_api::core::{EndpointPort, IpPool, Namespace, Pod};
use ocicat_api::policy::{CalicoPolicy, Subject, Types};
use ocicat_api::rule::{Action, EntityRule, Rule};
use ocicat_api::{Metadata, Object, PortSpec, Protocol};
use ocicat_policy::{Engine, Locality};
use ocicat_selector::Selector;

const PODS: u32 = 100_000;
const LABEL_SETS: u32 = 1_000;
const NAMESPACES: u32 = 500;
const POLICIES: u32 = 10_000;
const SELECTORS: u32 = 5_000;
const LOCAL: u32 = 100;
const POLICIES_OF_LOCAL: u32 = 50;

type Labels = BTreeMap<Arc<str>, Arc<str>>;

fn labels<const N: usize>(pairs: [(&str, String); N]) -> Labels {
    pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}

fn metadata(namespace: Option<String>, name: String, labels: Labels) -> Metadata {
    Metadata { name: name.into(), namespace: namespace.map(Into::into), labels, ..Metadata::default() }
}

/// Label set `n` belongs to namespace `n % NAMESPACES`.
fn pod(number: u32, set: u32, extra: Option<&str>) -> Object {
    let mut labels = labels([
        ("app", format!("app-{set}")),
        ("tier", format!("tier-{}", set % 10)),
        ("team", format!("team-{}", set % 50)),
        ("zone", format!("zone-{}", set % 7)),
        ("release", format!("release-{}", set % 100)),
    ]);
    if let Some(extra) = extra {
        labels.insert("extra".into(), extra.into());
    }
    // One in ten local workloads of each set of a hundred.
    let node = if number < LOCAL { "node-0".into() } else { format!("node-{}", 1 + number % 999) };
    if number < LOCAL {
        labels.insert("local".into(), format!("local-{number}").into());
    }
    let v4 = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number));
    let v6 = IpAddr::V6(Ipv6Addr::from((0xfd00_u128 << 112) + u128::from(number)));
    Object::Pod(Pod {
        metadata: metadata(Some(format!("ns-{}", set % NAMESPACES)), format!("pod-{number}"), labels),
        node: Some(node.into()),
        service_account: "default".into(),
        host_network: false,
        finished: false,
        addresses: vec![v4, v6],
        ports: vec![
            EndpointPort { name: "http".into(), protocol: Protocol::TCP, port: 8080 + u16::try_from(set % 3).unwrap() },
            EndpointPort { name: "metrics".into(), protocol: Protocol::TCP, port: 9090 },
        ],
    })
}

/// Most select one application, some a tier of a team, a few very many.
fn selector(number: u32) -> Selector {
    let number = number % SELECTORS;
    let text = match number % 10 {
        0..6 => format!("app == 'app-{}' && zone != 'zone-9{}'", number % LABEL_SETS, number / LABEL_SETS),
        6 | 7 => format!("team == 'team-{}' && release in {{'release-{}','release-{}'}}", number % 50, number % 100, (number / 50) % 100),
        8 => format!("release == 'release-{}' && has(team) && zone != 'z{number}'", number % 100),
        _ => format!("tier == 'tier-{}' && app starts with 'app-{}'", number % 10, number % 90),
    };
    Selector::parse(&text).unwrap()
}

fn rule(number: u32, egress: bool) -> Rule {
    let mut far = EntityRule::default();
    if number % 10 == 7 {
        far.nets = vec![format!("{}.{}.{}.0/24", 20 + number % 100, number / 100 % 250, number % 250).parse().unwrap()];
    } else {
        far.selector = Some(selector(number.wrapping_mul(7919)));
        far.namespace_selector = Some(Selector::All);
    }
    let port = if number % 10 == 3 {
        PortSpec::Name("http".into())
    } else {
        let first = u16::try_from(1_000 + number % 5_000).unwrap();
        PortSpec::Range { first, last: if number.is_multiple_of(5) { first + 10 } else { first } }
    };
    let ports = vec![port, PortSpec::Range { first: 443, last: 443 }];
    let mut near = EntityRule::default();
    if egress { far.ports = ports } else { near.ports = ports }
    let (source, destination) = if egress { (near, far) } else { (far, near) };
    Rule {
        action: if number % 13 == 5 { Action::Deny } else { Action::Allow },
        ip_version: None,
        protocol: Some(if number.is_multiple_of(4) && number % 10 != 3 { Protocol::UDP } else { Protocol::TCP }),
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source,
        destination,
        annotations: BTreeMap::new(),
        unreadable: Vec::new(),
    }
}

/// The first 5,000 policies select one local workload each, 50 for each workload.
fn policy(number: u32, salt: u32) -> Object {
    let subject = if number < LOCAL * POLICIES_OF_LOCAL {
        format!("local == 'local-{}'", number % LOCAL)
    } else {
        format!("app == 'app-{}' && has(nothing)", number % LABEL_SETS)
    };
    let rules = |egress: bool| (0..2).map(|n| rule((number * 4 + n + 2 * u32::from(egress)) ^ salt, egress)).collect();
    Object::GlobalNetworkPolicy(CalicoPolicy {
        metadata: metadata(None, format!("policy-{number}"), Labels::new()),
        tier: "default".into(),
        order: Some(f64::from(number)),
        subject: Subject::Selectors {
            selector: Selector::parse(&subject).unwrap(),
            namespace_selector: None,
            service_account_selector: None,
        },
        types: Types { ingress: true, egress: true },
        ingress: rules(false),
        egress: rules(true),
        host_only: false,
    })
}

fn namespace(number: u32, salt: u32) -> Object {
    let labels = labels([("env", format!("env-{}", (number + salt) % 3)), ("team", format!("t-{}", number % 20))]);
    Object::Namespace(Namespace { metadata: metadata(None, format!("ns-{number}"), labels) })
}

fn pool(name: &str, cidr: &str) -> Object {
    Object::IpPool(IpPool {
        metadata: metadata(None, name.to_owned(), Labels::new()),
        cidr: cidr.parse().unwrap(),
        block_size: 26,
        disabled: false,
        nat_outgoing: false,
    })
}

/// Peak and present resident memory in MB.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kb| kb / 1024)
    };
    format!("peak {:?} MB, now {:?} MB", of("VmHWM"), of("VmRSS"))
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("{what:<45} {:>10.3} ms", start.elapsed().as_secs_f64() * 1000.0);
    result
}

/// The median of nine.
fn median(what: &str, mut work: impl FnMut(u32) -> usize) {
    let mut times = Vec::new();
    let mut changes = 0;
    for round in 0..9 {
        let start = Instant::now();
        changes = work(round);
        times.push(start.elapsed());
    }
    times.sort_unstable();
    println!("{what:<45} {:>10.1} µs, {changes} changes", times[4].as_secs_f64() * 1e6);
}

fn main() {
    let mut engine = Engine::new(Locality::Node("node-0".into()));
    println!("{}", memory());
    let start = Instant::now();
    let mut in_engine = std::time::Duration::ZERO;
    let mut give = |engine: &mut Engine, object: &Object| {
        let start = Instant::now();
        engine.upsert(object);
        in_engine += start.elapsed();
    };
    for (name, cidr) in [("pool4", "10.0.0.0/8"), ("pool6", "fd00::/16")] {
        give(&mut engine, &pool(name, cidr));
    }
    (0..NAMESPACES).for_each(|number| give(&mut engine, &namespace(number, 0)));
    (0..PODS).for_each(|number| give(&mut engine, &pod(number, number % LABEL_SETS, None)));
    println!("pods {:?} {}", in_engine, memory());
    (0..POLICIES).for_each(|number| give(&mut engine, &policy(number, 0)));
    println!("making objects {:?}, upsert {:?}, {}", start.elapsed() - in_engine, in_engine, memory());
    let commit = timed("first commit", || engine.commit());
    println!("{} changes, {}", commit.delta.len(), memory());
    drop(commit);
    println!("{:?}", engine.size());

    median("remote pod, known labels", |n| {
        engine.upsert(&pod(PODS + n, 300, None));
        engine.commit().delta.len()
    });
    median("remote pod, unseen labels", |n| {
        engine.upsert(&pod(PODS + 100 + n, 300 + n, Some("new")));
        engine.commit().delta.len()
    });
    median("namespace relabelled", |n| {
        engine.upsert(&namespace(7 + n, 1));
        engine.commit().delta.len()
    });
    median("policy changed, one port", |n| {
        let Object::GlobalNetworkPolicy(mut policy) = policy(40 + n, 0) else { unreachable!() };
        policy.ingress[0].destination.ports = vec![PortSpec::Range { first: 7, last: 7 }];
        engine.upsert(&Object::GlobalNetworkPolicy(policy));
        engine.commit().delta.len()
    });
    median("policy changed, all rules", |n| {
        engine.upsert(&policy(60 + n, 4096));
        engine.commit().delta.len()
    });
    median("policy removed", |n| {
        engine.remove(&policy(80 + n, 0).key());
        engine.commit().delta.len()
    });
    median("policy added", |n| {
        engine.upsert(&policy(80 + n, 0));
        engine.commit().delta.len()
    });
    median("local pod added, new stack", |n| {
        let Object::Pod(mut pod) = pod(n, 300, None) else { unreachable!() };
        pod.metadata.name = format!("another-{n}").into();
        pod.addresses = vec![IpAddr::V4(Ipv4Addr::from(0x0a10_0000 + n))];
        engine.upsert(&Object::Pod(pod));
        engine.commit().delta.len()
    });
    println!("{}", memory());
}

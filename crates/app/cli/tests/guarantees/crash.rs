//! The agent is killed under traffic, on each host, and started again.
//!
//! What is allowed goes on without a gap, connections keep their entries, new ones are judged as
//! before, and what is denied stays denied: while the agent is dead, while it starts, and after it has
//! taken over what it found.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ocicat_kernel::conntrack::{Conntrack, Filter, Tuple};
use rustix::process::Signal;
use serde_json::json;

use crate::support::api::policy;
use crate::support::cluster::{Choice, Cluster, Host, Workload, any, udp};
use crate::support::flow::{Flow, Talk, Traffic, connect};
use crate::support::packet::PacketSocket;

/// How long the agent is dead, and how long the one after it is watched.
const DEAD: Duration = Duration::from_secs(2);
const WATCHED: Duration = Duration::from_secs(2);
/// The longest silence of a flow. A message is sent every few milliseconds; one that TCP loses comes
/// again after 200 ms. The rest is for a machine with other work.
const SILENCE: Duration = Duration::from_secs(1);
/// Everything is over after so long.
const LIMIT: Duration = Duration::from_secs(120);
const ECHO: u16 = 7000;
const PUSH: u16 = 7001;
/// Of the connections that are made one by one.
const NEW: u16 = 7002;

#[test]
fn a_killed_agent_leaves_no_gap() {
    let Some(mut cluster) = Cluster::start(Choice::default()) else {
        return;
    };
    let begin = Instant::now();
    cluster.api.create(&clients_only());
    let client = cluster.workload(0, "shop", "client", &[("role", "client")]);
    let servers = [0, 1].map(|host| cluster.workload(host, "bank", &format!("server-{host}"), &[]));
    let foes = [0, 1].map(|host| cluster.workload(host, "crowd", &format!("foe-{host}"), &[]));
    let sniffers = servers
        .each_ref()
        .map(|server| PacketSocket::open(&server.namespace));
    let traffic = Traffic::start(flows(&client, &servers));
    let (stop, attempts) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for foe in &foes {
            scope.spawn(|| attack(foe, &servers, &stop, &attempts));
        }
        let _stopper = Stopper(&stop);
        for host in 0..2 {
            kill_and_restart(&mut cluster.hosts[host], &client, &servers);
        }
    });
    for (name, seen) in traffic.finish() {
        assert_eq!(seen.broken, None, "{name}");
        assert_eq!(seen.sent, seen.received, "{name} lost messages: {seen:?}");
        assert!(seen.sent > 200, "{name} hardly ran: {seen:?}");
        assert!(seen.longest_gap < SILENCE, "{name}: {seen:?}");
    }
    for sniffer in sniffers {
        let from_foe = |address| foes.iter().any(|foe| foe.addresses.contains(&address));
        let passed = sniffer.drain().find(|seen| from_foe(seen.from));
        assert_eq!(passed, None, "what is denied has passed");
    }
    let (attempts, took) = (attempts.into_inner(), begin.elapsed());
    assert!(attempts > 100, "only {attempts} attempts of what is denied");
    println!("{attempts} denied attempts; {took:.1?} in all");
    assert!(took < LIMIT, "{took:?}");
}

fn clients_only() -> serde_json::Value {
    let peer = json!({ "selector": "role == 'client'", "namespaceSelector": "all()" });
    let rule = |protocol: &str| {
        json!({ "action": "Allow", "protocol": protocol, "source": peer,
            "destination": { "ports": ["7000:7002"] } })
    };
    policy(
        "bank",
        "clients-only",
        json!({
            "types": ["Ingress"], "ingress": [rule("TCP"), rule("UDP")],
        }),
    )
}

/// Every kind of flow to both servers, in both families.
fn flows(client: &Workload, servers: &[Workload; 2]) -> Vec<Flow> {
    let mut flows = Vec::new();
    for server in servers {
        for family in [0, 1] {
            for (port, talk) in [(ECHO, Talk::Echo), (PUSH, Talk::Push)] {
                flows.push(Flow::udp(client, server, family, port, talk));
                flows.push(Flow::tcp(client, server, family, port, talk));
            }
        }
    }
    flows
}

/// Tries what is denied, over and over, as new flows.
fn attack(foe: &Workload, servers: &[Workload; 2], stop: &AtomicBool, attempts: &AtomicUsize) {
    while !stop.load(Ordering::Relaxed) {
        for address in servers.iter().flat_map(|server| &server.addresses) {
            for port in [ECHO, PUSH] {
                let target = SocketAddr::new(*address, port);
                let _ = udp(&foe.namespace, any(*address)).send_to(b"foe", target);
                let _ = connect(&foe.namespace, target, Duration::from_millis(1));
                attempts.fetch_add(2, Ordering::Relaxed);
            }
        }
    }
}

struct Stopper<'a>(&'a AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn kill_and_restart(host: &mut Host, client: &Workload, servers: &[Workload; 2]) {
    std::thread::sleep(WATCHED / 2);
    let before = connections(host, client);
    assert!(before.len() >= 8, "host {}: {before:?}", host.name);
    host.stop(Signal::KILL);
    let dead = Instant::now();
    while dead.elapsed() < DEAD {
        expect_new_connections(client, servers);
    }
    host.start();
    host.wait_until_ready();
    let ready = Instant::now();
    while ready.elapsed() < WATCHED {
        expect_new_connections(client, servers);
    }
    let after = connections(host, client);
    for (tuple, entry) in &before {
        assert_eq!(after.get(tuple), Some(entry), "host {}: {tuple}", host.name);
    }
}

/// Identity and mark of the entries of the flows that run.
fn connections(host: &Host, client: &Workload) -> BTreeMap<Tuple, (u32, u32)> {
    let mut table = Conntrack::open_in(&host.namespace).unwrap();
    let ports = [ECHO, PUSH];
    let of_flow = |tuple: &Tuple| {
        use ocicat_kernel::conntrack::Layer4;
        let port = matches!(tuple.layer4, Layer4::Ports { destination, .. } if ports.contains(&destination));
        port && client.addresses.contains(&tuple.source)
    };
    let entries = table
        .select(&Filter::default(), |entry| of_flow(&entry.original))
        .unwrap();
    entries
        .into_iter()
        .map(|entry| (entry.original, (entry.id, entry.mark)))
        .collect()
}

/// New connections are allowed without an agent too. Nobody listens, and says so by a reset.
fn expect_new_connections(client: &Workload, servers: &[Workload; 2]) {
    for address in servers.iter().flat_map(|server| &server.addresses) {
        let target = SocketAddr::new(*address, NEW);
        let error = connect(&client.namespace, target, SILENCE).expect_err("nobody listens");
        let kind = error.kind();
        assert_eq!(
            kind,
            std::io::ErrorKind::ConnectionRefused,
            "a new connection to {target}"
        );
    }
    std::thread::sleep(Duration::from_millis(20));
}

//! Policy changes while flows run.
//!
//! A live flow that is now denied ends within a second: TCP and UDP, both families, on one host and
//! between two, also when only the server keeps sending. One that is allowed again goes on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::api::{Api, policy};
use crate::support::cluster::{Choice, Cluster, Workload};
use crate::support::flow::{Flow, Talk, Traffic};
use crate::support::within;

/// A flow that is now denied has ended after so long.
const ENDS: Duration = Duration::from_secs(1);
/// And is silent from then on; watched for so long.
const SILENT: Duration = Duration::from_secs(1);
/// A flow that is allowed again goes on after so long: TCP waits longer from one attempt to the next
/// the longer it was cut off.
const RESUMES: Duration = Duration::from_secs(8);
/// Everything is over after so long.
const LIMIT: Duration = Duration::from_secs(120);
const ECHO: u16 = 7000;
const PUSH: u16 = 7001;
/// Between flows to one server at a time.
const BEGINS: Duration = Duration::from_secs(10);

#[test]
fn a_live_flow_that_is_now_denied_ends_within_a_second() {
    let Some(cluster) = Cluster::start(Choice::default()) else {
        return;
    };
    let begin = Instant::now();
    let allow = allow("role == 'client'");
    cluster.api.create(&allow);
    cluster.api.create(&closed("shop"));
    cluster.api.create(&closed("bank"));
    let client = cluster.workload(0, "shop", "client", &[("role", "client")]);
    let servers = [0, 1].map(|host| cluster.workload(host, "bank", &format!("server-{host}"), &[]));
    let traffic = Traffic::start(flows(&client, &servers));
    expect_progress(&traffic, BEGINS, "at first");

    let api = &cluster.api;
    let deny = deny("bank", "Ingress", "ingress");
    let (add, remove) = (|| api.create(&deny), || api.delete(&deny));
    round(&traffic, "a policy is added", add, remove);
    let nobody = self::allow("role == 'nobody'");
    let (close, open) = (|| change(api, &nobody), || change(api, &allow));
    round(&traffic, "a policy is changed", close, open);
    let (delete, create) = (|| api.delete(&allow), || api.create(&allow));
    round(&traffic, "a policy is deleted", delete, create);
    let egress = self::deny("shop", "Egress", "egress");
    let (add, remove) = (|| api.create(&egress), || api.delete(&egress));
    round(&traffic, "egress is denied", add, remove);
    let relabel = |role: &str| {
        let patch = json!({ "metadata": { "labels": { "role": role } } });
        api.merge(&client.pod(), &patch);
    };
    let (leave, come_back) = (|| relabel("other"), || relabel("client"));
    round(&traffic, "the client's label is changed", leave, come_back);
    for (name, seen) in traffic.finish() {
        assert_eq!(seen.broken, None, "{name}");
    }
    assert!(begin.elapsed() < LIMIT, "{:?}", begin.elapsed());
}

/// Whom the servers admit.
fn allow(clients: &str) -> Value {
    let peer = json!({ "selector": clients, "namespaceSelector": "all()" });
    let rule = |protocol: &str| {
        json!({ "action": "Allow", "protocol": protocol, "source": peer,
            "destination": { "ports": [ECHO, PUSH] } })
    };
    policy(
        "bank",
        "clients-only",
        json!({
            "order": 100, "types": ["Ingress"], "ingress": [rule("TCP"), rule("UDP")],
        }),
    )
}

/// Nobody else may begin a flow into the namespace. What a server sends to a client passes only as
/// part of the client's flow.
fn closed(namespace: &str) -> Value {
    policy(
        namespace,
        "closed",
        json!({ "order": 200, "types": ["Ingress"], "ingress": [] }),
    )
}

/// Before all others, in one direction.
fn deny(namespace: &str, direction: &str, rules: &str) -> Value {
    policy(
        namespace,
        "no-more",
        json!({ "order": 1, "types": [direction], rules: [{ "action": "Deny" }] }),
    )
}

fn change(api: &Api, policy: &Value) {
    api.merge(policy, &json!({ "spec": policy["spec"] }));
}

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

/// Cuts all flows, sees them end, lets them go on, sees them go on.
fn round(traffic: &Traffic, what: &str, cut: impl FnOnce(), allow: impl FnOnce()) {
    cut();
    std::thread::sleep(ENDS);
    let then = traffic.received();
    std::thread::sleep(SILENT);
    let now = traffic.received();
    let names = traffic.names().iter();
    let going_on: Vec<String> = names
        .zip(then.iter().zip(&now))
        .filter(|(_, (then, now))| then != now)
        .map(|(name, (then, now))| format!("{name}: {} more", now - then))
        .collect();
    assert!(
        going_on.is_empty(),
        "{what}: a second later flows go on: {going_on:#?}"
    );
    allow();
    expect_progress(traffic, RESUMES, &format!("after the end of: {what}"));
}

fn expect_progress(traffic: &Traffic, limit: Duration, when: &str) {
    let (start, then) = (Instant::now(), traffic.received());
    let mut now = then.clone();
    let all = within(limit, || {
        now = traffic.received();
        then.iter().zip(&now).all(|(then, now)| now > then)
    });
    let names = traffic.names().iter().zip(then.iter().zip(&now));
    let stuck: Vec<_> = names
        .filter(|(_, (then, now))| then == now)
        .map(|(name, _)| name)
        .collect();
    assert!(all, "{when}: nothing moves after {limit:?} in {stuck:#?}");
    println!("{when}: all flows move after {:.1?}", start.elapsed());
}

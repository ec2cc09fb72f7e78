//! Policies that nobody can read, or that cannot be: the others are enforced, and each is reported
//! with object and field, in the agents' logs and by `ocicat status`.
//!
//! The API server stores anything here, as a cluster does whose resource definitions check little.
//!
//! | where  | policy                                     | what it does                            |
//! |--------|--------------------------------------------|-----------------------------------------|
//! | `shop` | before it one that allows friends          | as if nothing were                      |
//! | `shop` | its selector cannot be read                | closes the namespace in its directions  |
//! | `shop` | behind it one that allows everybody        | is not reached                          |
//! | `bank` | a rule with a CIDR that is none            | that rule allows nobody, the next does  |
//! | `bank` | a tier that does not exist                 | is enforced, as the last tier           |
//! | all    | a global one whose selector cannot be read | nothing                                 |

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::api::{global_policy, policy};
use crate::support::cluster::{Choice, Cluster, Workload, any, udp};
use crate::support::packet::PacketSocket;
use crate::support::within;

/// A change is in force on both hosts, and reported, after so long.
const SETTLED: Duration = Duration::from_secs(20);
/// What has not arrived after so long is not allowed.
const ARRIVAL: Duration = Duration::from_millis(500);
/// Everything is over after so long.
const LIMIT: Duration = Duration::from_secs(120);
const PORT: u16 = 7000;
/// Policy and field, and whether a part of it is not in force.
const REPORTED: [(&str, &str, bool); 4] = [
    ("shop/unreadable", "spec.selector", true),
    ("bank/bad-rule", "spec.ingress[0].source.nets[0]", true),
    ("bank/in-no-tier", "spec.tier", false),
    ("deny-nobody-knows-whom", "spec.selector", true),
];

/// Who sends, and who receives, a workload on each host.
struct People {
    friends: [Workload; 2],
    strangers: [Workload; 2],
    shop: [Workload; 2],
    bank: [Workload; 2],
}

#[test]
fn malformed_policies_close_what_they_cover_and_nothing_else() {
    let choice = Choice {
        stores_anything: true,
        ..Choice::default()
    };
    let Some(cluster) = Cluster::start(choice) else {
        return;
    };
    let begin = Instant::now();
    let make = |namespace: &str, role: &str| {
        [0, 1].map(|host| {
            let name = format!("{role}-{host}");
            cluster.workload(host, namespace, &name, &[("role", role)])
        })
    };
    let people = People {
        friends: make("crowd", "friend"),
        strangers: make("crowd", "stranger"),
        shop: make("shop", "server"),
        bank: make("bank", "server"),
    };
    for policy in sound() {
        cluster.api.create(&policy);
    }
    let everybody = [(true, true), (true, true)];
    expect(
        &people,
        everybody[0],
        (true, false),
        "with sound policies alone",
    );
    for policy in malformed() {
        cluster.api.create(&policy);
    }
    expect(
        &people,
        (true, false),
        (true, false),
        "with malformed policies",
    );
    expect_reports(&cluster);
    for policy in malformed() {
        cluster.api.delete(&policy);
    }
    expect(
        &people,
        everybody[1],
        (true, false),
        "after the malformed ones are gone",
    );
    let clean = || cluster.status(&[]).0 == Some(0);
    assert!(within(SETTLED, clean), "{}", cluster.status(&[]).1);
    assert!(begin.elapsed() < LIMIT, "{:?}", begin.elapsed());
}

fn allow(order: u32, name: &str, namespace: &str, source: Value) -> Value {
    policy(
        namespace,
        name,
        json!({
            "order": order, "types": ["Ingress"],
            "ingress": [{ "action": "Allow", "source": source }],
        }),
    )
}

fn friends() -> Value {
    json!({ "selector": "role == 'friend'", "namespaceSelector": "all()" })
}

fn sound() -> [Value; 3] {
    [
        allow(10, "friends", "shop", friends()),
        allow(300, "everybody", "shop", json!({})),
        allow(300, "friends", "bank", friends()),
    ]
}

fn malformed() -> [Value; 4] {
    let mut in_no_tier = allow(10, "in-no-tier", "bank", json!({}));
    in_no_tier["spec"]["tier"] = json!("no-such-tier");
    [
        policy(
            "shop",
            "unreadable",
            json!({
                "order": 100, "selector": "role ==", "types": ["Ingress"],
                "ingress": [{ "action": "Allow" }],
            }),
        ),
        allow(100, "bad-rule", "bank", json!({ "nets": ["10.0.0.0/33"] })),
        in_no_tier,
        global_policy(
            "deny-nobody-knows-whom",
            json!({
                "order": 1, "selector": "role in", "types": ["Ingress"],
                "ingress": [{ "action": "Deny" }],
            }),
        ),
    ]
}

/// Whether a friend and a stranger get through to the shop and to the bank, from and to each host.
fn expect(people: &People, shop: (bool, bool), bank: (bool, bool), when: &str) {
    let mut found = Vec::new();
    let as_expected = within(SETTLED, || {
        found.clear();
        for (servers, allowed) in [(&people.shop, shop), (&people.bank, bank)] {
            for (clients, allowed) in [(&people.friends, allowed.0), (&people.strangers, allowed.1)]
            {
                wrong(clients, servers, allowed, &mut found);
            }
        }
        found.is_empty()
    });
    assert!(as_expected, "{when}: {found:#?}");
}

/// Adds to `found` what is not as it should be.
fn wrong(clients: &[Workload; 2], servers: &[Workload; 2], allowed: bool, found: &mut Vec<String>) {
    let sniffers = servers
        .each_ref()
        .map(|server| PacketSocket::open(&server.namespace));
    for server in servers {
        for client in clients {
            for address in &server.addresses {
                let target = SocketAddr::new(*address, PORT);
                udp(&client.namespace, any(*address))
                    .send_to(b"hello", target)
                    .unwrap();
            }
        }
    }
    let mut missing: Vec<_> = (0..2)
        .flat_map(|server| clients.iter().map(move |client| (server, client)))
        .flat_map(|(server, client)| client.addresses.iter().map(move |from| (server, *from)))
        .collect();
    let all = missing.len();
    within(ARRIVAL, || {
        for (server, sniffer) in sniffers.iter().enumerate() {
            for seen in sniffer.drain().filter(|seen| seen.carries(b"hello")) {
                missing.retain(|place| *place != (server, seen.from));
            }
        }
        missing.is_empty()
    });
    let (from, to) = (&clients[0].key.1, &servers[0].key);
    if allowed && !missing.is_empty() {
        found.push(format!(
            "{from} > {to:?}: allowed, but {missing:?} did not arrive"
        ));
    }
    if !allowed && missing.len() < all {
        found.push(format!(
            "{from} > {to:?}: denied, but {} arrived",
            all - missing.len()
        ));
    }
}

/// Log and status name object and field, and say on which hosts.
fn expect_reports(cluster: &Cluster) {
    for (policy, field, fails) in REPORTED {
        for host in &cluster.hosts {
            let named = |line: &str| line.contains(policy) && line.contains(field);
            let logged = within(SETTLED, || host.log().lines().any(named));
            assert!(
                logged,
                "agent {} does not log {policy} {field}:\n{}",
                host.name,
                host.log()
            );
        }
        let reported = || is_reported(cluster, policy, field, fails);
        let status = || cluster.status(&["-o", "json"]).1;
        assert!(
            within(SETTLED, reported),
            "{policy} {field} is not reported: {}",
            status()
        );
    }
    let (code, text) = cluster.status(&[]);
    assert_eq!(code, Some(1), "{text}");
    for (policy, field, _) in REPORTED {
        assert!(
            text.contains(policy) && text.contains(field),
            "{policy} {field}:\n{text}"
        );
    }
    println!("{text}");
}

fn is_reported(cluster: &Cluster, policy: &str, field: &str, fails: bool) -> bool {
    let (_, text) = cluster.status(&["-o", "json"]);
    let status: Value = serde_json::from_str(&text).unwrap_or_default();
    let policies = status["policies"].as_array().cloned().unwrap_or_default();
    let is_it = |x: &&Value| {
        x["policy"]
            .as_str()
            .is_some_and(|name| name.ends_with(policy))
    };
    let Some(found) = policies.iter().find(is_it) else {
        return false;
    };
    let failed = found["failed"].as_array().cloned().unwrap_or_default();
    let named = failed
        .iter()
        .filter(|x| x["problems"].to_string().contains(field))
        .count();
    found.to_string().contains(field) && (!fails || named == cluster.hosts.len())
}

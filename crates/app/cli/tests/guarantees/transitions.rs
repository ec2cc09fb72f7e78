//! Things change while policy stays as it was written: labels of all that has some, the order of tiers,
//! the tier of a policy, the number of a named port, a large set of networks, the owner of an address.
//!
//! Each transition is made, the new verdict comes within [`SETTLES`], and it stays.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::api::{global_policy, object, policy};
use crate::support::cluster::{Choice, Cluster, Workload, any, udp};
use crate::support::within;

/// A verdict follows a change after so long.
const SETTLES: Duration = Duration::from_secs(2);
/// A set of [`NETS`] networks takes longer to be written, stored, read and put into the kernel.
const LARGE_SETTLES: Duration = Duration::from_secs(30);
const NETS: u32 = 100_000;
/// What has not arrived after so long will not.
const ARRIVAL: Duration = Duration::from_millis(150);
const PORT: u16 = 7000;
/// A flow that policy denies from now on ends within this.
const ENDS: Duration = Duration::from_secs(1);

#[test]
fn verdicts_follow_labels() {
    let Some(cluster) = Cluster::start(Choice::default()) else {
        return;
    };
    let client = cluster.workload(0, "shop", "client", &[("role", "client")]);
    let server = cluster.workload(1, "bank", "server", &[("app", "server")]);
    let whom = |peer: Value| {
        let rule = json!({ "action": "Allow", "source": peer });
        policy(
            "bank",
            "some",
            json!({ "types": ["Ingress"], "ingress": [rule] }),
        )
    };
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "namespace": "shop", "name": "default", "labels": { "team": "red" } } });
    cluster.api.create(&account);
    let namespace = object("v1", "Namespace", None, "shop", json!({}));
    let label = |of: &Value, name: &str, value: &str| {
        cluster
            .api
            .merge(of, &json!({ "metadata": { "labels": { name: value } } }));
    };
    let case = |what: &str, rule: Value, of: &Value, name: &str| {
        let rule = whom(rule);
        label(of, name, "red");
        cluster.api.create(&rule);
        expect(
            &client,
            &server,
            PORT,
            Passes::Yes,
            &format!("{what} has the label"),
        );
        label(of, name, "blue");
        expect(
            &client,
            &server,
            PORT,
            Passes::No,
            &format!("{what} has another label"),
        );
        label(of, name, "red");
        expect(
            &client,
            &server,
            PORT,
            Passes::Yes,
            &format!("{what} has the label again"),
        );
        cluster.api.delete(&rule);
    };
    let of_namespace = json!({ "namespaceSelector": "team == 'red'" });
    case("the namespace", of_namespace, &namespace, "team");
    let of_account = json!({ "serviceAccounts": { "selector": "team == 'red'" },
        "namespaceSelector": "all()" });
    case("the service account", of_account, &account, "team");
    let of_pod = json!({ "selector": "role == 'red'", "namespaceSelector": "all()" });
    case("the pod", of_pod, &client.pod(), "role");
    // And whom a policy selects.
    let closed = global_policy(
        "closed",
        json!({ "selector": "app == 'red'", "types": ["Ingress"], "ingress": [] }),
    );
    cluster.api.create(&closed);
    expect(
        &client,
        &server,
        PORT,
        Passes::Yes,
        "the server is not selected",
    );
    label(&server.pod(), "app", "red");
    expect(&client, &server, PORT, Passes::No, "the server is selected");
}

#[test]
fn verdicts_follow_tiers() {
    let Some(cluster) = Cluster::start(Choice::default()) else {
        return;
    };
    let client = cluster.workload(0, "shop", "client", &[]);
    let server = cluster.workload(1, "bank", "server", &[]);
    let tier = |name: &str, order: u32| {
        let spec = json!({ "order": order, "defaultAction": "Deny" });
        object("projectcalico.org/v3", "Tier", None, name, spec)
    };
    let (one, other) = (tier("one", 10), tier("other", 20));
    let rule = |name: &str, tier: &str, action: &str| {
        let spec = json!({ "tier": tier, "selector": "all()", "types": ["Ingress"],
            "ingress": [{ "action": action }] });
        global_policy(name, spec)
    };
    cluster.api.create(&one);
    cluster.api.create(&other);
    let allow = rule("one.allow", "one", "Allow");
    let deny = rule("other.deny", "other", "Deny");
    cluster.api.create(&allow);
    cluster.api.create(&deny);
    expect(
        &client,
        &server,
        PORT,
        Passes::Yes,
        "the tier that allows is first",
    );
    let order = |of: &Value, order: u32| {
        cluster
            .api
            .merge(of, &json!({ "spec": { "order": order } }));
    };
    order(&one, 30);
    expect(
        &client,
        &server,
        PORT,
        Passes::No,
        "the tier that denies is first",
    );
    order(&other, 40);
    expect(
        &client,
        &server,
        PORT,
        Passes::Yes,
        "the tier that allows is first again",
    );
    // The denying policy goes to a tier before it.
    cluster.api.create(&tier("before", 1));
    cluster
        .api
        .merge(&deny, &json!({ "spec": { "tier": "before" } }));
    expect(
        &client,
        &server,
        PORT,
        Passes::No,
        "the policy that denies is in the first tier",
    );
    cluster
        .api
        .merge(&deny, &json!({ "spec": { "tier": "other" } }));
    expect(
        &client,
        &server,
        PORT,
        Passes::Yes,
        "the policy that denies is in the last tier",
    );
}

#[test]
fn verdicts_follow_the_number_of_a_named_port() {
    let Some(cluster) = Cluster::start(Choice::default()) else {
        return;
    };
    let client = cluster.workload(0, "shop", "client", &[]);
    let server = cluster.workload(1, "bank", "server", &[]);
    let number = |number: u16| {
        let port = json!({ "name": "api", "containerPort": number, "protocol": "UDP" });
        let containers = json!([{ "name": "main", "image": "none", "ports": [port] }]);
        cluster.api.merge(
            &server.pod(),
            &json!({ "spec": { "containers": containers } }),
        );
    };
    let rule = json!({ "action": "Allow", "protocol": "UDP", "destination": { "ports": ["api"] } });
    let spec = json!({ "types": ["Ingress"], "ingress": [rule] });
    cluster.api.create(&policy("bank", "api-only", spec));
    number(PORT);
    expect(
        &client,
        &server,
        PORT,
        Passes::Yes,
        "the port has this number",
    );
    expect(
        &client,
        &server,
        PORT + 1,
        Passes::No,
        "no port has that number",
    );
    number(PORT + 1);
    expect(
        &client,
        &server,
        PORT,
        Passes::No,
        "the port has another number",
    );
    expect(
        &client,
        &server,
        PORT + 1,
        Passes::Yes,
        "the port has that number",
    );
}

#[test]
fn a_set_of_100_000_networks_appears_and_goes() {
    let Some(cluster) = Cluster::start(Choice::default()) else {
        return;
    };
    let client = cluster.workload(0, "shop", "client", &[]);
    let server = cluster.workload(1, "bank", "server", &[]);
    let first = u32::from(std::net::Ipv4Addr::new(198, 18, 0, 0));
    let mut nets: Vec<String> = (0..NETS - 2)
        .map(|n| format!("{}/32", std::net::Ipv4Addr::from(first + n)))
        .collect();
    nets.extend(client.addresses.iter().map(ToString::to_string));
    let mut set = object(
        "projectcalico.org/v3",
        "GlobalNetworkSet",
        None,
        "large",
        json!({ "nets": nets }),
    );
    set["metadata"]["labels"] = json!({ "is": "large" });
    let rule = json!({ "action": "Allow",
        "source": { "selector": "is == 'large'", "namespaceSelector": "global()" } });
    let spec = json!({ "types": ["Ingress"], "ingress": [rule] });
    cluster.api.create(&policy("bank", "known-only", spec));
    expect(&client, &server, PORT, Passes::No, "the set is not there");
    let begin = Instant::now();
    cluster.api.create(&set);
    expect_within(
        LARGE_SETTLES,
        (&client, &server),
        PORT,
        Passes::Yes,
        "the set is there",
    );
    let appeared = begin.elapsed();
    let begin = Instant::now();
    cluster.api.delete(&set);
    expect_within(
        LARGE_SETTLES,
        (&client, &server),
        PORT,
        Passes::No,
        "the set is gone",
    );
    println!(
        "{NETS} networks: in force after {appeared:.1?}, gone after {:.1?}",
        begin.elapsed()
    );
}

/// Another pod gets the address of one that is gone: on its host at once, elsewhere too. Neither its
/// verdicts nor its flows are the old one's.
#[test]
fn an_address_does_not_inherit() {
    let Some(cluster) = Cluster::start(Choice::default()) else {
        return;
    };
    let servers = [0, 1].map(|host| cluster.workload(host, "bank", &format!("server-{host}"), &[]));
    let peer = json!({ "selector": "role == 'client'", "namespaceSelector": "all()" });
    let rule = json!({ "action": "Allow", "source": peer });
    let spec = json!({ "types": ["Ingress"], "ingress": [rule] });
    cluster.api.create(&policy("bank", "clients-only", spec));
    for (round, host) in [0, 0, 1].into_iter().enumerate() {
        let old = cluster.workload(0, "shop", &format!("old-{round}"), &[("role", "client")]);
        let addresses = old.addresses.clone();
        let flow = SocketAddr::new(addresses[0], 5000);
        for server in &servers {
            expect(&old, server, PORT, Passes::Yes, "the client");
            let to = SocketAddr::new(server.addresses[0], PORT);
            assert!(arrives(&old, server, flow, to), "the flow of the client");
        }
        cluster.remove(old);
        let name = format!("new-{round}");
        let mut new = cluster.declare(host, "shop", &name, &[("role", "other")], &addresses);
        cluster.attach(&mut new);
        assert_eq!(new.addresses, addresses, "round {round}");
        // On its host from its first packet on, in the flow that its predecessor had; elsewhere as soon
        // as a flow that is denied ends.
        for (at, server) in servers.iter().enumerate() {
            let to = SocketAddr::new(server.addresses[0], PORT);
            let ends = || !arrives(&new, server, flow, to);
            let ended = if at == host {
                ends()
            } else {
                within(ENDS, ends)
            };
            assert!(ended, "round {round}: the old flow goes on at host {at}");
            for _ in 0..5 {
                assert!(ends(), "round {round}: the old flow is back at host {at}");
            }
        }
        cluster.wait_until_known(&new);
        for server in &servers {
            expect(&new, server, PORT, Passes::No, "its successor");
        }
        cluster.remove(new);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passes {
    Yes,
    No,
}

fn expect(client: &Workload, server: &Workload, port: u16, wanted: Passes, when: &str) {
    expect_within(SETTLES, (client, server), port, wanted, when);
}

/// New flows of both families get this verdict within the time, and keep it.
fn expect_within(
    limit: Duration,
    (client, server): (&Workload, &Workload),
    port: u16,
    wanted: Passes,
    when: &str,
) {
    for family in [0, 1] {
        let to = SocketAddr::new(server.addresses[family], port);
        let from = any(to.ip());
        let passes = || match arrives(client, server, from, to) {
            true => Passes::Yes,
            false => Passes::No,
        };
        assert!(
            within(limit, || passes() == wanted),
            "{when}: {to}: not {wanted:?} in {limit:?}"
        );
        for _ in 0..3 {
            assert_eq!(passes(), wanted, "{when}: {to}: it did not last");
        }
    }
}

/// Whether a datagram between two sockets made for it arrives.
fn arrives(client: &Workload, server: &Workload, from: SocketAddr, to: SocketAddr) -> bool {
    let receiver = udp(&server.namespace, to);
    let sender = udp(&client.namespace, from);
    sender.send_to(b"hello", to).unwrap();
    let mut buffer = [0; 16];
    within(ARRIVAL, || receiver.recv_from(&mut buffer).is_ok())
}

use std::time::Duration;

use ocicat_kernel::conntrack::{Conntrack, Filter};
use serde_json::json;

use super::world::{
    Seen, becomes, felix, host_endpoint, host_policy, nft, serve, settle, tcp, udp,
    wait_for_endpoints,
};
use crate::support::api::object;
use crate::support::cluster::{Choice, Cluster};
use crate::support::within;

const PORT: u16 = 7000;

/// Host `a` with an endpoint on its uplink, asked by host `b`, which has none.
fn guarded() -> Option<Cluster> {
    let cluster = Cluster::start(Choice::default())?;
    for host in &cluster.hosts {
        for port in [PORT, 22, 53] {
            serve(&host.namespace, port);
        }
    }
    cluster.api.create(&host_endpoint(&cluster, 0));
    wait_for_endpoints(&cluster, 0, 1);
    Some(cluster)
}

#[test]
fn local_traffic_is_closed_but_for_fail_safe_ports_and_policy() {
    let Some(cluster) = guarded() else { return };
    let (a, b) = (&cluster.hosts[0], &cluster.hosts[1]);
    for (at_a, at_b) in a.addresses.into_iter().zip(b.addresses) {
        becomes("into a", Seen::Silence, || tcp(&b.namespace, at_a, PORT));
        becomes("out of a", Seen::Silence, || tcp(&a.namespace, at_b, PORT));
        assert_eq!(tcp(&b.namespace, at_a, 22), Seen::Answered, "fail-safe in");
        assert_eq!(udp(&a.namespace, at_b, 53), Seen::Answered, "fail-safe out");
        assert_eq!(
            udp(&b.namespace, at_a, 53),
            Seen::Silence,
            "53 is open out only"
        );
        assert_eq!(tcp(&a.namespace, at_a, PORT), Seen::Answered, "a to itself");
    }
    let rule = json!({ "action": "Allow", "protocol": "TCP", "destination": { "ports": [PORT] } });
    let policy = host_policy("open", json!({ "types": ["Ingress"], "ingress": [rule] }));
    cluster.api.create(&policy);
    for at_a in a.addresses {
        becomes("allowed", Seen::Answered, || tcp(&b.namespace, at_a, PORT));
        assert_eq!(udp(&b.namespace, at_a, PORT), Seen::Silence, "only TCP");
    }
    // A fail-safe port with a net is open to that net.
    let [at_a, _] = a.addresses;
    let entry = json!({ "protocol": "tcp", "port": 22, "net": "203.0.113.0/24" });
    let configuration = felix("node.a", json!({ "failsafeInboundHostPorts": [entry] }));
    cluster.api.create(&configuration);
    becomes("other net", Seen::Silence, || tcp(&b.namespace, at_a, 22));
    let near = json!({ "protocol": "tcp", "port": 22, "net": "172.29.0.0/24" });
    cluster.api.merge(
        &configuration,
        &json!({ "spec": { "failsafeInboundHostPorts": [near] } }),
    );
    becomes("this net", Seen::Answered, || tcp(&b.namespace, at_a, 22));
    cluster.api.delete(&host_endpoint(&cluster, 0));
    becomes("no endpoint", Seen::Answered, || {
        udp(&b.namespace, at_a, PORT)
    });
}

#[test]
fn the_program_lists_and_reloads_and_goes_without_a_trace() {
    let Some(cluster) = guarded() else { return };
    let near = json!({ "action": "Allow", "destination": { "nets": ["172.29.0.0/25"] } });
    for (name, fields) in [
        (
            "untracked",
            json!({ "doNotTrack": true, "applyOnForward": true }),
        ),
        (
            "pre-dnat",
            json!({ "preDNAT": true, "applyOnForward": true }),
        ),
        ("forwarded", json!({ "applyOnForward": true })),
    ] {
        let mut spec = json!({ "types": ["Ingress"], "ingress": [near] });
        for (key, value) in fields.as_object().unwrap() {
            spec[key] = value.clone();
        }
        cluster.api.create(&host_policy(name, spec));
    }
    // One for all other interfaces too.
    let mut rest = host_endpoint(&cluster, 0);
    rest["metadata"]["name"] = json!("a-rest");
    rest["spec"]["interfaceName"] = json!("*");
    cluster.api.create(&rest);
    let spec = json!({ "nftablesFilterDenyAction": "Reject", "logPrefix": "a prefix" });
    cluster.api.create(&felix("default", spec));
    settle(&cluster);
    let a = &cluster.hosts[0];
    let listed = || nft(&a.namespace, &["list", "ruleset"], "");
    assert!(
        within(Duration::from_secs(10), || listed().contains("reject")),
        "{}",
        listed()
    );
    let before = listed();
    for part in [
        "pre_dnat",
        "raw_output",
        "near",
        "fib daddr type local",
        "notrack",
    ] {
        assert!(before.contains(part), "{part} is not in\n{before}");
    }
    nft(&a.namespace, &["-c", "-f", "-"], &before);
    let removal = "table inet ocicat\ndelete table inet ocicat\n";
    nft(
        &a.namespace,
        &["-c", "-f", "-"],
        &format!("{removal}{before}"),
    );
    for name in ["untracked", "pre-dnat", "forwarded"] {
        cluster.api.delete(&host_policy(name, json!({})));
    }
    cluster.api.delete(&host_endpoint(&cluster, 0));
    cluster.api.delete(&rest);
    wait_for_endpoints(&cluster, 0, 0);
    let gone = || !listed().contains("raw_output");
    assert!(within(Duration::from_secs(10), gone), "{}", listed());
}

#[test]
fn forwarded_traffic_is_open_until_a_policy_is_for_it() {
    let Some(cluster) = guarded() else { return };
    let client = cluster.workload(1, "shop", "client", &[]);
    let server = cluster.workload(0, "shop", "server", &[]);
    serve(&server.namespace, PORT);
    for family in 0..2 {
        let to = server.addresses[family];
        becomes("forwarded", Seen::Answered, || {
            tcp(&client.namespace, to, PORT)
        });
    }
    let rule = json!({ "action": "Allow", "protocol": "TCP", "destination": { "ports": [1] } });
    let policy = host_policy(
        "forwarded",
        json!({ "applyOnForward": true, "types": ["Ingress"], "ingress": [rule] }),
    );
    cluster.api.create(&policy);
    for family in 0..2 {
        let to = server.addresses[family];
        becomes("denied", Seen::Silence, || tcp(&client.namespace, to, PORT));
        let back = client.addresses[family];
        assert_eq!(
            udp(&server.namespace, back, 9),
            Seen::Refused,
            "the other way"
        );
    }
    let rule = json!({ "action": "Allow", "protocol": "TCP", "destination": { "ports": [PORT] } });
    cluster
        .api
        .merge(&policy, &json!({ "spec": { "ingress": [rule] } }));
    becomes("allowed", Seen::Answered, || {
        tcp(&client.namespace, server.addresses[0], PORT)
    });
}

#[test]
fn untracked_policy_leaves_no_connection_and_skips_later_policy() {
    let Some(cluster) = guarded() else { return };
    let (a, b) = (&cluster.hosts[0], &cluster.hosts[1]);
    let at_a = a.addresses[0];
    becomes("closed", Seen::Silence, || udp(&b.namespace, at_a, PORT));
    let asking =
        json!({ "action": "Allow", "protocol": "UDP", "destination": { "ports": [PORT] } });
    let answer = json!({ "action": "Allow", "protocol": "UDP", "source": { "ports": [PORT] } });
    let deny = json!({ "action": "Deny", "protocol": "TCP", "destination": { "ports": [PORT] } });
    let spec = json!({
        "doNotTrack": true, "applyOnForward": true, "types": ["Ingress", "Egress"],
        "ingress": [asking, deny], "egress": [answer],
    });
    cluster.api.create(&host_policy("untracked", spec));
    becomes("untracked", Seen::Answered, || {
        udp(&b.namespace, at_a, PORT)
    });
    let open = json!({ "action": "Allow" });
    let spec = json!({ "types": ["Ingress"], "ingress": [open] });
    cluster.api.create(&host_policy("local", spec));
    settle(&cluster);
    assert_eq!(
        tcp(&b.namespace, at_a, PORT),
        Seen::Silence,
        "denied before"
    );
    assert_eq!(
        tcp(&b.namespace, at_a, 22),
        Seen::Answered,
        "what it does not name"
    );
    let mut conntrack = Conntrack::open_in(&a.namespace).unwrap();
    let is_ours = |entry: &ocicat_kernel::conntrack::Entry| {
        matches!(entry.original.layer4, ocicat_kernel::conntrack::Layer4::Ports { destination, .. }
            if destination == PORT && entry.original.protocol == 17)
    };
    let entries = conntrack.entries(&Filter::default()).unwrap();
    // Those before the policy was there are no matter: they have no answer.
    let seen = entries.iter().filter(|entry| is_ours(entry));
    let tracked: Vec<_> = seen.filter(|e| e.status & 2 != 0).collect();
    assert!(tracked.is_empty(), "{tracked:?}");
}

#[test]
fn pre_dnat_policy_sees_the_port_that_was_asked_for() {
    let Some(cluster) = guarded() else { return };
    let (a, b) = (&cluster.hosts[0], &cluster.hosts[1]);
    let at_a = a.addresses[0];
    nft(
        &a.namespace,
        &["-f", "-"],
        "table ip others {
            chain pre {
                type nat hook prerouting priority dstnat
                tcp dport { 8080, 8081 } redirect to :7000
            }
        }",
    );
    let ports = |action: &str, port: u16| json!({ "action": action, "protocol": "TCP", "destination": { "ports": [port] } });
    let spec = json!({
        "preDNAT": true, "applyOnForward": true, "types": ["Ingress"],
        "ingress": [ports("Allow", 8080), ports("Deny", 8081)],
    });
    cluster.api.create(&host_policy("pre-dnat", spec));
    becomes("allowed before", Seen::Answered, || {
        tcp(&b.namespace, at_a, 8080)
    });
    becomes("not allowed", Seen::Silence, || {
        tcp(&b.namespace, at_a, PORT)
    });
    let spec = json!({ "types": ["Ingress"], "ingress": [ports("Allow", PORT)] });
    cluster.api.create(&host_policy("local", spec));
    becomes("allowed after", Seen::Answered, || {
        tcp(&b.namespace, at_a, PORT)
    });
    becomes("denied before", Seen::Silence, || {
        tcp(&b.namespace, at_a, 8081)
    });
}

#[test]
fn a_denied_packet_is_refused_and_named_where_that_is_configured() {
    let Some(cluster) = guarded() else { return };
    let (a, b) = (&cluster.hosts[0], &cluster.hosts[1]);
    // Every refusal shall be heard of.
    let unlimited = [
        ("net/ipv4/icmp_ratemask", "0"),
        ("net/ipv6/icmp/ratemask", "255"),
    ];
    let set = || ocicat_kernel::sysctl::write_all(unlimited);
    a.namespace.run(set).unwrap().unwrap();
    let at_a = a.addresses[0];
    let log = json!({ "action": "Log", "protocol": "TCP", "destination": { "ports": [22, PORT] } });
    let allow = json!({ "action": "Allow", "protocol": "TCP", "destination": { "ports": [22] } });
    let configuration = felix("default", json!({ "failsafeInboundHostPorts": [] }));
    cluster.api.create(&configuration);
    let spec = json!({ "types": ["Ingress"], "ingress": [log, allow] });
    cluster.api.create(&host_policy("logged", spec));
    becomes("dropped", Seen::Silence, || tcp(&b.namespace, at_a, PORT));
    let spec = json!({ "nftablesFilterDenyAction": "Reject", "logPrefix": "our-packet" });
    cluster.api.merge(&configuration, &json!({ "spec": spec }));
    for at_a in a.addresses {
        becomes("reset", Seen::Refused, || tcp(&b.namespace, at_a, PORT));
        becomes("refused", Seen::Refused, || udp(&b.namespace, at_a, PORT));
        becomes("allowed", Seen::Answered, || tcp(&b.namespace, at_a, 22));
    }
    let has = |words: &[&str]| {
        let log = a.log();
        let mut lines = log.lines();
        lines.any(|line| words.iter().all(|word| line.contains(word)))
    };
    let denied = [
        "our-packet",
        "denied",
        "ingress",
        "hep/a-eth0",
        "eth0",
        "end of tier default",
    ];
    assert!(
        within(Duration::from_secs(5), || has(&denied)),
        "{}",
        a.log()
    );
    let logged = [
        "our-packet",
        "logged",
        "ingress",
        "hep/a-eth0",
        "gnp/logged ingress[0]",
    ];
    assert!(
        within(Duration::from_secs(5), || has(&logged)),
        "{}",
        a.log()
    );
}

#[test]
fn automatic_endpoints_come_and_go_and_allow_everything() {
    let Some(cluster) = Cluster::start(Choice::default()) else {
        return;
    };
    let (a, b) = (&cluster.hosts[0], &cluster.hosts[1]);
    serve(&a.namespace, PORT);
    let endpoints = || cluster.api.list("/apis/projectcalico.org/v3/hostendpoints");
    let configuration = |switch: &str| {
        let spec =
            json!({ "controllers": { "node": { "hostEndpoint": { "autoCreate": switch } } } });
        object(
            "projectcalico.org/v3",
            "KubeControllersConfiguration",
            None,
            "default",
            spec,
        )
    };
    cluster.api.create(&configuration("Enabled"));
    for host in 0..2 {
        wait_for_endpoints(&cluster, host, 1);
    }
    assert_eq!(endpoints().len(), 2, "{:?}", endpoints());
    let of_a = &endpoints()[0];
    assert_eq!(of_a["metadata"]["name"], "a-auto-hep");
    assert_eq!(of_a["spec"]["interfaceName"], "*");
    assert_eq!(of_a["spec"]["expectedIPs"], json!(a.addresses));
    for at_a in a.addresses {
        becomes("allowed", Seen::Answered, || tcp(&b.namespace, at_a, PORT));
    }
    let mut policy = host_policy("closed", json!({ "types": ["Ingress"] }));
    policy["spec"]["selector"] = json!("has(projectcalico.org/created-by)");
    cluster.api.create(&policy);
    becomes("closed", Seen::Silence, || {
        tcp(&b.namespace, a.addresses[0], PORT)
    });
    let off = configuration("Disabled");
    cluster.api.merge(&off, &json!({ "spec": off["spec"] }));
    becomes("open", Seen::Answered, || {
        tcp(&b.namespace, a.addresses[0], PORT)
    });
    let gone = || endpoints().is_empty();
    assert!(within(Duration::from_secs(10), gone), "{:?}", endpoints());
}

//! What a workload may send from besides its addresses, where the configuration lets workloads ask.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ocicat_kernel::attach::HOST_MAC;
use serde_json::{Value, json};

use crate::support::api::{object, policy};
use crate::support::cluster::{Choice, Cluster, INTERFACE, Workload};
use crate::support::frame::{Frame, Transport};
use crate::support::packet::{Injector, PacketSocket};
use crate::support::within;

const SETTLED: Duration = Duration::from_secs(20);
const ARRIVAL: Duration = Duration::from_millis(300);
const ALLOWED: [&str; 2] = ["198.51.100.7", "2001:db8:1::7"];
const NOT_ALLOWED: [&str; 3] = ["198.51.101.7", "10.244.77.7", "2001:db8:2::7"];

/// A configuration that says so, and other things that change the program.
pub fn felix(spoofing: &str) -> Value {
    let spec = json!({
        "workloadSourceSpoofing": spoofing, "defaultEndpointToHostAction": "Accept", "logPrefix": "x",
        "nftablesFilterDenyAction": "Reject",
        "failsafeInboundHostPorts": [{ "protocol": "TCP", "port": 22, "net": "10.0.0.0/8" },
            { "protocol": "UDP", "port": 68 }],
    });
    object(
        "projectcalico.org/v3",
        "FelixConfiguration",
        None,
        "default",
        spec,
    )
}

/// Has a pod ask for sources of both families.
pub fn ask(cluster: &Cluster, (namespace, name): (&str, &str)) {
    let pod = object("v1", "Pod", Some(namespace), name, json!({}));
    let asked = json!(["198.51.100.0/24", "2001:db8:1::/48"]).to_string();
    let annotations = json!({ "cni.projectcalico.org/allowedSourcePrefixes": asked });
    let patch = json!({ "metadata": { "annotations": annotations } });
    cluster.api.merge(&pod, &patch);
}

/// Whether a packet that says it is from there comes to `to`.
fn arrives(by: &Workload, from: &str, to: &Workload) -> bool {
    let from: IpAddr = from.parse().unwrap();
    let to_address = to
        .addresses
        .iter()
        .find(|to| to.is_ipv4() == from.is_ipv4());
    let sniffer = PacketSocket::open(&to.namespace);
    let frame = Frame {
        from_mac: by.mac(),
        to_mac: HOST_MAC,
        vlan: None,
        from,
        to: *to_address.unwrap(),
        transport: Transport::Udp {
            from: 4000,
            to: 7000,
        },
        payload: b"allowed?",
    };
    Injector::open(&by.namespace, INTERFACE).send(&frame.bytes());
    let start = Instant::now();
    while start.elapsed() < ARRIVAL {
        if sniffer.drain().any(|seen| seen.carries(b"allowed?")) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

#[test]
fn a_workload_sends_from_what_it_is_allowed_and_from_nothing_else() {
    let Some(cluster) = Cluster::start(Choice::default()) else {
        return;
    };
    let router = cluster.workload(0, "crowd", "router", &[("app", "router")]);
    let other = cluster.workload(0, "crowd", "other", &[]);
    let neighbour = cluster.workload(0, "shop", "neighbour", &[]);
    ask(&cluster, ("crowd", "router"));
    let all = |wanted: bool| {
        ALLOWED
            .iter()
            .all(|from| arrives(&router, from, &neighbour) == wanted)
    };
    let become_ = |what: &str, wanted| assert!(within(SETTLED, || all(wanted)), "{what}");
    // To ask is not enough.
    assert!(all(false));
    cluster.api.create(&felix("Any"));
    become_("configured", true);
    // The program is what the configuration asks for, as it is read back.
    let report = cluster.hosts[0].ask(&json!({ "op": "verify" }));
    assert_eq!(report["agrees"], json!(true), "{report}");
    for from in NOT_ALLOWED {
        assert!(!arrives(&router, from, &neighbour), "{from}");
    }
    for from in ALLOWED {
        assert!(!arrives(&other, from, &neighbour), "{from} by another");
    }
    // Its policy judges it all the same.
    let deny = json!({ "selector": "app == 'router'", "types": ["Egress"], "egress": [] });
    let deny = policy("crowd", "none", deny);
    cluster.api.create(&deny);
    become_("denied by policy", false);
    cluster.api.delete(&deny);
    become_("allowed again", true);
    cluster.api.merge(
        &felix("Any"),
        &json!({ "spec": { "workloadSourceSpoofing": "Disabled" } }),
    );
    become_("disabled", false);
}

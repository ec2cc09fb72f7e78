//! An address of a pool whose owner a host does not know yet is `unclaimed` there.
//!
//! Host `b` is kept from learning: its agent is stopped, while a workload is attached on host `a`.
//! Nobody on `b` may then be told by labels that it may talk to it, or that it may not; and it is
//! not taken for the outside world, of which a rule may say what it is not.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::api::global_policy;
use crate::support::cluster::{Choice, Cluster, Workload, any, udp};
use crate::support::packet::PacketSocket;
use crate::support::within;

/// How long everybody tries.
const TRIES: Duration = Duration::from_secs(1);
/// A host that learns again knows after so long.
const LEARNED: Duration = Duration::from_secs(1);
const PORT: u16 = 7000;
/// What the workloads of host `b` go by, and whether a packet passes while the address is unclaimed.
const KINDS: [(&str, bool); 4] = [
    // Allow by labels.
    ("label", false),
    // Deny others by labels, allow the rest.
    ("refuse", false),
    // Allow all but some labels, as is true of the outside world.
    ("except", false),
    // Allow by nets.
    ("nets", true),
];

#[test]
fn an_address_without_known_owner_is_unclaimed() {
    let Some(cluster) = Cluster::start(Choice::default()) else {
        return;
    };
    for (kind, _) in KINDS {
        cluster.api.create(&of_kind(kind));
    }
    let residents = KINDS.map(|(kind, _)| cluster.workload(1, "crowd", kind, &[("kind", kind)]));
    // Host `b` learns the blocks of host `a`, so that only policy is in the way.
    let _anchor = cluster.workload(0, "shop", "anchor", &[]);
    let wanted = [];
    let mut newcomer = cluster.declare(0, "shop", "newcomer", &[("role", "new")], &wanted);
    // The stopped agent shall not find the address in what it has received and not read.
    cluster.hosts[1].signal(Signal::STOP);
    cluster.attach(&mut newcomer);
    let (to, from) = exchange(&newcomer, &residents, TRIES, |_, _| false);
    let expected: BTreeSet<(usize, usize)> = expected(|passes| passes);
    assert_eq!(to, expected, "to the newcomer (kind, family) of {KINDS:?}");
    assert_eq!(from, expected, "from the newcomer");

    cluster.hosts[1].signal(Signal::CONT);
    let begin = Instant::now();
    let all = self::expected(|_| true);
    let (to, from) = exchange(&newcomer, &residents, LEARNED, |to, from| {
        *to == all && *from == all
    });
    assert_eq!(to, all, "to the newcomer, once it is known");
    assert_eq!(from, all, "from the newcomer, once it is known");
    println!("known after {:.0?}", begin.elapsed());
}

/// The same in both directions.
fn of_kind(kind: &str) -> Value {
    let rules = |far: &str| -> Value {
        let rule = |action: &str, peer: Value| json!({ "action": action, far: peer });
        match kind {
            "label" => json!([rule("Allow", json!({ "selector": "role == 'new'" }))]),
            "refuse" => json!([
                rule("Deny", json!({ "selector": "role == 'enemy'" })),
                rule("Allow", json!({})),
            ]),
            "except" => json!([rule("Allow", json!({ "notSelector": "role == 'enemy'" }))]),
            _ => json!([
                rule("Allow", json!({ "nets": ["0.0.0.0/0"] })),
                rule("Allow", json!({ "nets": ["::/0"] })),
            ]),
        }
    };
    global_policy(
        kind,
        json!({
            "selector": format!("kind == '{kind}'"),
            "types": ["Ingress", "Egress"],
            "ingress": rules("source"),
            "egress": rules("destination"),
        }),
    )
}

type Pairs = BTreeSet<(usize, usize)>;

fn expected(passes: impl Fn(bool) -> bool) -> Pairs {
    let kinds = KINDS
        .iter()
        .enumerate()
        .filter(|(_, (_, unclaimed))| passes(*unclaimed));
    kinds.flat_map(|(kind, _)| [(kind, 0), (kind, 1)]).collect()
}

/// Sends between the newcomer and each resident, both ways, until `enough` or the time is up. Returns
/// kind and family of those from whom, and at whom, a packet arrived.
fn exchange(
    newcomer: &Workload,
    residents: &[Workload; 4],
    limit: Duration,
    enough: impl Fn(&Pairs, &Pairs) -> bool,
) -> (Pairs, Pairs) {
    let sniffers = residents
        .each_ref()
        .map(|resident| PacketSocket::open(&resident.namespace));
    let sniffer = PacketSocket::open(&newcomer.namespace);
    let (mut to, mut from) = (Pairs::new(), Pairs::new());
    within(limit, || {
        for resident in residents {
            send(resident, newcomer);
            send(newcomer, resident);
        }
        for seen in sniffer.drain() {
            let kind = residents
                .iter()
                .position(|resident| resident.addresses.contains(&seen.from));
            to.extend(kind.map(|kind| (kind, usize::from(seen.from.is_ipv6()))));
        }
        for (kind, sniffer) in sniffers.iter().enumerate() {
            let ours = sniffer
                .drain()
                .filter(|seen| newcomer.addresses.contains(&seen.from));
            from.extend(ours.map(|seen| (kind, usize::from(seen.from.is_ipv6()))));
        }
        enough(&to, &from)
    });
    (to, from)
}

/// One datagram of each family, from a port of its own each time: none is part of an earlier flow.
fn send(from: &Workload, to: &Workload) {
    for address in &to.addresses {
        let socket = udp(&from.namespace, any(*address));
        let _ = socket.send_to(b"hello", SocketAddr::new(*address, PORT));
    }
}

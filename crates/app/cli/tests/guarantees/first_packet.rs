//! The first packet of a new workload meets its policy.
//!
//! 200 workloads are attached while strangers on the same and on another host flood the addresses
//! they will have, and while they themselves send to the strangers as soon as they can. No packet
//! passes that policy denies. What policy allows passes at once on the workload's host, and within a
//! second from the other one.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::api::policy;
use crate::support::cluster::{Choice, Cluster, INTERFACE, Workload, any, udp};
use crate::support::flow::connect;
use crate::support::frame::{Seen, Transport, UDP};
use crate::support::packet::{Injector, PacketSocket};
use crate::support::within;

/// How many workloads are started.
const WORKLOADS: u16 = 200;
/// How many at a time.
const TOGETHER: usize = 4;
/// What is allowed from another host works after so long.
const ELSEWHERE: Duration = Duration::from_secs(1);
/// "At once": a packet that is lost would come again after a second.
const AT_ONCE: Duration = Duration::from_millis(900);
/// Everything is over after so long.
const LIMIT: Duration = Duration::from_secs(180);
const PORT: u16 = 7000;
/// How many ports a foe sends from, to each address of each newcomer.
const PORTS: u16 = 100;

/// Those who are there before.
struct Crowd {
    /// On hosts `a` and `b`.
    friends: [Workload; 2],
    foes: [Workload; 2],
}

/// A new workload and what its test looks at.
struct Newcomer {
    workload: Workload,
    /// Open before there is an interface.
    sniffer: PacketSocket,
    /// Answers over both families.
    _listener: TcpListener,
}

#[test]
fn the_first_packet_of_a_new_workload_meets_its_policy() {
    let Some(cluster) = Cluster::start(Choice::default()) else {
        return;
    };
    let begin = Instant::now();
    let crowd = crowd(&cluster);
    let foe_sniffers = crowd
        .foes
        .each_ref()
        .map(|foe| PacketSocket::open(&foe.namespace));
    let newcomers: Vec<Newcomer> = (0..WORKLOADS)
        .map(|number| newcomer(&cluster, number))
        .collect();
    let addresses: Vec<IpAddr> = newcomers
        .iter()
        .flat_map(|x| x.workload.addresses.iter().copied())
        .collect();
    let (stop, floods) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for foe in &crowd.foes {
            scope.spawn(|| flood(foe, &addresses, &stop, &floods));
        }
        let eager: Vec<[UdpSocket; 2]> = newcomers.iter().map(eager_sockets).collect();
        let (crowd, stop) = (&crowd, &stop);
        scope.spawn(move || send_at_once(&eager, &crowd.foes, stop));
        // Also when this thread panics, the others shall stop.
        let _stopper = Stopper(stop);
        assert!(
            within(LIMIT, || floods.load(Ordering::Relaxed) > 1000),
            "nobody floods"
        );
        attach_all(&cluster, crowd, &newcomers);
    });
    let foes = addresses_of(&crowd.foes);
    for newcomer in &newcomers {
        newcomer
            .sniffer
            .drain()
            .for_each(|seen| refuse(&foes, &seen));
    }
    let new: BTreeSet<IpAddr> = addresses.into_iter().collect();
    for sniffer in foe_sniffers {
        let escaped: Vec<_> = sniffer
            .drain()
            .filter(|seen| new.contains(&seen.from))
            .collect();
        assert!(
            escaped.is_empty(),
            "{} packets left: {:?}",
            escaped.len(),
            escaped.first()
        );
    }
    let (floods, took) = (floods.into_inner(), begin.elapsed());
    println!("{WORKLOADS} workloads attached under {floods} denied packets; {took:.1?} in all");
    assert!(took < LIMIT, "{took:?}");
}

/// The policy of the newcomers: they know friends only. The friends send to newcomers only, whose
/// addresses they must know for that.
fn crowd(cluster: &Cluster) -> Crowd {
    let everywhere = |labels: &str| json!({ "selector": labels, "namespaceSelector": "all()" });
    let served = |labels: &str| {
        let mut peer = everywhere(labels);
        peer["ports"] = json!([PORT]);
        peer
    };
    let ingress = |protocol: &str| {
        json!({ "action": "Allow", "protocol": protocol,
            "source": everywhere("role == 'friend'"), "destination": { "ports": [PORT] } })
    };
    cluster.api.create(&policy(
        "shop",
        "friends-only",
        json!({
            "types": ["Ingress", "Egress"],
            "ingress": [ingress("UDP"), ingress("TCP")],
            "egress": [{ "action": "Allow", "destination": everywhere("role == 'friend'") }],
        }),
    ));
    let egress = |protocol: &str| json!({ "action": "Allow", "protocol": protocol, "destination": served("role == 'new'") });
    cluster.api.create(&policy(
        "crowd",
        "to-newcomers-only",
        json!({
            "selector": "role == 'friend'",
            "types": ["Egress"],
            "egress": [egress("UDP"), egress("TCP")],
        }),
    ));
    let make = |role: &str| {
        [0, 1].map(|host| {
            let name = format!("{role}-{host}");
            cluster.workload(host, "crowd", &name, &[("role", role)])
        })
    };
    Crowd {
        friends: make("friend"),
        foes: make("foe"),
    }
}

/// Declared on host `a`, with addresses chosen here and sockets open, not attached.
fn newcomer(cluster: &Cluster, number: u16) -> Newcomer {
    let [high, low] = (8 * 256 + number).to_be_bytes();
    let v6 = Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 8, number);
    let wanted = [Ipv4Addr::new(10, 244, high, low).into(), v6.into()];
    let name = format!("new-{number}");
    let workload = cluster.declare(0, "shop", &name, &[("role", "new")], &wanted);
    let sniffer = PacketSocket::open(&workload.namespace);
    let both = (Ipv6Addr::UNSPECIFIED, PORT);
    let listener = workload
        .namespace
        .run(|| TcpListener::bind(both))
        .unwrap()
        .unwrap();
    Newcomer {
        workload,
        sniffer,
        _listener: listener,
    }
}

fn eager_sockets(newcomer: &Newcomer) -> [UdpSocket; 2] {
    let workload = &newcomer.workload;
    [0, 1].map(|family| udp(&workload.namespace, any(workload.addresses[family])))
}

/// Sends to all of `targets`, over and over, UDP and the beginnings of TCP connections.
fn flood(foe: &Workload, targets: &[IpAddr], stop: &AtomicBool, count: &AtomicUsize) {
    let sockets = [0, 1].map(|family| udp(&foe.namespace, any(foe.addresses[family])));
    let injector = Injector::open(&foe.namespace, INTERFACE);
    let mut turn: u16 = 0;
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        for target in targets {
            let family = usize::from(target.is_ipv6());
            // Nobody need be there yet.
            let _ = sockets[family].send_to(b"foe", SocketAddr::new(*target, PORT));
            // On the foe's own host these are new connections, and fill its connection table.
            let transport = Transport::TcpSyn {
                from: 10_000 + turn % PORTS,
                to: PORT,
            };
            injector.send(&foe.frame(family, *target, transport, b"foe").bytes());
        }
        turn = turn.wrapping_add(1);
        count.fetch_add(targets.len() * 2, Ordering::Relaxed);
        // The machine has other work as well.
        std::thread::sleep(start.elapsed());
    }
}

/// Sends from each newcomer to the foes, over and over, as soon as it can.
fn send_at_once(newcomers: &[[UdpSocket; 2]], foes: &[Workload; 2], stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        for sockets in newcomers {
            for target in addresses_of(foes) {
                let socket = &sockets[usize::from(target.is_ipv6())];
                let _ = socket.send_to(b"new", SocketAddr::new(target, PORT));
            }
        }
        std::thread::sleep(start.elapsed());
    }
}

struct Stopper<'a>(&'a AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Attaches the newcomers, some at a time, and looks at each for what is allowed.
fn attach_all(cluster: &Cluster, crowd: &Crowd, newcomers: &[Newcomer]) {
    let next = AtomicUsize::new(0);
    let known_after = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..TOGETHER {
            scope.spawn(|| {
                while let Some(newcomer) = newcomers.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let addresses = cluster.add(&newcomer.workload);
                    let attached = Instant::now();
                    assert_eq!(addresses, newcomer.workload.addresses);
                    welcome(crowd, newcomer, attached);
                    known_after.lock().unwrap().push(attached.elapsed());
                }
            });
        }
    });
    let mut known_after = known_after.into_inner().unwrap();
    known_after.sort_unstable();
    let (median, longest) = (known_after[known_after.len() / 2], known_after.last());
    println!("from the other host after {median:.0?} (median), {longest:.0?} (longest)");
}

/// What is allowed works: at once from host `a`, soon from host `b`.
fn welcome(crowd: &Crowd, newcomer: &Newcomer, attached: Instant) {
    let Newcomer {
        workload, sniffer, ..
    } = newcomer;
    let [near, far] = &crowd.friends;
    let targets = workload
        .addresses
        .iter()
        .map(|address| SocketAddr::new(*address, PORT));
    let targets: Vec<SocketAddr> = targets.collect();
    let mut missing: BTreeSet<IpAddr> = near.addresses.iter().copied().collect();
    for target in &targets {
        let socket = udp(&near.namespace, any(target.ip()));
        assert_eq!(socket.send_to(b"friend", target).unwrap(), 6);
    }
    let foes = addresses_of(&crowd.foes);
    let arrived = |missing: &mut BTreeSet<IpAddr>| {
        for seen in sniffer.drain() {
            refuse(&foes, &seen);
            missing.retain(|from| seen.protocol != UDP || *from != seen.from);
        }
        missing.is_empty()
    };
    // One packet was sent, and none again: it may be slow to be seen, but not lost.
    assert!(
        within(ELSEWHERE, || arrived(&mut missing)),
        "lost: {missing:?} to {targets:?}"
    );
    for target in &targets {
        let connected = connect(&near.namespace, *target, AT_ONCE);
        assert!(
            connected.is_ok(),
            "{target} does not answer at once: {connected:?}"
        );
    }
    let mut missing: BTreeSet<IpAddr> = far.addresses.iter().copied().collect();
    let sockets = [0, 1].map(|family| udp(&far.namespace, any(far.addresses[family])));
    let all_here = within(ELSEWHERE.saturating_sub(attached.elapsed()), || {
        for target in &targets {
            let _ = sockets[usize::from(target.is_ipv6())].send_to(b"friend", target);
        }
        arrived(&mut missing)
    });
    assert!(
        all_here,
        "after {:?} not yet from {missing:?}",
        attached.elapsed()
    );
}

fn refuse(foes: &BTreeSet<IpAddr>, seen: &Seen) {
    assert!(
        !foes.contains(&seen.from),
        "what policy denies has passed: {seen:?}"
    );
}

fn addresses_of(workloads: &[Workload; 2]) -> BTreeSet<IpAddr> {
    workloads
        .iter()
        .flat_map(|workload| workload.addresses.iter().copied())
        .collect()
}

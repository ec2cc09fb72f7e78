//! A workload that forges a source address or an Ethernet address gets nothing through: not to
//! another workload on its host or elsewhere, not to its host, not to another host.
//!
//! Nothing but the forgery is in the way: no policy selects anybody, and what workloads send to their
//! host is accepted. The same frames without forgery arrive, so the forged ones would.

pub mod allowed;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use ocicat_kernel::Mac;
use ocicat_kernel::attach::{GATEWAY_V4, GATEWAY_V6, HOST_MAC};

use crate::support::cluster::{Choice, Cluster, INTERFACE, Workload, any, udp};
use crate::support::frame::{self, Frame, Transport};
use crate::support::packet::{Injector, PacketSocket};

/// How often everything is sent. The second time honest flows of the same ports are established.
const REPEATS: usize = 3;
/// What has not arrived after so long will not.
const ARRIVAL: Duration = Duration::from_secs(1);
const PORT: u16 = 7000;
const TRANSPORTS: [Transport; 3] = [
    Transport::Udp {
        from: 4000,
        to: PORT,
    },
    Transport::TcpSyn {
        from: 4000,
        to: PORT,
    },
    Transport::Echo,
];
/// Sources that are nobody's in the cluster, or nobody's at all.
const STRANGERS: [&str; 13] = [
    "10.244.77.7",
    "198.51.100.7",
    "127.0.0.1",
    "0.0.0.0",
    "169.254.1.1",
    "224.0.0.1",
    "255.255.255.255",
    "fd00:10:244::77:7",
    "2001:db8::7",
    "::1",
    "::",
    "fe80::7",
    "::ffff:10.244.0.1",
];

/// Where frames go, and how they are seen there.
struct Place {
    name: &'static str,
    addresses: Vec<IpAddr>,
    eyes: Eyes,
}

enum Eyes {
    /// Everything that comes, on all interfaces.
    Sniffer(PacketSocket),
    /// What reaches a UDP socket. On the attacker's own host a sniffer would see frames that are
    /// about to be dropped.
    Sockets([UdpSocket; 2]),
}

/// A frame, told from all others by what it carries.
struct Shot {
    mark: [u8; 8],
    frame: Vec<u8>,
    what: String,
    /// Where an honest frame must arrive; a forged one must arrive nowhere.
    arrives: Option<&'static str>,
    forged: bool,
}

/// Who a frame says it is from.
#[derive(Debug, Clone)]
struct Sender {
    what: String,
    mac: Mac,
    address: IpAddr,
    vlan: Option<u16>,
    forged: bool,
}

#[test]
fn a_forged_source_gets_nothing_through() {
    let choice = Choice {
        endpoint_to_host: true,
        ..Choice::default()
    };
    let Some(cluster) = Cluster::start(choice) else {
        return;
    };
    let attacker = cluster.workload(0, "crowd", "attacker", &[]);
    let neighbour = cluster.workload(0, "shop", "neighbour", &[]);
    let remote = cluster.workload(1, "shop", "remote", &[]);
    let places = places(&cluster, &neighbour, &remote);
    let mut senders = honest(&attacker);
    senders.extend(forgeries(&cluster, &attacker, &neighbour, &remote));
    let shots = shots(&senders, &places);
    let injector = Injector::open(&attacker.namespace, INTERFACE);
    let mut seen: BTreeMap<[u8; 8], BTreeSet<&str>> = BTreeMap::new();
    for _ in 0..REPEATS {
        for shot in &shots {
            injector.send(&shot.frame);
        }
        let start = Instant::now();
        while start.elapsed() < ARRIVAL / 2 {
            places.iter().for_each(|place| place.look(&mut seen));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let nowhere = BTreeSet::new();
    for shot in &shots {
        let places = seen.get(&shot.mark).unwrap_or(&nowhere);
        if let Some(place) = shot.arrives {
            assert!(places.contains(place), "{} has not arrived", shot.what);
        }
        assert!(
            !shot.forged || places.is_empty(),
            "{} got to {places:?}",
            shot.what
        );
    }
    let forged = shots.iter().filter(|shot| shot.forged).count();
    println!(
        "{forged} forged frames, {} honest ones",
        shots.len() - forged
    );
    assert!(forged > 300, "{forged}");
}

/// Who claims another's address by ARP or neighbour discovery is not believed.
#[test]
fn a_claim_of_another_address_is_not_believed() {
    let Some(cluster) = Cluster::start(Choice::default()) else {
        return;
    };
    let attacker = cluster.workload(0, "crowd", "attacker", &[]);
    let neighbour = cluster.workload(0, "shop", "neighbour", &[]);
    let remote = cluster.workload(1, "shop", "remote", &[]);
    let injector = Injector::open(&attacker.namespace, INTERFACE);
    for _ in 0..REPEATS {
        for address in &neighbour.addresses {
            injector.send(&frame::claim(attacker.mac(), HOST_MAC, *address));
        }
    }
    let (victim, thief) = (
        PacketSocket::open(&neighbour.namespace),
        PacketSocket::open(&attacker.namespace),
    );
    for address in &neighbour.addresses {
        let target = SocketAddr::new(*address, PORT);
        udp(&remote.namespace, any(*address))
            .send_to(b"for you", target)
            .unwrap();
        let host = &cluster.hosts[0].namespace;
        udp(host, any(*address))
            .send_to(b"for you", target)
            .unwrap();
    }
    std::thread::sleep(ARRIVAL);
    // Nobody serves the port, and an ICMP error quotes what it is about.
    let ours = |seen: &frame::Seen| seen.protocol == frame::UDP && seen.carries(b"for you");
    let arrived = victim.drain().filter(ours).count();
    assert_eq!(arrived, 4, "from a workload and the host, in both families");
    assert_eq!(thief.drain().find(ours), None);
}

fn places(cluster: &Cluster, neighbour: &Workload, remote: &Workload) -> [Place; 4] {
    let [near, far] = &cluster.hosts[..] else {
        panic!("two hosts")
    };
    let socket = |address: IpAddr| udp(&near.namespace, SocketAddr::new(address, PORT));
    let of = |name, workload: &Workload| Place {
        name,
        addresses: workload.addresses.clone(),
        eyes: Eyes::Sniffer(PacketSocket::open(&workload.namespace)),
    };
    [
        of("a neighbour", neighbour),
        of("a workload elsewhere", remote),
        Place {
            name: "its host",
            addresses: near.addresses.to_vec(),
            eyes: Eyes::Sockets(near.addresses.map(socket)),
        },
        Place {
            name: "another host",
            addresses: far.addresses.to_vec(),
            eyes: Eyes::Sniffer(PacketSocket::open(&far.namespace)),
        },
    ]
}

fn honest(attacker: &Workload) -> Vec<Sender> {
    let sender = |address: &IpAddr| Sender {
        what: "honest".to_owned(),
        mac: attacker.mac(),
        address: *address,
        vlan: None,
        forged: false,
    };
    attacker.addresses.iter().map(sender).collect()
}

fn forgeries(
    cluster: &Cluster,
    attacker: &Workload,
    neighbour: &Workload,
    remote: &Workload,
) -> Vec<Sender> {
    let mut forgeries = Vec::new();
    let mut add = |what: &str, mac, address, vlan| {
        let what = what.to_owned();
        forgeries.push(Sender {
            what,
            mac,
            address,
            vlan,
            forged: true,
        });
    };
    let own = attacker.mac();
    let others = neighbour.addresses.iter().chain(&remote.addresses);
    let hosts = cluster.hosts.iter().flat_map(|host| &host.addresses);
    for address in others.chain(hosts) {
        add("another's address", own, *address, None);
    }
    for address in STRANGERS {
        add("a stranger's address", own, address.parse().unwrap(), None);
    }
    add("the gateway's address", own, GATEWAY_V4.into(), None);
    add("the gateway's address", own, GATEWAY_V6.into(), None);
    for address in &neighbour.addresses {
        add("another's address and MAC", neighbour.mac(), *address, None);
        add("another's address under a tag", own, *address, Some(0));
    }
    let macs = [
        neighbour.mac(),
        HOST_MAC,
        Mac([2, 0, 0, 0, 0, 0x99]),
        Mac([1; 6]),
        Mac([0; 6]),
    ];
    for mac in macs {
        for address in &attacker.addresses {
            add("a MAC that is not its own", mac, *address, None);
        }
    }
    forgeries
}

/// A frame from each sender to each place by each protocol.
fn shots(senders: &[Sender], places: &[Place]) -> Vec<Shot> {
    let mut shots = Vec::new();
    for sender in senders {
        for place in places {
            let to = place
                .addresses
                .iter()
                .find(|to| to.is_ipv4() == sender.address.is_ipv4());
            let to = *to.expect("places have both families");
            for transport in TRANSPORTS {
                let mut mark = *b"ocig\0\0\0\0";
                mark[4..].copy_from_slice(&u32::try_from(shots.len()).unwrap().to_be_bytes());
                let Sender {
                    what,
                    mac,
                    address,
                    vlan,
                    forged,
                } = sender.clone();
                let frame = Frame {
                    from_mac: mac,
                    to_mac: HOST_MAC,
                    vlan,
                    from: address,
                    to,
                    transport,
                    payload: &mark,
                };
                let is_seen = matches!(place.eyes, Eyes::Sniffer(_))
                    || matches!(transport, Transport::Udp { .. });
                let what = format!(
                    "{what}: {mac} {address} to {to} ({}) {transport:?}",
                    place.name
                );
                let arrives = (!forged && is_seen).then_some(place.name);
                shots.push(Shot {
                    mark,
                    frame: frame.bytes(),
                    what,
                    arrives,
                    forged,
                });
            }
        }
    }
    shots
}

impl Place {
    /// Notes which marks have come.
    fn look(&self, seen: &mut BTreeMap<[u8; 8], BTreeSet<&'static str>>) {
        let mut note = |bytes: &[u8]| {
            let mark = bytes.windows(8).find(|window| window.starts_with(b"ocig"));
            if let Some(mark) = mark.and_then(|mark| <[u8; 8]>::try_from(mark).ok()) {
                seen.entry(mark).or_default().insert(self.name);
            }
        };
        match &self.eyes {
            Eyes::Sniffer(sniffer) => sniffer.drain().for_each(|seen| note(&seen.packet)),
            Eyes::Sockets(sockets) => {
                let mut buffer = [0; 64];
                for socket in sockets {
                    while let Ok((length, _)) = socket.recv_from(&mut buffer) {
                        note(&buffer[..length]);
                    }
                }
            }
        }
    }
}

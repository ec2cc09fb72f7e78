use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Instant;

use ocicat_kernel::attach::{Attachment, HOST_MAC, Host, Presence, interface_name, workload_mac};
use ocicat_kernel::netns::ScratchNamespace;
use ocicat_kernel::rtnl::{RouteFilter, Rtnl, Veth, VethPeer};
use ocicat_kernel::sysctl;

use super::packets::{ping, tcp_works, udp, udp_arrives};
use super::{exec, scratch};

const PROTOCOL: u8 = 201;

fn attachment(workload: &ScratchNamespace, addresses: &[&str]) -> Attachment {
    Attachment {
        host_interface: interface_name(workload.name(), "eth0"),
        namespace: PathBuf::from("/run/netns").join(workload.name()),
        interface: "eth0".to_owned(),
        mac: workload_mac(workload.name(), "eth0"),
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        mtu: 1450,
        route_protocol: PROTOCOL,
    }
}

/// A host that forwards, and two workloads on it, active.
struct Pair {
    host_namespace: ScratchNamespace,
    host: Host,
    workloads: [(ScratchNamespace, Attachment); 2],
}

fn pair() -> Option<Pair> {
    let (host_namespace, one, two) = (scratch()?, scratch()?, scratch()?);
    sysctl::enable_forwarding_in(&host_namespace).unwrap();
    for address in ["192.0.2.10/32", "2001:db8::10/128"] {
        exec(
            &host_namespace,
            &["ip", "addr", "add", address, "dev", "lo"],
        );
    }
    let mut host = Host::open_in(&host_namespace).unwrap();
    let first = attachment(&one, &["10.65.0.1", "fd65::1"]);
    let second = attachment(&two, &["10.65.0.2", "fd65::2"]);
    for attachment in [&first, &second] {
        let attached = host.attach(attachment).unwrap();
        assert_eq!(attached.presence, Presence::Created);
        host.activate(attachment).unwrap();
    }
    Some(Pair {
        host_namespace,
        host,
        workloads: [(one, first), (two, second)],
    })
}

#[test]
fn workloads_of_one_host_reach_each_other() {
    let Some(pair) = pair() else { return };
    let [(one, first), (two, second)] = &pair.workloads;
    for family in 0..2 {
        let (a, b) = (first.addresses[family], second.addresses[family]);
        let (from, to) = (udp(one, a), udp(two, b));
        assert!(udp_arrives(&from, &to), "the first packet, {a} to {b}");
        assert!(udp_arrives(&to, &from), "{b} to {a}");
        assert!(tcp_works(one, two, b), "TCP {a} to {b}");
        ping(one, b).unwrap_or_else(|error| panic!("{a} pings {b}: {error}"));
        ping(&pair.host_namespace, a).unwrap_or_else(|error| panic!("host pings {a}: {error}"));
    }
}

/// The first datagram after `activate` must not be lost to a queue that is not active yet.
#[test]
fn the_first_packet_after_activation_arrives() {
    let Some(host_namespace) = scratch() else {
        return;
    };
    sysctl::enable_forwarding_in(&host_namespace).unwrap();
    let mut host = Host::open_in(&host_namespace).unwrap();
    let Some(server) = scratch() else { return };
    let target = attachment(&server, &["10.65.0.1", "fd65::1"]);
    host.attach(&target).unwrap();
    host.activate(&target).unwrap();
    let sinks = [
        udp(&server, target.addresses[0]),
        udp(&server, target.addresses[1]),
    ];
    for number in 2..12 {
        let Some(workload) = scratch() else { return };
        let (v4, v6) = (format!("10.65.0.{number}"), format!("fd65::{number}"));
        let wanted = attachment(&workload, &[&v4, &v6]);
        host.attach(&wanted).unwrap();
        let sources = [
            udp(&workload, wanted.addresses[0]),
            udp(&workload, wanted.addresses[1]),
        ];
        host.activate(&wanted).unwrap();
        assert_eq!(host.check(&wanted).unwrap(), Vec::<String>::new());
        for (source, sink) in sources.iter().zip(&sinks) {
            assert!(udp_arrives(source, sink), "workload {number}");
        }
    }
}

#[test]
fn nothing_passes_before_activation() {
    let Some(host_namespace) = scratch() else {
        return;
    };
    let Some(workload) = scratch() else { return };
    let mut host = Host::open_in(&host_namespace).unwrap();
    let wanted = attachment(&workload, &["10.65.0.1", "fd65::1"]);
    host.attach(&wanted).unwrap();
    // The workload does what it can.
    exec(&workload, &["ip", "link", "set", "eth0", "up"]);
    let socket = udp(&workload, wanted.addresses[0]);
    let _ = socket.send_to(b"x", "10.65.0.9:9");
    let mut rtnl = Rtnl::open_in(&host_namespace).unwrap();
    let link = rtnl.link(&wanted.host_interface).unwrap().unwrap();
    assert!(!link.is_up);
    assert!(
        !Rtnl::open_in(&workload)
            .unwrap()
            .link("eth0")
            .unwrap()
            .unwrap()
            .is_running
    );
    let counters = exec(
        &host_namespace,
        &["ip", "-s", "link", "show", &wanted.host_interface],
    );
    let received = counters
        .lines()
        .skip_while(|line| !line.contains("RX:"))
        .nth(1)
        .unwrap();
    assert!(received.trim_start().starts_with("0 "), "{counters}");
    assert!(
        rtnl.routes(&RouteFilter::by_protocol(PROTOCOL))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn attaching_again_keeps_the_pair_and_its_traffic() {
    let Some(mut pair) = pair() else { return };
    let [(one, first), (two, second)] = &pair.workloads;
    let (from, to) = (udp(one, first.addresses[0]), udp(two, second.addresses[0]));
    assert_eq!(pair.host.check(first).unwrap(), Vec::<String>::new());
    let again = pair.host.attach(first).unwrap();
    assert_eq!(again.presence, Presence::Kept);
    assert!(udp_arrives(&from, &to), "between attach and activate");
    pair.host.activate(first).unwrap();
    assert!(udp_arrives(&from, &to));
}

#[test]
fn what_was_damaged_is_seen_and_repaired() {
    let Some(mut pair) = pair() else { return };
    let [(one, first), (two, second)] = &pair.workloads;
    exec(one, &["ip", "route", "del", "default"]);
    exec(one, &["ip", "neigh", "del", "169.254.1.1", "dev", "eth0"]);
    exec(
        &pair.host_namespace,
        &["ip", "-6", "route", "del", "fd65::1/128"],
    );
    let problems = pair.host.check(first).unwrap();
    assert_eq!(
        problems,
        [
            "route fd65::1/128 is missing in the host",
            "route 0.0.0.0/0 is missing in the workload",
            "neighbour 169.254.1.1 is missing in the workload",
        ]
    );
    pair.host.attach(first).unwrap();
    pair.host.activate(first).unwrap();
    assert_eq!(pair.host.check(first).unwrap(), Vec::<String>::new());
    assert!(udp_arrives(
        &udp(one, first.addresses[1]),
        &udp(two, second.addresses[1])
    ));
}

#[test]
fn what_leads_to_a_workload_is_made_again() {
    let Some(mut pair) = pair() else { return };
    let host = &pair.host_namespace;
    let attachments = pair
        .workloads
        .each_ref()
        .map(|(_, attachment)| attachment.clone());
    assert_eq!(pair.host.repair(&attachments).unwrap(), [] as [&str; 0]);
    let name = &attachments[0].host_interface;
    exec(host, &["ip", "route", "del", "10.65.0.1"]);
    exec(host, &["ip", "-6", "route", "flush", "dev", name]);
    exec(host, &["ip", "neigh", "del", "10.65.0.1", "dev", name]);
    exec(host, &["ip", "-6", "addr", "flush", "dev", name]);
    let problems = pair.host.repair(&attachments).unwrap();
    assert!(problems.len() >= 4, "{problems:?}");
    assert_eq!(pair.host.check(&attachments[0]).unwrap(), [] as [&str; 0]);
    let (from, _) = &pair.workloads[1];
    for address in &attachments[0].addresses {
        ping(from, *address).unwrap();
    }
    // A pair that is down is not switched on.
    exec(host, &["ip", "link", "set", name, "down"]);
    assert_eq!(pair.host.repair(&attachments).unwrap(), [] as [&str; 0]);
}

#[test]
fn a_stale_host_end_is_replaced() {
    let (Some(host_namespace), Some(old), Some(new)) = (scratch(), scratch(), scratch()) else {
        return;
    };
    let mut host = Host::open_in(&host_namespace).unwrap();
    let stale = attachment(&old, &["10.65.0.1"]);
    host.attach(&stale).unwrap();
    host.activate(&stale).unwrap();
    let wanted = Attachment {
        namespace: PathBuf::from("/run/netns").join(new.name()),
        ..stale.clone()
    };
    assert_eq!(host.attach(&wanted).unwrap().presence, Presence::Created);
    host.activate(&wanted).unwrap();
    assert!(Rtnl::open_in(&old).unwrap().link("eth0").unwrap().is_none());
    assert_eq!(host.check(&wanted).unwrap(), Vec::<String>::new());
}

#[test]
fn another_eth0_is_not_touched() {
    let (Some(host_namespace), Some(workload)) = (scratch(), scratch()) else {
        return;
    };
    let mut inside = Rtnl::open_in(&workload).unwrap();
    let foreign = Veth {
        name: "eth0".to_owned(),
        mac: None,
        mtu: None,
        peer: VethPeer {
            name: "other".to_owned(),
            mac: None,
            namespace: None,
        },
    };
    inside.apply(&foreign.create()).unwrap();
    let before = inside.link("eth0").unwrap();
    let mut host = Host::open_in(&host_namespace).unwrap();
    let error = host
        .attach(&attachment(&workload, &["10.65.0.1"]))
        .unwrap_err();
    assert!(error.is_exists(), "{error}");
    assert_eq!(inside.link("eth0").unwrap(), before);
    assert!(host.interfaces().unwrap().is_empty());
}

#[test]
fn detaching_leaves_nothing() {
    let Some(mut pair) = pair() else { return };
    let names: Vec<_> = pair
        .workloads
        .iter()
        .map(|(_, a)| a.host_interface.clone())
        .collect();
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(pair.host.interfaces().unwrap(), sorted);
    pair.host.detach(&names[0]).unwrap();
    let rest = names.iter().map(String::as_str).chain(["ocwnotthere"]);
    assert!(pair.host.detach_all(rest).is_empty());
    assert!(pair.host.interfaces().unwrap().is_empty());
    let mut rtnl = Rtnl::open_in(&pair.host_namespace).unwrap();
    assert!(
        rtnl.routes(&RouteFilter::by_protocol(PROTOCOL))
            .unwrap()
            .is_empty()
    );
    assert!(rtnl.proxies().unwrap().is_empty());
    for (workload, attachment) in &pair.workloads {
        assert!(
            Rtnl::open_in(workload)
                .unwrap()
                .link("eth0")
                .unwrap()
                .is_none()
        );
        assert!(pair.host.activate(attachment).unwrap_err().is_not_found());
        assert_eq!(pair.host.check(attachment).unwrap().len(), 1);
    }
}

/// Those who do ask get the host's address, by ARP and by neighbour discovery.
#[test]
fn the_host_answers_for_the_gateway() {
    let Some(pair) = pair() else { return };
    let (one, first) = &pair.workloads[0];
    exec(
        &pair.host_namespace,
        &[
            "ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1",
        ],
    );
    exec(&pair.host_namespace, &["ip", "link", "set", "up0", "up"]);
    exec(&pair.host_namespace, &["ip", "link", "set", "up1", "up"]);
    exec(
        &pair.host_namespace,
        &["ip", "addr", "add", "192.0.2.1/24", "dev", "up0"],
    );
    exec(
        &pair.host_namespace,
        &["ip", "route", "add", "default", "via", "192.0.2.2"],
    );
    for (gateway, family) in [("169.254.1.1", 0), ("fe80::ecee:eeff:feee:eeee", 1)] {
        exec(one, &["ip", "neigh", "del", gateway, "dev", "eth0"]);
        ping(one, pair.workloads[1].1.addresses[family]).unwrap();
        let neighbours = Rtnl::open_in(one).unwrap().neighbours().unwrap();
        let gateway: IpAddr = gateway.parse().unwrap();
        let found = neighbours
            .iter()
            .find(|entry| entry.address == gateway)
            .unwrap();
        assert!(
            format!("{found:?}").contains(&format!("{HOST_MAC:?}")),
            "{found:?}"
        );
    }
    assert!(first.addresses.len() == 2);
}

#[test]
fn a_forged_ipv4_source_does_not_pass() {
    let Some(pair) = pair() else { return };
    let [(one, first), (two, second)] = &pair.workloads;
    let sink = udp(two, second.addresses[0]);
    exec(one, &["ip", "addr", "add", "10.65.0.77/32", "dev", "eth0"]);
    let honest = udp(one, first.addresses[0]);
    let forged = udp(one, "10.65.0.77".parse().unwrap());
    sink.set_read_timeout(Some(std::time::Duration::from_millis(200)))
        .unwrap();
    assert!(!udp_arrives(&forged, &sink));
    assert!(udp_arrives(&honest, &sink));
}

#[test]
fn a_hundred_workloads_in_a_moment() {
    let Some(host_namespace) = scratch() else {
        return;
    };
    let mut host = Host::open_in(&host_namespace).unwrap();
    let workloads: Vec<_> = (0..100).map(|_| scratch().unwrap()).collect();
    let start = Instant::now();
    let mut attachments = Vec::new();
    for (number, workload) in workloads.iter().enumerate() {
        let wanted = attachment(
            workload,
            &[&format!("10.65.1.{number}"), &format!("fd65::1:{number}")],
        );
        host.attach(&wanted).unwrap();
        host.activate(&wanted).unwrap();
        attachments.push(wanted);
    }
    println!("100 workloads attached in {:?}", start.elapsed());
    let start = Instant::now();
    let names = attachments
        .iter()
        .map(|attachment| attachment.host_interface.as_str());
    assert!(host.detach_all(names).is_empty());
    println!("100 workloads detached in {:?}", start.elapsed());
    assert!(host.interfaces().unwrap().is_empty());
}

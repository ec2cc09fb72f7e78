//! [20]: the way of a packet through a host.

use ocicat_api::config::{EndpointToHost, Failsafe};
use ocicat_api::core::HostEndpoint;
use ocicat_api::core::HostInterface;
use ocicat_api::policy::{CalicoPolicy, PolicyStage, Types};
use ocicat_api::rule::Action;
use ocicat_api::{Object, Protocol};

use super::build::*;
use crate::{Host, Interface, Packet, Passage, Saying, Verdict, Way, World, judge_host};

const NEAR: &str = "192.168.0.1";
const POD: &str = "10.0.0.1";
const FAR: &str = "8.8.8.8";
const BOTH: Types = Types {
    ingress: true,
    egress: true,
};

fn host() -> Host {
    let interface = |name: &str, address: &str| Interface {
        name: name.to_owned(),
        addresses: vec![address.parse().expect("an address")],
    };
    Host {
        node: "host".to_owned(),
        interfaces: vec![interface("eth0", NEAR), interface("eth1", "172.16.0.1")],
        failsafe_inbound: vec![],
        failsafe_outbound: vec![],
        endpoint_to_host: EndpointToHost::Return,
    }
}

/// Two host endpoints without profiles, a pod, and policies of all pods and hosts.
fn world(policies: &[(&str, PolicyStage, Action)]) -> World {
    let policy = |(name, stage, action): &(&str, PolicyStage, Action)| {
        Object::GlobalNetworkPolicy(CalicoPolicy {
            ingress: vec![rule(*action)],
            egress: vec![rule(*action)],
            types: BOTH,
            stage: *stage,
            ..policy("", name)
        })
    };
    let mut world = World::new(policies.iter().map(policy));
    world.put(namespace("shop", &[]));
    world.put(Object::Pod(pod("shop", "web", POD, &[])));
    world.put(Object::HostEndpoint(hep("eth0", NEAR, &[])));
    world.put(Object::HostEndpoint(HostEndpoint {
        interface: HostInterface::Named("eth1".into()),
        ..hep("eth1", "172.16.0.1", &[])
    }));
    world
}

fn interface(name: &str) -> Way {
    Way::Interface(name.to_owned())
}

fn web() -> Way {
    Way::Workload(key(&Object::Pod(pod("shop", "web", POD, &[]))))
}

fn passage(from: Way, to: Way, packet: Packet) -> Passage {
    Passage {
        from,
        to,
        packet,
        translated: None,
    }
}

/// The verdict, and who was asked: `hep/eth0 Local ingress`.
fn fate(world: &World, host: &Host, passage: &Passage) -> (Verdict, Vec<String>) {
    let fate = judge_host(world, host, passage);
    let told = fate.stations.iter().map(|station| {
        let stage = station.stage.map(|stage| format!(" {stage:?}"));
        let unasked = match station.saying {
            Saying::Failsafe => Some(" failsafe"),
            Saying::LinkUpkeep => Some(" upkeep"),
            _ => None,
        };
        format!(
            "{}{} {}{}",
            station.who.name,
            stage.unwrap_or_default(),
            station.direction,
            unasked.unwrap_or_default()
        )
    });
    (fate.verdict, told.collect())
}

fn asked(world: &World, passage: &Passage) -> Vec<String> {
    fate(world, &host(), passage).1
}

const STAGES: [(&str, PolicyStage, Action); 3] = [
    ("a", PolicyStage::Untracked, Pass),
    ("b", PolicyStage::PreDnat, Pass),
    ("c", PolicyStage::Forward, Allow),
];

#[test]
fn into_the_host() {
    let passage = passage(interface("eth0"), Way::Host, tcp(FAR, NEAR, 80));
    let expected = [
        "eth0 Untracked ingress",
        "eth0 PreDnat ingress",
        "eth0 Local ingress",
    ];
    assert_eq!(asked(&world(&STAGES), &passage), expected);
    assert_eq!(fate(&world(&[]), &host(), &passage).0, Verdict::Deny);
}

#[test]
fn through_the_host() {
    let through = passage(
        interface("eth0"),
        interface("eth1"),
        tcp(FAR, "172.16.0.9", 80),
    );
    let (verdict, told) = fate(&world(&STAGES), &host(), &through);
    assert_eq!(verdict, Verdict::Allow);
    let expected = [
        "eth0 Untracked ingress",
        "eth0 PreDnat ingress",
        "eth0 Forward ingress",
        "eth1 Forward egress",
    ];
    assert_eq!(told, expected);
    // Without such a policy nobody judges.
    assert_eq!(
        fate(&world(&[]), &host(), &through),
        (Verdict::Allow, vec![])
    );
    let in_to = passage(interface("eth0"), web(), tcp(FAR, POD, 80));
    let told = asked(&world(&STAGES), &in_to);
    assert_eq!(told[2..], ["eth0 Forward ingress", "web ingress"]);
}

#[test]
fn out_of_the_host() {
    let out = passage(Way::Host, interface("eth0"), tcp(NEAR, FAR, 80));
    let told = asked(&world(&STAGES), &out);
    assert_eq!(told, ["eth0 Untracked egress", "eth0 Local egress"]);
    let to_pod = passage(Way::Host, web(), tcp(NEAR, POD, 80));
    assert_eq!(
        fate(&world(&STAGES), &host(), &to_pod),
        (Verdict::Allow, vec![])
    );
    let to_itself = passage(Way::Host, Way::Host, tcp(NEAR, NEAR, 80));
    assert_eq!(
        fate(&world(&STAGES), &host(), &to_itself),
        (Verdict::Allow, vec![])
    );
}

#[test]
fn out_of_a_workload() {
    let out = passage(web(), interface("eth0"), tcp(POD, FAR, 80));
    assert_eq!(
        asked(&world(&STAGES), &out),
        ["web egress", "eth0 Forward egress"]
    );
    let mut host = host();
    for (action, verdict) in [
        (EndpointToHost::Return, Verdict::Allow),
        (EndpointToHost::Accept, Verdict::Allow),
        (EndpointToHost::Drop, Verdict::Deny),
    ] {
        host.endpoint_to_host = action;
        let to_host = passage(web(), Way::Host, tcp(POD, NEAR, 80));
        let expected = vec!["web egress".to_owned(), "web egress".to_owned()];
        assert_eq!(fate(&world(&[]), &host, &to_host), (verdict, expected));
        let discovery = Packet::icmp(
            "fe80::2".parse().expect("an address"),
            "fe80::1".parse().expect("an address"),
            58,
            135,
            0,
        );
        let asks = passage(web(), Way::Host, discovery);
        assert_eq!(fate(&world(&[]), &host, &asks), (Verdict::Allow, vec![]));
    }
    let denied = world(&[("a", PolicyStage::Normal, Deny)]);
    let to_host = passage(web(), Way::Host, tcp(POD, NEAR, 80));
    assert_eq!(asked(&denied, &to_host), ["web egress"]);
}

#[test]
fn what_is_allowed_early_is_not_judged_later_at_this_endpoint() {
    let others = [
        ("c", PolicyStage::Forward, Deny),
        ("d", PolicyStage::Normal, Deny),
    ];
    for (stage, name) in [
        (PolicyStage::Untracked, "eth0 Untracked ingress"),
        (PolicyStage::PreDnat, "eth0 PreDnat ingress"),
    ] {
        let world = world(&[&[("a", stage, Allow)], &others[..]].concat());
        let to_host = passage(interface("eth0"), Way::Host, tcp(FAR, NEAR, 80));
        assert_eq!(
            fate(&world, &host(), &to_host),
            (Verdict::Allow, vec![name.to_owned()])
        );
        // The workload and the outgoing endpoint still judge.
        let in_to = passage(interface("eth0"), web(), tcp(FAR, POD, 80));
        assert_eq!(asked(&world, &in_to), [name, "web ingress"]);
        let through = passage(
            interface("eth0"),
            interface("eth1"),
            tcp(FAR, "172.16.0.9", 80),
        );
        assert_eq!(asked(&world, &through), [name, "eth1 Forward egress"]);
    }
    let world = world(&[&[("a", PolicyStage::Untracked, Allow)], &others[..]].concat());
    let out = passage(Way::Host, interface("eth0"), tcp(NEAR, FAR, 80));
    assert_eq!(asked(&world, &out), ["eth0 Untracked egress"]);
}

#[test]
fn translation_comes_after_pre_dnat() {
    let policies = |stage| {
        let mut world = world(&[]);
        let mut policy = CalicoPolicy {
            stage,
            types: INGRESS,
            ..policy("", "p")
        };
        policy.ingress = vec![ocicat_api::rule::Rule {
            destination: ocicat_api::rule::EntityRule {
                ports: vec![exactly(30080)],
                ..entity()
            },
            protocol: Some(Protocol::TCP),
            ..rule(Deny)
        }];
        policy.ingress.push(rule(Allow));
        world.put(Object::GlobalNetworkPolicy(policy));
        world
    };
    let node_port = Passage {
        translated: Some((tcp(FAR, POD, 80), web())),
        ..passage(interface("eth0"), Way::Host, tcp(FAR, NEAR, 30080))
    };
    let verdict = |stage| fate(&policies(stage), &host(), &node_port).0;
    assert_eq!(verdict(PolicyStage::PreDnat), Verdict::Deny);
    assert_eq!(verdict(PolicyStage::Forward), Verdict::Allow);
    // What is not tracked is not translated.
    let untracked = world(&[("a", PolicyStage::Untracked, Allow)]);
    assert_eq!(asked(&untracked, &node_port), ["eth0 Untracked ingress"]);
}

#[test]
fn failsafe_ports() {
    let world = world(&[
        ("a", PolicyStage::Untracked, Deny),
        ("b", PolicyStage::PreDnat, Deny),
        ("c", PolicyStage::Forward, Deny),
    ]);
    let open = |port, net: Option<&str>| Failsafe {
        protocol: Protocol::TCP,
        port,
        net: net.map(|net| net.parse().expect("a CIDR")),
    };
    let host = Host {
        failsafe_inbound: vec![open(22, None), open(179, Some("8.8.8.0/24"))],
        failsafe_outbound: vec![open(6443, None)],
        ..host()
    };
    let in_to = |source: &str, port| {
        let packet = tcp(source, NEAR, port);
        fate(
            &world,
            &host,
            &passage(interface("eth0"), Way::Host, packet),
        )
        .0
    };
    assert_eq!(in_to(FAR, 22), Verdict::Allow);
    assert_eq!(in_to(FAR, 23), Verdict::Deny);
    assert_eq!(in_to(FAR, 179), Verdict::Allow);
    assert_eq!(in_to("9.9.9.9", 179), Verdict::Deny);
    assert_eq!(in_to(FAR, 6443), Verdict::Deny);
    let packet = tcp(FAR, NEAR, 22);
    let (_, told) = fate(
        &world,
        &host,
        &passage(interface("eth0"), Way::Host, packet),
    );
    assert_eq!(
        told,
        [
            "eth0 Untracked ingress failsafe",
            "eth0 PreDnat ingress failsafe",
            "eth0 Local ingress failsafe"
        ]
    );
    // Another protocol, and packets that are only forwarded.
    let udp = Packet {
        protocol: 17,
        ..packet
    };
    let of = |passage: &Passage| fate(&world, &host, passage).0;
    assert_eq!(
        of(&passage(interface("eth0"), Way::Host, udp)),
        Verdict::Deny
    );
    let through = tcp(FAR, "172.16.0.9", 22);
    let through = passage(interface("eth0"), interface("eth1"), through);
    assert_eq!(of(&through), Verdict::Deny);
    // Out by the other list, and replies where there are no connections.
    let out = |port| of(&passage(Way::Host, interface("eth0"), tcp(NEAR, FAR, port)));
    assert_eq!((out(6443), out(22)), (Verdict::Allow, Verdict::Deny));
    let reply = |packet| {
        fate(
            &world,
            &host,
            &passage(Way::Host, interface("eth0"), packet),
        )
        .1
    };
    let from_ssh = Packet {
        source_port: 22,
        ..tcp(NEAR, FAR, 5000)
    };
    assert_eq!(
        reply(from_ssh),
        ["eth0 Untracked egress failsafe", "eth0 Local egress"]
    );
}

/// [23]
#[test]
fn what_keeps_a_link_of_ipv6() {
    let all = [
        ("a", PolicyStage::Untracked, Deny),
        ("b", PolicyStage::PreDnat, Deny),
        ("c", PolicyStage::Forward, Deny),
    ];
    let denying = world(&all);
    let icmp = |source: &str, destination: &str, protocol, kind| {
        let [source, destination] = [source, destination].map(|x| x.parse().expect("an address"));
        Packet::icmp(source, destination, protocol, kind, 0)
    };
    let six = |kind| icmp("fe80::2", "ff02::1", 58, kind);
    let of = |from: Way, to: Way, packet| fate(&denying, &host(), &passage(from, to, packet));
    for kind in [130, 133, 134, 136, 143] {
        let stages = ["Untracked", "PreDnat", "Local"];
        let told = stages.map(|stage| format!("eth0 {stage} ingress upkeep"));
        let into = of(interface("eth0"), Way::Host, six(kind));
        assert_eq!(into, (Verdict::Allow, told.into()));
        let told = ["Untracked", "Local"].map(|stage| format!("eth0 {stage} egress upkeep"));
        let out = of(Way::Host, interface("eth0"), six(kind));
        assert_eq!(out, (Verdict::Allow, told.into()));
        // What is forwarded is like any other packet.
        let (verdict, told) = of(interface("eth0"), interface("eth1"), six(kind));
        assert_eq!(verdict, Verdict::Deny);
        assert_eq!(told.last().expect("a stage"), "eth0 Forward ingress");
    }
    for kind in [128, 137, 142] {
        let into = of(interface("eth0"), Way::Host, six(kind));
        assert_eq!(into.0, Verdict::Deny, "{kind}");
    }
    // These numbers mean nothing in IPv4.
    for protocol in [1, 58] {
        let four = icmp(FAR, NEAR, protocol, 135);
        assert_eq!(of(interface("eth0"), Way::Host, four).0, Verdict::Deny);
    }
    let policy = world(&[("a", PolicyStage::Normal, Deny)]);
    let own = |packet| fate(&policy, &host(), &passage(web(), Way::Host, packet)).0;
    assert_eq!(own(six(135)), Verdict::Allow);
    assert_eq!(own(six(134)), Verdict::Deny);
    assert_eq!(own(icmp(POD, NEAR, 58, 135)), Verdict::Deny);
}

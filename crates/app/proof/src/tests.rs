//! Packets that are no flows of their own.

use std::net::IpAddr;

use ocicat_kernel::Mac;
use ocicat_oracle::{Packet, World};
use ocicat_testkit::{Scenario, Step};

use crate::answer::Answers;
use crate::field::{Field, HOST, LinkId};
use crate::frame::{Cut, Shape, error_about, frames};
use crate::host::{Home, Host, Mode, Tracking, router};
use crate::scenario::follow;
use crate::trial::{Failure, Plan, trial};

/// A pod that may send to the server and to nobody else, and to which nobody may send.
const WORLD: &str = "
-- resources --
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: Pod
metadata: { name: client, namespace: shop }
spec: { nodeName: node-1, containers: [{ name: main }] }
status: { phase: Running, podIPs: [{ ip: 10.0.0.1 }, { ip: 'fd00::1' }] }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: client, namespace: shop }
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  egress:
    - to: [{ ipBlock: { cidr: 198.51.100.1/32 } }, { ipBlock: { cidr: '2001:db8::1/128' } }]
      ports: [{ protocol: UDP, port: 53 }, { protocol: TCP, port: 80 }]
";
const CLIENT: [&str; 2] = ["10.0.0.1", "fd00::1"];
const SERVER: [&str; 2] = ["198.51.100.1", "2001:db8::1"];
const ROUTER: [&str; 2] = ["203.0.113.1", "2001:db8:1::1"];
/// Where the client is: the first link is that of the first endpoint.
const HOME: LinkId = LinkId(0);

/// A host; `None` without root, said aloud.
fn field() -> Option<Field> {
    match Field::create() {
        Ok(field) => Some(field),
        Err(error) => {
            let kernel = error.downcast_ref::<ocicat_kernel::Error>();
            assert!(
                kernel.is_some_and(ocicat_kernel::Error::is_permission),
                "{error:#}"
            );
            println!("skipped: network namespaces need root");
            None
        }
    }
}

/// The world in force at a host.
fn in_force() -> Option<(Field, Host)> {
    let mut field = field()?;
    let mut world = World::default();
    for step in Scenario::parse(WORLD).expect("a scenario").steps {
        if let Step::Change(change) = step {
            change.apply(&mut world);
        }
    }
    let mode = Mode {
        home: Home::Everybody,
        tracking: Tracking::Tracked,
    };
    let host = Host::install(&mut field, &world, mode, router(&world)).unwrap();
    Some((field, host))
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address of this file")
}

/// Sends frames of one packet and says what was observed of its number.
fn observe(field: &mut Field, number: u32, sent: Vec<(LinkId, Vec<u8>)>) -> Answers {
    field
        .inject(&sent, |answers| answers.is_decided(number))
        .unwrap()
}

#[test]
fn related_errors_of_allowed_flows_pass_and_others_do_not() {
    let Some((mut field, _host)) = in_force() else {
        return;
    };
    let uplink = field.uplink(0);
    let ((client, near), (router_mac, near_uplink)) = (field.macs(HOME), field.macs(uplink));
    for family in [0, 1] {
        let ends = (address(CLIENT[family]), address(SERVER[family]));
        let flow = |protocol, port| Packet::with_ports(ends.0, ends.1, protocol, 4000, port);
        // Unreachable, and too big.
        let kinds: [(u8, u8); 2] = [[(3, 1), (3, 4)], [(1, 0), (2, 0)]][family];
        let router = address(ROUTER[family]);
        for (packet, passes) in [
            (flow(17, 53), true),
            (flow(17, 54), false),
            (flow(6, 80), true),
            (flow(6, 81), false),
        ] {
            let number = field.next_number();
            let frame = frames(&packet, Shape::default(), number, client, near).remove(0);
            // About a flow that is not there yet, then about one that policy has judged.
            for is_there in [false, true] {
                if is_there {
                    let answers = observe(&mut field, number, vec![(HOME, frame.clone())]);
                    assert_eq!(answers.arrived.contains_key(&number), passes, "{packet}");
                }
                for kind in kinds {
                    let number = field.next_number();
                    let error = error_about(&frame, kind, router, number, router_mac, near_uplink);
                    let answers = observe(&mut field, number, vec![(uplink, error)]);
                    let arrived = answers.arrived.get(&number).cloned().unwrap_or_default();
                    let expected = if passes && is_there {
                        vec![HOME]
                    } else {
                        vec![]
                    };
                    assert_eq!(
                        arrived, expected,
                        "{kind:?} about {packet}, there: {is_there}"
                    );
                }
            }
        }
    }
}

/// A first fragment without the whole TCP header says nothing that policy could rely on: the kernel does
/// not put such a packet together (RFC 8200, section 4.5), and no part behind the first goes on.
#[test]
fn what_cannot_be_put_together_does_not_arrive() {
    let Some((mut field, _host)) = in_force() else {
        return;
    };
    let (client, near) = field.macs(HOME);
    let ends = (address(CLIENT[1]), address(SERVER[1]));
    for (cut, passes) in [
        (Cut::Late, true),
        (Cut::AfterPorts, false),
        (Cut::Often, false),
    ] {
        let number = field.next_number();
        let shape = Shape {
            cut,
            ..Shape::default()
        };
        let packet = Packet::with_ports(ends.0, ends.1, 6, 4000, 80);
        let sent = frames(&packet, shape, number, client, near);
        let sent = sent.into_iter().map(|frame| (HOME, frame)).collect();
        let answers = observe(&mut field, number, sent);
        assert_eq!(answers.arrived.contains_key(&number), passes, "{cut:?}");
    }
    // Later fragments alone, of either family.
    for family in [0, 1] {
        let ends = (address(CLIENT[family]), address(SERVER[family]));
        let number = field.next_number();
        let shape = Shape {
            cut: Cut::Late,
            ..Shape::default()
        };
        let packet = Packet::with_ports(ends.0, ends.1, 17, 4001, 53);
        let later = frames(&packet, shape, number, client, near).remove(1);
        let answers = observe(&mut field, number, vec![(HOME, later)]);
        assert!(!answers.is_decided(number));
    }
}

#[test]
fn a_difference_is_told_as_a_scenario_file_that_shows_it() {
    let Some(mut field) = field() else {
        return;
    };
    field.swallowed = Some([8, 8, 8, 8].into());
    let mut tell = |seed| {
        let plan = Plan {
            seed,
            packets: 100,
            changes: 0,
        };
        match trial(&mut field, &plan) {
            Ok(_) => None,
            Err(Failure::Differs(text)) => Some(text),
            Err(Failure::Broken(error)) => panic!("{error:#}"),
        }
    };
    let text = (1..50)
        .find_map(&mut tell)
        .expect("nobody sends to 8.8.8.8");
    let scenario = Scenario::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let asks = scenario
        .steps
        .iter()
        .filter(|step| matches!(step, Step::Query(_)));
    assert_eq!(asks.count(), 1, "{text}");
    let again = follow(&mut field, &scenario);
    assert!(
        matches!(&again, Err(Failure::Differs(_))),
        "{text}\n{again:?}"
    );
    field.swallowed = None;
    follow(&mut field, &scenario).unwrap_or_else(|failure| panic!("{text}\n{failure}"));
}

/// Hosts that judge everything still find their neighbours: solicitations to a multicast address, of a link
/// with a host endpoint and of a workload, reach the host; echoes to it do not.
#[test]
fn neighbours_are_found_whatever_policy_says() {
    let Some(mut field) = field() else {
        return;
    };
    let scenario = Scenario::parse(&format!("{WORLD}{CLOSED_HOST}")).expect("a scenario");
    let acts = scenario.acts().expect("changes only");
    let act = acts.last().expect("an act");
    let mode = Mode {
        home: Home::One,
        tracking: Tracking::Tracked,
    };
    let site = act.host("node-1");
    let _host = Host::install(&mut field, &act.world, mode, site).unwrap();
    let all = (address("ff02::1"), Mac([0x33, 0x33, 0, 0, 0, 1]));
    for link in [HOME, field.uplink(0)] {
        let (far, Mac([.., high, low])) = field.macs(link);
        // Of the address that the kernel makes of that of the link (RFC 4291, section 2.7.1).
        let group = [
            0xff02,
            0,
            0,
            0,
            0,
            1,
            0xff00,
            u16::from_be_bytes([high, low]),
        ];
        let solicited = (IpAddr::from(group), Mac([0x33, 0x33, 0xff, 0, high, low]));
        for ((destination, mac), kind, passes) in [
            (solicited, 135, true),
            (all, 136, true),
            (all, 130, true),
            (all, 128, false),
        ] {
            let number = field.next_number();
            let packet = Packet::icmp(address("fe80::2"), destination, 58, kind, 0);
            let frame = frames(&packet, Shape::default(), number, far, mac).remove(0);
            let answers = observe(&mut field, number, vec![(link, frame)]);
            let arrived = answers.arrived.get(&number).cloned().unwrap_or_default();
            let expected = if passes { vec![HOST] } else { vec![] };
            assert_eq!(arrived, expected, "{packet} by {link}");
        }
    }
}

const CLOSED_HOST: &str = "
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: { name: closed }
spec: { node: node-1, interfaceName: eth0 }
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: { name: closed }
spec: { doNotTrack: true, applyOnForward: true, types: [Ingress], ingress: [{ action: Deny }] }

-- hosts --
node-1 eth0 192.168.0.1
";

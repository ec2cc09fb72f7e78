//! Packets that are no flows of their own.

use std::net::IpAddr;

use ocicat_oracle::{Packet, World};
use ocicat_testkit::{Scenario, Step};

use crate::answer::Answers;
use crate::field::{Field, LinkId};
use crate::frame::{Cut, Shape, error_about, frames};
use crate::host::{Home, Host, Mode, Tracking, router};

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
spec: { containers: [{ name: main }] }
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

/// The world in force; `None` without root, said aloud.
fn in_force() -> Option<(Field, Host)> {
    let mut field = match Field::create() {
        Ok(field) => field,
        Err(error) => {
            let kernel = error.downcast_ref::<ocicat_kernel::Error>();
            assert!(
                kernel.is_some_and(ocicat_kernel::Error::is_permission),
                "{error:#}"
            );
            println!("skipped: network namespaces need root");
            return None;
        }
    };
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
        let flow = |port| Packet::with_ports(ends.0, ends.1, 17, 4000, port);
        // Unreachable, and too big.
        let kinds: [(u8, u8); 2] = [[(3, 1), (3, 4)], [(1, 0), (2, 0)]][family];
        let router = address(ROUTER[family]);
        for (port, passes) in [(53, true), (54, false)] {
            let number = field.next_number();
            let frame = frames(&flow(port), Shape::default(), number, client, near).remove(0);
            let answers = observe(&mut field, number, vec![(HOME, frame.clone())]);
            assert_eq!(answers.arrived.contains_key(&number), passes, "port {port}");
            for kind in kinds {
                let number = field.next_number();
                let error = error_about(&frame, kind, router, number, router_mac, near_uplink);
                let answers = observe(&mut field, number, vec![(uplink, error)]);
                let arrived = answers.arrived.get(&number).cloned().unwrap_or_default();
                let expected = if passes { vec![HOME] } else { vec![] };
                assert_eq!(arrived, expected, "{kind:?} about port {port}");
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

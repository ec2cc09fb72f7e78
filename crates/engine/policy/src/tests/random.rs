//! Random objects from a small alphabet, so that they meet each other often.

use std::net::IpAddr;

use ipnet::IpNet;
use ocicat_api::core::{EndpointSlice, HostInterface, Pod, SlicePort};
use ocicat_api::policy::{
    CalicoPolicy, ClusterNetworkPolicy, ClusterPeer, ClusterProtocol, ClusterRule, ClusterSubject,
    ClusterTier, KubePeer, KubePort, KubeRule, NetworkPolicy, PolicyStage, Profile, Subject, Types,
};
use ocicat_api::rule::{Action, EntityRule, Icmp, Rule, ServiceAccountMatch, ServiceMatch};
use ocicat_api::{Family, Object, PortSpec, Problem, Protocol};
use ocicat_node::ServiceMatch as Asked;
use ocicat_selector::Selector;

use super::world::*;

/// The same numbers for the same seed (SplitMix64).
#[derive(Debug, Clone)]
pub(super) struct Dice(pub(super) u64);

const NAMESPACES: [&str; 3] = ["n1", "n2", "n3"];
const NETS: [&str; 14] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.0.0/24",
    "10.0.0.0/28",
    "10.0.0.8/29",
    "10.0.0.5/32",
    "10.0.1.0/24",
    "192.0.2.0/24",
    "192.0.2.128/25",
    "::/0",
    "fd00::/64",
    "fd00::/124",
    "fd00::5/128",
    "2001:db8::/32",
];
const POOLS: [&str; 4] = ["10.0.0.0/24", "10.0.0.0/26", "fd00::/64", "192.0.2.0/25"];
const PORT_NAMES: [&str; 3] = ["http", "dns", "odd"];

impl Dice {
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }

    /// True once in `sides` times.
    pub(super) fn once_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }

    fn word<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }

    fn labels(&mut self) -> String {
        let keys = ["a", "b", "c"];
        let mut pairs = Vec::new();
        for key in keys {
            if !self.once_in(3) {
                pairs.push(format!("{key}={}", self.word(&["x", "y", "xy"])));
            }
        }
        pairs.join(" ")
    }

    pub(super) fn address(&mut self) -> IpAddr {
        let n = self.roll(20);
        ip(&match self.roll(8) {
            0..4 => format!("10.0.0.{n}"),
            4 => format!("10.0.1.{n}"),
            5 => format!("192.0.2.{}", n * 12),
            6 => format!("fd00::{n:x}"),
            _ => format!("2001:db8::{n:x}"),
        })
    }

    fn selector(&mut self, depth: usize) -> Selector {
        let key = self.word(&[
            "a",
            "b",
            "c",
            "pcns.a",
            "projectcalico.org/namespace",
            "pcsa.b",
        ]);
        let value = match key {
            "projectcalico.org/namespace" => self.word(&NAMESPACES),
            _ => self.word(&["x", "y", "xy"]),
        };
        let text = match self.roll(if depth == 0 { 10 } else { 14 }) {
            0 => "all()".to_owned(),
            1 => "global()".to_owned(),
            2 => format!("has({key})"),
            3 => format!("{key} != '{value}'"),
            4 => format!("{key} in {{'{value}', 'y'}}"),
            5 => format!("{key} not in {{'{value}'}}"),
            6 => format!("{key} contains 'x'"),
            7 => format!("{key} starts with 'x'"),
            10 => return Selector::negate(self.selector(depth - 1)),
            11 | 12 => return Selector::and([self.selector(depth - 1), self.selector(depth - 1)]),
            13 => return Selector::or([self.selector(depth - 1), self.selector(depth - 1)]),
            _ => format!("{key} == '{value}'"),
        };
        selector(&text)
    }

    fn nets(&mut self, family: Family) -> Vec<IpNet> {
        let nets = NETS.iter().map(|net| net.parse::<IpNet>().unwrap());
        let nets: Vec<IpNet> = nets.filter(|net| Family::of(net) == family).collect();
        (0..=self.roll(2)).map(|_| *self.pick(&nets)).collect()
    }

    fn ports(&mut self) -> Vec<PortSpec> {
        let spec = |dice: &mut Self| match dice.roll(4) {
            0 => PortSpec::Name(dice.word(&PORT_NAMES).into()),
            1 => {
                let first = u16::try_from(dice.roll(100)).unwrap();
                PortSpec::Range {
                    first,
                    last: first + 30,
                }
            }
            _ => {
                let first = *dice.pick(&[0, 53, 80, 81, 443, 65535]);
                PortSpec::Range { first, last: first }
            }
        };
        (0..=self.roll(2)).map(|_| spec(self)).collect()
    }

    fn entity(&mut self, family: Family, ports: bool) -> EntityRule {
        let mut entity = EntityRule::default();
        match self.roll(8) {
            0 => entity.nets = self.nets(family),
            1 => entity.not_nets = self.nets(family),
            2 => (entity.nets, entity.not_nets) = (self.nets(family), self.nets(family)),
            _ => {}
        }
        if self.once_in(3) {
            entity.selector = Some(self.selector(2));
        }
        if self.once_in(7) {
            entity.not_selector = Some(self.selector(2));
        }
        if self.once_in(6) {
            entity.namespace_selector = Some(self.selector(1));
        }
        if self.once_in(10) {
            let names = if self.once_in(2) {
                vec!["sa".into()]
            } else {
                Vec::new()
            };
            let selector = self.once_in(2).then(|| self.selector(0));
            entity.service_accounts = Some(ServiceAccountMatch { names, selector });
        }
        if ports && self.once_in(3) {
            entity.ports = self.ports();
        }
        if ports && self.once_in(6) {
            entity.not_ports = self.ports();
        }
        entity
    }

    fn rule(&mut self) -> Rule {
        let family = *self.pick(&[Family::Ipv4, Family::Ipv4, Family::Ipv6]);
        let actions = [
            Action::Allow,
            Action::Allow,
            Action::Deny,
            Action::Pass,
            Action::Log,
        ];
        let mut rule = rule(*self.pick(&actions));
        match self.roll(8) {
            0..4 => {
                rule.protocol = Some(*self.pick(&[Protocol::TCP, Protocol::TCP, Protocol::UDP]))
            }
            4 => rule.not_protocol = Some(*self.pick(&[Protocol::TCP, Protocol(47)])),
            5 => {
                rule.protocol = Some(*self.pick(&[Protocol::ICMP, Protocol::ICMPV6]));
                let icmp_type = self.once_in(2).then_some(8);
                let code = icmp_type.filter(|_| self.once_in(2)).map(|_| 1);
                let icmp = Some(Icmp { icmp_type, code });
                if self.once_in(3) {
                    rule.not_icmp = icmp
                } else {
                    rule.icmp = icmp
                }
            }
            _ => {}
        }
        let ports = rule.protocol.is_some_and(Protocol::has_ports);
        rule.source = self.entity(family, ports);
        rule.destination = self.entity(family, ports);
        if self.once_in(8) {
            rule.ip_version = Some(family);
        }
        if self.once_in(10) {
            let service = ServiceMatch {
                namespace: self.word(&["n1", "n2"]).into(),
                name: self.word(&["s1", "s2"]).into(),
            };
            // The far side of one direction or the other.
            let side = if self.once_in(2) {
                &mut rule.source
            } else {
                &mut rule.destination
            };
            *side = EntityRule {
                service: Some(service),
                ..EntityRule::default()
            };
        }
        if self.once_in(25) {
            rule.unreadable = vec![Problem::error("http", "not supported")];
        }
        rule
    }

    fn rules(&mut self) -> Vec<Rule> {
        (0..self.roll(4)).map(|_| self.rule()).collect()
    }

    fn kube_rule(&mut self) -> KubeRule {
        let peer = |dice: &mut Self| match dice.roll(3) {
            0 => {
                let family = *dice.pick(&[Family::Ipv4, Family::Ipv6]);
                KubePeer::IpBlock {
                    cidr: dice.nets(family)[0],
                    except: dice.nets(family),
                }
            }
            _ => KubePeer::Pods {
                namespace_selector: dice.once_in(2).then(|| dice.selector(1)),
                pod_selector: dice.once_in(2).then(|| dice.selector(1)),
            },
        };
        let port = |dice: &mut Self| KubePort {
            protocol: *dice.pick(&[Protocol::TCP, Protocol::UDP]),
            port: (!dice.once_in(4)).then(|| dice.ports()[0].clone()),
        };
        let peers = (!self.once_in(4)).then(|| (0..self.roll(3)).map(|_| peer(self)).collect());
        let ports = (!self.once_in(3)).then(|| (0..self.roll(3)).map(|_| port(self)).collect());
        KubeRule {
            peers,
            ports,
            unreadable: Vec::new(),
        }
    }

    fn types(&mut self) -> Types {
        let (ingress, egress) = *self.pick(&[(true, true), (true, false), (false, true)]);
        Types { ingress, egress }
    }

    fn policy(&mut self) -> CalicoPolicy {
        let names = ["p1", "p2", "p3", "n1/p1", "n1/p2", "n2/p1"];
        let subject = Subject::Selectors {
            selector: self.selector(1),
            namespace_selector: self.once_in(6).then(|| self.selector(1)),
            service_account_selector: self.once_in(9).then(|| self.selector(0)),
        };
        CalicoPolicy {
            metadata: metadata(self.word(&names), ""),
            tier: self
                .word(&["default", "default", "t1", "t2", "kube-admin"])
                .into(),
            order: *self.pick(&[None, Some(1.0), Some(1000.0), Some(-2.0)]),
            subject: if self.once_in(20) {
                Subject::Unreadable
            } else {
                subject
            },
            types: self.types(),
            ingress: self.rules(),
            egress: self.rules(),
            stage: match self.roll(12) {
                0 => PolicyStage::Untracked,
                1 => PolicyStage::PreDnat,
                2..5 => PolicyStage::Forward,
                _ => PolicyStage::Normal,
            },
        }
    }

    fn pod(&mut self) -> Pod {
        let name = format!("{}/pod{}", self.word(&NAMESPACES), self.roll(4));
        let mut new = pod(&name, &self.labels(), "");
        new.addresses = (0..self.roll(3)).map(|_| self.address()).collect();
        new.node = Some(self.word(&["n1", "n1", "n2"]).into());
        new.service_account = self.word(&["default", "sa"]).into();
        new.host_network = self.once_in(12);
        new.finished = self.once_in(12);
        let protocols = [Protocol::TCP, Protocol::TCP, Protocol::UDP];
        let named = |dice: &mut Self| {
            port(
                dice.word(&PORT_NAMES),
                *dice.pick(&protocols),
                *dice.pick(&[53, 80, 81]),
            )
        };
        new.ports = (0..self.roll(3)).map(|_| named(self)).collect();
        new
    }

    /// Any object that matters.
    pub(super) fn object(&mut self) -> Object {
        let set_nets = |dice: &mut Self| {
            let nets = (0..dice.roll(4)).map(|_| dice.word(&NETS));
            nets.collect::<Vec<_>>().join(" ")
        };
        match self.roll(29) {
            0 => namespace(self.word(&NAMESPACES), &self.labels()),
            1 => {
                let name = format!(
                    "{}/{}",
                    self.word(&NAMESPACES),
                    self.word(&["default", "sa"])
                );
                account(&name, &self.labels())
            }
            2 => pool(self.word(&["pool1", "pool2"]), self.word(&POOLS)),
            3 => {
                let address = self.address().to_string();
                let Object::Node(mut new) = node(self.word(&["n1", "n2"]), &address) else {
                    unreachable!("what it makes")
                };
                new.metadata.labels = labels(&self.labels());
                Object::Node(new)
            }
            4 => {
                let name = self.word(&["s1", "s2", "n1/s1", "n2/s1"]);
                set(name, &self.labels(), &set_nets(self))
            }
            5 => {
                let order = *self.pick(&[None, Some(5.0), Some(2_000_000.0)]);
                tier(
                    self.word(&["t1", "t2"]),
                    order,
                    *self.pick(&[Action::Deny, Action::Pass]),
                )
            }
            6 => Object::Profile(Profile {
                metadata: metadata("prof", ""),
                ingress: self.rules(),
                egress: self.rules(),
                labels_to_apply: labels(&self.labels()),
            }),
            7 | 8 => {
                let name = format!("{}/wep{}", self.word(&NAMESPACES), self.roll(2));
                let mut new = wep(&name, &self.labels(), "");
                new.addresses = vec![self.address()];
                new.node = self.word(&["n1", "n2"]).into();
                new.pod = self.once_in(3).then(|| "pod0".into());
                if self.once_in(2) {
                    new.profiles.insert(0, "prof".into());
                }
                if self.once_in(4) {
                    new.orchestrator = "k8s".into();
                }
                Object::WorkloadEndpoint(new)
            }
            9..14 => Object::Pod(self.pod()),
            14..16 => Object::NetworkPolicy(NetworkPolicy {
                metadata: metadata(self.word(&["n1/np1", "n1/p1", "n2/np1"]), ""),
                pod_selector: (!self.once_in(12)).then(|| self.selector(1)),
                types: self.types(),
                ingress: (0..self.roll(3)).map(|_| self.kube_rule()).collect(),
                egress: (0..self.roll(3)).map(|_| self.kube_rule()).collect(),
            }),
            22..25 => self.host_endpoint(),
            25..27 => self.slice(),
            27..29 => Object::ClusterNetworkPolicy(self.cluster_policy()),
            _ => calico(self.policy()),
        }
    }

    fn slice(&mut self) -> Object {
        let port = |dice: &mut Self| SlicePort {
            protocol: *dice.pick(&[Protocol::TCP, Protocol::TCP, Protocol::UDP]),
            port: *dice.pick(&[Some(80), Some(53), None]),
        };
        Object::EndpointSlice(EndpointSlice {
            metadata: metadata(self.word(&["n1/e1", "n1/e2", "n2/e1"]), ""),
            service: (!self.once_in(6)).then(|| self.word(&["s1", "s2"]).into()),
            addresses: (0..self.roll(4)).map(|_| self.address()).collect(),
            ports: (0..self.roll(3)).map(|_| port(self)).collect(),
        })
    }

    fn cluster_policy(&mut self) -> ClusterNetworkPolicy {
        let peer = |dice: &mut Self| match dice.roll(5) {
            0 => ClusterPeer::Namespaces(dice.selector(1)),
            1 => ClusterPeer::Pods {
                namespace_selector: dice.selector(0),
                pod_selector: dice.selector(1),
            },
            2 | 3 => ClusterPeer::Nodes(dice.selector(0)),
            _ => ClusterPeer::Networks(dice.nets(Family::Ipv4)),
        };
        let protocol = |dice: &mut Self| match dice.roll(3) {
            0 => ClusterProtocol::Named(dice.word(&PORT_NAMES).into()),
            1 => ClusterProtocol::Ports(Protocol::UDP, None),
            _ => ClusterProtocol::Ports(
                Protocol::TCP,
                Some(PortSpec::Range {
                    first: 80,
                    last: 81,
                }),
            ),
        };
        let rule = |dice: &mut Self| ClusterRule {
            name: "".into(),
            action: *dice.pick(&[Action::Allow, Action::Deny, Action::Pass]),
            peers: (0..1 + dice.roll(2)).map(|_| peer(dice)).collect(),
            protocols: dice
                .once_in(2)
                .then(|| (0..1 + dice.roll(2)).map(|_| protocol(dice)).collect()),
            unreadable: Vec::new(),
            unreadable_peers: dice.once_in(12),
            unreadable_protocols: dice.once_in(12),
        };
        let rules = |dice: &mut Self| (0..dice.roll(3)).map(|_| rule(dice)).collect();
        ClusterNetworkPolicy {
            metadata: metadata(self.word(&["c1", "c2"]), ""),
            tier: *self.pick(&[ClusterTier::Admin, ClusterTier::Baseline]),
            priority: *self.pick(&[0, 5]),
            subject: if self.once_in(10) {
                ClusterSubject::Unreadable
            } else {
                ClusterSubject::Namespaces(self.selector(0))
            },
            ingress: rules(self),
            egress: rules(self),
        }
    }

    fn host_endpoint(&mut self) -> Object {
        let name = self.word(&["eth0", "all", "other"]);
        let mut new = hep(name, &self.labels(), "");
        new.expected_ips = (0..self.roll(3)).map(|_| self.address()).collect();
        new.node = self.word(&["n1", "n1", "n2"]).into();
        let interfaces = [HostInterface::All, HostInterface::ByAddress];
        new.interface = self.pick(&interfaces).clone();
        if self.once_in(2) {
            new.profiles = vec![self.word(&["prof", "kns.n1"]).into()];
        }
        new.ports = vec![port(self.word(&PORT_NAMES), Protocol::TCP, 80)];
        Object::HostEndpoint(new)
    }

    pub(super) fn service(&mut self) -> Asked {
        let numbers = [0, 52, 53, 54, 80, 81, 82, 100, 443, 8080, 65535];
        let protocol = ocicat_node::Protocol(*self.pick(&[6, 6, 6, 17, 17, 1, 58, 47, 132]));
        let port = match protocol.0 {
            1 | 58 => *self.pick(&[0x0800, 0x0801, 0x0802, 0x0000, 0xffff]),
            _ => *self.pick(&numbers),
        };
        Asked {
            protocol,
            source_port: *self.pick(&numbers),
            port,
        }
    }
}

//! Random packets, aimed at what a world makes interesting.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use ocicat_api::core::EndpointPort;
use ocicat_api::policy::{
    ClusterNetworkPolicy, ClusterPeer, ClusterProtocol, KubePeer, NetworkPolicy,
};
use ocicat_api::rule::{EntityRule, Rule};
use ocicat_api::{Object, PortSpec};
use ocicat_oracle::{Census, Packet, World};

use crate::Random;

/// The addresses and ports at which the answers of a world may change.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    /// Addresses of endpoints, those of hosts included.
    near: Vec<IpAddr>,
    /// Those, of nodes, of free pool addresses, edges of all prefixes, and some of the world.
    far: Vec<IpAddr>,
    ports: Vec<u16>,
    /// Of rules.
    protocols: Vec<u8>,
    /// Types and codes of rules.
    icmp: Vec<(u8, u8)>,
    served: Vec<Served>,
}

/// An address, and what is served there: of a slice of a service.
type Served = (IpAddr, u8, Option<u16>);

/// What is collected of a world.
#[derive(Default)]
struct Found {
    nets: BTreeSet<IpNet>,
    far: BTreeSet<IpAddr>,
    ports: BTreeSet<u16>,
    protocols: BTreeSet<u8>,
    icmp: BTreeSet<(u8, u8)>,
    served: BTreeSet<Served>,
}

impl Targets {
    #[must_use]
    pub fn of(world: &World) -> Self {
        let mut found = Found {
            ports: [0, 1, 1024, 40_000, u16::MAX].into(),
            ..Found::default()
        };
        for object in world.objects.values() {
            found.collect(object);
        }
        let Found {
            nets,
            mut far,
            ports,
            protocols,
            icmp,
            served,
        } = found;
        let census = Census::new(world);
        let of_workloads = census.endpoints.iter().flat_map(|e| &e.addresses);
        let of_hosts = census.hosts.iter().flat_map(|host| &host.addresses);
        let near: BTreeSet<IpAddr> = of_workloads.chain(of_hosts).copied().collect();
        far.extend(&near);
        far.extend(nets.iter().flat_map(edges));
        let strangers = [
            "8.8.8.8",
            "1.2.3.4",
            "255.255.255.255",
            "2001:db8::53",
            "fe80::1",
            "::",
        ];
        far.extend(
            strangers
                .iter()
                .map(|text| -> IpAddr { text.parse().expect("an address") }),
        );
        Self {
            near: near.into_iter().collect(),
            far: far.into_iter().collect(),
            ports: ports.into_iter().collect(),
            protocols: protocols.into_iter().collect(),
            icmp: icmp.into_iter().collect(),
            served: served.into_iter().collect(),
        }
    }

    /// A packet of which one end at least is an endpoint's, if there are endpoints.
    pub fn packet(&self, random: &mut Random) -> Packet {
        if random.chance(8)
            && let Some(packet) = self.to_service(random)
        {
            return packet;
        }
        let near = if self.near.is_empty() {
            &self.far
        } else {
            &self.near
        };
        let near = random.pick(near);
        let pool = if random.chance(40) {
            &self.near
        } else {
            &self.far
        };
        let same: Vec<IpAddr> = pool
            .iter()
            .copied()
            .filter(|far| far.is_ipv4() == near.is_ipv4())
            .collect();
        let far = if same.is_empty() {
            stranger(near)
        } else {
            random.pick(&same)
        };
        let (source, destination) = if random.chance(50) {
            (near, far)
        } else {
            (far, near)
        };
        let of_rules = random.chance(30) && !self.protocols.is_empty();
        let protocol = match of_rules {
            true => random.pick(&self.protocols),
            false => protocol(random, near),
        };
        match protocol {
            protocol @ (6 | 17 | 132) => {
                let (from, to) = (self.port(random), self.port(random));
                Packet::with_ports(source, destination, protocol, from, to)
            }
            protocol @ (1 | 58) => {
                let (kind, code) = match random.chance(75) && !self.icmp.is_empty() {
                    true => random.pick(&self.icmp),
                    false => (
                        random.pick(&[0, 3, 8, 128, 129, 135]),
                        random.pick(&[0, 0, 1, 3, 7]),
                    ),
                };
                Packet::icmp(source, destination, protocol, kind, code)
            }
            protocol => Packet::bare(source, destination, protocol),
        }
    }

    /// From an endpoint to what is behind a service.
    fn to_service(&self, random: &mut Random) -> Option<Packet> {
        if self.served.is_empty() {
            return None;
        }
        let (destination, protocol, port) = random.pick(&self.served);
        let same = self.near.iter().copied();
        let same: Vec<IpAddr> = same
            .filter(|near| near.is_ipv4() == destination.is_ipv4())
            .collect();
        if same.is_empty() {
            return None;
        }
        let source = random.pick(&same);
        let (from, to) = (self.port(random), self.port(random));
        let to = port.unwrap_or(to);
        Some(Packet::with_ports(source, destination, protocol, from, to))
    }

    fn port(&self, random: &mut Random) -> u16 {
        if random.chance(95) {
            return random.pick(&self.ports);
        }
        u16::try_from(random.below(65536)).expect("below 65536")
    }
}

fn protocol(random: &mut Random, address: IpAddr) -> u8 {
    let (icmp, other_icmp) = if address.is_ipv4() { (1, 58) } else { (58, 1) };
    let any = u8::try_from(random.below(256)).expect("below 256");
    random.weighted(&[
        (50, 6),
        (20, 17),
        (8, 132),
        (12, icmp),
        (2, other_icmp),
        (2, 136),
        (2, 47),
        (4, any),
    ])
}

fn stranger(of: IpAddr) -> IpAddr {
    match of {
        IpAddr::V4(_) => Ipv4Addr::new(203, 0, 113, 7).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).into(),
    }
}

/// The first and last address of a prefix, those around it, and one inside.
fn edges(net: &IpNet) -> Vec<IpAddr> {
    match net {
        IpNet::V4(net) => {
            let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
            let all = [first.saturating_sub(1), first, first / 2 + last / 2, last];
            let after = last.saturating_add(1);
            all.into_iter()
                .chain([after])
                .map(|bits| Ipv4Addr::from(bits).into())
                .collect()
        }
        IpNet::V6(net) => {
            let (first, last) = (u128::from(net.network()), u128::from(net.broadcast()));
            let all = [first.saturating_sub(1), first, first / 2 + last / 2, last];
            let after = last.saturating_add(1);
            all.into_iter()
                .chain([after])
                .map(|bits| Ipv6Addr::from(bits).into())
                .collect()
        }
    }
}

impl Found {
    fn collect(&mut self, object: &Object) {
        match object {
            // Also of pods that are no endpoints: their addresses may be free.
            Object::Pod(pod) => self.owner(&pod.addresses, &pod.ports),
            Object::WorkloadEndpoint(wep) => self.owner(&wep.addresses, &wep.ports),
            Object::HostEndpoint(host) => self.owner(&host.expected_ips, &host.ports),
            Object::Node(node) => self.far.extend(&node.addresses),
            Object::Service(service) => self.far.extend(&service.addresses),
            Object::EndpointSlice(slice) => {
                self.far.extend(&slice.addresses);
                self.ports
                    .extend(slice.ports.iter().filter_map(|port| port.port));
                self.served
                    .extend(slice.addresses.iter().flat_map(|address| {
                        let ports = slice.ports.iter();
                        ports.map(|port| (*address, port.protocol.0, port.port))
                    }));
            }
            Object::NetworkSet(set) | Object::GlobalNetworkSet(set) => self.nets.extend(&set.nets),
            Object::IpPool(pool) => {
                self.nets.insert(pool.cidr);
                // Some that are free, if the pool is large enough to have them.
                let hosts = [70, 77, 99, 200].into_iter();
                self.far
                    .extend(hosts.filter_map(|host| pool.cidr.hosts().nth(host)));
            }
            Object::CalicoNetworkPolicy(policy) | Object::GlobalNetworkPolicy(policy) => {
                self.rules(&policy.ingress, &policy.egress);
            }
            Object::StagedNetworkPolicy(staged) | Object::StagedGlobalNetworkPolicy(staged) => {
                self.rules(&staged.policy.ingress, &staged.policy.egress);
            }
            Object::Profile(profile) => self.rules(&profile.ingress, &profile.egress),
            Object::NetworkPolicy(policy) => self.kube(policy),
            Object::StagedKubernetesNetworkPolicy(staged) => self.kube(&staged.policy),
            Object::ClusterNetworkPolicy(policy) => self.cluster(policy),
            Object::FelixConfiguration(felix) => {
                let lists = [&felix.failsafe_inbound, &felix.failsafe_outbound];
                let open = lists.into_iter().flatten().flatten();
                self.ports.extend(open.map(|failsafe| failsafe.port));
            }
            _ => {}
        }
    }

    fn owner(&mut self, addresses: &[IpAddr], ports: &[EndpointPort]) {
        self.far.extend(addresses);
        self.ports.extend(ports.iter().map(|port| port.port));
    }

    fn rules(&mut self, ingress: &[Rule], egress: &[Rule]) {
        for rule in ingress.iter().chain(egress) {
            self.entity(&rule.source);
            self.entity(&rule.destination);
            self.protocols.extend(rule.protocol.map(|named| named.0));
            if let Some(kind) = rule.icmp.and_then(|icmp| icmp.icmp_type) {
                let code = rule.icmp.and_then(|icmp| icmp.code).unwrap_or(1);
                self.icmp.insert((kind, code));
            }
        }
    }

    fn entity(&mut self, entity: &EntityRule) {
        self.nets.extend(entity.nets.iter().chain(&entity.not_nets));
        let ports = entity.ports.iter().chain(&entity.not_ports);
        ports.for_each(|port| self.port(port));
    }

    fn kube(&mut self, policy: &NetworkPolicy) {
        for rule in policy.ingress.iter().chain(&policy.egress) {
            for peer in rule.peers.iter().flatten() {
                if let KubePeer::IpBlock { cidr, except } = peer {
                    self.nets.insert(*cidr);
                    self.nets.extend(except);
                }
            }
            let asked = rule.ports.iter().flatten();
            let asked = asked.filter_map(|port| port.port.as_ref());
            asked.for_each(|port| self.port(port));
        }
    }

    fn cluster(&mut self, policy: &ClusterNetworkPolicy) {
        for rule in policy.ingress.iter().chain(&policy.egress) {
            for peer in &rule.peers {
                if let ClusterPeer::Networks(list) = peer {
                    self.nets.extend(list);
                }
            }
            for wanted in rule.protocols.iter().flatten() {
                if let ClusterProtocol::Ports(_, Some(port)) = wanted {
                    self.port(port);
                }
            }
        }
    }

    fn port(&mut self, port: &PortSpec) {
        if let PortSpec::Range { first, last } = port {
            self.ports.extend([
                first.saturating_sub(1),
                *first,
                *last,
                last.saturating_add(1),
            ]);
        }
    }
}

//! Random packets, aimed at what a world makes interesting.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use ocicat_api::policy::{ClusterPeer, ClusterProtocol, KubePeer, NetworkPolicy};
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
}

impl Targets {
    #[must_use]
    pub fn of(world: &World) -> Self {
        let mut nets = BTreeSet::new();
        let mut ports: BTreeSet<u16> = [0, 1, 1024, 40_000, u16::MAX].into();
        let mut far: BTreeSet<IpAddr> = BTreeSet::new();
        for object in world.objects.values() {
            collect(object, &mut nets, &mut ports, &mut far);
        }
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
        }
    }

    /// A packet of which one end at least is an endpoint's, if there are endpoints.
    pub fn packet(&self, random: &mut Random) -> Packet {
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
        match protocol(random, near) {
            protocol @ (6 | 17 | 132) => {
                let (from, to) = (self.port(random), self.port(random));
                Packet::with_ports(source, destination, protocol, from, to)
            }
            protocol @ (1 | 58) => {
                let kind = random.pick(&[0, 3, 8, 128, 129, 135]);
                let code = random.pick(&[0, 0, 1, 3, 7]);
                Packet::icmp(source, destination, protocol, kind, code)
            }
            protocol => Packet::bare(source, destination, protocol),
        }
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

fn collect(
    object: &Object,
    nets: &mut BTreeSet<IpNet>,
    ports: &mut BTreeSet<u16>,
    far: &mut BTreeSet<IpAddr>,
) {
    let rules = |rules: &[Rule], nets: &mut BTreeSet<IpNet>, ports: &mut BTreeSet<u16>| {
        for entity in rules
            .iter()
            .flat_map(|rule| [&rule.source, &rule.destination])
        {
            collect_entity(entity, nets, ports);
        }
    };
    match object {
        Object::Pod(pod) => {
            // Also of pods that are no endpoints: their addresses may be free.
            far.extend(&pod.addresses);
            ports.extend(pod.ports.iter().map(|port| port.port));
        }
        Object::WorkloadEndpoint(wep) => {
            far.extend(&wep.addresses);
            ports.extend(wep.ports.iter().map(|port| port.port));
        }
        Object::Node(node) => far.extend(&node.addresses),
        Object::NetworkSet(set) | Object::GlobalNetworkSet(set) => nets.extend(&set.nets),
        Object::IpPool(pool) => {
            nets.insert(pool.cidr);
            // Some that are free, if the pool is large enough to have them.
            far.extend(
                [70, 77, 99, 200]
                    .into_iter()
                    .filter_map(|host| pool.cidr.hosts().nth(host)),
            );
        }
        Object::CalicoNetworkPolicy(policy) | Object::GlobalNetworkPolicy(policy) => {
            rules(&policy.ingress, nets, ports);
            rules(&policy.egress, nets, ports);
        }
        Object::Profile(profile) => {
            rules(&profile.ingress, nets, ports);
            rules(&profile.egress, nets, ports);
        }
        Object::StagedNetworkPolicy(staged) | Object::StagedGlobalNetworkPolicy(staged) => {
            rules(&staged.policy.ingress, nets, ports);
            rules(&staged.policy.egress, nets, ports);
        }
        Object::NetworkPolicy(policy) => collect_kube(policy, nets, ports),
        Object::StagedKubernetesNetworkPolicy(staged) => collect_kube(&staged.policy, nets, ports),
        Object::ClusterNetworkPolicy(policy) => {
            for rule in policy.ingress.iter().chain(&policy.egress) {
                for peer in &rule.peers {
                    if let ClusterPeer::Networks(list) = peer {
                        nets.extend(list);
                    }
                }
                for wanted in rule.protocols.iter().flatten() {
                    if let ClusterProtocol::Ports(_, Some(port)) = wanted {
                        collect_port(port, ports);
                    }
                }
            }
        }
        Object::HostEndpoint(host) => {
            far.extend(&host.expected_ips);
            ports.extend(host.ports.iter().map(|port| port.port));
        }
        Object::EndpointSlice(slice) => {
            far.extend(&slice.addresses);
            ports.extend(slice.ports.iter().filter_map(|port| port.port));
        }
        Object::Service(service) => far.extend(&service.addresses),
        _ => {}
    }
}

fn collect_kube(policy: &NetworkPolicy, nets: &mut BTreeSet<IpNet>, ports: &mut BTreeSet<u16>) {
    for rule in policy.ingress.iter().chain(&policy.egress) {
        for peer in rule.peers.iter().flatten() {
            if let KubePeer::IpBlock { cidr, except } = peer {
                nets.insert(*cidr);
                nets.extend(except);
            }
        }
        let asked = rule.ports.iter().flatten();
        let asked = asked.filter_map(|port| port.port.as_ref());
        asked.for_each(|port| collect_port(port, ports));
    }
}

fn collect_entity(entity: &EntityRule, nets: &mut BTreeSet<IpNet>, ports: &mut BTreeSet<u16>) {
    nets.extend(entity.nets.iter().chain(&entity.not_nets));
    entity
        .ports
        .iter()
        .chain(&entity.not_ports)
        .for_each(|port| collect_port(port, ports));
}

fn collect_port(port: &PortSpec, ports: &mut BTreeSet<u16>) {
    if let PortSpec::Range { first, last } = port {
        ports.extend([
            first.saturating_sub(1),
            *first,
            *last,
            last.saturating_add(1),
        ]);
    }
}

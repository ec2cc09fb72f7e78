//! Which packets a probe sends: every ordered pair of workloads, every port that anything names, TCP
//! and UDP, both families.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ocicat_api::policy::{
    CalicoPolicy, ClusterNetworkPolicy, ClusterProtocol, ClusterRule, KubeRule, NetworkPolicy,
    Profile,
};
use ocicat_api::rule::Rule;
use ocicat_api::{Object, PortSpec};

use crate::state::Workload;

/// The source ports of probes: what Linux gives out by itself (`net.ipv4.ip_local_port_range`).
const SOURCE_PORTS: std::ops::Range<u16> = 32_768..61_000;

/// What a probe is sent over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    /// Both, in the order in which they are asked.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Udp];

    /// As Kubernetes writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }

    /// IANA protocol number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// One question to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Index of the workload that asks.
    pub from: usize,
    /// Index of the workload that is asked.
    pub to: usize,
    /// An address of `from`.
    pub source: IpAddr,
    pub source_port: u16,
    /// An address of `to`, of the family of `source`.
    pub address: IpAddr,
    pub transport: Transport,
    pub port: u16,
}

/// What a user wants to ask; what is empty is everything.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Indices of workloads.
    pub from: BTreeSet<usize>,
    pub to: BTreeSet<usize>,
    pub ports: BTreeSet<u16>,
}

/// All probes, by asking workload. A workload without an address neither asks nor is asked, and none
/// asks itself. An address that is [`shared`] is left out: where its packets go is not for policy to
/// say. Source ports count up from one that `seed` decides, so that two runs rarely use the
/// same, and leave out what the workload itself serves.
#[must_use]
pub fn plan(
    workloads: &[Workload],
    ports: &BTreeSet<u16>,
    filter: &Filter,
    seed: u16,
) -> Vec<Probe> {
    let wanted = |set: &BTreeSet<usize>, index: usize| set.is_empty() || set.contains(&index);
    let ports = if filter.ports.is_empty() {
        ports
    } else {
        &filter.ports
    };
    let shared = shared(workloads);
    let mut probes = Vec::new();
    for (from, asking) in workloads
        .iter()
        .enumerate()
        .filter(|(i, _)| wanted(&filter.from, *i))
    {
        let mut source_ports = SourcePorts::new(&asking.ports, seed);
        for (to, asked) in workloads.iter().enumerate() {
            if from == to || !wanted(&filter.to, to) {
                continue;
            }
            for address in asked
                .addresses
                .iter()
                .filter(|address| !shared.contains(address))
            {
                let fits =
                    |own: &&IpAddr| own.is_ipv4() == address.is_ipv4() && !shared.contains(own);
                let Some(source) = asking.addresses.iter().find(fits) else {
                    continue;
                };
                for port in ports {
                    for transport in Transport::ALL {
                        probes.push(Probe {
                            from,
                            to,
                            source: *source,
                            source_port: source_ports.take(),
                            address: *address,
                            transport,
                            port: *port,
                        });
                    }
                }
            }
        }
    }
    probes
}

/// Addresses that more than one workload has.
#[must_use]
pub fn shared(workloads: &[Workload]) -> BTreeSet<IpAddr> {
    let mut seen = BTreeSet::new();
    let all = workloads
        .iter()
        .flat_map(|workload| workload.addresses.iter().copied());
    all.filter(|address| !seen.insert(*address)).collect()
}

struct SourcePorts<'a> {
    taken: &'a [u16],
    next: u16,
}

impl<'a> SourcePorts<'a> {
    fn new(taken: &'a [u16], seed: u16) -> Self {
        let offset = seed % (SOURCE_PORTS.end - SOURCE_PORTS.start);
        Self {
            taken,
            next: SOURCE_PORTS.start + offset,
        }
    }

    fn take(&mut self) -> u16 {
        loop {
            let port = self.next;
            self.next = if port + 1 == SOURCE_PORTS.end {
                SOURCE_PORTS.start
            } else {
                port + 1
            };
            if !self.taken.contains(&port) {
                return port;
            }
        }
    }
}

/// Every port number, 1–65,535, that a workload serves or a rule names: of a range its two ends, of a
/// name what the workloads serve under it, which they serve anyway.
pub fn named_ports<'a>(
    workloads: &[Workload],
    objects: impl IntoIterator<Item = &'a Object>,
) -> BTreeSet<u16> {
    let mut ports: BTreeSet<u16> = workloads
        .iter()
        .flat_map(|workload| workload.ports.iter().copied())
        .collect();
    for object in objects {
        match object {
            Object::NetworkPolicy(NetworkPolicy {
                ingress, egress, ..
            }) => {
                ports.extend(ingress.iter().chain(egress).flat_map(of_kube_rule));
            }
            Object::CalicoNetworkPolicy(CalicoPolicy {
                ingress, egress, ..
            })
            | Object::GlobalNetworkPolicy(CalicoPolicy {
                ingress, egress, ..
            })
            | Object::Profile(Profile {
                ingress, egress, ..
            }) => {
                ports.extend(ingress.iter().chain(egress).flat_map(of_rule));
            }
            Object::ClusterNetworkPolicy(ClusterNetworkPolicy {
                ingress, egress, ..
            }) => {
                ports.extend(ingress.iter().chain(egress).flat_map(of_cluster_rule));
            }
            Object::FelixConfiguration(configuration) => {
                let lists = [
                    &configuration.failsafe_inbound,
                    &configuration.failsafe_outbound,
                ];
                let open = lists.into_iter().flatten().flatten();
                ports.extend(open.map(|failsafe| failsafe.port));
            }
            Object::HostEndpoint(endpoint) => {
                ports.extend(endpoint.ports.iter().map(|port| port.port));
            }
            _ => {}
        }
    }
    ports.remove(&0);
    ports
}

fn of_kube_rule(rule: &KubeRule) -> impl Iterator<Item = u16> {
    rule.ports
        .iter()
        .flatten()
        .filter_map(|entry| entry.port.as_ref())
        .flat_map(ends)
}

fn of_cluster_rule(rule: &ClusterRule) -> impl Iterator<Item = u16> {
    let entries = rule.protocols.iter().flatten();
    entries
        .filter_map(|entry| match entry {
            ClusterProtocol::Ports(_, port) => port.as_ref(),
            ClusterProtocol::Named(_) => None,
        })
        .flat_map(ends)
}

fn of_rule(rule: &Rule) -> impl Iterator<Item = u16> {
    [&rule.source, &rule.destination]
        .into_iter()
        .flat_map(|side| side.ports.iter().chain(&side.not_ports))
        .flat_map(ends)
}

fn ends(port: &PortSpec) -> impl Iterator<Item = u16> + use<> {
    let (first, last) = match port {
        PortSpec::Range { first, last } => (Some(*first), Some(*last)),
        PortSpec::Name(_) => (None, None),
    };
    first.into_iter().chain(last)
}

/// Workloads that a text of the command line means: `namespace/name` or a name, of a workload or of
/// what it is a replica of, or `deploy/name`. The workload itself comes first.
///
/// # Errors
/// If it means none; the message names what there is.
pub fn find(workloads: &[Workload], text: &str) -> Result<BTreeSet<usize>, String> {
    let mut by_rank: BTreeMap<u8, BTreeSet<usize>> = BTreeMap::new();
    for (index, workload) in workloads.iter().enumerate() {
        let full = |name: &str| format!("{}/{name}", workload.namespace);
        let owner = workload.owner.as_deref();
        let is_owner = |name: &str| text == name || text == full(name);
        let short = owner.and_then(|owner| Some(owner.split_once('/')?.1));
        let rank = if text == workload.full_name() {
            0
        } else if text == workload.name || text == format!("pod/{}", workload.name) {
            1
        } else if owner.is_some_and(is_owner) {
            2
        } else if short.is_some_and(is_owner) {
            3
        } else {
            continue;
        };
        by_rank.entry(rank).or_default().insert(index);
    }
    by_rank.pop_first().map(|(_, found)| found).ok_or_else(|| {
        let some: Vec<String> = workloads.iter().take(5).map(Workload::full_name).collect();
        format!(
            "no workload {text:?}: expected namespace/name, a name, or kind/name such as deploy/web; \
             there are {} workloads, such as {}",
            workloads.len(),
            some.join(", ")
        )
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::state::WorkloadKind;

    /// A workload of namespace `shop` for tests.
    pub fn workload(
        name: &str,
        owner: Option<&str>,
        addresses: &[&str],
        ports: &[u16],
    ) -> Workload {
        Workload {
            kind: WorkloadKind::Pod,
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            owner: owner.map(str::to_owned),
            host: "host-1".to_owned(),
            netns: format!("oci-t-w-shop.{name}"),
            container_id: name.to_owned(),
            addresses: addresses.iter().map(|x| x.parse().unwrap()).collect(),
            ports: ports.to_vec(),
        }
    }

    #[test]
    fn every_pair_port_protocol_and_family_once() {
        let workloads = [
            workload("a", None, &["10.0.0.1", "fd00::1"], &[80]),
            workload("b", None, &["10.0.0.2", "fd00::2"], &[]),
            workload("c", None, &["10.0.0.3"], &[]),
            workload("d", None, &[], &[]),
        ];
        let ports = BTreeSet::from([80, 443]);
        let probes = plan(&workloads, &ports, &Filter::default(), 0);
        // Pairs: a-b in both families, a-c and b-c in IPv4, each in both directions.
        assert_eq!(probes.len(), (2 + 1 + 1) * 2 * 2 * 2);
        assert!(
            probes
                .iter()
                .all(|x| x.from != x.to && x.source.is_ipv4() == x.address.is_ipv4())
        );
        let only = Filter {
            from: BTreeSet::from([2]),
            ..Filter::default()
        };
        assert!(
            plan(&workloads, &ports, &only, 0)
                .iter()
                .all(|probe| probe.from == 2)
        );
    }

    #[test]
    fn ports_of_cluster_policies_count() {
        let text = "
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: a}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {}}
  ingress:
  - action: Deny
    from: [{namespaces: {}}]
    protocols: [{tcp: {destinationPort: {number: 8443}}}, {udp: {destinationPort: {range: {start: 5, end: 7}}}}]
";
        let loaded = ocicat_api::world::World::load([("a.yaml", text)]);
        assert!(!loaded.has_errors(), "{:?}", loaded.problems);
        let ports = named_ports(&[], loaded.world.objects.values());
        assert_eq!(ports, BTreeSet::from([5, 7, 8443]));
    }

    #[test]
    fn an_address_of_two_workloads_is_left_out() {
        let workloads = [
            workload("a", None, &["10.0.0.1", "10.0.0.9"], &[80]),
            workload("b", None, &["10.0.0.9"], &[]),
            workload("c", None, &["10.0.0.3"], &[]),
        ];
        let probes = plan(&workloads, &BTreeSet::from([80]), &Filter::default(), 0);
        let pairs: BTreeSet<(usize, usize)> = probes.iter().map(|x| (x.from, x.to)).collect();
        assert_eq!(pairs, BTreeSet::from([(0, 2), (2, 0)]));
    }

    #[test]
    fn source_ports_stay_in_their_range_and_leave_out_listeners() {
        let mut ports = SourcePorts::new(&[60_999, 32_768], 28_231);
        assert_eq!(ports.take(), 32_769);
        assert_eq!(
            SourcePorts::new(&[], 65_535).take(),
            32_768 + 65_535 % 28_232
        );
    }

    #[test]
    fn a_workload_is_found_by_each_of_its_names() {
        let workloads = [
            workload("web-1", Some("deploy/web"), &[], &[]),
            workload("web-2", Some("deploy/web"), &[], &[]),
        ];
        let found = |text| find(&workloads, text).map(|set| set.into_iter().collect::<Vec<_>>());
        assert_eq!(found("shop/web-2"), Ok(vec![1]));
        assert_eq!(found("web-1"), Ok(vec![0]));
        assert_eq!(found("deploy/web"), Ok(vec![0, 1]));
        assert_eq!(found("shop/deploy/web"), Ok(vec![0, 1]));
        assert_eq!(found("shop/web"), Ok(vec![0, 1]));
        assert_eq!(found("web"), Ok(vec![0, 1]));
        assert!(found("db").unwrap_err().contains("shop/web-1"));
    }
}

//! Rules of every kind of policy in one shape.

use std::sync::Arc;

use ipnet::IpNet;
use ocicat_api::policy::{ClusterPeer, ClusterProtocol, ClusterRule, KubePeer, KubePort, KubeRule};
use ocicat_api::rule::{Action, EntityRule, Icmp, Rule as CalicoRule};
use ocicat_api::{Family, PortSpec};
use ocicat_flow::Direction;

use crate::interval::{self, Interval};
use crate::label::{Name, Names};
use crate::owner::OwnerTest;
use crate::source::Interner;

/// Everything must hold: far side, near side, and one of the services.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) action: Action,
    /// A part could not be understood: the rule is at best undetermined.
    pub(crate) unreadable: bool,
    /// What the rule asks of the other end of the connection.
    pub(crate) far: Side,
    /// What the rule asks of the endpoint that judges.
    pub(crate) near: Side,
    /// At most one applies to any one protocol.
    pub(crate) services: Box<[Service]>,
    /// Protocol and port must be those of the Kubernetes service that the far side asks for.
    pub(crate) backend: bool,
}

impl AddressTest {
    /// Whether nobody can say it of an address without known owner. Addresses of nodes are known.
    pub(crate) fn asks_owner(&self) -> bool {
        matches!(self, Self::Owner(_) | Self::Service(..))
    }

    pub(crate) fn retain(&self, interner: &mut Interner) {
        match self {
            Self::Owner(test) | Self::Node(test) => interner.tests.retain(test),
            Self::Nets(_) => {}
            Self::Service(namespace, name) => {
                interner.names.retain(*namespace);
                interner.names.retain(*name);
            }
        }
    }

    pub(crate) fn release(&self, interner: &mut Interner) {
        match self {
            Self::Owner(test) | Self::Node(test) => {
                interner.tests.release(test, &mut interner.names);
            }
            Self::Nets(_) => {}
            Self::Service(namespace, name) => {
                interner.names.release(*namespace);
                interner.names.release(*name);
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Always,
    /// Each test must hold, or must not if it is negated.
    All(Box<[(AddressTest, Sense)]>),
    /// One test must hold; never, if there is none.
    Any(Box<[AddressTest]>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sense {
    Positive,
    Negative,
}

/// A question about an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum AddressTest {
    /// Some owner of the address satisfies the test.
    Owner(Arc<OwnerTest>),
    Nets(Arc<NetsTest>),
    /// The address is that of a node that satisfies the test.
    Node(Arc<OwnerTest>),
    /// The address is behind the service of this namespace and name.
    Service(Name, Name),
}

/// The address is inside one of `nets` and in none of `except`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct NetsTest {
    pub(crate) nets: Box<[IpNet]>,
    pub(crate) except: Box<[IpNet]>,
}

/// Protocol and ports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) protocol: Option<u8>,
    pub(crate) not_protocol: Option<u8>,
    pub(crate) icmp: Option<Icmp>,
    pub(crate) not_icmp: Option<Icmp>,
    pub(crate) source: Option<Box<Ports>>,
    pub(crate) destination: Option<Box<Ports>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) within: Option<PortList>,
    pub(crate) outside: Option<PortList>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PortList {
    pub(crate) numbers: Box<[Interval]>,
    pub(crate) names: Box<[Name]>,
}

impl Rule {
    /// The rule that matches everything and allows it.
    pub(crate) fn allow_all() -> Self {
        Self {
            action: Action::Allow,
            unreadable: false,
            far: Side::Always,
            near: Side::Always,
            services: Box::new([Service::default()]),
            backend: false,
        }
    }

    /// `namespace` is that of a namespaced policy. Acquires names and tests.
    pub(crate) fn from_calico(
        rule: &CalicoRule,
        direction: Direction,
        namespace: Option<&str>,
        interner: &mut Interner,
    ) -> Self {
        let (far, near) = match direction {
            Direction::Ingress => (&rule.source, &rule.destination),
            Direction::Egress => (&rule.destination, &rule.source),
        };
        let families = || {
            let nets = [&far.nets, &far.not_nets, &near.nets, &near.not_nets];
            nets.into_iter()
                .flatten()
                .map(Family::of)
                .chain(rule.ip_version)
        };
        let family = families().next();
        let contradiction = families().any(|other| Some(other) != family);
        // One side is enough to fix the family of both. A positive list of nets does so itself;
        // otherwise the near side does, because that does not split classes.
        let near_family = if far.nets.is_empty() { family } else { None };
        let (service, mut sound) = Service::from_calico(rule, &mut interner.names);
        // Services are asked of the far side only.
        sound &= near.service.is_none();
        let backend = direction == Direction::Egress && far.service.is_some();
        let far = if contradiction {
            Side::Any(Box::default())
        } else {
            Side::from_entity(far, namespace, None, interner)
        };
        Self {
            action: rule.action,
            unreadable: !rule.unreadable.is_empty() || !sound,
            far,
            near: Side::from_entity(near, namespace, near_family, interner),
            services: Box::new([service]),
            backend,
        }
    }

    pub(crate) fn from_kube(rule: &KubeRule, namespace: &str, interner: &mut Interner) -> Self {
        let far = match &rule.peers {
            None => Side::Always,
            Some(peers) => Side::Any(
                peers
                    .iter()
                    .map(|p| peer_test(p, namespace, interner))
                    .collect(),
            ),
        };
        let services = match &rule.ports {
            None => vec![Service::default()],
            Some(ports) => kube_services(ports, &mut interner.names),
        };
        Self {
            action: Action::Allow,
            unreadable: false,
            far,
            near: Side::Always,
            services: services.into(),
            backend: false,
        }
    }

    /// A rule that closes matches all peers or protocols of which some cannot be read.
    pub(crate) fn from_cluster(rule: &ClusterRule, interner: &mut Interner) -> Self {
        let closes = rule.action != Action::Allow;
        let unreadable = rule.unreadable_peers || rule.unreadable_protocols;
        let far = if closes && rule.unreadable_peers {
            Side::Always
        } else {
            let tests = rule.peers.iter().filter_map(|p| cluster_test(p, interner));
            Side::Any(tests.collect())
        };
        let protocols = rule.protocols.as_ref();
        let services = match protocols.filter(|_| !(closes && rule.unreadable_protocols)) {
            None => vec![Service::default()],
            Some(protocols) => cluster_services(protocols, &mut interner.names),
        };
        Self {
            action: rule.action,
            unreadable: closes && (unreadable || !rule.unreadable.is_empty()),
            far,
            near: Side::Always,
            services: services.into(),
            backend: false,
        }
    }

    /// Gives back what the constructors acquired.
    pub(crate) fn release(&self, interner: &mut Interner) {
        for test in self.far.tests().chain(self.near.tests()) {
            test.release(interner);
        }
        let lists = self
            .services
            .iter()
            .flat_map(|s| s.source.iter().chain(&s.destination));
        let lists = lists.flat_map(|ports| ports.within.iter().chain(&ports.outside));
        lists
            .flat_map(|list| &list.names)
            .for_each(|name| interner.names.release(*name));
    }
}

impl Side {
    pub(crate) fn tests(&self) -> impl Iterator<Item = &AddressTest> {
        let (all, any): (&[(AddressTest, Sense)], &[AddressTest]) = match self {
            Self::Always => (&[], &[]),
            Self::All(tests) => (tests, &[]),
            Self::Any(tests) => (&[], tests),
        };
        all.iter().map(|(test, _)| test).chain(any)
    }

    /// `family`, where given, must be that of the address.
    fn from_entity(
        entity: &EntityRule,
        namespace: Option<&str>,
        family: Option<Family>,
        interner: &mut Interner,
    ) -> Self {
        let mut tests = Vec::new();
        if !entity.nets.is_empty() {
            let test = nets_test(&entity.nets, &entity.not_nets);
            tests.push((test, Sense::Positive));
        } else if let Some(family) = family {
            tests.push((
                nets_test(&[whole(family)], &entity.not_nets),
                Sense::Positive,
            ));
        } else if !entity.not_nets.is_empty() {
            tests.push((nets_test(&entity.not_nets, &[]), Sense::Negative));
        }
        if let Some(service) = &entity.service {
            let namespace = interner.names.acquire(&service.namespace);
            let test = AddressTest::Service(namespace, interner.names.acquire(&service.name));
            tests.push((test, Sense::Positive));
        }
        if let Some(test) = positive_test(entity, namespace, interner) {
            tests.push((test, Sense::Positive));
        }
        if let Some(selector) = &entity.not_selector {
            let mut test = OwnerTest::default();
            test.select(selector, &mut interner.names);
            tests.push((owner_test(test, interner), Sense::Negative));
        }
        if tests.is_empty() {
            Self::Always
        } else {
            Self::All(tests.into())
        }
    }
}

fn positive_test(
    entity: &EntityRule,
    namespace: Option<&str>,
    interner: &mut Interner,
) -> Option<AddressTest> {
    let scoped_not = entity.not_selector.is_some() && namespace.is_some();
    let asks = entity.selector.is_some()
        || entity.namespace_selector.is_some()
        || entity.service_accounts.is_some();
    if !asks && !scoped_not {
        return None;
    }
    let names = &mut interner.names;
    let mut test = OwnerTest::default();
    match &entity.namespace_selector {
        Some(selector) => test.select_namespace(selector, names),
        None => test.scope = namespace.map(|namespace| names.acquire(namespace)),
    }
    if let Some(selector) = &entity.selector {
        test.select(selector, names);
    }
    if let Some(accounts) = &entity.service_accounts {
        test.select_account(&accounts.names, accounts.selector.as_ref(), names);
    }
    Some(owner_test(test, interner))
}

fn peer_test(peer: &KubePeer, namespace: &str, interner: &mut Interner) -> AddressTest {
    match peer {
        KubePeer::IpBlock { cidr, except } => nets_test(&[*cidr], except),
        KubePeer::Pods {
            namespace_selector,
            pod_selector,
        } => {
            let names = &mut interner.names;
            let mut test = OwnerTest {
                kube: true,
                ..OwnerTest::default()
            };
            match namespace_selector {
                Some(selector) => test.select_namespace(selector, names),
                None => test.scope = Some(names.acquire(namespace)),
            }
            if let Some(selector) = pod_selector {
                test.select(selector, names);
            }
            owner_test(test, interner)
        }
    }
}

/// `None`: no address matches.
fn cluster_test(peer: &ClusterPeer, interner: &mut Interner) -> Option<AddressTest> {
    let names = &mut interner.names;
    let mut test = OwnerTest::default();
    match peer {
        ClusterPeer::Namespaces(selector) => {
            test.kube = true;
            test.select_namespace(selector, names);
        }
        ClusterPeer::Pods {
            namespace_selector,
            pod_selector,
        } => {
            test.kube = true;
            test.select_namespace(namespace_selector, names);
            test.select(pod_selector, names);
        }
        ClusterPeer::Nodes(selector) => {
            test.select(selector, names);
            return Some(AddressTest::Node(interner.tests.acquire(test, names)));
        }
        ClusterPeer::Networks(nets) => return Some(nets_test(nets, &[])),
        ClusterPeer::Domains(_) => return None,
    }
    Some(owner_test(test, interner))
}

fn owner_test(test: OwnerTest, interner: &mut Interner) -> AddressTest {
    AddressTest::Owner(interner.tests.acquire(test, &mut interner.names))
}

fn nets_test(nets: &[IpNet], except: &[IpNet]) -> AddressTest {
    AddressTest::Nets(Arc::new(NetsTest {
        nets: net_list(nets),
        except: net_list(except),
    }))
}

/// Sorted, without host bits and repeats.
pub(crate) fn net_list(nets: &[IpNet]) -> Box<[IpNet]> {
    let mut nets: Vec<IpNet> = nets.iter().map(IpNet::trunc).collect();
    nets.sort_unstable();
    nets.dedup();
    nets.into()
}

/// The prefix that holds every address of the family.
pub(crate) fn whole(family: Family) -> IpNet {
    match family {
        Family::Ipv4 => IpNet::V4(ipnet::Ipv4Net::default()),
        Family::Ipv6 => IpNet::V6(ipnet::Ipv6Net::default()),
    }
}

impl Service {
    /// `false` if ports are asked of something that has none: the rule then fails closed.
    fn from_calico(rule: &CalicoRule, names: &mut Names) -> (Self, bool) {
        let has_ports = rule.protocol.is_some_and(|protocol| has_ports(protocol.0));
        let lists = |entity: &EntityRule| !entity.ports.is_empty() || !entity.not_ports.is_empty();
        let sound = has_ports || !(lists(&rule.source) || lists(&rule.destination));
        let mut ports = |entity: &EntityRule| {
            if !has_ports || !lists(entity) {
                return None;
            }
            let list = |specs: &[PortSpec], names: &mut Names| {
                (!specs.is_empty()).then(|| PortList::from_specs(specs, names))
            };
            let within = list(&entity.ports, names);
            let outside = list(&entity.not_ports, names);
            Some(Box::new(Ports { within, outside }))
        };
        let service = Self {
            protocol: rule.protocol.map(|protocol| protocol.0),
            not_protocol: rule.not_protocol.map(|protocol| protocol.0),
            icmp: rule.icmp,
            not_icmp: rule.not_icmp,
            source: ports(&rule.source),
            destination: ports(&rule.destination),
        };
        (service, sound)
    }

    /// The ports that are asked of the end whose address is far.
    pub(crate) fn far_ports(&self, direction: Direction) -> Option<&Ports> {
        match direction {
            Direction::Ingress => self.source.as_deref(),
            Direction::Egress => self.destination.as_deref(),
        }
    }

    pub(crate) fn near_ports(&self, direction: Direction) -> Option<&Ports> {
        match direction {
            Direction::Ingress => self.destination.as_deref(),
            Direction::Egress => self.source.as_deref(),
        }
    }
}

impl Ports {
    pub(crate) fn names(&self) -> impl Iterator<Item = Name> {
        self.within
            .iter()
            .chain(&self.outside)
            .flat_map(|list| list.names.iter().copied())
    }
}

impl PortList {
    fn from_specs<'a>(specs: impl IntoIterator<Item = &'a PortSpec>, names: &mut Names) -> Self {
        let mut numbers = Vec::new();
        let mut listed = Vec::new();
        for spec in specs {
            match spec {
                PortSpec::Range { first, last } => numbers.push((*first, *last)),
                PortSpec::Name(name) => listed.push(names.acquire(name)),
            }
        }
        listed.sort_unstable();
        Self {
            numbers: interval::normal(numbers).into(),
            names: listed.into(),
        }
    }
}

/// One service for each protocol that the entries name.
fn kube_services(ports: &[KubePort], names: &mut Names) -> Vec<Service> {
    let mut protocols: Vec<u8> = ports.iter().map(|port| port.protocol.0).collect();
    protocols.sort_unstable();
    protocols.dedup();
    let service = |protocol: u8| {
        let entries = || ports.iter().filter(|port| port.protocol.0 == protocol);
        let all = entries().any(|port| port.port.is_none());
        let destination = (!all).then(|| {
            let specs = entries().filter_map(|port| port.port.as_ref());
            let within = Some(PortList::from_specs(specs, names));
            Box::new(Ports {
                within,
                outside: None,
            })
        });
        Service {
            protocol: Some(protocol),
            destination,
            ..Service::default()
        }
    };
    protocols.into_iter().map(service).collect()
}

/// One service for each protocol that the entries name; a name may be of any that has ports.
fn cluster_services(entries: &[ClusterProtocol], names: &mut Names) -> Vec<Service> {
    let named = |entry: &ClusterProtocol| matches!(entry, ClusterProtocol::Named(_));
    let any_named = entries.iter().any(named);
    let of = |protocol: u8| {
        entries.iter().filter(move |entry| match entry {
            ClusterProtocol::Ports(other, _) => other.0 == protocol,
            ClusterProtocol::Named(_) => true,
        })
    };
    let service = |protocol: u8| {
        let all = of(protocol).any(|entry| matches!(entry, ClusterProtocol::Ports(_, None)));
        let specs: Vec<PortSpec> = of(protocol)
            .filter_map(|entry| match entry {
                ClusterProtocol::Ports(_, port) => port.clone(),
                ClusterProtocol::Named(name) => Some(PortSpec::Name(name.clone())),
            })
            .collect();
        let destination = (!all).then(|| {
            let within = Some(PortList::from_specs(&specs, names));
            Box::new(Ports {
                within,
                outside: None,
            })
        });
        Service {
            protocol: Some(protocol),
            destination,
            ..Service::default()
        }
    };
    let protocols = (0..=u8::MAX).filter(|p| has_ports(*p));
    protocols
        .filter(|p| any_named || of(*p).next().is_some())
        .map(service)
        .collect()
}

/// Whether rules may ask for ports of the protocol: TCP, UDP and SCTP.
pub(crate) fn has_ports(protocol: u8) -> bool {
    ocicat_node::Protocol(protocol).has_ports()
}

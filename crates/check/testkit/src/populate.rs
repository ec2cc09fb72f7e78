//! Random worlds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ocicat_api::Object;
use ocicat_api::core::{
    EndpointPort, IpPool, Namespace, Node, Pod, ServiceAccount, WorkloadEndpoint,
};
use ocicat_api::policy::{NetworkSet, Staged, StagedAction, Tier};
use ocicat_api::rule::Action;
use ocicat_oracle::World;

use crate::words::{
    ACCOUNTS, GIVEN_LABELS, LABELS, NAMESPACES, NODES, POOLS, PORT_NAMES, PROFILES, SERVICE_SPACES,
    TIERS, labels, metadata, net, node_address, order, outer_address, pool_address, port_protocol,
    random_net,
};
use crate::{Random, policy};

pub mod host;
pub mod service;

/// A world of up to 150 objects, every third one of a few only: some namespaces, accounts, tiers,
/// profiles and services are missing, some orders and priorities are equal, sets overlap each
/// other, pods and pools, some addresses have two owners, slices are stale and overlap, and some
/// policies are staged.
///
/// Every object is one that the decoder can yield, so that the world can be printed.
#[must_use]
pub fn random_world(random: &mut Random) -> World {
    let mut world = World::default();
    let size = random.weighted(&[
        (35, Size::Small),
        (46, Size::Usual),
        (15, Size::Strict),
        (4, Size::Dense),
    ]);
    for name in NAMESPACES {
        world
            .objects
            .extend(random.maybe(80, |random| keyed(namespace(random, name))));
        for account in ACCOUNTS {
            let percent = if account == "spare" { 10 } else { 60 };
            let object = random.maybe(percent, |random| service_account(random, name, account));
            world.objects.extend(object.map(keyed));
        }
    }
    for kind in ANY {
        let (first, last) = kind.share(size);
        for object in random.several(first, last, |random| kind.make(random)) {
            world.put(object);
        }
    }
    if size == Size::Dense {
        for name in ["p-1", "p-2"] {
            let space = random.pick(&NAMESPACES);
            let namespaced = policy::dense(random, Some(space), name);
            world.put(Object::CalicoNetworkPolicy(namespaced));
            world.put(Object::GlobalNetworkPolicy(policy::dense(
                random, None, name,
            )));
        }
    }
    let twins: Vec<Object> = world.objects.values().cloned().collect();
    for twin in twins {
        if random.chance(20) {
            world.objects.extend(staged_twin(random, &twin).map(keyed));
        }
    }
    world
}

/// Something staged under the name of an enforced policy, if it is one.
pub fn staged_twin(random: &mut Random, twin: &Object) -> Option<Object> {
    let metadata = twin.metadata();
    let (space, name) = (metadata.namespace.clone(), &*metadata.name);
    let mut calico = |policy: &ocicat_api::policy::CalicoPolicy| Staged {
        action: staged_action(random),
        policy: match random.chance(50) {
            // The same policy in another place.
            true => ocicat_api::policy::CalicoPolicy {
                order: order(random),
                ..policy.clone()
            },
            false => policy::calico(random, space.as_deref(), name),
        },
    };
    Some(match twin {
        Object::CalicoNetworkPolicy(policy) => Object::StagedNetworkPolicy(calico(policy)),
        Object::GlobalNetworkPolicy(policy) => Object::StagedGlobalNetworkPolicy(calico(policy)),
        Object::NetworkPolicy(_) => {
            let space = space.as_deref().unwrap_or("default");
            Object::StagedKubernetesNetworkPolicy(Staged {
                action: staged_action(random),
                policy: policy::kube(random, space, name),
            })
        }
        _ => return None,
    })
}

pub fn staged_action(random: &mut Random) -> StagedAction {
    random.weighted(&[
        (60, StagedAction::Set),
        (25, StagedAction::Delete),
        (8, StagedAction::Learn),
        (7, StagedAction::Ignore),
    ])
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    /// What other objects bring along is not there.
    Small,
    Usual,
    /// Many policies.
    Strict,
    /// Policies with many nets and ports.
    Dense,
}

/// A kind of object that random worlds hold several of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Species {
    Pod,
    WorkloadEndpoint,
    NetworkSet,
    GlobalNetworkSet,
    IpPool,
    Node,
    Tier,
    CalicoNetworkPolicy,
    GlobalNetworkPolicy,
    NetworkPolicy,
    Profile,
    HostEndpoint,
    Service,
    EndpointSlice,
    ClusterNetworkPolicy,
    StagedNetworkPolicy,
    StagedGlobalNetworkPolicy,
    StagedKubernetesNetworkPolicy,
}

const ANY: [Species; 18] = [
    Species::Pod,
    Species::WorkloadEndpoint,
    Species::NetworkSet,
    Species::GlobalNetworkSet,
    Species::IpPool,
    Species::Node,
    Species::Tier,
    Species::CalicoNetworkPolicy,
    Species::GlobalNetworkPolicy,
    Species::NetworkPolicy,
    Species::Profile,
    Species::HostEndpoint,
    Species::Service,
    Species::EndpointSlice,
    Species::ClusterNetworkPolicy,
    Species::StagedNetworkPolicy,
    Species::StagedGlobalNetworkPolicy,
    Species::StagedKubernetesNetworkPolicy,
];

impl Species {
    /// An object of any kind.
    pub fn any(random: &mut Random) -> Object {
        random.pick(&ANY).make(random)
    }

    /// How many of them a world has, at least and at most.
    fn share(self, size: Size) -> (usize, usize) {
        match self {
            _ if size == Size::Small => (0, 2),
            Self::CalicoNetworkPolicy | Self::GlobalNetworkPolicy if size == Size::Strict => {
                (6, 14)
            }
            Self::Pod => (3, 12),
            Self::WorkloadEndpoint => (1, 6),
            Self::NetworkSet | Self::GlobalNetworkSet | Self::NetworkPolicy => (0, 4),
            Self::IpPool => (1, 4),
            Self::Node => (0, 3),
            Self::Tier => (0, 5),
            Self::CalicoNetworkPolicy | Self::GlobalNetworkPolicy => (0, 6),
            Self::Profile => (2, 5),
            Self::HostEndpoint => (0, 5),
            Self::EndpointSlice => (2, 8),
            Self::Service | Self::ClusterNetworkPolicy => (0, 3),
            // Most are made beside their twins.
            Self::StagedNetworkPolicy
            | Self::StagedGlobalNetworkPolicy
            | Self::StagedKubernetesNetworkPolicy => (0, 1),
        }
    }

    /// One of them, under a name that another may have: the later replaces the earlier.
    pub fn make(self, random: &mut Random) -> Object {
        let name = format!("{}{}", self.stem(), random.between(1, 20));
        let space = random.pick(&NAMESPACES);
        match self {
            Self::Pod => Object::Pod(pod(random, space, &name)),
            Self::WorkloadEndpoint => Object::WorkloadEndpoint(workload(random, space, &name)),
            Self::NetworkSet => Object::NetworkSet(set(random, Some(space), &name)),
            Self::GlobalNetworkSet => Object::GlobalNetworkSet(set(random, None, &name)),
            Self::IpPool => Object::IpPool(pool(random, &name)),
            Self::Node => Object::Node(Node {
                metadata: metadata(None, &name, policy::outer_labels(random)),
                addresses: without_repeats(random.several(0, 2, node_address)),
            }),
            Self::Tier => tier(random),
            Self::CalicoNetworkPolicy => {
                Object::CalicoNetworkPolicy(policy::calico(random, Some(space), &name))
            }
            Self::GlobalNetworkPolicy => {
                Object::GlobalNetworkPolicy(policy::calico(random, None, &name))
            }
            Self::NetworkPolicy => Object::NetworkPolicy(policy::kube(random, space, &name)),
            Self::Profile => {
                let name = random.pick(&PROFILES);
                let name = if name == "missing" { "kns.gone" } else { name };
                Object::Profile(policy::profile(random, name))
            }
            Self::HostEndpoint => Object::HostEndpoint(host::endpoint(random, &name)),
            Self::Service => Object::Service(service::service(random, space)),
            Self::EndpointSlice => {
                let space = random.pick(&SERVICE_SPACES);
                Object::EndpointSlice(service::slice(random, space, &name))
            }
            Self::ClusterNetworkPolicy => {
                Object::ClusterNetworkPolicy(policy::cluster(random, &name))
            }
            Self::StagedNetworkPolicy => Object::StagedNetworkPolicy(Staged {
                action: staged_action(random),
                policy: policy::calico(random, Some(space), &name),
            }),
            Self::StagedGlobalNetworkPolicy => Object::StagedGlobalNetworkPolicy(Staged {
                action: staged_action(random),
                policy: policy::calico(random, None, &name),
            }),
            Self::StagedKubernetesNetworkPolicy => Object::StagedKubernetesNetworkPolicy(Staged {
                action: staged_action(random),
                policy: policy::kube(random, space, &name),
            }),
        }
    }

    /// Policies of all kinds share names, so that their order falls back on namespace and kind.
    fn stem(self) -> &'static str {
        match self {
            Self::Pod => "pod-",
            Self::WorkloadEndpoint => "wep-",
            Self::NetworkSet | Self::GlobalNetworkSet => "set-",
            Self::IpPool => "pool-",
            Self::Node => "node-",
            Self::Tier => "tier-",
            Self::CalicoNetworkPolicy
            | Self::GlobalNetworkPolicy
            | Self::NetworkPolicy
            | Self::ClusterNetworkPolicy
            | Self::StagedNetworkPolicy
            | Self::StagedGlobalNetworkPolicy
            | Self::StagedKubernetesNetworkPolicy => "p-",
            Self::Profile => "profile-",
            Self::HostEndpoint => "hep-",
            Self::Service => "service-",
            Self::EndpointSlice => "slice-",
        }
    }
}

pub fn namespace(random: &mut Random, name: &str) -> Object {
    let mut labels = policy::outer_labels(random);
    // The decoder adds it, as the API server does.
    labels.insert("kubernetes.io/metadata.name".into(), name.into());
    Object::Namespace(Namespace {
        metadata: metadata(None, name, labels),
    })
}

pub fn service_account(random: &mut Random, space: &str, name: &str) -> Object {
    let labels = policy::outer_labels(random);
    Object::ServiceAccount(ServiceAccount {
        metadata: metadata(Some(space), name, labels),
    })
}

fn keyed(object: Object) -> (ocicat_api::ObjectKey, Object) {
    (object.key(), object)
}

pub fn pod(random: &mut Random, space: &str, name: &str) -> Pod {
    let address = |random: &mut Random, version| match random.chance(90) {
        true => pool_address(random, version),
        false => outer_address(random, version),
    };
    Pod {
        metadata: metadata(Some(space), name, endpoint_labels(random)),
        node: Some(random.pick(&NODES).into()),
        service_account: random.pick(&ACCOUNTS[..2]).into(),
        host_network: random.chance(5),
        finished: random.chance(8),
        addresses: addresses(random, address),
        ports: random.several(0, 3, endpoint_port),
    }
}

fn workload(random: &mut Random, space: &str, name: &str) -> WorkloadEndpoint {
    let address = |random: &mut Random, version| match random.chance(40) {
        true => pool_address(random, version),
        false => outer_address(random, version),
    };
    let pod = random.maybe(25, |random| format!("pod-{}", random.between(1, 20)).into());
    WorkloadEndpoint {
        metadata: metadata(Some(space), name, endpoint_labels(random)),
        node: random.pick(&NODES).into(),
        orchestrator: random.pick(&["bare", "bare", "k8s"]).into(),
        pod,
        interface: None,
        mac: None,
        addresses: addresses(random, address),
        profiles: random.several(0, 4, |random| profile_name(random, space)),
        service_account: random.maybe(50, |random| random.pick(&ACCOUNTS).into()),
        ports: random.several(0, 2, endpoint_port),
        allowed_sources: Vec::new(),
    }
}

pub fn profile_name(random: &mut Random, space: &str) -> Arc<str> {
    match random.below(100) {
        0..20 => format!("kns.{space}").into(),
        20..25 => format!("kns.{}", random.pick(&["edge", "gone", "lab"])).into(),
        25..40 => format!("ksa.{space}.{}", random.pick(&ACCOUNTS)).into(),
        _ => random.pick(&PROFILES).into(),
    }
}

/// Mostly of both families; seldom none.
pub fn addresses(
    random: &mut Random,
    mut address: impl FnMut(&mut Random, u8) -> IpAddr,
) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for (version, percent) in [(4, 90), (6, 65)] {
        if random.chance(percent) {
            addresses.push(address(random, version));
        }
    }
    if random.chance(3) {
        addresses.push(address(random, 4));
    }
    without_repeats(addresses)
}

/// The decoder leaves them out.
pub fn without_repeats(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut seen = BTreeSet::new();
    addresses.retain(|address| seen.insert(*address));
    addresses
}

pub fn endpoint_labels(random: &mut Random) -> BTreeMap<Arc<str>, Arc<str>> {
    let mut own = labels(random, &LABELS, 45);
    if random.chance(15) {
        own.extend(labels(random, &GIVEN_LABELS, 25));
    }
    own
}

pub fn endpoint_port(random: &mut Random) -> EndpointPort {
    let name = if random.chance(85) {
        random.pick(&PORT_NAMES)
    } else {
        ""
    };
    EndpointPort {
        name: name.into(),
        protocol: port_protocol(random),
        port: random.pick(&[53, 80, 443, 1000, 1500, 8080]),
    }
}

fn set(random: &mut Random, space: Option<&str>, name: &str) -> NetworkSet {
    NetworkSet {
        metadata: metadata(space, name, endpoint_labels(random)),
        nets: random.several(0, 4, random_net),
        domains: Vec::new(),
    }
}

fn pool(random: &mut Random, name: &str) -> IpPool {
    let cidr = net(random.pick(&POOLS));
    IpPool {
        metadata: metadata(None, name, BTreeMap::new()),
        cidr,
        block_size: if cidr.addr().is_ipv4() { 28 } else { 124 },
        disabled: random.chance(20),
        nat_outgoing: random.chance(50),
    }
}

/// Fixed tiers may have objects too, which say nothing.
fn tier(random: &mut Random) -> Object {
    let mut name = random.pick(&TIERS);
    if name == "gone" {
        name = "alpha";
    }
    Object::Tier(Tier {
        metadata: metadata(None, name, BTreeMap::new()),
        order: order(random),
        default_action: if random.chance(50) {
            Action::Deny
        } else {
            Action::Pass
        },
    })
}

//! Who is there: endpoints and network sets with their labels, and who owns an address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use ocicat_api::core::{EndpointPort, Pod, WorkloadEndpoint};
use ocicat_api::policy::NetworkSet;
use ocicat_api::{Kind, Object, ObjectKey};

use crate::expression::LabelMap;
use crate::hosts::HostEndpoint;
use crate::world::{World, namespace_of};

/// All endpoints, host endpoints and network sets of a world, worked out once for many questions.
#[derive(Debug, Clone)]
pub struct Census<'w> {
    pub world: &'w World,
    pub endpoints: Vec<Endpoint>,
    pub hosts: Vec<HostEndpoint>,
    pub sets: Vec<Set>,
}

/// A Pod or WorkloadEndpoint that has policy. [1]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub key: ObjectKey,
    pub namespace: String,
    pub orchestrator: String,
    pub service_account: Option<String>,
    pub addresses: Vec<IpAddr>,
    pub ports: Vec<EndpointPort>,
    /// Names, in the order in which they are asked.
    pub profiles: Vec<String>,
    /// Own and inherited.
    pub labels: BTreeMap<String, String>,
}

/// A NetworkSet or GlobalNetworkSet. [3]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    pub key: ObjectKey,
    /// `None` for a GlobalNetworkSet.
    pub namespace: Option<String>,
    pub nets: Vec<IpNet>,
    /// Own and inherited.
    pub labels: BTreeMap<String, String>,
}

/// Someone to whom an address belongs. [3]
#[derive(Debug, Clone, Copy)]
pub enum Owner<'c> {
    Endpoint(&'c Endpoint),
    Host(&'c HostEndpoint),
    Set(&'c Set),
}

impl<'w> Census<'w> {
    #[must_use]
    pub fn new(world: &'w World) -> Self {
        let mut census = Self {
            world,
            endpoints: Vec::new(),
            hosts: Vec::new(),
            sets: Vec::new(),
        };
        for object in world.objects.values() {
            match object {
                Object::Pod(pod) => census.endpoints.extend(of_pod(world, pod, object.key())),
                Object::WorkloadEndpoint(wep) => {
                    census
                        .endpoints
                        .extend(of_workload(world, wep, object.key()));
                }
                Object::HostEndpoint(host) => {
                    census
                        .hosts
                        .push(HostEndpoint::of(world, host, object.key()));
                }
                Object::NetworkSet(set) | Object::GlobalNetworkSet(set) => {
                    census.sets.push(of_set(world, set, object.key()));
                }
                _ => {}
            }
        }
        census
    }

    /// The endpoint of that key, if the object exists and is an endpoint.
    #[must_use]
    pub fn endpoint(&self, key: &ObjectKey) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.key == *key)
    }

    /// All endpoints that have the address.
    pub fn endpoints_at(&self, address: IpAddr) -> impl Iterator<Item = &Endpoint> {
        self.endpoints
            .iter()
            .filter(move |endpoint| endpoint.addresses.contains(&address))
    }

    /// All host endpoints that expect the address. [16]
    pub fn hosts_at(&self, address: IpAddr) -> impl Iterator<Item = &HostEndpoint> {
        self.hosts
            .iter()
            .filter(move |host| host.addresses.contains(&address))
    }

    /// [3, 16]
    pub(crate) fn owners(&self, address: IpAddr) -> Vec<Owner<'_>> {
        let endpoints = self.endpoints_at(address).map(Owner::Endpoint);
        let around = |set: &&Set| set.nets.iter().any(|net| net.contains(&address));
        endpoints
            .chain(self.hosts_at(address).map(Owner::Host))
            .chain(self.sets.iter().filter(around).map(Owner::Set))
            .collect()
    }

    /// The ports of all endpoints and host endpoints that have the address. [12, 16]
    pub(crate) fn ports_at(&self, address: IpAddr) -> impl Iterator<Item = &EndpointPort> {
        let of_endpoints = self.endpoints_at(address).flat_map(|x| &x.ports);
        of_endpoints.chain(self.hosts_at(address).flat_map(|x| &x.ports))
    }

    /// [9] Inside a pool, and neither an endpoint's, nor a host endpoint's, nor a node's.
    #[must_use]
    pub fn is_unclaimed(&self, address: IpAddr) -> bool {
        let in_pool = |object: &Object| match object {
            Object::IpPool(pool) => pool.cidr.contains(&address),
            _ => false,
        };
        let of_node = |object: &Object| match object {
            Object::Node(node) => node.addresses.contains(&address),
            _ => false,
        };
        self.world.objects.values().any(in_pool)
            && !self.world.objects.values().any(of_node)
            && self.endpoints_at(address).next().is_none()
            && self.hosts_at(address).next().is_none()
    }
}

impl Owner<'_> {
    pub(crate) fn namespace(&self) -> Option<&str> {
        match self {
            Self::Endpoint(endpoint) => Some(&endpoint.namespace),
            Self::Host(_) => None,
            Self::Set(set) => set.namespace.as_deref(),
        }
    }

    pub(crate) fn labels(&self) -> &LabelMap {
        match self {
            Self::Endpoint(endpoint) => &endpoint.labels,
            Self::Host(host) => &host.labels,
            Self::Set(set) => &set.labels,
        }
    }
}

/// [4] What a `namespaceSelector` reads for someone of this namespace.
pub fn namespace_labels(world: &World, name: &str) -> LabelMap {
    let mut labels = LabelMap::new();
    if let Some(namespace) = world.namespace(name) {
        labels = plain(&namespace.metadata.labels);
    }
    labels.insert("projectcalico.org/name".to_owned(), name.to_owned());
    labels
}

/// [4] What a service account selector reads for someone of this service account.
pub fn service_account_labels(world: &World, namespace: &str, name: &str) -> LabelMap {
    let mut labels = LabelMap::new();
    if let Some(account) = world.service_account(namespace, name) {
        labels = plain(&account.metadata.labels);
    }
    labels.insert("projectcalico.org/name".to_owned(), name.to_owned());
    labels
}

/// A profile, by what stands behind its name. [2]
#[derive(Debug, Clone, Copy)]
pub enum ProfileSource<'w> {
    Namespace(&'w ocicat_api::core::Namespace),
    ServiceAccount(&'w ocicat_api::core::ServiceAccount),
    Object(&'w ocicat_api::policy::Profile),
}

/// [2] `kns.X` is Namespace X if there is one, `ksa.N.S` is ServiceAccount N/S if there is one,
/// everything else is a Profile object if there is one.
pub fn find_profile<'w>(world: &'w World, name: &str) -> Option<ProfileSource<'w>> {
    if let Some(namespace) = name
        .strip_prefix("kns.")
        .and_then(|name| world.namespace(name))
    {
        return Some(ProfileSource::Namespace(namespace));
    }
    let account = name
        .strip_prefix("ksa.")
        .and_then(|name| name.split_once('.'));
    if let Some(account) = account.and_then(|(n, s)| world.service_account(n, s)) {
        return Some(ProfileSource::ServiceAccount(account));
    }
    world.profile(name).map(ProfileSource::Object)
}

/// [1]
fn of_pod(world: &World, pod: &Pod, key: ObjectKey) -> Option<Endpoint> {
    if pod.host_network || pod.finished || pod.addresses.is_empty() {
        return None;
    }
    let namespace = namespace_of(&pod.metadata);
    let account = pod.service_account.to_string();
    let mut endpoint = Endpoint {
        key,
        orchestrator: "k8s".to_owned(),
        addresses: pod.addresses.clone(),
        ports: pod.ports.clone(),
        profiles: vec![
            format!("kns.{namespace}"),
            format!("ksa.{namespace}.{account}"),
        ],
        namespace,
        service_account: Some(account),
        labels: plain(&pod.metadata.labels),
    };
    complete_labels(world, &mut endpoint);
    Some(endpoint)
}

/// [1] The Pod speaks for the WorkloadEndpoint that names it.
fn of_workload(world: &World, wep: &WorkloadEndpoint, key: ObjectKey) -> Option<Endpoint> {
    let namespace = namespace_of(&wep.metadata);
    if wep
        .pod
        .as_ref()
        .is_some_and(|pod| world.pod(&namespace, pod).is_some())
    {
        return None;
    }
    let mut endpoint = Endpoint {
        key,
        namespace,
        orchestrator: wep.orchestrator.to_string(),
        service_account: wep.service_account.as_ref().map(ToString::to_string),
        addresses: wep.addresses.clone(),
        ports: wep.ports.clone(),
        profiles: wep.profiles.iter().map(ToString::to_string).collect(),
        labels: plain(&wep.metadata.labels),
    };
    complete_labels(world, &mut endpoint);
    Some(endpoint)
}

/// [1] The three labels that say what an endpoint is, then what its profiles give.
fn complete_labels(world: &World, endpoint: &mut Endpoint) {
    let labels = &mut endpoint.labels;
    labels.insert(
        "projectcalico.org/namespace".to_owned(),
        endpoint.namespace.clone(),
    );
    labels.insert(
        "projectcalico.org/orchestrator".to_owned(),
        endpoint.orchestrator.clone(),
    );
    if let Some(account) = &endpoint.service_account {
        labels.insert(
            "projectcalico.org/serviceaccount".to_owned(),
            account.clone(),
        );
    }
    inherit_labels(world, &endpoint.profiles, labels);
}

/// [1, 16] What profiles give, where absent.
pub fn inherit_labels(world: &World, profiles: &[String], labels: &mut LabelMap) {
    for name in profiles {
        let given = match find_profile(world, name) {
            Some(ProfileSource::Namespace(x)) => prefixed("pcns.", &x.metadata.labels),
            Some(ProfileSource::ServiceAccount(x)) => prefixed("pcsa.", &x.metadata.labels),
            Some(ProfileSource::Object(profile)) => plain(&profile.labels_to_apply),
            None => LabelMap::new(),
        };
        add_absent(labels, given);
    }
}

/// [3]
fn of_set(world: &World, set: &NetworkSet, key: ObjectKey) -> Set {
    let namespace = (key.kind == Kind::NetworkSet).then(|| namespace_of(&set.metadata));
    let mut labels = plain(&set.metadata.labels);
    if let Some(name) = &namespace {
        labels.insert("projectcalico.org/namespace".to_owned(), name.clone());
        if let Some(object) = world.namespace(name) {
            add_absent(&mut labels, prefixed("pcns.", &object.metadata.labels));
        }
    }
    Set {
        key,
        namespace,
        nets: set.nets.clone(),
        labels,
    }
}

fn add_absent(labels: &mut LabelMap, given: LabelMap) {
    for (name, value) in given {
        labels.entry(name).or_insert(value);
    }
}

pub fn plain(labels: &BTreeMap<Arc<str>, Arc<str>>) -> LabelMap {
    prefixed("", labels)
}

fn prefixed(prefix: &str, labels: &BTreeMap<Arc<str>, Arc<str>>) -> LabelMap {
    labels
        .iter()
        .map(|(name, value)| (format!("{prefix}{name}"), value.to_string()))
        .collect()
}

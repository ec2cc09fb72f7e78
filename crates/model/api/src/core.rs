//! Kinds of Kubernetes and Calico that we read to know who exists and where.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{Metadata, PortSpec, Protocol};

/// A namespace. `metadata.labels` includes `kubernetes.io/metadata.name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    pub metadata: Metadata,
}

/// A service account: pods take on its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    pub metadata: Metadata,
}

/// What is served under a port number or name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointPort {
    /// May be empty: a port without a name.
    pub name: Arc<str>,
    pub protocol: Protocol,
    pub port: u16,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    pub metadata: Metadata,
    pub node: Option<Arc<str>>,
    /// Default `default`.
    pub service_account: Arc<str>,
    pub host_network: bool,
    /// `status.phase` is Succeeded or Failed: the pod's addresses are free.
    pub finished: bool,
    /// `status.podIPs`, or `status.podIP`, or the annotation `cni.projectcalico.org/podIPs`.
    pub addresses: Vec<IpAddr>,
    /// Of all containers, init containers with `restartPolicy: Always` included.
    pub ports: Vec<EndpointPort>,
}

/// `projectcalico.org/v3` WorkloadEndpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadEndpoint {
    pub metadata: Metadata,
    pub node: Arc<str>,
    pub orchestrator: Arc<str>,
    /// Name of the Pod, for orchestrator `k8s`.
    pub pod: Option<Arc<str>>,
    pub interface: Option<Arc<str>>,
    pub mac: Option<[u8; 6]>,
    /// `ipNetworks`; each is one address.
    pub addresses: Vec<IpAddr>,
    pub profiles: Vec<Arc<str>>,
    pub service_account: Option<Arc<str>>,
    pub ports: Vec<EndpointPort>,
    /// `allowSpoofedSourcePrefixes`: what it may send from besides its addresses, where the
    /// configuration lets workloads ask for that.
    pub allowed_sources: Vec<IpNet>,
}

impl IpPool {
    /// The pools that a cluster has where nobody says which: name, CIDR, prefix length of a block.
    pub const ASSUMED: [(&str, IpNet, u8); 2] = [
        (
            "default-ipv4-ippool",
            IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16)),
            26,
        ),
        (
            "default-ipv6-ippool",
            IpNet::V6(Ipv6Net::new_assert(
                Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, 0),
                48,
            )),
            122,
        ),
    ];
}

impl Pod {
    /// The annotation that says what a pod may send from besides its addresses: a JSON list of CIDRs.
    pub const ALLOWED_SOURCES: &str = "cni.projectcalico.org/allowedSourcePrefixes";

    /// The annotation that asks for certain addresses: a JSON list of addresses.
    pub const WANTED_ADDRESSES: &str = "cni.projectcalico.org/ipAddrs";

    /// What that annotation asks for; nothing if it cannot be read.
    #[must_use]
    pub fn wanted_addresses(&self) -> Vec<IpAddr> {
        let text = self.metadata.annotations.get(Self::WANTED_ADDRESSES);
        text.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    /// What [`Pod::ALLOWED_SOURCES`] says; nothing if it cannot be read, which its decoding has reported.
    #[must_use]
    pub fn allowed_sources(&self) -> Vec<IpNet> {
        crate::decode::allowed_sources(&self.metadata).unwrap_or_default()
    }
}

/// A host: `v1` Node or `projectcalico.org/v3` Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub metadata: Metadata,
    /// `status.addresses` of type InternalIP; `spec.bgp` addresses and tunnel addresses of a Calico
    /// Node, or of the annotations that Calico keeps of them on a Kubernetes Node.
    pub addresses: Vec<IpAddr>,
}

/// `projectcalico.org/v3` IPPool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpPool {
    pub metadata: Metadata,
    pub cidr: IpNet,
    /// Prefix length of a block; default 26 and 122.
    pub block_size: u8,
    pub disabled: bool,
    pub nat_outgoing: bool,
}

/// `projectcalico.org/v3` IPAMBlock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpamBlock {
    pub metadata: Metadata,
    pub cidr: IpNet,
    /// The `NODE` of affinity `host:NODE`.
    pub node: Option<Arc<str>>,
    /// For each allocated ordinal of the block, its handle.
    pub allocations: BTreeMap<u32, Arc<str>>,
}

/// Deployment, StatefulSet, DaemonSet, ReplicaSet or Job: makes pods from a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    pub metadata: Metadata,
    /// Default 1; a DaemonSet's is decided by the number of nodes, a Job's is `parallelism`.
    pub replicas: u32,
    /// Labels and annotations of the pods, and what the pods serve. `metadata.name` is empty.
    pub template: Pod,
}

/// A service. What it serves is in its [`EndpointSlice`]s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub metadata: Metadata,
    /// `spec.clusterIPs` and `spec.externalIPs` and those of the load balancer: addresses that are
    /// translated. Without `None`.
    pub addresses: Vec<IpAddr>,
    pub ports: Vec<ServicePort>,
    /// `spec.selector`; absent for services whose endpoints others write.
    pub selector: Option<BTreeMap<Arc<str>, Arc<str>>>,
}

/// One port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// May be empty.
    pub name: Arc<str>,
    pub protocol: Protocol,
    pub port: u16,
    /// A number or name of the pods' ports; default `port`.
    pub target: PortSpec,
}

/// `discovery.k8s.io/v1` EndpointSlice: a part of what is behind a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSlice {
    pub metadata: Metadata,
    /// Label `kubernetes.io/service-name`; a slice without it belongs to no service.
    pub service: Option<Arc<str>>,
    /// Addresses of all endpoints, ready or not: a connection may last longer than readiness.
    pub addresses: Vec<IpAddr>,
    /// A port without number is every port of its protocol.
    pub ports: Vec<SlicePort>,
}

/// One port of an [`EndpointSlice`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlicePort {
    pub protocol: Protocol,
    pub port: Option<u16>,
}

/// `projectcalico.org/v3` HostEndpoint: an interface of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEndpoint {
    pub metadata: Metadata,
    pub node: Arc<str>,
    pub interface: HostInterface,
    /// `expectedIPs`: the addresses by which selectors of rules know the endpoint.
    pub expected_ips: Vec<IpAddr>,
    pub profiles: Vec<Arc<str>>,
    pub ports: Vec<EndpointPort>,
}

/// Which interfaces a host endpoint stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostInterface {
    /// `interfaceName`: at most 15 bytes.
    Named(Arc<str>),
    /// `interfaceName: "*"`: all that are not of workloads.
    All,
    /// No `interfaceName`: the interface that holds one of `expectedIPs`.
    ByAddress,
}

//! All kinds in one place.

use crate::config::{FelixConfiguration, KubeControllersConfiguration};
use crate::core::{
    Controller, EndpointSlice, HostEndpoint, IpPool, IpamBlock, Namespace, Node, Pod, Service,
    ServiceAccount, WorkloadEndpoint,
};
use crate::policy::{
    CalicoPolicy, ClusterNetworkPolicy, NetworkPolicy, NetworkSet, Profile, Staged, Tier,
};
use crate::{Metadata, ObjectKey};

/// The kinds that are read. The name of a variant is the name of the kind, except where two
/// groups share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Namespace,
    ServiceAccount,
    Service,
    Node,
    Pod,
    Deployment,
    StatefulSet,
    DaemonSet,
    ReplicaSet,
    Job,
    /// `networking.k8s.io/v1`.
    NetworkPolicy,
    /// `projectcalico.org/v3`.
    CalicoNetworkPolicy,
    GlobalNetworkPolicy,
    Tier,
    NetworkSet,
    GlobalNetworkSet,
    Profile,
    WorkloadEndpoint,
    IpPool,
    IpamBlock,
    EndpointSlice,
    ClusterNetworkPolicy,
    StagedNetworkPolicy,
    StagedGlobalNetworkPolicy,
    StagedKubernetesNetworkPolicy,
    HostEndpoint,
    FelixConfiguration,
    KubeControllersConfiguration,
}

/// One decoded object.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    Namespace(Namespace),
    ServiceAccount(ServiceAccount),
    Service(Service),
    Node(Node),
    Pod(Pod),
    /// Its kind is one of Deployment, StatefulSet, DaemonSet, ReplicaSet and Job.
    Controller(Kind, Controller),
    NetworkPolicy(NetworkPolicy),
    CalicoNetworkPolicy(CalicoPolicy),
    GlobalNetworkPolicy(CalicoPolicy),
    Tier(Tier),
    NetworkSet(NetworkSet),
    GlobalNetworkSet(NetworkSet),
    Profile(Profile),
    WorkloadEndpoint(WorkloadEndpoint),
    IpPool(IpPool),
    IpamBlock(IpamBlock),
    EndpointSlice(EndpointSlice),
    ClusterNetworkPolicy(ClusterNetworkPolicy),
    StagedNetworkPolicy(Staged<CalicoPolicy>),
    StagedGlobalNetworkPolicy(Staged<CalicoPolicy>),
    StagedKubernetesNetworkPolicy(Staged<NetworkPolicy>),
    HostEndpoint(HostEndpoint),
    FelixConfiguration(FelixConfiguration),
    KubeControllersConfiguration(KubeControllersConfiguration),
}

impl Object {
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Namespace(_) => Kind::Namespace,
            Self::ServiceAccount(_) => Kind::ServiceAccount,
            Self::Service(_) => Kind::Service,
            Self::Node(_) => Kind::Node,
            Self::Pod(_) => Kind::Pod,
            Self::Controller(kind, _) => *kind,
            Self::NetworkPolicy(_) => Kind::NetworkPolicy,
            Self::CalicoNetworkPolicy(_) => Kind::CalicoNetworkPolicy,
            Self::GlobalNetworkPolicy(_) => Kind::GlobalNetworkPolicy,
            Self::Tier(_) => Kind::Tier,
            Self::NetworkSet(_) => Kind::NetworkSet,
            Self::GlobalNetworkSet(_) => Kind::GlobalNetworkSet,
            Self::Profile(_) => Kind::Profile,
            Self::WorkloadEndpoint(_) => Kind::WorkloadEndpoint,
            Self::IpPool(_) => Kind::IpPool,
            Self::IpamBlock(_) => Kind::IpamBlock,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::ClusterNetworkPolicy(_) => Kind::ClusterNetworkPolicy,
            Self::StagedNetworkPolicy(_) => Kind::StagedNetworkPolicy,
            Self::StagedGlobalNetworkPolicy(_) => Kind::StagedGlobalNetworkPolicy,
            Self::StagedKubernetesNetworkPolicy(_) => Kind::StagedKubernetesNetworkPolicy,
            Self::HostEndpoint(_) => Kind::HostEndpoint,
            Self::FelixConfiguration(_) => Kind::FelixConfiguration,
            Self::KubeControllersConfiguration(_) => Kind::KubeControllersConfiguration,
        }
    }

    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::Namespace(x) => &x.metadata,
            Self::ServiceAccount(x) => &x.metadata,
            Self::Service(x) => &x.metadata,
            Self::Node(x) => &x.metadata,
            Self::Pod(x) => &x.metadata,
            Self::Controller(_, x) => &x.metadata,
            Self::NetworkPolicy(x) => &x.metadata,
            Self::CalicoNetworkPolicy(x) | Self::GlobalNetworkPolicy(x) => &x.metadata,
            Self::Tier(x) => &x.metadata,
            Self::NetworkSet(x) | Self::GlobalNetworkSet(x) => &x.metadata,
            Self::Profile(x) => &x.metadata,
            Self::WorkloadEndpoint(x) => &x.metadata,
            Self::IpPool(x) => &x.metadata,
            Self::IpamBlock(x) => &x.metadata,
            Self::EndpointSlice(x) => &x.metadata,
            Self::ClusterNetworkPolicy(x) => &x.metadata,
            Self::StagedNetworkPolicy(x) | Self::StagedGlobalNetworkPolicy(x) => &x.policy.metadata,
            Self::StagedKubernetesNetworkPolicy(x) => &x.policy.metadata,
            Self::HostEndpoint(x) => &x.metadata,
            Self::FelixConfiguration(x) => &x.metadata,
            Self::KubeControllersConfiguration(x) => &x.metadata,
        }
    }

    #[must_use]
    pub fn key(&self) -> ObjectKey {
        let metadata = self.metadata();
        ObjectKey {
            kind: self.kind(),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
        }
    }
}

//! The kinds that are read, and what they are called.

use std::fmt;

use crate::Kind;

/// Whether objects of a kind live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    Cluster,
    Namespaced,
}

/// What a kind is called, in manifests and on command lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindInfo {
    pub kind: Kind,
    /// API group; empty for the core group.
    pub group: &'static str,
    pub version: &'static str,
    /// As in `kind:`.
    pub name: &'static str,
    /// As in URLs.
    pub plural: &'static str,
    pub scope: Scope,
    /// The first is the shortest that people use.
    pub short_names: &'static [&'static str],
}

use Scope::{Cluster, Namespaced};

const CALICO: &str = "projectcalico.org";

/// In the order of [`Kind`]'s variants. Short names are those of `kubectl` and of Calico's resource
/// definitions.
const TABLE: [KindInfo; 28] = [
    row(
        Kind::Namespace,
        "",
        "v1",
        "Namespace",
        "namespaces",
        Cluster,
        &["ns"],
    ),
    row(
        Kind::ServiceAccount,
        "",
        "v1",
        "ServiceAccount",
        "serviceaccounts",
        Namespaced,
        &["sa"],
    ),
    row(
        Kind::Service,
        "",
        "v1",
        "Service",
        "services",
        Namespaced,
        &["svc"],
    ),
    row(Kind::Node, "", "v1", "Node", "nodes", Cluster, &["no"]),
    row(Kind::Pod, "", "v1", "Pod", "pods", Namespaced, &["po"]),
    row(
        Kind::Deployment,
        "apps",
        "v1",
        "Deployment",
        "deployments",
        Namespaced,
        &["deploy"],
    ),
    row(
        Kind::StatefulSet,
        "apps",
        "v1",
        "StatefulSet",
        "statefulsets",
        Namespaced,
        &["sts"],
    ),
    row(
        Kind::DaemonSet,
        "apps",
        "v1",
        "DaemonSet",
        "daemonsets",
        Namespaced,
        &["ds"],
    ),
    row(
        Kind::ReplicaSet,
        "apps",
        "v1",
        "ReplicaSet",
        "replicasets",
        Namespaced,
        &["rs"],
    ),
    row(Kind::Job, "batch", "v1", "Job", "jobs", Namespaced, &[]),
    row(
        Kind::NetworkPolicy,
        "networking.k8s.io",
        "v1",
        "NetworkPolicy",
        "networkpolicies",
        Namespaced,
        &["netpol"],
    ),
    row(
        Kind::CalicoNetworkPolicy,
        CALICO,
        "v3",
        "NetworkPolicy",
        "networkpolicies",
        Namespaced,
        &["cnp", "caliconetworkpolicy"],
    ),
    row(
        Kind::GlobalNetworkPolicy,
        CALICO,
        "v3",
        "GlobalNetworkPolicy",
        "globalnetworkpolicies",
        Cluster,
        &["gnp", "cgnp"],
    ),
    row(Kind::Tier, CALICO, "v3", "Tier", "tiers", Cluster, &[]),
    row(
        Kind::NetworkSet,
        CALICO,
        "v3",
        "NetworkSet",
        "networksets",
        Namespaced,
        &[],
    ),
    row(
        Kind::GlobalNetworkSet,
        CALICO,
        "v3",
        "GlobalNetworkSet",
        "globalnetworksets",
        Cluster,
        &["gns"],
    ),
    row(
        Kind::Profile,
        CALICO,
        "v3",
        "Profile",
        "profiles",
        Cluster,
        &[],
    ),
    row(
        Kind::WorkloadEndpoint,
        CALICO,
        "v3",
        "WorkloadEndpoint",
        "workloadendpoints",
        Namespaced,
        &["wep", "weps"],
    ),
    row(
        Kind::IpPool,
        CALICO,
        "v3",
        "IPPool",
        "ippools",
        Cluster,
        &[],
    ),
    row(
        Kind::IpamBlock,
        CALICO,
        "v3",
        "IPAMBlock",
        "ipamblocks",
        Cluster,
        &[],
    ),
    row(
        Kind::EndpointSlice,
        "discovery.k8s.io",
        "v1",
        "EndpointSlice",
        "endpointslices",
        Namespaced,
        &[],
    ),
    row(
        Kind::ClusterNetworkPolicy,
        "policy.networking.k8s.io",
        "v1alpha2",
        "ClusterNetworkPolicy",
        "clusternetworkpolicies",
        Cluster,
        &["clusternp"],
    ),
    row(
        Kind::StagedNetworkPolicy,
        CALICO,
        "v3",
        "StagedNetworkPolicy",
        "stagednetworkpolicies",
        Namespaced,
        &["snp", "scnp"],
    ),
    row(
        Kind::StagedGlobalNetworkPolicy,
        CALICO,
        "v3",
        "StagedGlobalNetworkPolicy",
        "stagedglobalnetworkpolicies",
        Cluster,
        &["sgnp"],
    ),
    row(
        Kind::StagedKubernetesNetworkPolicy,
        CALICO,
        "v3",
        "StagedKubernetesNetworkPolicy",
        "stagedkubernetesnetworkpolicies",
        Namespaced,
        &["sknp"],
    ),
    row(
        Kind::HostEndpoint,
        CALICO,
        "v3",
        "HostEndpoint",
        "hostendpoints",
        Cluster,
        &["hep", "heps"],
    ),
    row(
        Kind::FelixConfiguration,
        CALICO,
        "v3",
        "FelixConfiguration",
        "felixconfigurations",
        Cluster,
        &["felixconfig", "felixconfigs"],
    ),
    row(
        Kind::KubeControllersConfiguration,
        CALICO,
        "v3",
        "KubeControllersConfiguration",
        "kubecontrollersconfigurations",
        Cluster,
        &["kcc", "kccs"],
    ),
];

const fn row(
    kind: Kind,
    group: &'static str,
    version: &'static str,
    name: &'static str,
    plural: &'static str,
    scope: Scope,
    short_names: &'static [&'static str],
) -> KindInfo {
    KindInfo {
        kind,
        group,
        version,
        name,
        plural,
        scope,
        short_names,
    }
}

impl Kind {
    /// What all kinds are called.
    #[must_use]
    pub fn table() -> &'static [KindInfo] {
        &TABLE
    }

    /// What the kind is called.
    #[must_use]
    pub fn info(self) -> &'static KindInfo {
        // A test keeps the table in the order of the variants.
        &TABLE[self as usize]
    }

    /// Reads what people type: the kind, its singular or plural, a short name, each in any case,
    /// and each with `.GROUP` after it where a name is shared. `NetworkPolicy` alone is that of
    /// Kubernetes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (word, group) = match text.split_once('.') {
            Some((word, group)) => (word, Some(group)),
            None => (&*text, None),
        };
        let of_group = |info: &&KindInfo| group.is_none_or(|group| group == info.group);
        let called = |info: &&KindInfo| {
            info.plural == word
                || info.short_names.contains(&word)
                || info.name.eq_ignore_ascii_case(word)
        };
        TABLE
            .iter()
            .filter(of_group)
            .find(called)
            .map(|info| info.kind)
    }

    /// The kind of that `apiVersion` and `kind`.
    #[must_use]
    pub fn of(api_version: &str, name: &str) -> Option<Self> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        TABLE
            .iter()
            .find(|info| info.group == group && info.version == version && info.name == name)
            .map(|info| info.kind)
    }

    /// The shortest name that people type: `deploy`, `gnp`, `tier`.
    #[must_use]
    pub fn short(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Tier => "tier",
            Self::NetworkSet => "networkset",
            Self::Profile => "profile",
            Self::IpPool => "ippool",
            Self::IpamBlock => "ipamblock",
            Self::EndpointSlice => "endpointslice",
            _ => self.info().short_names[0],
        }
    }

    /// Whether objects of the kind live in a namespace.
    #[must_use]
    pub fn is_namespaced(self) -> bool {
        self.info().scope == Namespaced
    }
}

impl KindInfo {
    /// As in `apiVersion:`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// The name of the kind; `CalicoNetworkPolicy` for that of `projectcalico.org/v3`, because
/// Kubernetes has one of the same name.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CalicoNetworkPolicy => "CalicoNetworkPolicy",
            other => other.info().name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_in_the_order_of_the_variants() {
        for (index, info) in TABLE.iter().enumerate() {
            assert_eq!(info.kind as usize, index, "{}", info.name);
            assert_eq!(info.kind.info(), info);
        }
        // The last variant: a new one must get a row.
        assert_eq!(Kind::KubeControllersConfiguration as usize + 1, TABLE.len());
    }

    #[test]
    fn every_name_finds_its_kind() {
        for info in &TABLE {
            let full = format!("{}.{}", info.plural, info.group);
            if !info.group.is_empty() {
                assert_eq!(Kind::parse(&full), Some(info.kind));
            }
            for name in info.short_names {
                assert_eq!(Kind::parse(name), Some(info.kind));
            }
            assert_eq!(Kind::parse(info.kind.short()), Some(info.kind));
            assert_eq!(Kind::parse(&info.kind.to_string()), Some(info.kind));
            assert_eq!(Kind::of(&info.api_version(), info.name), Some(info.kind));
        }
        assert_eq!(Kind::parse("netpol"), Some(Kind::NetworkPolicy));
        assert_eq!(Kind::parse("NetworkPolicies"), Some(Kind::NetworkPolicy));
        assert_eq!(
            Kind::parse("networkpolicy.projectcalico.org"),
            Some(Kind::CalicoNetworkPolicy)
        );
        assert_eq!(Kind::parse("pod"), Some(Kind::Pod));
        assert_eq!(Kind::parse("nothing"), None);
    }
}

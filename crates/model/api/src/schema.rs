//! What resources look like: one description of fields, types and limits, for custom resource
//! definitions, for the `OpenAPI` documents of our own API server, and for `kubectl explain`.
//!
//! The limits are those that the decoder has ([`crate::limits`]). A schema accepts whatever the
//! decoder accepts. The other way round it leaves to the decoder what it cannot say: the grammar of
//! selectors, whether an address is one, and what holds between addresses. A test keeps the two
//! together.
//!
//! ```
//! use ocicat_api::{Kind, schema};
//!
//! let spec = schema::of(Kind::Tier).unwrap().spec;
//! assert_eq!(spec["properties"]["defaultAction"]["enum"][1], "Pass");
//! assert!(schema::of(Kind::Pod).is_none());
//! ```

use serde_json::Value;

use crate::Kind;

mod build;
mod definition;
mod host;
mod kube;
mod policy;
mod rule;

pub use definition::{Definition, definitions};

/// What is served of an object beside its metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct Schemas {
    /// What the kind is for, in one sentence.
    pub about: &'static str,
    /// Whether `spec` must be there, because it has fields that must.
    pub spec_required: bool,
    pub spec: Value,
    /// What programs write; `None` for kinds that have none.
    pub status: Option<Value>,
}

/// The schemas of a kind; `None` for those that Kubernetes describes.
#[must_use]
pub fn of(kind: Kind) -> Option<Schemas> {
    let (about, spec) = match kind {
        Kind::NetworkPolicy => (
            "NetworkPolicy says which traffic the selected pods of its namespace accept and send.",
            kube::network_policy(),
        ),
        Kind::CalicoNetworkPolicy => (
            "NetworkPolicy is an ordered policy for endpoints of its namespace.",
            policy::network_policy(),
        ),
        Kind::GlobalNetworkPolicy => (
            "GlobalNetworkPolicy is an ordered policy for endpoints of all kinds.",
            policy::global_network_policy(),
        ),
        Kind::StagedNetworkPolicy => (
            "StagedNetworkPolicy is a NetworkPolicy that is tried out and never enforced.",
            policy::staged(policy::network_policy()),
        ),
        Kind::StagedGlobalNetworkPolicy => (
            "StagedGlobalNetworkPolicy is a GlobalNetworkPolicy that is tried out and never enforced.",
            policy::staged(policy::global_network_policy()),
        ),
        Kind::StagedKubernetesNetworkPolicy => (
            "StagedKubernetesNetworkPolicy is a NetworkPolicy of Kubernetes that is tried out and never \
             enforced.",
            policy::staged_kubernetes_network_policy(),
        ),
        Kind::ClusterNetworkPolicy => (
            "ClusterNetworkPolicy is an administrator's policy for the pods of a cluster.",
            kube::cluster_network_policy(),
        ),
        Kind::Tier => (
            "Tier is a group of policies that are judged together.",
            policy::tier(),
        ),
        Kind::NetworkSet | Kind::GlobalNetworkSet => (
            "NetworkSet and GlobalNetworkSet give prefixes labels, so that selectors match them.",
            policy::network_set(),
        ),
        Kind::Profile => (
            "Profile holds rules for endpoints that no policy decides, and labels that they inherit.",
            policy::profile(),
        ),
        Kind::WorkloadEndpoint => (
            "WorkloadEndpoint is an interface of a workload.",
            host::workload_endpoint(),
        ),
        Kind::HostEndpoint => (
            "HostEndpoint is an interface of a host.",
            host::host_endpoint(),
        ),
        Kind::IpPool => (
            "IPPool is a prefix from which workloads get addresses.",
            host::ip_pool(),
        ),
        Kind::IpamBlock => (
            "IPAMBlock is a part of a pool, and who has its addresses.",
            host::ipam_block(),
        ),
        Kind::FelixConfiguration => (
            "FelixConfiguration says what hosts do: default is for all, node.NAME for one.",
            host::felix_configuration(),
        ),
        Kind::KubeControllersConfiguration => (
            "KubeControllersConfiguration says what is made by itself; only default counts.",
            host::kube_controllers_configuration(),
        ),
        _ => return None,
    };
    let status = matches!(
        kind,
        Kind::Tier | Kind::IpPool | Kind::KubeControllersConfiguration | Kind::ClusterNetworkPolicy
    );
    let spec = spec.value();
    Some(Schemas {
        about,
        spec_required: spec.get("required").is_some(),
        spec,
        status: status.then(|| build::open("What was observed.").value()),
    })
}

/// The schemas of `ocicat.io/v1alpha1` PolicyStatus.
#[must_use]
pub fn policy_status() -> Schemas {
    let (spec, status) = host::policy_status();
    Schemas {
        about: "PolicyStatus says where a policy is in force, and where it is not and why.",
        spec_required: true,
        spec: spec.value(),
        status: Some(status.value()),
    }
}

/// A CIDR, or an address. Whether it really is one, the decoder says.
const NET: &str = "^[0-9A-Fa-f:.]+(/[0-9]+)?$";
/// A CIDR that is no plain address.
const NET_WITH_LENGTH: &str = "^[0-9A-Fa-f:.]+/[0-9]+$";
const ADDRESS: &str = "^[0-9A-Fa-f:.]+$";
/// A subdomain of RFC 1123.
const SUBDOMAIN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const SUBDOMAIN_OR_NOTHING: &str =
    "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$";
/// A domain name, perhaps with `*.` in front or a dot at the end.
const DOMAIN: &str = "^(\\*\\.)?[A-Za-z0-9]([-A-Za-z0-9_]*[A-Za-z0-9])?\
    (\\.[A-Za-z0-9]([-A-Za-z0-9_]*[A-Za-z0-9])?)*\\.?$";
/// A name of a port of a pod: RFC 6335 section 5.1.
const PORT_NAME: &str = "^([0-9]+-?)*[a-z](-?[a-z0-9])*$";
/// A duration as Go writes it.
const DURATION: &str = "^(0|(([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|\u{b5}s|\u{3bc}s|ms|s|m|h))+)$";

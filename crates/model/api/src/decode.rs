//! Values to objects: types, defaults, validation.
//!
//! ```text
//!   value ──► apiVersion + kind ──► metadata ──► spec of the kind ──► Object
//!                    │                  │               │
//!                    └──────────────────┴───────────────┴───────────► problems
//! ```
//!
//! A mistake never stops another part from being read. What could not be understood is noted and
//! fails closed, as the types of [`crate::rule`] and [`crate::policy`] say.
//!
//! ```
//! use ocicat_api::decode::decode;
//! use serde_json::json;
//!
//! let decoded = decode(&json!({
//!     "apiVersion": "projectcalico.org/v3",
//!     "kind": "NetworkSet",
//!     "metadata": {"name": "partners", "namespace": "shop"},
//!     "spec": {"nets": ["192.0.2.0/24", "192.0.2.0/33"]},
//! }));
//! assert_eq!(decoded.problems[0].to_string(), "spec.nets[1]: 192.0.2.0/33: prefix length is at most 32");
//! assert!(decoded.object.is_some());
//! ```

use std::sync::LazyLock;

use serde_json::Value;

use crate::{Kind, Object, Problem};

mod calico;
mod cluster;
mod controller;
mod core;
mod duration;
mod entity;
mod envelope;
mod fast;
mod felix;
mod host;
mod http;
mod ipam;
mod kube;
mod kubecontrollers;
mod meta;
mod names;
mod node;
mod rule;
mod selector;
mod service;
mod written;

pub use fast::decode_json;
pub use written::{Written, decode_written, written};
/// Fields that Calico knows and that have no effect here.
pub(crate) mod ignored {
    pub(crate) use super::felix::ignored::IGNORED as FELIX;
    pub(crate) use super::kubecontrollers::{
        IGNORED as KUBE_CONTROLLERS_SPEC, IGNORED_CONTROLLERS as KUBE_CONTROLLERS,
        IGNORED_NODE as KUBE_CONTROLLERS_NODE,
    };
}
pub(crate) use self::core::allowed_sources;
pub(crate) use meta::NAMESPACE_NAME_LABEL;

use envelope::Envelope;
use node::{Node, Path, Problems, Read, Unreadable};

/// What became of a value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decoded {
    /// `None` where it is not known what the value is, or whom it is about.
    pub object: Option<Object>,
    /// In the order in which the parts are read.
    pub problems: Vec<Problem>,
    /// For a kind that we have no use for, what it is: `ConfigMap (v1)`. Callers name each once and
    /// skip it.
    pub unused: Option<String>,
}

impl Decoded {
    /// True if a server must refuse the object.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(Problem::is_error)
    }
}

/// Reads one object.
#[must_use]
pub fn decode(value: &Value) -> Decoded {
    let mut problems = Problems::default();
    let root = Node::root(value);
    let mut decoded = Decoded::default();
    match envelope::read(&root, &mut problems) {
        Ok(Envelope::Known(kind)) => decoded.object = object(kind, &root, &mut problems),
        Ok(Envelope::Unused(what)) => decoded.unused = Some(what),
        Err(Unreadable) => {}
    }
    decoded.problems = problems.0;
    decoded
}

/// Whether fields that nobody knows are errors, or not our concern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strictness {
    AllFields,
    OnlyWhatWeRead,
}

fn strictness(kind: Kind) -> Strictness {
    match kind {
        Kind::NetworkPolicy
        | Kind::CalicoNetworkPolicy
        | Kind::GlobalNetworkPolicy
        | Kind::Tier
        | Kind::NetworkSet
        | Kind::GlobalNetworkSet
        | Kind::Profile
        | Kind::IpPool
        | Kind::ClusterNetworkPolicy
        | Kind::StagedNetworkPolicy
        | Kind::StagedGlobalNetworkPolicy
        | Kind::StagedKubernetesNetworkPolicy
        | Kind::HostEndpoint
        | Kind::FelixConfiguration
        | Kind::KubeControllersConfiguration => Strictness::AllFields,
        _ => Strictness::OnlyWhatWeRead,
    }
}

fn object(kind: Kind, root: &Node<'_>, problems: &mut Problems) -> Option<Object> {
    const ROOT_FIELDS: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];
    let metadata = meta::metadata(kind, root, problems)?;
    let strict = strictness(kind) == Strictness::AllFields;
    let unknown = strict && root.has_unknown(ROOT_FIELDS, problems);
    let envelope_known: Read<()> = if unknown { Err(Unreadable) } else { Ok(()) };
    Some(match kind {
        Kind::Namespace => Object::Namespace(crate::core::Namespace { metadata }),
        Kind::ServiceAccount => Object::ServiceAccount(crate::core::ServiceAccount { metadata }),
        Kind::Service => Object::Service(service::service(root, metadata, problems)),
        Kind::Node => Object::Node(core::node(root, metadata, problems)),
        Kind::Pod => Object::Pod(core::pod(root, metadata, problems)),
        Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet | Kind::ReplicaSet | Kind::Job => {
            Object::Controller(kind, controller::controller(kind, root, metadata, problems))
        }
        Kind::NetworkPolicy
        | Kind::CalicoNetworkPolicy
        | Kind::GlobalNetworkPolicy
        | Kind::ClusterNetworkPolicy
        | Kind::StagedNetworkPolicy
        | Kind::StagedGlobalNetworkPolicy
        | Kind::StagedKubernetesNetworkPolicy => {
            policy(kind, root, metadata, envelope_known, problems)
        }
        Kind::Tier => Object::Tier(calico::tier(root, metadata, problems)),
        Kind::NetworkSet => Object::NetworkSet(calico::network_set(root, metadata, problems)),
        Kind::GlobalNetworkSet => {
            Object::GlobalNetworkSet(calico::network_set(root, metadata, problems))
        }
        Kind::Profile => Object::Profile(calico::profile(root, metadata, problems)),
        Kind::WorkloadEndpoint => {
            Object::WorkloadEndpoint(core::workload_endpoint(root, metadata, problems))
        }
        Kind::IpPool => Object::IpPool(ipam::pool(root, metadata, problems)?),
        Kind::IpamBlock => Object::IpamBlock(ipam::block(root, metadata, problems)?),
        Kind::EndpointSlice => Object::EndpointSlice(service::slice(root, metadata, problems)),
        Kind::HostEndpoint => Object::HostEndpoint(host::endpoint(root, metadata, problems)),
        Kind::FelixConfiguration => {
            Object::FelixConfiguration(felix::configuration(root, metadata, problems))
        }
        Kind::KubeControllersConfiguration => Object::KubeControllersConfiguration(
            kubecontrollers::configuration(root, metadata, problems),
        ),
    })
}

/// Reads an object of a policy kind.
fn policy(
    kind: Kind,
    root: &Node<'_>,
    metadata: crate::Metadata,
    known: Read<()>,
    problems: &mut Problems,
) -> Object {
    match kind {
        Kind::NetworkPolicy => {
            Object::NetworkPolicy(kube::network_policy(root, metadata, known, problems))
        }
        Kind::CalicoNetworkPolicy => {
            Object::CalicoNetworkPolicy(calico::policy(kind, root, metadata, known, problems))
        }
        Kind::ClusterNetworkPolicy => {
            Object::ClusterNetworkPolicy(cluster::policy(root, metadata, known, problems))
        }
        Kind::StagedNetworkPolicy => {
            Object::StagedNetworkPolicy(calico::staged(kind, root, metadata, known, problems))
        }
        Kind::StagedGlobalNetworkPolicy => {
            Object::StagedGlobalNetworkPolicy(calico::staged(kind, root, metadata, known, problems))
        }
        Kind::StagedKubernetesNetworkPolicy => {
            Object::StagedKubernetesNetworkPolicy(kube::staged(root, metadata, known, problems))
        }
        _ => Object::GlobalNetworkPolicy(calico::policy(kind, root, metadata, known, problems)),
    }
}

/// `spec`; an absent one is as good as an empty one.
fn spec<'a>(root: &'a Node<'a>) -> Node<'a> {
    static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::Object(serde_json::Map::new()));
    root.field("spec").unwrap_or(Node {
        value: &EMPTY,
        path: Path::Key(&root.path, "spec"),
    })
}

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod tests;

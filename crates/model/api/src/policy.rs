//! Policy kinds: Calico's, and Kubernetes NetworkPolicy.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use ocicat_selector::Selector;

use crate::rule::{Action, Rule};
use crate::{Metadata, PortSpec, Problem, Protocol};

/// `projectcalico.org/v3` NetworkPolicy (namespaced) and GlobalNetworkPolicy (cluster-scoped).
#[derive(Debug, Clone, PartialEq)]
pub struct CalicoPolicy {
    pub metadata: Metadata,
    /// Default `default`.
    pub tier: Arc<str>,
    /// Absent is last.
    pub order: Option<f64>,
    pub subject: Subject,
    /// After defaulting: Ingress if there are no egress rules; Egress if only egress rules; both
    /// if both.
    pub types: Types,
    pub ingress: Vec<Rule>,
    pub egress: Vec<Rule>,
    /// `doNotTrack` or `preDNAT`: never applies to workloads.
    pub host_only: bool,
}

/// Whom a Calico policy selects.
#[derive(Debug, Clone, PartialEq)]
pub enum Subject {
    /// All three are ANDed; absent ones match everything. A NetworkPolicy selects only endpoints
    /// of its own namespace besides.
    Selectors {
        selector: Selector,
        namespace_selector: Option<Selector>,
        service_account_selector: Option<Selector>,
    },
    /// One of them cannot be read, or another field of the policy that says whom it concerns or
    /// where it stands (`tier`, `order`, a field that is not known). A namespaced policy closes its
    /// namespace in its directions; a global one is enforced nowhere.
    Unreadable,
}

/// The directions that a policy governs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Types {
    pub ingress: bool,
    pub egress: bool,
}

/// `projectcalico.org/v3` Tier: policies of one tier are judged together.
#[derive(Debug, Clone, PartialEq)]
pub struct Tier {
    pub metadata: Metadata,
    /// Absent is last.
    pub order: Option<f64>,
    /// Deny or Pass; default Deny.
    pub default_action: Action,
}

/// NetworkSet (namespaced) and GlobalNetworkSet (cluster-scoped).
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkSet {
    pub metadata: Metadata,
    /// Host bits are cleared; those that cannot be read are left out and reported.
    pub nets: Vec<IpNet>,
}

/// `projectcalico.org/v3` Profile: rules and labels that endpoints take on by naming it.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    pub metadata: Metadata,
    pub ingress: Vec<Rule>,
    pub egress: Vec<Rule>,
    pub labels_to_apply: BTreeMap<Arc<str>, Arc<str>>,
}

/// `networking.k8s.io/v1` NetworkPolicy. Label selectors are converted to [`Selector`].
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkPolicy {
    pub metadata: Metadata,
    /// `None` when `podSelector`, or a field of `spec` that is not known, cannot be read: the
    /// policy closes its namespace.
    pub pod_selector: Option<Selector>,
    /// After defaulting: Ingress always unless `policyTypes` says otherwise, Egress if there are
    /// egress rules.
    pub types: Types,
    pub ingress: Vec<KubeRule>,
    pub egress: Vec<KubeRule>,
}

/// An Allow rule: peers × ports.
#[derive(Debug, Clone, PartialEq)]
pub struct KubeRule {
    /// `from` or `to`; `None` when absent or empty: every address. Peers that cannot be read are
    /// left out, so `Some` of nothing matches nothing.
    pub peers: Option<Vec<KubePeer>>,
    /// `None` when absent or empty: all protocols and ports. Entries that cannot be read are left
    /// out, so `Some` of nothing matches nothing.
    pub ports: Option<Vec<KubePort>>,
    /// Parts that could not be understood, unknown fields included. An unknown field of the rule
    /// itself makes the rule match nothing (`peers` is then `Some` of nothing).
    pub unreadable: Vec<Problem>,
}

/// One entry of `from` or `to`.
#[derive(Debug, Clone, PartialEq)]
pub enum KubePeer {
    /// Compared with the packet's address, pods included.
    IpBlock { cidr: IpNet, except: Vec<IpNet> },
    /// At least one of the two is present. Without `namespace_selector`: this namespace; without
    /// `pod_selector`: every pod of the selected namespaces. Matches only endpoints of
    /// orchestrator `k8s`, never network sets.
    Pods {
        namespace_selector: Option<Selector>,
        pod_selector: Option<Selector>,
    },
}

/// One entry of `ports`.
#[derive(Debug, Clone, PartialEq)]
pub struct KubePort {
    /// Missing is TCP.
    pub protocol: Protocol,
    /// Missing is all ports; `endPort` makes a range.
    pub port: Option<PortSpec>,
}

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
    pub stage: PolicyStage,
}

impl CalicoPolicy {
    /// Whether the policy concerns host endpoints alone.
    #[must_use]
    pub fn is_host_only(&self) -> bool {
        matches!(self.stage, PolicyStage::Untracked | PolicyStage::PreDnat)
    }
}

/// Where a policy judges the packets of host endpoints. Only a GlobalNetworkPolicy has another than
/// `Normal`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyStage {
    /// Workloads, and traffic of the host itself.
    #[default]
    Normal,
    /// `applyOnForward`: the same, and traffic that the host forwards through a host endpoint.
    Forward,
    /// `doNotTrack`: before connection tracking. Never applies to workloads.
    Untracked,
    /// `preDNAT`: before destinations are translated. Only ingress. Never applies to workloads.
    PreDnat,
}

/// A policy that is tried out and never enforced.
#[derive(Debug, Clone, PartialEq)]
pub struct Staged<P> {
    pub action: StagedAction,
    pub policy: P,
}

/// `stagedAction`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum StagedAction {
    /// Adds the enforced twin of that name to the preview, or replaces it there.
    #[default]
    Set,
    /// Removes the enforced twin of that name from the preview.
    Delete,
    /// Changes nothing.
    Learn,
    /// Changes nothing. What cannot be read is this, too.
    Ignore,
}

/// `policy.networking.k8s.io/v1alpha2` ClusterNetworkPolicy.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterNetworkPolicy {
    pub metadata: Metadata,
    /// One that cannot be read is `Admin`, and the subject is then `Unreadable`.
    pub tier: ClusterTier,
    /// 0–1,000; lower is first.
    pub priority: u16,
    pub subject: ClusterSubject,
    /// At most 25. Both directions are governed only as far as there are rules.
    pub ingress: Vec<ClusterRule>,
    pub egress: Vec<ClusterRule>,
}

/// `spec.tier`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClusterTier {
    /// Tier `kube-admin`: before NetworkPolicy.
    Admin,
    /// Tier `kube-baseline`: after it.
    Baseline,
}

/// Whom a ClusterNetworkPolicy selects: pods that are not of the host's network.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterSubject {
    /// All pods of these namespaces.
    Namespaces(Selector),
    Pods {
        namespace_selector: Selector,
        pod_selector: Selector,
    },
    /// It, or another field that says where the policy stands, cannot be read: the policy is
    /// enforced nowhere, and reported.
    Unreadable,
}

/// One rule of a ClusterNetworkPolicy: peers × protocols.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterRule {
    /// At most 100 characters; may be empty.
    pub name: Arc<str>,
    /// `Accept` is `Allow`. One that cannot be read is `Deny`, with a problem in `unreadable`.
    pub action: Action,
    /// `from` or `to`: 1–25. Peers of no known field are left out and noted.
    pub peers: Vec<ClusterPeer>,
    /// `None`: all protocols and ports. At most 25.
    pub protocols: Option<Vec<ClusterProtocol>>,
    /// Parts that could not be understood, and what nothing enforces yet (`domainNames`). With any,
    /// the rule fails closed: an Allow loses the peers and protocols that cannot be read (an unknown
    /// field of the rule itself makes it match nothing); a Deny or Pass with a peer that cannot be
    /// read denies all addresses, with a protocol that cannot be read all protocols, of what the
    /// rest of the rule matches.
    pub unreadable: Vec<Problem>,
    /// Whether `from` or `to` has a peer that cannot be read, or cannot be read itself.
    pub unreadable_peers: bool,
    /// Whether `protocols` has an entry that cannot be read, or cannot be read itself.
    pub unreadable_protocols: bool,
}

/// One entry of `from` or `to`.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterPeer {
    /// All pods of these namespaces, those of the host's network excepted.
    Namespaces(Selector),
    Pods {
        namespace_selector: Selector,
        pod_selector: Selector,
    },
    /// Only in egress. Addresses of these hosts.
    Nodes(Selector),
    /// Only in egress: 1–25 nets.
    Networks(Vec<IpNet>),
    /// Only in egress, Accept only. Nobody observes names yet: matches nothing, and is noted.
    Domains(Vec<Arc<str>>),
}

/// One entry of `protocols`.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterProtocol {
    /// TCP, UDP or SCTP, and a port or range of the destination, or all of them.
    Ports(Protocol, Option<PortSpec>),
    /// `destinationNamedPort`: that port of the destination pod, of whatever protocol it has there.
    Named(Arc<str>),
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
    /// `allowedEgressDomains`. Nobody observes names yet, so they add no addresses.
    pub domains: Vec<Arc<str>>,
}

/// `projectcalico.org/v3` Profile: rules and labels that endpoints take on by naming it.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    pub metadata: Metadata,
    pub ingress: Vec<Rule>,
    pub egress: Vec<Rule>,
    pub labels_to_apply: BTreeMap<Arc<str>, Arc<str>>,
}

impl Profile {
    /// The name of the profile that exists without an object, and allows everything.
    pub const DEFAULT_ALLOW: &str = "projectcalico-default-allow";

    /// What [`Profile::DEFAULT_ALLOW`] is, unless an object of that name says otherwise.
    #[must_use]
    pub fn default_allow() -> Self {
        let allow = || vec![Rule::of(Action::Allow)];
        Self {
            metadata: Metadata {
                name: Self::DEFAULT_ALLOW.into(),
                ..Metadata::default()
            },
            ingress: allow(),
            egress: allow(),
            labels_to_apply: BTreeMap::new(),
        }
    }
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

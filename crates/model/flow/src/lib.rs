//! What happened to a packet, and which rule decided it.
//!
//! These are the words that every other part uses to speak of a decision: a [`Verdict`], the
//! [`Decider`] that gave it, and the Pass and Log rules met on the way, together an [`Outcome`].
//! This crate knows no packets, no kernel and no resources: only names.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The final word on a packet in one direction at one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    Allow,
    Deny,
    /// No policy of this stage of a host endpoint decided (untracked and pre-DNAT policy): the
    /// next stage judges.
    Next,
}

/// The side of an endpoint that judges: what it receives, or what it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Direction {
    Ingress,
    Egress,
}

/// The kind of resource that a rule stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PolicyKind {
    /// `projectcalico.org/v3` NetworkPolicy.
    CalicoNetworkPolicy,
    /// `projectcalico.org/v3` GlobalNetworkPolicy.
    GlobalNetworkPolicy,
    /// `networking.k8s.io/v1` NetworkPolicy.
    NetworkPolicy,
    /// `projectcalico.org/v3` Profile, or the profile of a namespace (`kns.NAME`) or service
    /// account (`ksa.NAMESPACE.NAME`).
    Profile,
    /// `policy.networking.k8s.io/v1alpha2` ClusterNetworkPolicy.
    ClusterNetworkPolicy,
    /// The staged kinds of `projectcalico.org/v3`, in previews.
    StagedNetworkPolicy,
    StagedGlobalNetworkPolicy,
    StagedKubernetesNetworkPolicy,
}

/// Names one policy. `tier` is empty for profiles.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PolicyRef {
    pub kind: PolicyKind,
    pub namespace: Option<Arc<str>>,
    pub name: Arc<str>,
    pub tier: Arc<str>,
}

/// Names one rule: `index` counts from 0 within the direction, as the resource lists them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleRef {
    pub policy: Arc<PolicyRef>,
    pub direction: Direction,
    pub index: u32,
}

/// What decided a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Decider {
    /// A rule that matched.
    Rule(RuleRef),
    /// A Deny or Pass rule of which a part could not be known for this packet; it denies.
    Undetermined(RuleRef),
    /// The default action of a tier, after none of its rules decided.
    EndOfTier { tier: Arc<str> },
    /// A policy whose selector cannot be read; it closes its namespace.
    Unreadable(Arc<PolicyRef>),
    /// A stack over its budget of rows and cells; it is closed as a whole.
    OverBudget,
    /// A profile that the endpoint names and that does not exist.
    MissingProfile { name: Arc<str> },
    /// None of the endpoint's profiles decided.
    EndOfProfiles,
    /// A stage of a host endpoint of which no policy decided, and which does not deny at its end.
    EndOfStage,
}

/// A verdict with its whole reason. Equal outcomes are stored once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Outcome {
    pub verdict: Verdict,
    pub decider: Decider,
    /// Pass rules that matched on the way, in order.
    pub passed: Vec<RuleRef>,
    /// Log rules that matched on the way, in order.
    pub logged: Vec<RuleRef>,
}

impl Verdict {
    /// The verdict of a packet that both sides judge.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == Self::Deny || other == Self::Deny {
            Self::Deny
        } else {
            self.min(other)
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "Allow",
            Self::Deny => "Deny",
            Self::Next => "Next",
        })
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

impl PolicyKind {
    /// The short name that `ocicat get` accepts for the kind.
    #[must_use]
    pub fn short(self) -> &'static str {
        match self {
            Self::CalicoNetworkPolicy => "cnp",
            Self::GlobalNetworkPolicy => "gnp",
            Self::NetworkPolicy => "netpol",
            Self::Profile => "profile",
            Self::ClusterNetworkPolicy => "clusternp",
            Self::StagedNetworkPolicy => "snp",
            Self::StagedGlobalNetworkPolicy => "sgnp",
            Self::StagedKubernetesNetworkPolicy => "sknp",
        }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// `kind/namespace/name`, or `kind/name` for global policies: `netpol/shop/web`.
impl fmt::Display for PolicyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{}/{namespace}/{}", self.kind, self.name),
            None => write!(f, "{}/{}", self.kind, self.name),
        }
    }
}

/// `netpol/shop/web ingress[0]`.
impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}[{}]", self.policy, self.direction, self.index)
    }
}

impl fmt::Display for Decider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => write!(f, "{rule}"),
            Self::Undetermined(rule) => write!(f, "{rule} (undetermined)"),
            Self::EndOfTier { tier } => write!(f, "end of tier {tier}"),
            Self::Unreadable(policy) => write!(f, "{policy} (unreadable selector)"),
            Self::OverBudget => f.write_str("over budget"),
            Self::MissingProfile { name } => write!(f, "missing profile {name}"),
            Self::EndOfProfiles => f.write_str("end of profiles"),
            Self::EndOfStage => f.write_str("end of stage"),
        }
    }
}

/// One line: `Deny by end of tier default; passed gnp/a ingress[0]`.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.verdict, self.decider)?;
        for (word, rules) in [("passed", &self.passed), ("logged", &self.logged)] {
            for (position, rule) in rules.iter().enumerate() {
                let lead = if position == 0 { "; " } else { ", " };
                let word = if position == 0 { word } else { "" };
                let gap = if position == 0 { " " } else { "" };
                write!(f, "{lead}{word}{gap}{rule}")?;
            }
        }
        Ok(())
    }
}

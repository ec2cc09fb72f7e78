//! What the oracle answers, in names only.

use std::fmt;

use ocicat_api::ObjectKey;

/// The final word on a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    Allow,
    Deny,
    /// No policy of this stage of a host endpoint decided; the next stage judges.
    Next,
}

/// The side of an endpoint that judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    Ingress,
    Egress,
}

/// The kind of resource that a rule stands in. In the order in which policies of equal order, name
/// and namespace are walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyKind {
    GlobalNetworkPolicy,
    /// `projectcalico.org/v3` NetworkPolicy.
    CalicoNetworkPolicy,
    /// `networking.k8s.io/v1` NetworkPolicy.
    NetworkPolicy,
    Profile,
    ClusterNetworkPolicy,
    StagedGlobalNetworkPolicy,
    StagedNetworkPolicy,
    StagedKubernetesNetworkPolicy,
}

/// Names one policy or profile.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyName {
    pub kind: PolicyKind,
    pub namespace: Option<String>,
    pub name: String,
    /// Empty for profiles.
    pub tier: String,
}

/// Names one rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleName {
    pub policy: PolicyName,
    pub direction: Direction,
    /// From 0 within the direction.
    pub index: usize,
}

/// What decided.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Decider {
    /// A rule that matched.
    Rule(RuleName),
    /// A Deny or Pass rule that could not be decided; it denies.
    Undetermined(RuleName),
    /// The default action of the tier of that name.
    EndOfTier(String),
    /// A policy whose subject cannot be read.
    Unreadable(PolicyName),
    /// The profile of that name does not exist.
    MissingProfile(String),
    /// No profile decided.
    EndOfProfiles,
    /// No policy of a stage that does not deny at its end.
    EndOfStage,
}

/// A verdict in one direction at one endpoint, with its whole reason.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Judgement {
    pub verdict: Verdict,
    pub decider: Decider,
    /// Pass rules that matched, in order.
    pub passed: Vec<RuleName>,
    /// Log rules that matched, in order.
    pub logged: Vec<RuleName>,
}

/// What both ends say of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdicts {
    /// Allow if every judgement below is Allow.
    pub verdict: Verdict,
    /// Of every endpoint that has the source address: none, one, or several if they share it.
    pub egress: Vec<(ObjectKey, Judgement)>,
    /// Of every endpoint that has the destination address.
    pub ingress: Vec<(ObjectKey, Judgement)>,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

/// `default gnp/a`, `default netpol/shop/web`, `profile/kns.shop`.
impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            PolicyKind::GlobalNetworkPolicy => "gnp",
            PolicyKind::CalicoNetworkPolicy => "cnp",
            PolicyKind::NetworkPolicy => "netpol",
            PolicyKind::Profile => "profile",
            PolicyKind::ClusterNetworkPolicy => "clusternp",
            PolicyKind::StagedGlobalNetworkPolicy => "sgnp",
            PolicyKind::StagedNetworkPolicy => "snp",
            PolicyKind::StagedKubernetesNetworkPolicy => "sknp",
        };
        if !self.tier.is_empty() {
            write!(f, "{} ", self.tier)?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, "{kind}/{namespace}/{}", self.name),
            None => write!(f, "{kind}/{}", self.name),
        }
    }
}

/// `default netpol/shop/web ingress[0]`.
impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}[{}]", self.policy, self.direction, self.index)
    }
}

impl fmt::Display for Decider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => write!(f, "{rule}"),
            Self::Undetermined(rule) => write!(f, "{rule} (undetermined)"),
            Self::EndOfTier(tier) => write!(f, "end of tier {tier}"),
            Self::Unreadable(policy) => write!(f, "{policy} (unreadable)"),
            Self::MissingProfile(name) => write!(f, "missing profile {name}"),
            Self::EndOfProfiles => f.write_str("end of profiles"),
            Self::EndOfStage => f.write_str("end of stage"),
        }
    }
}

/// `Deny by end of tier default, passed [app gnp/a ingress[0]], logged []`.
impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} by {}", self.verdict, self.decider)?;
        for (word, rules) in [("passed", &self.passed), ("logged", &self.logged)] {
            let rules: Vec<String> = rules.iter().map(ToString::to_string).collect();
            write!(f, ", {word} [{}]", rules.join(", "))?;
        }
        Ok(())
    }
}

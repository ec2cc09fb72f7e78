//! Outcomes in the oracle's words.

use ocicat_api::{Kind, ObjectKey};
use ocicat_flow as flow;
use ocicat_oracle::{Decider, Direction, Judgement, PolicyKind, PolicyName, RuleName, Verdict};

/// The outcome as the oracle would say it; `None` for what it never says.
pub(crate) fn judgement(outcome: &flow::Outcome) -> Option<Judgement> {
    let rules = |rules: &[flow::RuleRef]| rules.iter().map(rule).collect();
    Some(Judgement {
        verdict: match outcome.verdict {
            flow::Verdict::Allow => Verdict::Allow,
            flow::Verdict::Deny => Verdict::Deny,
            flow::Verdict::Next => Verdict::Next,
        },
        decider: match &outcome.decider {
            flow::Decider::Rule(name) => Decider::Rule(rule(name)),
            flow::Decider::Undetermined(name) => Decider::Undetermined(rule(name)),
            flow::Decider::EndOfTier { tier } => Decider::EndOfTier(tier.to_string()),
            flow::Decider::Unreadable(name) => Decider::Unreadable(policy(name)),
            flow::Decider::MissingProfile { name } => Decider::MissingProfile(name.to_string()),
            flow::Decider::EndOfProfiles => Decider::EndOfProfiles,
            flow::Decider::EndOfStage => Decider::EndOfStage,
            flow::Decider::OverBudget => return None,
        },
        passed: rules(&outcome.passed),
        logged: rules(&outcome.logged),
    })
}

/// As `NodeState` names endpoints.
pub(crate) fn endpoint_id(key: &ObjectKey) -> String {
    let kind = if key.kind == Kind::Pod { "pod" } else { "wep" };
    let namespace = key.namespace.as_deref().unwrap_or_default();
    format!("{kind}/{namespace}/{}", key.name)
}

fn rule(rule: &flow::RuleRef) -> RuleName {
    RuleName {
        policy: policy(&rule.policy),
        direction: match rule.direction {
            flow::Direction::Ingress => Direction::Ingress,
            flow::Direction::Egress => Direction::Egress,
        },
        index: rule.index as usize,
    }
}

fn policy(policy: &flow::PolicyRef) -> PolicyName {
    use PolicyKind as To;
    use flow::PolicyKind as From;
    PolicyName {
        kind: match policy.kind {
            From::CalicoNetworkPolicy => To::CalicoNetworkPolicy,
            From::GlobalNetworkPolicy => To::GlobalNetworkPolicy,
            From::NetworkPolicy => To::NetworkPolicy,
            From::Profile => To::Profile,
            From::ClusterNetworkPolicy => To::ClusterNetworkPolicy,
            From::StagedNetworkPolicy => To::StagedNetworkPolicy,
            From::StagedGlobalNetworkPolicy => To::StagedGlobalNetworkPolicy,
            From::StagedKubernetesNetworkPolicy => To::StagedKubernetesNetworkPolicy,
        },
        namespace: policy.namespace.as_ref().map(ToString::to_string),
        name: policy.name.to_string(),
        tier: policy.tier.to_string(),
    }
}

//! From an outcome back to the way that led there.
//!
//! An outcome says which rule decided, and which Pass and Log rules were met before. Together with
//! the policies that select the endpoint, in order, that is the whole story: a policy before the
//! decision that is not named in the outcome matched nothing.

use std::sync::Arc;

use ocicat_flow::{Decider, Direction, Outcome, PolicyRef, RuleRef, Verdict};

use crate::explanation::{DefaultAction, PolicyEnd, PolicyStep, Rule, Side, TierEnd, TierStep};

/// What may judge an endpoint in one direction, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Stack {
    pub tiers: Vec<TierView>,
    pub profiles: Vec<Arc<PolicyRef>>,
}

/// A tier with the policies that select the endpoint.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TierView {
    pub name: Arc<str>,
    pub order: Option<f64>,
    pub default_action: DefaultAction,
    pub policies: Vec<PolicyView>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PolicyView {
    pub reference: Arc<PolicyRef>,
    pub order: Option<f64>,
}

/// The story of one endpoint and direction.
pub(crate) fn side(
    endpoint: Arc<str>,
    direction: Direction,
    stack: &Stack,
    outcome: Arc<Outcome>,
) -> Side {
    let mut walk = Walk {
        outcome: &outcome,
        decided: outcome.decider == Decider::OverBudget,
    };
    let tiers = stack.tiers.iter().map(|tier| walk.tier(tier)).collect();
    let profile = |profile: &Arc<PolicyRef>| walk.profile(profile);
    let profiles = stack.profiles.iter().map(profile).collect();
    let rule = match &outcome.decider {
        Decider::Rule(rule) | Decider::Undetermined(rule) => Some(rule),
        _ => None,
    };
    let policy = match &outcome.decider {
        Decider::Unreadable(policy) => Some(policy),
        _ => rule.map(|rule| &rule.policy),
    };
    let tier = match &outcome.decider {
        Decider::EndOfTier { tier } => Some(tier),
        _ => policy
            .map(|policy| &policy.tier)
            .filter(|tier| !tier.is_empty()),
    };
    Side {
        endpoint,
        direction,
        verdict: outcome.verdict,
        tier: tier.cloned(),
        policy: policy.map(ToString::to_string),
        rule: rule.map(|rule| rule.index),
        reason: outcome.decider.to_string(),
        at: None,
        tiers,
        profiles,
        outcome,
    }
}

struct Walk<'a> {
    outcome: &'a Outcome,
    decided: bool,
}

impl Walk<'_> {
    fn tier(&mut self, tier: &TierView) -> TierStep {
        let mut passed = false;
        let mut policies = Vec::new();
        let reached = !self.decided;
        for policy in &tier.policies {
            let end = if self.decided || passed {
                PolicyEnd::NotReached
            } else {
                self.policy(&policy.reference)
            };
            passed |= end == PolicyEnd::Pass;
            policies.push(self.step(&policy.reference, policy.order, end));
        }
        let ended = matches!(&self.outcome.decider,
            Decider::EndOfTier { tier: name } if *name == tier.name);
        let end = match (reached, self.decided, passed) {
            (false, ..) => TierEnd::NotReached,
            (true, true, _) => TierEnd::Decided,
            (true, false, true) => TierEnd::Passed,
            (true, false, false) => TierEnd::Default,
        };
        self.decided |= end == TierEnd::Default && ended;
        TierStep {
            tier: tier.name.clone(),
            order: tier.order,
            default_action: tier.default_action,
            policies,
            end,
        }
    }

    fn profile(&mut self, profile: &Arc<PolicyRef>) -> PolicyStep {
        let end = match &self.outcome.decider {
            _ if self.decided => PolicyEnd::NotReached,
            Decider::MissingProfile { name } if *name == profile.name => {
                self.decided = true;
                PolicyEnd::Missing
            }
            _ => self.policy(profile),
        };
        self.step(profile, None, end)
    }

    /// What became of a policy that was reached.
    fn policy(&mut self, policy: &PolicyRef) -> PolicyEnd {
        let end = match &self.outcome.decider {
            Decider::Rule(rule) if *rule.policy == *policy => match self.outcome.verdict {
                Verdict::Allow | Verdict::Next => PolicyEnd::Allow,
                Verdict::Deny => PolicyEnd::Deny,
            },
            Decider::Undetermined(rule) if *rule.policy == *policy => PolicyEnd::Undetermined,
            Decider::Unreadable(unreadable) if **unreadable == *policy => PolicyEnd::Unreadable,
            _ => {
                let passed = self
                    .outcome
                    .passed
                    .iter()
                    .any(|rule| *rule.policy == *policy);
                return if passed {
                    PolicyEnd::Pass
                } else {
                    PolicyEnd::NoMatch
                };
            }
        };
        self.decided = true;
        end
    }

    fn step(&self, policy: &Arc<PolicyRef>, order: Option<f64>, end: PolicyEnd) -> PolicyStep {
        let of_policy = |rule: &&RuleRef| *rule.policy == **policy;
        let rule = match (&self.outcome.decider, end) {
            (_, PolicyEnd::Pass) => self.outcome.passed.iter().find(of_policy),
            (Decider::Rule(rule), PolicyEnd::Allow | PolicyEnd::Deny)
            | (Decider::Undetermined(rule), PolicyEnd::Undetermined) => Some(rule),
            _ => None,
        };
        let logged = self.outcome.logged.iter().filter(of_policy);
        PolicyStep {
            policy: policy.to_string(),
            order,
            end,
            rule: rule.map(Rule::of),
            logged: logged.map(Rule::of).collect(),
            at: None,
            reference: policy.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocicat_flow::PolicyKind;

    fn policy(name: &str, tier: &str) -> Arc<PolicyRef> {
        let kind = if tier.is_empty() {
            PolicyKind::Profile
        } else {
            PolicyKind::GlobalNetworkPolicy
        };
        Arc::new(PolicyRef {
            kind,
            namespace: None,
            name: name.into(),
            tier: tier.into(),
        })
    }

    fn rule(policy: &Arc<PolicyRef>, index: u32) -> RuleRef {
        RuleRef {
            policy: policy.clone(),
            direction: Direction::Ingress,
            index,
        }
    }

    fn stack() -> Stack {
        let view = |name: &str, tier: &str| PolicyView {
            reference: policy(name, tier),
            order: None,
        };
        let tier = |name: &str, default_action, policies| TierView {
            name: name.into(),
            order: Some(1.0),
            default_action,
            policies,
        };
        Stack {
            tiers: vec![
                tier(
                    "first",
                    DefaultAction::Pass,
                    vec![view("a", "first"), view("b", "first")],
                ),
                tier(
                    "default",
                    DefaultAction::Deny,
                    vec![view("c", "default"), view("d", "default")],
                ),
            ],
            profiles: vec![policy("kns.x", "")],
        }
    }

    /// Each policy and tier with how it was left.
    fn story(outcome: Outcome) -> (Vec<(String, String)>, Side) {
        let side = side(
            "pod/x/y".into(),
            Direction::Ingress,
            &stack(),
            Arc::new(outcome),
        );
        let mut lines = Vec::new();
        for tier in &side.tiers {
            for step in &tier.policies {
                lines.push((step.policy.clone(), format!("{:?}", step.end)));
            }
            lines.push((tier.tier.to_string(), format!("{:?}", tier.end)));
        }
        for step in &side.profiles {
            lines.push((step.policy.clone(), format!("{:?}", step.end)));
        }
        (lines, side)
    }

    fn ends(outcome: Outcome) -> Vec<String> {
        story(outcome).0.into_iter().map(|(_, end)| end).collect()
    }

    #[test]
    fn pass_skips_the_rest_of_its_tier() {
        let (a, c) = (policy("a", "first"), policy("c", "default"));
        let outcome = Outcome {
            verdict: Verdict::Allow,
            decider: Decider::Rule(rule(&c, 3)),
            passed: vec![rule(&a, 1)],
            logged: vec![rule(&a, 0)],
        };
        let (lines, side) = story(outcome);
        let expected = [
            ("gnp/a", "Pass"),
            ("gnp/b", "NotReached"),
            ("first", "Passed"),
            ("gnp/c", "Allow"),
            ("gnp/d", "NotReached"),
            ("default", "Decided"),
            ("profile/kns.x", "NotReached"),
        ];
        let expected: Vec<_> = expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into();
        assert_eq!(lines, expected);
        assert_eq!(
            (side.policy.as_deref(), side.rule),
            (Some("gnp/c"), Some(3))
        );
        assert_eq!(side.tier.as_deref(), Some("default"));
        assert_eq!(side.tiers[0].policies[0].logged[0].index, 0);
        assert_eq!(side.tiers[0].policies[0].rule.as_ref().unwrap().index, 1);
    }

    #[test]
    fn the_end_of_a_tier_decides_after_all_its_policies() {
        let decider = Decider::EndOfTier {
            tier: "default".into(),
        };
        let outcome = Outcome {
            verdict: Verdict::Deny,
            decider,
            passed: vec![],
            logged: vec![],
        };
        assert_eq!(
            ends(outcome.clone()),
            [
                "NoMatch",
                "NoMatch",
                "Default",
                "NoMatch",
                "NoMatch",
                "Default",
                "NotReached"
            ]
        );
        let side = story(outcome).1;
        assert_eq!(
            (side.policy, side.rule, side.tier.as_deref()),
            (None, None, Some("default"))
        );
    }

    #[test]
    fn profiles_come_last() {
        let profile = policy("kns.x", "");
        let decider = Decider::Rule(rule(&profile, 0));
        let passed = vec![rule(&policy("d", "default"), 0)];
        let outcome = Outcome {
            verdict: Verdict::Allow,
            decider,
            passed,
            logged: vec![],
        };
        assert_eq!(
            ends(outcome.clone()),
            [
                "NoMatch", "NoMatch", "Default", "NoMatch", "Pass", "Passed", "Allow"
            ]
        );
        assert_eq!(story(outcome).1.tier, None);
        let decider = Decider::MissingProfile {
            name: "kns.x".into(),
        };
        let passed = vec![rule(&policy("d", "default"), 0)];
        let outcome = Outcome {
            verdict: Verdict::Deny,
            decider,
            passed,
            logged: vec![],
        };
        assert_eq!(ends(outcome).last().unwrap(), "Missing");
    }

    #[test]
    fn a_closed_stack_reaches_nothing() {
        let outcome = Outcome {
            verdict: Verdict::Deny,
            decider: Decider::OverBudget,
            passed: vec![],
            logged: vec![],
        };
        assert!(ends(outcome).iter().all(|end| end == "NotReached"));
    }
}

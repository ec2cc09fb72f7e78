//! The walk: tiers, policies, rules, then profiles.

use std::net::IpAddr;

use ocicat_api::ObjectKey;
use ocicat_api::policy::Profile;
use ocicat_api::rule::{Action, Rule};

use crate::census::{Census, Endpoint, ProfileSource, find_profile};
use crate::hosts::{HostEndpoint, Stage};
use crate::matching::{self, Answer, Scope};
use crate::order::{self, Content, Judge, Policy};
use crate::{
    Decider, Direction, Judgement, Packet, PolicyKind, PolicyName, RuleName, Verdict, Verdicts,
    World,
};

/// What one endpoint says of a packet in one direction; `None` if no endpoint has that key.
///
/// The near address is the packet's source for egress and its destination for ingress, whether it
/// is one of the endpoint's or not.
#[must_use]
pub fn judge(
    world: &World,
    key: &ObjectKey,
    direction: Direction,
    packet: &Packet,
) -> Option<Judgement> {
    let census = Census::new(world);
    let endpoint = census.endpoint(key)?;
    Some(census.judge(endpoint, direction, packet))
}

/// What both ends say of a packet. [14] Where several endpoints have an address, all must allow.
#[must_use]
pub fn verdict(world: &World, packet: &Packet) -> Verdicts {
    Census::new(world).verdict(packet)
}

impl Census<'_> {
    /// As [`judge`], for an endpoint of this census.
    #[must_use]
    pub fn judge(&self, endpoint: &Endpoint, direction: Direction, packet: &Packet) -> Judgement {
        self.walk(Judge::Workload(endpoint), direction, packet)
    }

    /// As [`judge_stage`](crate::judge_stage), for a host endpoint of this census.
    #[must_use]
    pub fn judge_stage(
        &self,
        host: &HostEndpoint,
        stage: Stage,
        direction: Direction,
        packet: &Packet,
    ) -> Option<Judgement> {
        let judge = Judge::Host(host, stage);
        let is_selected = !order::walk(self, judge, direction).is_empty();
        // [18]
        (is_selected || stage == Stage::Local).then(|| self.walk(judge, direction, packet))
    }

    fn walk(&self, judge: Judge<'_>, direction: Direction, packet: &Packet) -> Judgement {
        Walk {
            census: self,
            judge,
            direction,
            packet,
            passed: Vec::new(),
            logged: Vec::new(),
        }
        .run()
    }

    /// As [`verdict`].
    #[must_use]
    pub fn verdict(&self, packet: &Packet) -> Verdicts {
        let side = |address: IpAddr, direction: Direction| -> Vec<(ObjectKey, Judgement)> {
            self.endpoints_at(address)
                .map(|endpoint| {
                    (
                        endpoint.key.clone(),
                        self.judge(endpoint, direction, packet),
                    )
                })
                .collect()
        };
        let egress = side(packet.source, Direction::Egress);
        let ingress = side(packet.destination, Direction::Ingress);
        let allowed = egress
            .iter()
            .chain(&ingress)
            .all(|(_, x)| x.verdict == Verdict::Allow);
        let verdict = if allowed {
            Verdict::Allow
        } else {
            Verdict::Deny
        };
        Verdicts {
            verdict,
            egress,
            ingress,
        }
    }
}

struct Walk<'a, 'w> {
    census: &'a Census<'w>,
    judge: Judge<'a>,
    direction: Direction,
    packet: &'a Packet,
    passed: Vec<RuleName>,
    logged: Vec<RuleName>,
}

/// What came of a rule, a policy, or a tier.
enum Step {
    /// Nothing: go on with the next.
    Next,
    /// A Pass rule matched: leave the tier or the profile.
    Leave,
    Decided(Verdict, Decider),
}

impl Walk<'_, '_> {
    fn run(mut self) -> Judgement {
        let (verdict, decider) = self.decide();
        Judgement {
            verdict,
            decider,
            passed: self.passed,
            logged: self.logged,
        }
    }

    /// [15] Tiers, then profiles.
    fn decide(&mut self) -> (Verdict, Decider) {
        for (tier, policies) in order::walk(self.census, self.judge, self.direction) {
            match self.walk_policies(&policies) {
                Step::Decided(verdict, decider) => return (verdict, decider),
                Step::Leave => {}
                Step::Next if self.end_of(tier.default) == Action::Pass => {}
                Step::Next => return (Verdict::Deny, Decider::EndOfTier(tier.name)),
            }
        }
        match self.judge {
            Judge::Host(_, stage) if stage.is_open() => (Verdict::Next, Decider::EndOfStage),
            _ => self.decide_by_profiles(),
        }
    }

    /// [15, 18] What the end of a tier does.
    fn end_of(&self, default: order::Default) -> Action {
        match (self.judge, default) {
            (Judge::Host(_, stage), default) => stage.default_of(default),
            (Judge::Workload(_), order::Default::Pass) => Action::Pass,
            (Judge::Workload(_), order::Default::Deny) => Action::Deny,
        }
    }

    fn walk_policies(&mut self, policies: &[Policy<'_>]) -> Step {
        for policy in policies {
            // [8]
            if policy.is_unreadable() {
                return Step::Decided(Verdict::Deny, Decider::Unreadable(policy.name.clone()));
            }
            match self.walk_policy(policy) {
                Step::Next => {}
                end => return end,
            }
        }
        Step::Next
    }

    fn walk_policy(&mut self, policy: &Policy<'_>) -> Step {
        match policy.content {
            Content::Calico(calico) => {
                let rules = match self.direction {
                    Direction::Ingress => &calico.ingress,
                    Direction::Egress => &calico.egress,
                };
                let scope = match &policy.name.namespace {
                    Some(namespace) => Scope::Namespace(namespace),
                    None => Scope::Everywhere,
                };
                self.walk_rules(&policy.name, rules, scope)
            }
            Content::Kubernetes(kube) => {
                let (rules, far) = match self.direction {
                    Direction::Ingress => (&kube.ingress, self.packet.source),
                    Direction::Egress => (&kube.egress, self.packet.destination),
                };
                // The decoder gives every NetworkPolicy a namespace.
                let namespace = policy.name.namespace.as_deref().unwrap_or_default();
                for (index, rule) in rules.iter().enumerate() {
                    let answer =
                        matching::kube_rule(self.census, namespace, rule, far, self.packet);
                    match self.act(&policy.name, index, Action::Allow, answer) {
                        Step::Next => {}
                        end => return end,
                    }
                }
                Step::Next
            }
            Content::Cluster(cluster) => {
                let rules = match self.direction {
                    Direction::Ingress => &cluster.ingress,
                    Direction::Egress => &cluster.egress,
                };
                for (index, rule) in rules.iter().enumerate() {
                    let answer =
                        matching::cluster::rule(self.census, rule, self.direction, self.packet);
                    match self.act(&policy.name, index, rule.action, answer) {
                        Step::Next => {}
                        end => return end,
                    }
                }
                Step::Next
            }
        }
    }

    fn walk_rules(&mut self, policy: &PolicyName, rules: &[Rule], scope: Scope<'_>) -> Step {
        for (index, rule) in rules.iter().enumerate() {
            let answer = matching::rule(self.census, scope, rule, self.packet);
            match self.act(policy, index, rule.action, answer) {
                Step::Next => {}
                end => return end,
            }
        }
        Step::Next
    }

    /// [10, 15]
    fn act(&mut self, policy: &PolicyName, index: usize, action: Action, answer: Answer) -> Step {
        let name = RuleName {
            policy: policy.clone(),
            direction: self.direction,
            index,
        };
        match (answer, action) {
            (Answer::No, _) | (Answer::Undetermined, Action::Allow | Action::Log) => Step::Next,
            (Answer::Undetermined, Action::Deny | Action::Pass) => {
                Step::Decided(Verdict::Deny, Decider::Undetermined(name))
            }
            (Answer::Yes, Action::Allow) => Step::Decided(Verdict::Allow, Decider::Rule(name)),
            (Answer::Yes, Action::Deny) => Step::Decided(Verdict::Deny, Decider::Rule(name)),
            (Answer::Yes, Action::Pass) => {
                self.passed.push(name);
                Step::Leave
            }
            (Answer::Yes, Action::Log) => {
                self.logged.push(name);
                Step::Next
            }
        }
    }

    /// [2] In order; Pass goes to the next one; one that is missing denies.
    fn decide_by_profiles(&mut self) -> (Verdict, Decider) {
        for profile in self.judge.profiles().to_vec() {
            let profile = &profile;
            let step = match find_profile(self.census.world, profile) {
                // The one that is there without an object: one rule, allow all.
                None if profile == "projectcalico-default-allow" => {
                    self.act(&profile_name(profile), 0, Action::Allow, Answer::Yes)
                }
                None => return (Verdict::Deny, Decider::MissingProfile(profile.clone())),
                // One rule: allow all.
                Some(ProfileSource::Namespace(_)) => {
                    self.act(&profile_name(profile), 0, Action::Allow, Answer::Yes)
                }
                Some(ProfileSource::ServiceAccount(_)) => Step::Next,
                Some(ProfileSource::Object(object)) => self.walk_profile(profile, object),
            };
            if let Step::Decided(verdict, decider) = step {
                return (verdict, decider);
            }
        }
        (Verdict::Deny, Decider::EndOfProfiles)
    }

    fn walk_profile(&mut self, name: &str, profile: &Profile) -> Step {
        let rules = match self.direction {
            Direction::Ingress => &profile.ingress,
            Direction::Egress => &profile.egress,
        };
        self.walk_rules(&profile_name(name), rules, Scope::Everywhere)
    }
}

fn profile_name(name: &str) -> PolicyName {
    PolicyName {
        kind: PolicyKind::Profile,
        namespace: None,
        name: name.to_owned(),
        tier: String::new(),
    }
}

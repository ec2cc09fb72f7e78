//! What is asked of the engine.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ocicat_api::rule::Action;
use ocicat_api::{Kind, Object, ObjectKey};
use ocicat_flow::{Direction, Outcome, PolicyKind, PolicyRef};
use ocicat_node::{ServiceMatch, Stage};
use ocicat_policy::{Engine, Place, endpoint_id};

use crate::explanation::DefaultAction;
use crate::walk::{PolicyView, Stack, TierView};

/// The engine, and the orders of tiers and policies, which it does not tell.
pub(crate) struct Tables {
    engine: Engine,
    tiers: BTreeMap<Arc<str>, Option<f64>>,
    policies: BTreeMap<ObjectKey, Option<f64>>,
    /// Something changed since the last commit.
    stale: bool,
}

/// Tiers whose order no object changes.
const FIXED: [(&str, f64); 3] = [
    ("kube-admin", 1_000.0),
    ("default", 1_000_000.0),
    ("kube-baseline", 10_000_000.0),
];

/// The order of every Kubernetes NetworkPolicy.
const KUBERNETES_ORDER: f64 = 1_000.0;

impl Tables {
    /// Of an engine without objects.
    pub(crate) fn new<'a>(engine: Engine, objects: impl Iterator<Item = &'a Object>) -> Self {
        let mut engine = engine;
        let (mut tiers, mut policies) = (BTreeMap::new(), BTreeMap::new());
        for object in objects {
            match object {
                Object::Tier(tier) => {
                    tiers.insert(tier.metadata.name.clone(), tier.order);
                }
                Object::CalicoNetworkPolicy(policy) | Object::GlobalNetworkPolicy(policy) => {
                    policies.insert(object.key(), policy.order);
                }
                Object::StagedNetworkPolicy(x) | Object::StagedGlobalNetworkPolicy(x) => {
                    policies.insert(object.key(), x.policy.order);
                }
                Object::ClusterNetworkPolicy(policy) => {
                    policies.insert(object.key(), Some(f64::from(policy.priority)));
                }
                _ => {}
            }
            engine.upsert(object);
        }
        tiers.extend(FIXED.map(|(name, order)| (Arc::from(name), Some(order))));
        Self {
            engine,
            tiers,
            policies,
            stale: true,
        }
    }

    /// `pod/shop/web-1`.
    pub(crate) fn id(key: &ObjectKey) -> Arc<str> {
        endpoint_id(key)
    }

    /// Makes tables for an endpoint, at the next commit.
    pub(crate) fn set_local(&mut self, key: &ObjectKey) {
        if self.engine.endpoint(key).is_none() && self.engine.host_endpoint(key).is_none() {
            self.engine.set_local(key, Place::Local);
            self.stale = true;
        }
    }

    pub(crate) fn set_addresses(&mut self, key: &ObjectKey, addresses: &[IpAddr]) {
        self.engine.set_addresses(key, addresses);
        self.stale = true;
    }

    pub(crate) fn commit(&mut self) {
        if std::mem::take(&mut self.stale) {
            self.engine.commit();
        }
    }

    /// `None` if the endpoint has no tables or no such address.
    pub(crate) fn judge(
        &self,
        key: &ObjectKey,
        direction: Direction,
        (near, far): (IpAddr, IpAddr),
        service: ServiceMatch,
    ) -> Option<Arc<Outcome>> {
        self.engine.judge(key, direction, (near, far), &service)
    }

    /// `None` if there is no such stage.
    pub(crate) fn judge_stage(
        &self,
        key: &ObjectKey,
        way: (Stage, Direction),
        (near, far): (IpAddr, IpAddr),
        service: ServiceMatch,
    ) -> Option<Arc<Outcome>> {
        self.engine.judge_stage(key, way, (near, far), &service)
    }

    /// What judges an endpoint, in order; nothing if it has no tables.
    pub(crate) fn stack(&self, key: &ObjectKey, direction: Direction) -> Stack {
        self.view_of(self.engine.explain(key, direction))
    }

    /// What judges at a stage of a host endpoint.
    pub(crate) fn stage(&self, key: &ObjectKey, way: (Stage, Direction)) -> Stack {
        let mut stack = self.view_of(self.engine.explain_stage(key, way));
        if matches!(way.0, Stage::Untracked | Stage::PreDnat) {
            // Whatever the tier says: its end does not deny at these stages.
            for tier in &mut stack.tiers {
                tier.default_action = DefaultAction::Pass;
            }
        }
        stack
    }

    fn view_of(&self, found: Option<ocicat_policy::Explanation>) -> Stack {
        let Some(found) = found else {
            return Stack::default();
        };
        let tier = |tier: ocicat_policy::TierPolicies| TierView {
            order: self.tiers.get(&tier.tier).copied().flatten(),
            name: tier.tier,
            default_action: match tier.default_action {
                Action::Pass => DefaultAction::Pass,
                _ => DefaultAction::Deny,
            },
            policies: tier
                .policies
                .into_iter()
                .map(|policy| self.view(policy))
                .collect(),
        };
        let profile = |profile: ocicat_policy::ProfileStanding| {
            Arc::new(PolicyRef {
                kind: PolicyKind::Profile,
                namespace: None,
                name: profile.name,
                tier: Arc::from(""),
            })
        };
        Stack {
            tiers: found.tiers.into_iter().map(tier).collect(),
            profiles: found.profiles.into_iter().map(profile).collect(),
        }
    }

    fn view(&self, reference: Arc<PolicyRef>) -> PolicyView {
        let kind = match reference.kind {
            PolicyKind::CalicoNetworkPolicy => Kind::CalicoNetworkPolicy,
            PolicyKind::GlobalNetworkPolicy => Kind::GlobalNetworkPolicy,
            PolicyKind::NetworkPolicy | PolicyKind::StagedKubernetesNetworkPolicy => {
                return PolicyView {
                    reference,
                    order: Some(KUBERNETES_ORDER),
                };
            }
            PolicyKind::ClusterNetworkPolicy => Kind::ClusterNetworkPolicy,
            PolicyKind::StagedNetworkPolicy => Kind::StagedNetworkPolicy,
            PolicyKind::StagedGlobalNetworkPolicy => Kind::StagedGlobalNetworkPolicy,
            PolicyKind::Profile => {
                return PolicyView {
                    reference,
                    order: None,
                };
            }
        };
        let (namespace, name) = (reference.namespace.clone(), reference.name.clone());
        let order = self.policies.get(&ObjectKey {
            kind,
            namespace,
            name,
        });
        PolicyView {
            order: order.copied().flatten(),
            reference,
        }
    }
}

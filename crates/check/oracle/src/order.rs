//! Which policies select an endpoint, and in which order tiers and policies are walked.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use ocicat_api::Object;
use ocicat_api::policy::{CalicoPolicy, NetworkPolicy, Subject, Types};
use ocicat_api::rule::Action;

use crate::census::{Census, Endpoint, namespace_labels, service_account_labels};
use crate::expression::{Sense, satisfies};
use crate::world::{World, namespace_of};
use crate::{Direction, PolicyKind, PolicyName};

/// A policy of any kind.
#[derive(Debug, Clone)]
pub struct Policy<'w> {
    pub name: PolicyName,
    /// Absent is last.
    pub order: Option<f64>,
    pub content: Content<'w>,
}

#[derive(Debug, Clone, Copy)]
pub enum Content<'w> {
    Calico(&'w CalicoPolicy),
    Kubernetes(&'w NetworkPolicy),
}

/// What happens at the end of a tier that took part. [15]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    Deny,
    Pass,
}

/// A tier, whether an object stands for it or not.
#[derive(Debug, Clone, PartialEq)]
pub struct TierSpec {
    pub name: String,
    pub order: Option<f64>,
    pub default: Default,
}

/// [7] All tiers that a policy names, in order.
pub fn tiers(world: &World) -> Vec<TierSpec> {
    let names: BTreeSet<String> = policies(world).into_iter().map(|p| p.name.tier).collect();
    let mut tiers: Vec<TierSpec> = names.into_iter().map(|name| tier(world, name)).collect();
    tiers.sort_by(|a, b| by_order(a.order, b.order).then_with(|| a.name.cmp(&b.name)));
    tiers
}

/// [7, 15] The policies of a tier that select the endpoint in this direction, in order.
pub fn selecting<'w>(
    census: &Census<'w>,
    tier: &str,
    endpoint: &Endpoint,
    direction: Direction,
) -> Vec<Policy<'w>> {
    let mut found = policies(census.world);
    found.retain(|policy| policy.name.tier == tier && selects(census, policy, endpoint, direction));
    found.sort_by(|a, b| {
        by_order(a.order, b.order)
            .then_with(|| a.name.name.cmp(&b.name.name))
            .then_with(|| a.name.namespace.cmp(&b.name.namespace))
            .then_with(|| a.name.kind.cmp(&b.name.kind))
    });
    found
}

impl Policy<'_> {
    /// [8] Whether its subject cannot be read.
    pub fn is_unreadable(&self) -> bool {
        match self.content {
            Content::Calico(policy) => policy.subject == Subject::Unreadable,
            Content::Kubernetes(policy) => policy.pod_selector.is_none(),
        }
    }
}

fn policies(world: &World) -> Vec<Policy<'_>> {
    world.objects.values().filter_map(policy).collect()
}

fn policy(object: &Object) -> Option<Policy<'_>> {
    let calico = |policy, kind| (Content::Calico(policy), kind);
    let (content, kind) = match object {
        Object::GlobalNetworkPolicy(policy) => calico(policy, PolicyKind::GlobalNetworkPolicy),
        Object::CalicoNetworkPolicy(policy) => calico(policy, PolicyKind::CalicoNetworkPolicy),
        Object::NetworkPolicy(policy) => (Content::Kubernetes(policy), PolicyKind::NetworkPolicy),
        _ => return None,
    };
    let (tier, order) = match content {
        Content::Calico(policy) => (policy.tier.to_string(), policy.order),
        // Kubernetes NetworkPolicy stands in tier `default` with order 1,000.
        Content::Kubernetes(_) => ("default".to_owned(), Some(1_000.0)),
    };
    let namespace = match kind {
        PolicyKind::GlobalNetworkPolicy => None,
        _ => Some(namespace_of(object.metadata())),
    };
    let name = PolicyName {
        kind,
        namespace,
        name: object.metadata().name.to_string(),
        tier,
    };
    Some(Policy {
        name,
        order,
        content,
    })
}

fn selects(
    census: &Census<'_>,
    policy: &Policy<'_>,
    endpoint: &Endpoint,
    direction: Direction,
) -> bool {
    let namespace = policy.name.namespace.as_deref();
    let right_namespace = namespace.is_none_or(|namespace| namespace == endpoint.namespace);
    let right_type = |types: Types| match direction {
        Direction::Ingress => types.ingress,
        Direction::Egress => types.egress,
    };
    let right_subject = match policy.content {
        // [8]
        Content::Calico(policy) if policy.is_host_only() => false,
        Content::Calico(policy) => {
            right_type(policy.types) && is_subject(census, &policy.subject, namespace, endpoint)
        }
        // [8] The whole namespace, whatever its orchestrator.
        Content::Kubernetes(NetworkPolicy {
            pod_selector: None,
            types,
            ..
        }) => right_type(*types),
        // [6]
        Content::Kubernetes(NetworkPolicy {
            pod_selector: Some(selector),
            types,
            ..
        }) => {
            right_type(*types)
                && endpoint.orchestrator == "k8s"
                && satisfies(&endpoint.labels, selector, Sense::Plain)
        }
    };
    right_namespace && right_subject
}

/// [13] Judged by the endpoint's own labels, those of its namespace and of its service account.
fn is_subject(
    census: &Census<'_>,
    subject: &Subject,
    policy_namespace: Option<&str>,
    endpoint: &Endpoint,
) -> bool {
    let Subject::Selectors {
        selector,
        namespace_selector,
        service_account_selector,
    } = subject
    else {
        // [8] Without a namespace to close it is enforced nowhere.
        return policy_namespace.is_some();
    };
    let right_namespace = namespace_selector.as_ref().is_none_or(|selector| {
        let labels = namespace_labels(census.world, &endpoint.namespace);
        satisfies(&labels, selector, Sense::Namespaced)
    });
    let right_account = service_account_selector.as_ref().is_none_or(|selector| {
        endpoint.service_account.as_ref().is_some_and(|account| {
            let labels = service_account_labels(census.world, &endpoint.namespace, account);
            satisfies(&labels, selector, Sense::Plain)
        })
    });
    satisfies(&endpoint.labels, selector, Sense::Plain) && right_namespace && right_account
}

/// [7] Three tiers are fixed; one that has no object is without order and denies.
fn tier(world: &World, name: String) -> TierSpec {
    let (order, default) = match name.as_str() {
        "kube-admin" => (Some(1_000.0), Default::Pass),
        "default" => (Some(1_000_000.0), Default::Deny),
        "kube-baseline" => (Some(10_000_000.0), Default::Pass),
        other => match world.tier(other) {
            Some(tier) if tier.default_action == Action::Pass => (tier.order, Default::Pass),
            Some(tier) => (tier.order, Default::Deny),
            None => (None, Default::Deny),
        },
    };
    TierSpec {
        name,
        order,
        default,
    }
}

fn by_order(a: Option<f64>, b: Option<f64>) -> Ordering {
    match (a, b) {
        // Not a number never occurs, so that every two orders compare.
        (Some(a), Some(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

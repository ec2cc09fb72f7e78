//! Which policies select an endpoint, and in which order tiers and policies are walked.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use ocicat_api::Object;
use ocicat_api::policy::{
    CalicoPolicy, ClusterNetworkPolicy, ClusterSubject, ClusterTier, NetworkPolicy, StagedAction,
    Subject, Types,
};
use ocicat_api::rule::Action;

use crate::census::{Census, Endpoint, namespace_labels, service_account_labels};
use crate::expression::{Sense, satisfies};
use crate::hosts::{HostEndpoint, Stage};
use crate::matching;
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
    Cluster(&'w ClusterNetworkPolicy),
}

/// Who judges.
#[derive(Debug, Clone, Copy)]
pub enum Judge<'a> {
    Workload(&'a Endpoint),
    Host(&'a HostEndpoint, Stage),
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

/// [7, 15] The tiers that take part, in order, each with its policies that select who judges in
/// this direction, in order.
pub fn walk<'w>(
    census: &Census<'w>,
    judge: Judge<'_>,
    direction: Direction,
) -> Vec<(TierSpec, Vec<Policy<'w>>)> {
    let mut found = policies(census.world);
    found.retain(|policy| selects(census, policy, judge, direction));
    found.sort_by(|a, b| {
        by_order(a.order, b.order)
            .then_with(|| a.name.name.cmp(&b.name.name))
            .then_with(|| a.name.namespace.cmp(&b.name.namespace))
            .then_with(|| rank(a.name.kind).cmp(&rank(b.name.kind)))
    });
    let names: BTreeSet<String> = found.iter().map(|p| p.name.tier.clone()).collect();
    let of_tier = |name: String| {
        let policies = found.iter().filter(|policy| policy.name.tier == name);
        let policies = policies.cloned().collect();
        (tier(census.world, name), policies)
    };
    let mut tiers: Vec<_> = names.into_iter().map(of_tier).collect();
    tiers.sort_by(|(a, _), (b, _)| by_order(a.order, b.order).then_with(|| a.name.cmp(&b.name)));
    tiers
}

impl Policy<'_> {
    /// [8] Whether its subject cannot be read.
    pub fn is_unreadable(&self) -> bool {
        match self.content {
            Content::Calico(policy) => policy.subject == Subject::Unreadable,
            Content::Kubernetes(policy) => policy.pod_selector.is_none(),
            Content::Cluster(_) => false,
        }
    }
}

impl Judge<'_> {
    /// The profiles that are asked at the end: none but at stage `Local` of a host endpoint. [18]
    pub fn profiles(&self) -> &[String] {
        match self {
            Self::Workload(endpoint) => &endpoint.profiles,
            Self::Host(host, Stage::Local) => &host.profiles,
            Self::Host(..) => &[],
        }
    }
}

/// [7] A staged policy stands where its twin would. [22]
fn rank(kind: PolicyKind) -> usize {
    match kind {
        PolicyKind::GlobalNetworkPolicy | PolicyKind::StagedGlobalNetworkPolicy => 0,
        PolicyKind::CalicoNetworkPolicy | PolicyKind::StagedNetworkPolicy => 1,
        PolicyKind::NetworkPolicy | PolicyKind::StagedKubernetesNetworkPolicy => 2,
        PolicyKind::ClusterNetworkPolicy => 3,
        PolicyKind::Profile => 4,
    }
}

fn policies(world: &World) -> Vec<Policy<'_>> {
    let all = world.objects.values();
    all.filter_map(|object| policy(world, object)).collect()
}

fn policy<'w>(world: &World, object: &'w Object) -> Option<Policy<'w>> {
    let (content, kind) = match object {
        Object::GlobalNetworkPolicy(policy) => {
            (Content::Calico(policy), PolicyKind::GlobalNetworkPolicy)
        }
        Object::CalicoNetworkPolicy(policy) => {
            (Content::Calico(policy), PolicyKind::CalicoNetworkPolicy)
        }
        Object::NetworkPolicy(policy) => (Content::Kubernetes(policy), PolicyKind::NetworkPolicy),
        Object::ClusterNetworkPolicy(policy) => {
            (Content::Cluster(policy), PolicyKind::ClusterNetworkPolicy)
        }
        other if world.is_pending() => staged(other)?,
        _ => return None,
    };
    let (tier, order) = match content {
        Content::Calico(policy) => (policy.tier.to_string(), policy.order),
        // Kubernetes NetworkPolicy stands in tier `default` with order 1,000.
        Content::Kubernetes(_) => ("default".to_owned(), Some(1_000.0)),
        // [17]
        Content::Cluster(policy) => {
            let tier = match policy.tier {
                ClusterTier::Admin => "kube-admin",
                ClusterTier::Baseline => "kube-baseline",
            };
            (tier.to_owned(), Some(f64::from(policy.priority)))
        }
    };
    let namespace = match kind {
        PolicyKind::GlobalNetworkPolicy
        | PolicyKind::StagedGlobalNetworkPolicy
        | PolicyKind::ClusterNetworkPolicy => None,
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

/// [22]
fn staged(object: &Object) -> Option<(Content<'_>, PolicyKind)> {
    let (action, content, kind) = match object {
        Object::StagedGlobalNetworkPolicy(x) => (
            x.action,
            Content::Calico(&x.policy),
            PolicyKind::StagedGlobalNetworkPolicy,
        ),
        Object::StagedNetworkPolicy(x) => (
            x.action,
            Content::Calico(&x.policy),
            PolicyKind::StagedNetworkPolicy,
        ),
        Object::StagedKubernetesNetworkPolicy(x) => (
            x.action,
            Content::Kubernetes(&x.policy),
            PolicyKind::StagedKubernetesNetworkPolicy,
        ),
        _ => return None,
    };
    (action == StagedAction::Set).then_some((content, kind))
}

fn selects(
    census: &Census<'_>,
    policy: &Policy<'_>,
    judge: Judge<'_>,
    direction: Direction,
) -> bool {
    match judge {
        Judge::Workload(endpoint) => selects_workload(census, policy, endpoint, direction),
        Judge::Host(host, stage) => selects_host(policy, host, stage, direction),
    }
}

fn selects_workload(
    census: &Census<'_>,
    policy: &Policy<'_>,
    endpoint: &Endpoint,
    direction: Direction,
) -> bool {
    let namespace = policy.name.namespace.as_deref();
    let right_namespace = namespace.is_none_or(|namespace| namespace == endpoint.namespace);
    let right_subject = match policy.content {
        // [8]
        Content::Calico(policy) if policy.is_host_only() => false,
        Content::Calico(policy) => {
            governs(policy.types, direction)
                && is_subject(census, &policy.subject, namespace, endpoint)
        }
        // [8] The whole namespace, whatever its orchestrator.
        Content::Kubernetes(NetworkPolicy {
            pod_selector: None,
            types,
            ..
        }) => governs(*types, direction),
        // [6]
        Content::Kubernetes(NetworkPolicy {
            pod_selector: Some(selector),
            types,
            ..
        }) => {
            governs(*types, direction)
                && endpoint.orchestrator == "k8s"
                && satisfies(&endpoint.labels, selector, Sense::Plain)
        }
        Content::Cluster(policy) => {
            let rules = match direction {
                Direction::Ingress => &policy.ingress,
                Direction::Egress => &policy.egress,
            };
            !rules.is_empty() && is_cluster_subject(census, &policy.subject, endpoint)
        }
    };
    right_namespace && right_subject
}

fn governs(types: Types, direction: Direction) -> bool {
    match direction {
        Direction::Ingress => types.ingress,
        Direction::Egress => types.egress,
    }
}

/// [17] Only global policies, and only those that ask for nothing that a host endpoint has not.
fn selects_host(
    policy: &Policy<'_>,
    host: &HostEndpoint,
    stage: Stage,
    direction: Direction,
) -> bool {
    let Content::Calico(calico) = policy.content else {
        return false;
    };
    let Subject::Selectors {
        selector,
        namespace_selector: None,
        service_account_selector: None,
    } = &calico.subject
    else {
        return false;
    };
    let is_ingress_only = stage == Stage::PreDnat;
    policy.name.namespace.is_none()
        && stage.takes(calico.stage)
        && governs(calico.types, direction)
        && (direction == Direction::Ingress || !is_ingress_only)
        && satisfies(&host.labels, selector, Sense::Plain)
}

/// [21] Pods, by their namespace, or by it and their own labels.
fn is_cluster_subject(census: &Census<'_>, subject: &ClusterSubject, endpoint: &Endpoint) -> bool {
    let (of_namespace, of_pod) = match subject {
        ClusterSubject::Namespaces(selector) => (selector, None),
        ClusterSubject::Pods {
            namespace_selector,
            pod_selector,
        } => (namespace_selector, Some(pod_selector)),
        ClusterSubject::Unreadable => return false,
    };
    matching::is_pod_of(census, endpoint, of_namespace, of_pod)
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

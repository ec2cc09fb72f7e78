//! [22]: staged policy.

use ocicat_api::Object;
use ocicat_api::policy::{CalicoPolicy, Staged, StagedAction};
use ocicat_api::rule::Action;

use super::build::*;
use crate::{Decider, World};

const AT: &str = "10.0.0.1";

fn enforced(namespace: &str, action: Action) -> CalicoPolicy {
    CalicoPolicy {
        ingress: vec![rule(action)],
        types: INGRESS,
        ..policy(namespace, "p")
    }
}

fn world(objects: impl IntoIterator<Item = Object>) -> World {
    let mut world = World::new(objects);
    world.put(namespace("shop", &[]));
    world.put(Object::Pod(pod("shop", "web", AT, &[])));
    world
}

fn decider(world: &World) -> String {
    receive(world, &tcp("8.8.8.8", AT, 80)).decider.to_string()
}

fn stage(action: StagedAction, policy: CalicoPolicy) -> Object {
    let staged = Staged { action, policy };
    if staged.policy.metadata.namespace.is_some() {
        Object::StagedNetworkPolicy(staged)
    } else {
        Object::StagedGlobalNetworkPolicy(staged)
    }
}

#[test]
fn what_is_staged_is_not_enforced() {
    let world = world([stage(StagedAction::Set, enforced("", Deny))]);
    assert_eq!(decider(&world), "profile/kns.shop ingress[0]");
    assert_eq!(decider(&world.pending()), "default sgnp/p ingress[0]");
}

#[test]
fn set_replaces_the_twin_wholly() {
    let twin = CalicoPolicy {
        order: Some(1.0),
        ..enforced("shop", Allow)
    };
    let staged = CalicoPolicy {
        tier: "late".into(),
        ..enforced("shop", Deny)
    };
    let world = world([
        Object::CalicoNetworkPolicy(twin),
        stage(StagedAction::Set, staged),
        // Of another kind, namespace or name: not the twin.
        Object::GlobalNetworkPolicy(CalicoPolicy {
            order: Some(2.0),
            ..enforced("", Log)
        }),
    ]);
    assert_eq!(decider(&world), "default cnp/shop/p ingress[0]");
    assert_eq!(decider(&world.pending()), "end of tier default");
}

#[test]
fn delete_removes_the_twin() {
    for (policy, kind) in [
        (enforced("shop", Deny), "cnp/shop/p"),
        (enforced("", Deny), "gnp/p"),
    ] {
        let object = match policy.metadata.namespace {
            Some(_) => Object::CalicoNetworkPolicy(policy.clone()),
            None => Object::GlobalNetworkPolicy(policy.clone()),
        };
        let world = world([object, stage(StagedAction::Delete, policy)]);
        assert_eq!(decider(&world), format!("default {kind} ingress[0]"));
        assert_eq!(decider(&world.pending()), "profile/kns.shop ingress[0]");
    }
}

#[test]
fn learn_and_ignore_change_nothing() {
    for action in [StagedAction::Learn, StagedAction::Ignore] {
        let world = world([
            Object::GlobalNetworkPolicy(enforced("", Allow)),
            stage(action, enforced("", Deny)),
        ]);
        assert_eq!(decider(&world.pending()), "default gnp/p ingress[0]");
    }
}

#[test]
fn kubernetes_policy_is_staged_too() {
    let Object::NetworkPolicy(policy) = kube("shop", "p", kube_rule(Some(vec![]), None)) else {
        unreachable!("`kube` makes policies")
    };
    let staged = |action| {
        let policy = policy.clone();
        Object::StagedKubernetesNetworkPolicy(Staged { action, policy })
    };
    let open = kube("shop", "p", kube_rule(None, None));
    let set = world([open.clone(), staged(StagedAction::Set)]);
    assert_eq!(decider(&set), "default netpol/shop/p ingress[0]");
    assert_eq!(
        receive(&set.pending(), &tcp("8.8.8.8", AT, 80)).decider,
        Decider::EndOfTier("default".to_owned())
    );
    let delete = world([open, staged(StagedAction::Delete)]);
    assert_eq!(decider(&delete.pending()), "profile/kns.shop ingress[0]");
}

/// GlobalNetworkPolicy before NetworkPolicy before that of Kubernetes, staged or not.
#[test]
fn it_stands_where_the_twin_would() {
    let thousand = |policy: CalicoPolicy| CalicoPolicy {
        order: Some(1000.0),
        ..policy
    };
    let world = world([
        stage(StagedAction::Set, thousand(enforced("shop", Deny))),
        kube("shop", "p", kube_rule(None, None)),
    ]);
    assert_eq!(decider(&world.pending()), "default snp/shop/p ingress[0]");
    let mut other = world.clone();
    other.put(Object::CalicoNetworkPolicy(thousand(enforced(
        "shop", Allow,
    ))));
    other.put(stage(StagedAction::Set, enforced("", Deny)));
    assert_eq!(decider(&other), "default cnp/shop/p ingress[0]");
    assert_eq!(decider(&other.pending()), "default snp/shop/p ingress[0]");
}

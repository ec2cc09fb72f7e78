//! [7], [15]: the walk over tiers and policies.

use ocicat_api::Object;
use ocicat_api::policy::{CalicoPolicy, Types};
use ocicat_api::rule::{Action, Rule};
use ocicat_selector::Selector;

use super::build::*;
use crate::{Decider, Direction, Judgement, PolicyKind, RuleName, Verdict, World};

const AT: &str = "10.0.0.1";

fn judged(objects: Vec<Object>) -> Judgement {
    let mut world = World::new(objects);
    world.put(namespace("shop", &[]));
    world.put(Object::Pod(pod("shop", "web", AT, &[("app", "web")])));
    receive(&world, &tcp("8.8.8.8", AT, 80))
}

fn decider(objects: Vec<Object>) -> String {
    judged(objects).decider.to_string()
}

fn ordered(namespace: &str, name: &str, tier: &str, order: Option<f64>, action: Action) -> Object {
    let policy = CalicoPolicy {
        tier: tier.into(),
        order,
        ingress: vec![rule(action)],
        types: INGRESS,
        ..policy(namespace, name)
    };
    if namespace.is_empty() {
        Object::GlobalNetworkPolicy(policy)
    } else {
        Object::CalicoNetworkPolicy(policy)
    }
}

#[test]
fn policies_by_order_then_name() {
    let two = |a, b| {
        decider(vec![
            ordered("", "a", "default", a, Deny),
            ordered("", "b", "default", b, Deny),
        ])
    };
    assert_eq!(two(None, None), "default gnp/a ingress[0]");
    assert_eq!(two(None, Some(1e9)), "default gnp/b ingress[0]");
    assert_eq!(two(Some(2.0), Some(1.5)), "default gnp/b ingress[0]");
    assert_eq!(two(Some(-1.0), Some(0.0)), "default gnp/a ingress[0]");
    assert_eq!(two(Some(0.0), Some(-0.0)), "default gnp/a ingress[0]");
}

#[test]
fn name_before_namespace_before_kind() {
    let global = ordered("", "b", "default", None, Deny);
    let named = ordered("shop", "a", "default", None, Deny);
    assert_eq!(
        decider(vec![global.clone(), named]),
        "default cnp/shop/a ingress[0]"
    );
    let same_name = ordered("shop", "b", "default", None, Deny);
    assert_eq!(
        decider(vec![global, same_name.clone()]),
        "default gnp/b ingress[0]"
    );
    // A Kubernetes policy has order 1,000, and comes after Calico's of that order and name.
    let kube = kube("shop", "b", kube_rule(None, None));
    assert_eq!(
        decider(vec![kube.clone(), same_name]),
        "default netpol/shop/b ingress[0]"
    );
    let equal = ordered("shop", "b", "default", Some(1000.0), Deny);
    assert_eq!(
        decider(vec![kube.clone(), equal]),
        "default cnp/shop/b ingress[0]"
    );
    let later = ordered("shop", "b", "default", Some(1000.5), Deny);
    assert_eq!(
        decider(vec![kube, later]),
        "default netpol/shop/b ingress[0]"
    );
}

#[test]
fn tiers_by_order_then_name_and_missing_ones_last() {
    let mut objects = vec![
        tier("one", Some(5.0), Deny),
        tier("two", Some(5.0), Deny),
        ordered("", "two", "two", None, Deny),
        ordered("", "zero", "zero", None, Deny),
    ];
    assert_eq!(decider(objects.clone()), "two gnp/two ingress[0]");
    objects.push(ordered("", "one", "one", None, Deny));
    assert_eq!(decider(objects.clone()), "one gnp/one ingress[0]");
    objects.push(tier("zero", Some(4.0), Deny));
    assert_eq!(decider(objects), "zero gnp/zero ingress[0]");
    // After `default`, which has an order.
    let objects = vec![
        ordered("", "aaa", "aaa", None, Deny),
        ordered("", "default", "default", None, Deny),
    ];
    assert_eq!(decider(objects), "default gnp/default ingress[0]");
}

#[test]
fn fixed_tiers_are_what_they_are() {
    let in_tier = |name: &str| ordered("", name, name, None, Log);
    let wrong = |name: &str, action| tier(name, Some(1.0), action);
    // Each passes or denies at its end, whatever an object says.
    let judgement = judged(vec![wrong("kube-admin", Deny), in_tier("kube-admin")]);
    assert_eq!(judgement.verdict, Verdict::Allow);
    let judgement = judged(vec![wrong("kube-baseline", Deny), in_tier("kube-baseline")]);
    assert_eq!(judgement.verdict, Verdict::Allow);
    let judgement = judged(vec![wrong("default", Pass), in_tier("default")]);
    assert_eq!(judgement.decider, end_of_default());
    // And stands where it stands.
    let objects = vec![
        wrong("kube-baseline", Deny),
        ordered("", "kube-baseline", "kube-baseline", None, Deny),
        ordered("", "kube-admin", "kube-admin", None, Pass),
        ordered("", "default", "default", None, Pass),
        ordered("", "app", "app", None, Pass),
        tier("app", Some(999.5), Deny),
    ];
    let judgement = judged(objects);
    let passed: Vec<&str> = judgement
        .passed
        .iter()
        .map(|r| r.policy.tier.as_str())
        .collect();
    assert_eq!(passed, ["app", "kube-admin", "default"]);
    assert_eq!(
        judgement.decider.to_string(),
        "kube-baseline gnp/kube-baseline ingress[0]"
    );
}

#[test]
fn a_tier_ends_with_its_default_action() {
    let logs = ordered("", "app", "app", None, Log);
    let after = ordered("", "default", "default", None, Allow);
    let denied = judged(vec![
        tier("app", Some(1.0), Deny),
        logs.clone(),
        after.clone(),
    ]);
    assert_eq!(denied.decider, Decider::EndOfTier("app".to_owned()));
    assert_eq!(denied.logged.len(), 1);
    let passed = judged(vec![
        tier("app", Some(1.0), Pass),
        logs.clone(),
        after.clone(),
    ]);
    assert_eq!(passed.decider.to_string(), "default gnp/default ingress[0]");
    assert!(passed.passed.is_empty());
    // Missing: Deny, but after `default`.
    assert_eq!(
        judged(vec![logs.clone()]).decider,
        Decider::EndOfTier("app".to_owned())
    );
    assert_eq!(judged(vec![logs, after]).verdict, Verdict::Allow);
}

#[test]
fn only_tiers_that_select_the_endpoint_in_this_direction_take_part() {
    let mut other_label = policy("", "p");
    other_label.tier = "app".into();
    other_label.subject = subject(eq("app", "x"));
    let mut other_direction = policy("", "q");
    other_direction.tier = "app".into();
    other_direction.types = EGRESS;
    let objects = vec![
        tier("app", Some(1.0), Deny),
        Object::GlobalNetworkPolicy(other_label),
        Object::GlobalNetworkPolicy(other_direction),
    ];
    assert_eq!(decider(objects), "profile/kns.shop ingress[0]");
}

#[test]
fn types_say_which_rules_count() {
    let mut p = policy("", "p");
    p.types = EGRESS;
    p.ingress = vec![rule(Deny)];
    assert_eq!(
        judged(vec![Object::GlobalNetworkPolicy(p)]).verdict,
        Verdict::Allow
    );
    let mut p = policy("", "p");
    p.types = Types {
        ingress: true,
        egress: true,
    };
    p.egress = vec![rule(Allow)];
    assert_eq!(
        judged(vec![Object::GlobalNetworkPolicy(p)]).decider,
        end_of_default()
    );
}

#[test]
fn a_policy_without_rules_still_takes_part() {
    assert_eq!(
        judged(vec![Object::GlobalNetworkPolicy(policy("", "p"))]).decider,
        end_of_default()
    );
}

#[test]
fn pass_leaves_the_tier_and_log_goes_on() {
    let mut p = policy("", "p");
    p.ingress = vec![rule(Log), rule(Pass), rule(Deny)];
    let after = ordered("", "q", "default", None, Deny);
    let judgement = judged(vec![Object::GlobalNetworkPolicy(p), after]);
    // Out of the last tier: profiles.
    assert_eq!(judgement.decider.to_string(), "profile/kns.shop ingress[0]");
    let at = |index| ingress_rule(PolicyKind::GlobalNetworkPolicy, "", "p", index);
    assert_eq!(
        (judgement.logged, judgement.passed),
        (vec![at(0)], vec![at(1)])
    );
}

#[test]
fn the_first_rule_that_matches_decides() {
    let mut p = policy("", "p");
    let udp = Rule {
        protocol: Some(ocicat_api::Protocol::UDP),
        ..rule(Deny)
    };
    p.ingress = vec![udp, rule(Allow), rule(Deny)];
    let judgement = judged(vec![Object::GlobalNetworkPolicy(p)]);
    let at = ingress_rule(PolicyKind::GlobalNetworkPolicy, "", "p", 1);
    assert_eq!(
        (judgement.verdict, judgement.decider),
        (Verdict::Allow, Decider::Rule(at))
    );
}

#[test]
fn rules_of_egress_are_named_as_such() {
    let mut p = policy("shop", "p");
    p.egress = vec![rule(Deny)];
    let mut world = World::new([Object::CalicoNetworkPolicy(p)]);
    world.put(Object::Pod(pod("shop", "web", AT, &[])));
    let name = RuleName {
        policy: policy_name(PolicyKind::CalicoNetworkPolicy, "shop", "p", "default"),
        direction: Direction::Egress,
        index: 0,
    };
    assert_eq!(
        send(&world, &tcp(AT, "8.8.8.8", 80)).decider,
        Decider::Rule(name)
    );
}

#[test]
fn host_only_policies_do_not_reach_workloads() {
    let mut p = policy("", "p");
    p.stage = ocicat_api::policy::PolicyStage::Untracked;
    p.subject = subject(Selector::All);
    assert_eq!(
        judged(vec![Object::GlobalNetworkPolicy(p)]).verdict,
        Verdict::Allow
    );
}

#[test]
fn the_standing_of_an_endpoint_is_what_the_walk_meets() {
    let mut world = World::new([
        tier("app", Some(1.0), Pass),
        ordered("", "b", "app", None, Log),
        ordered("shop", "a", "app", None, Log),
        ordered("ops", "c", "app", None, Log),
        ordered("", "d", "default", None, Log),
        ordered("", "egress", "nobody", None, Log),
    ]);
    let web = pod("shop", "web", AT, &[]);
    world.put(Object::Pod(web));
    let mut other = policy("", "egress");
    other.tier = "nobody".into();
    other.types = EGRESS;
    world.put(Object::GlobalNetworkPolicy(other));
    let census = crate::Census::new(&world);
    let standing = census.standing(&census.endpoints[0], Ingress);
    let tiers: Vec<_> = standing
        .tiers
        .iter()
        .map(|tier| (tier.name.as_str(), tier.end))
        .collect();
    assert_eq!(tiers, [("app", None), ("default", Some(Verdict::Deny))]);
    let names = standing.tiers[0].policies.iter().map(ToString::to_string);
    assert_eq!(names.collect::<Vec<_>>(), ["app cnp/shop/a", "app gnp/b"]);
    let profiles = standing
        .profiles
        .iter()
        .map(|profile| (profile.name.as_str(), profile.exists));
    let expected = [("kns.shop", false), ("ksa.shop.default", false)];
    assert_eq!(profiles.collect::<Vec<_>>(), expected);
}

//! [2], and profiles as [15] comes to them.

use ocicat_api::Object;
use ocicat_api::core::WorkloadEndpoint;
use ocicat_api::rule::Rule;

use super::build::*;
use crate::{Decider, Judgement, PolicyKind, Verdict, World};

const AT: &str = "10.0.0.1";

/// What an endpoint with these profiles says of a packet to TCP port 80.
fn with(profiles: &[&str], objects: Vec<Object>) -> Judgement {
    let mut world = World::new(objects);
    world.put(Object::WorkloadEndpoint(WorkloadEndpoint {
        profiles: profiles.iter().map(|name| (*name).into()).collect(),
        ..wep("shop", "printer", AT, &[])
    }));
    receive(&world, &tcp("8.8.8.8", AT, 80))
}

fn by_profile(name: &str, index: usize) -> Decider {
    Decider::Rule(ingress_rule(PolicyKind::Profile, "", name, index))
}

#[test]
fn a_pod_is_allowed_by_its_namespaces_profile() {
    let mut world = World::new([
        namespace("shop", &[]),
        Object::Pod(pod("shop", "web", AT, &[])),
    ]);
    let in_ = receive(&world, &tcp("8.8.8.8", AT, 80));
    assert_eq!(
        (in_.verdict, in_.decider),
        (Verdict::Allow, by_profile("kns.shop", 0))
    );
    assert_eq!(
        send(&world, &tcp(AT, "8.8.8.8", 80)).verdict,
        Verdict::Allow
    );
    world.delete(&namespace("shop", &[]).key());
    let denied = receive(&world, &tcp("8.8.8.8", AT, 80));
    assert_eq!(
        denied.decider,
        Decider::MissingProfile("kns.shop".to_owned())
    );
    assert_eq!(denied.verdict, Verdict::Deny);
}

#[test]
fn without_profiles_everything_is_denied() {
    let judgement = with(&[], vec![namespace("shop", &[])]);
    assert_eq!(
        (judgement.verdict, judgement.decider),
        (Verdict::Deny, Decider::EndOfProfiles)
    );
}

#[test]
fn a_service_accounts_profile_has_no_rules() {
    let accounts = || vec![account("shop", "robot", &[])];
    assert_eq!(
        with(&["ksa.shop.robot"], accounts()).decider,
        Decider::EndOfProfiles
    );
    assert_eq!(
        with(&["ksa.shop.other"], accounts()).decider,
        Decider::MissingProfile("ksa.shop.other".to_owned())
    );
}

#[test]
fn an_earlier_profile_decides_before_a_missing_one() {
    let objects = || {
        vec![
            profile("open", vec![rule(Allow)], &[]),
            profile("mute", vec![], &[]),
        ]
    };
    assert_eq!(
        with(&["open", "gone"], objects()).decider,
        by_profile("open", 0)
    );
    assert_eq!(
        with(&["mute", "gone", "open"], objects()).decider,
        Decider::MissingProfile("gone".to_owned())
    );
}

#[test]
fn pass_goes_to_the_next_profile_and_log_goes_on() {
    let objects = vec![
        profile("first", vec![rule(Log), rule(Pass), rule(Deny)], &[]),
        profile("second", vec![rule(Allow)], &[]),
    ];
    let judgement = with(&["first", "second"], objects);
    assert_eq!(judgement.decider, by_profile("second", 0));
    let first = |index| ingress_rule(PolicyKind::Profile, "", "first", index);
    assert_eq!(
        (judgement.logged, judgement.passed),
        (vec![first(0)], vec![first(1)])
    );
}

#[test]
fn the_object_behind_a_name_is_the_namespace_if_there_is_one() {
    let denies = || profile("kns.shop", vec![rule(Deny)], &[]);
    assert_eq!(with(&["kns.shop"], vec![denies()]).verdict, Verdict::Deny);
    assert_eq!(
        with(&["kns.shop"], vec![denies(), namespace("shop", &[])]).verdict,
        Verdict::Allow
    );
}

#[test]
fn profile_rules_are_unscoped_and_may_be_undetermined() {
    let selects = from(Allow, selecting(eq("app", "x")));
    let other = Object::Pod(pod("ops", "x", "8.8.8.8", &[("app", "x")]));
    let open = profile("p", vec![selects], &[]);
    assert_eq!(with(&["p"], vec![open, other]).decider, by_profile("p", 0));

    let garbled = Rule {
        unreadable: vec![problem()],
        ..rule(Pass)
    };
    let objects = vec![
        profile("p", vec![garbled], &[]),
        profile("q", vec![rule(Allow)], &[]),
    ];
    let judgement = with(&["p", "q"], objects);
    assert_eq!(
        judgement.decider,
        Decider::Undetermined(ingress_rule(PolicyKind::Profile, "", "p", 0))
    );
    assert!(judgement.passed.is_empty());
}

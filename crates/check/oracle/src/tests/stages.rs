//! [17], [18]: what the stages of a host endpoint say.

use ocicat_api::Object;
use ocicat_api::core::HostEndpoint;
use ocicat_api::policy::{CalicoPolicy, PolicyStage, Subject, Types};
use ocicat_api::rule::Action;
use ocicat_selector::Selector;

use super::build::*;
use crate::{Decider, Direction, Judgement, Stage, Verdict, World, judge_stage};

const HOST: &str = "192.168.0.1";
const FAR: &str = "8.8.8.8";
const BOTH: Types = Types {
    ingress: true,
    egress: true,
};

fn at(name: &str, stage: PolicyStage, actions: &[Action]) -> CalicoPolicy {
    CalicoPolicy {
        ingress: actions.iter().map(|action| rule(*action)).collect(),
        types: INGRESS,
        stage,
        ..policy("", name)
    }
}

fn world(policies: impl IntoIterator<Item = CalicoPolicy>) -> World {
    let mut world = World::new(policies.into_iter().map(Object::GlobalNetworkPolicy));
    world.put(Object::HostEndpoint(hep("eth0", HOST, &[("role", "edge")])));
    world
}

fn ask(world: &World, stage: Stage, direction: Direction) -> Option<Judgement> {
    let key = key(&Object::HostEndpoint(hep("eth0", HOST, &[])));
    judge_stage(world, &key, stage, direction, &tcp(FAR, HOST, 80))
}

fn said(world: &World, stage: Stage) -> String {
    let judgement = ask(world, stage, Ingress);
    judgement.map_or("absent".to_owned(), |x| {
        format!("{:?} by {}", x.verdict, x.decider)
    })
}

#[test]
fn without_a_policy_only_local_judges() {
    let world = world([]);
    for stage in [Stage::Untracked, Stage::PreDnat, Stage::Forward] {
        assert_eq!(said(&world, stage), "absent");
    }
    assert_eq!(said(&world, Stage::Local), "Deny by end of profiles");
}

#[test]
fn each_stage_has_its_policies() {
    let world = world([
        at("a-normal", PolicyStage::Normal, &[Deny]),
        at("b-forward", PolicyStage::Forward, &[Deny]),
        at("c-untracked", PolicyStage::Untracked, &[Deny]),
        at("d-prednat", PolicyStage::PreDnat, &[Deny]),
    ]);
    let expected = |name| format!("Deny by default gnp/{name} ingress[0]");
    assert_eq!(said(&world, Stage::Local), expected("a-normal"));
    assert_eq!(said(&world, Stage::Forward), expected("b-forward"));
    assert_eq!(said(&world, Stage::Untracked), expected("c-untracked"));
    assert_eq!(said(&world, Stage::PreDnat), expected("d-prednat"));
    // None of them is of egress.
    for stage in [Stage::Untracked, Stage::PreDnat, Stage::Forward] {
        assert_eq!(ask(&world, stage, Egress), None);
    }
    let local = ask(&world, Stage::Local, Egress).expect("always there");
    assert_eq!(local.decider, Decider::EndOfProfiles);
}

#[test]
fn local_takes_forward_policy_in_the_usual_order() {
    let first = CalicoPolicy {
        order: Some(1.0),
        ..at("z", PolicyStage::Forward, &[Allow])
    };
    let world = world([at("a", PolicyStage::Normal, &[Deny]), first]);
    assert_eq!(
        said(&world, Stage::Local),
        "Allow by default gnp/z ingress[0]"
    );
}

#[test]
fn pre_dnat_is_ingress_only() {
    let policy = CalicoPolicy {
        types: BOTH,
        ..at("a", PolicyStage::PreDnat, &[Deny])
    };
    assert_eq!(ask(&world([policy]), Stage::PreDnat, Egress), None);
}

#[test]
fn early_stages_do_not_deny_at_their_end() {
    for (policies, stage) in [
        (PolicyStage::Untracked, Stage::Untracked),
        (PolicyStage::PreDnat, Stage::PreDnat),
    ] {
        let mut world = world([at("a", policies, &[Log])]);
        let judgement = ask(&world, stage, Ingress).expect("a policy");
        assert_eq!(judgement.verdict, Verdict::Next);
        assert_eq!(judgement.decider, Decider::EndOfStage);
        assert_eq!(judgement.logged.len(), 1);
        // A later tier is asked whatever the default action, and after Pass.
        for action in [Log, Pass] {
            world.put(tier("first", Some(1.0), Deny));
            world.put(Object::GlobalNetworkPolicy(CalicoPolicy {
                tier: "first".into(),
                ..at("b", policies, &[action])
            }));
            world.put(Object::GlobalNetworkPolicy(at("a", policies, &[Allow])));
            let expected = "Allow by default gnp/a ingress[0]";
            assert_eq!(said(&world, stage), expected);
        }
        // No profiles, even if there are some.
        world.put(Object::GlobalNetworkPolicy(at("a", policies, &[Pass])));
        world.put(namespace("shop", &[]));
        world.put(Object::HostEndpoint(HostEndpoint {
            profiles: vec!["kns.shop".into()],
            ..hep("eth0", HOST, &[])
        }));
        assert_eq!(said(&world, stage), "Next by end of stage");
    }
}

#[test]
fn forward_denies_at_its_end_without_profiles() {
    let of = |action| world([at("a", PolicyStage::Forward, &[action])]);
    assert_eq!(
        said(&of(Log), Stage::Forward),
        "Deny by end of tier default"
    );
    let mut world = of(Pass);
    world.put(namespace("shop", &[]));
    world.put(Object::HostEndpoint(HostEndpoint {
        profiles: vec!["kns.shop".into()],
        ..hep("eth0", HOST, &[])
    }));
    assert_eq!(said(&world, Stage::Forward), "Deny by end of profiles");
    assert_eq!(
        said(&world, Stage::Local),
        "Allow by profile/kns.shop ingress[0]"
    );
    world.put(tier("soft", None, Pass));
    world.put(Object::GlobalNetworkPolicy(CalicoPolicy {
        tier: "soft".into(),
        ..at("a", PolicyStage::Forward, &[Log])
    }));
    assert_eq!(said(&world, Stage::Forward), "Deny by end of profiles");
}

#[test]
fn a_profile_that_is_missing_denies() {
    let mut world = world([]);
    world.put(Object::HostEndpoint(HostEndpoint {
        profiles: vec!["gone".into()],
        ..hep("eth0", HOST, &[])
    }));
    assert_eq!(said(&world, Stage::Local), "Deny by missing profile gone");
}

#[test]
fn only_global_policies_that_ask_for_nothing_else_select_it() {
    let selects = |subject: Subject| {
        let policy = CalicoPolicy {
            subject,
            ..at("a", PolicyStage::Forward, &[Allow])
        };
        said(&world([policy]), Stage::Forward) != "absent"
    };
    assert!(selects(subject(eq("role", "edge"))));
    assert!(!selects(subject(eq("role", "other"))));
    assert!(!selects(Subject::Unreadable));
    assert!(!selects(Subject::Selectors {
        selector: Selector::All,
        namespace_selector: Some(Selector::Global),
        service_account_selector: None,
    }));
    assert!(!selects(Subject::Selectors {
        selector: Selector::All,
        namespace_selector: None,
        service_account_selector: Some(Selector::All),
    }));
    // Nor do policies of a namespace, of any kind.
    let mut world = world([]);
    world.put(cnp("shop", "a", rule(Allow)));
    world.put(kube("shop", "a", kube_rule(None, None)));
    world.put(cluster(
        "a",
        ocicat_api::policy::ClusterTier::Admin,
        0,
        vec![],
    ));
    assert_eq!(said(&world, Stage::Local), "Deny by end of profiles");
}

#[test]
fn the_near_address_is_any() {
    let to = |selector: Selector| {
        let mut world = world([CalicoPolicy {
            ingress: vec![ocicat_api::rule::Rule {
                destination: selecting(selector),
                ..rule(Deny)
            }],
            ..at("a", PolicyStage::Untracked, &[])
        }]);
        world.put(pool("192.168.0.0/24"));
        world
    };
    // Its own address is its; another one of the pool is nobody's, and asked for labels.
    assert!(said(&to(eq("role", "edge")), Stage::Untracked).starts_with("Deny by default gnp/a"));
    assert_eq!(
        said(&to(eq("role", "x")), Stage::Untracked),
        "Next by end of stage"
    );
    let key = key(&Object::HostEndpoint(hep("eth0", HOST, &[])));
    let unclaimed = tcp(FAR, "192.168.0.77", 80);
    let world = to(eq("role", "x"));
    let judgement = judge_stage(&world, &key, Stage::Untracked, Ingress, &unclaimed);
    let decider = judgement.map(|x| x.decider.to_string());
    assert_eq!(
        decider.as_deref(),
        Some("default gnp/a ingress[0] (undetermined)")
    );
}

#[test]
fn early_policy_is_not_for_workloads() {
    let mut world = world([
        at("a", PolicyStage::Untracked, &[Deny]),
        at("b", PolicyStage::PreDnat, &[Deny]),
    ]);
    world.put(namespace("shop", &[]));
    world.put(Object::Pod(pod("shop", "web", "10.0.0.1", &[])));
    assert!(lets_in(&world, FAR, "10.0.0.1"));
    world.put(Object::GlobalNetworkPolicy(at(
        "c",
        PolicyStage::Forward,
        &[Deny],
    )));
    assert!(!lets_in(&world, FAR, "10.0.0.1"));
}

//! [3], [4], [5], [13]: whom a rule of a Calico policy means.

use std::collections::BTreeSet;

use ocicat_api::Object;
use ocicat_api::core::Pod;
use ocicat_api::policy::Subject;
use ocicat_api::rule::{EntityRule, Rule, ServiceAccountMatch};
use ocicat_selector::Selector;

use super::build::*;
use crate::World;

const TARGET: &str = "10.0.0.1";
const SAME: &str = "10.0.0.2";
const OTHER: &str = "10.0.0.3";
const SET: &str = "172.16.0.5";
const GLOBAL_SET: &str = "172.17.0.5";
const STRANGER: &str = "8.8.8.8";

fn shop() -> World {
    let app = [("app", "x")];
    World::new([
        namespace("shop", &[("env", "prod")]),
        namespace("ops", &[("env", "test")]),
        account("shop", "robot", &[("role", "r")]),
        Object::Pod(pod("shop", "target", TARGET, &[])),
        Object::Pod(Pod {
            service_account: "robot".into(),
            ..pod("shop", "same", SAME, &app)
        }),
        Object::Pod(pod("ops", "other", OTHER, &app)),
        set("shop", "s", "172.16.0.0/16", &app),
        set("", "g", "172.17.0.0/16", &app),
    ])
}

/// Who is let into `target` by one Allow rule with this source, in a NetworkPolicy of `shop`.
fn in_policy(source: EntityRule) -> Vec<&'static str> {
    let mut world = shop();
    world.put(cnp("shop", "p", from(Allow, source)));
    admitted(&world)
}

/// The same in a GlobalNetworkPolicy.
fn in_global(source: EntityRule) -> Vec<&'static str> {
    let mut world = shop();
    world.put(gnp("p", from(Allow, source)));
    admitted(&world)
}

fn admitted(world: &World) -> Vec<&'static str> {
    let mut all = vec![SAME, OTHER, SET, GLOBAL_SET, STRANGER];
    all.retain(|source| lets_in(world, source, TARGET));
    all
}

fn with_namespace(selector: Selector) -> EntityRule {
    EntityRule {
        namespace_selector: Some(selector),
        ..entity()
    }
}

fn with_accounts(names: &[&str], selector: Option<Selector>) -> EntityRule {
    let names = names.iter().map(|name| (*name).into()).collect();
    EntityRule {
        service_accounts: Some(ServiceAccountMatch { names, selector }),
        ..entity()
    }
}

#[test]
fn an_empty_entity_means_every_address() {
    assert_eq!(
        in_policy(entity()),
        [SAME, OTHER, SET, GLOBAL_SET, STRANGER]
    );
    assert_eq!(
        in_global(entity()),
        [SAME, OTHER, SET, GLOBAL_SET, STRANGER]
    );
}

#[test]
fn a_selector_looks_in_the_policys_namespace() {
    assert_eq!(in_policy(selecting(eq("app", "x"))), [SAME, SET]);
    assert_eq!(
        in_global(selecting(eq("app", "x"))),
        [SAME, OTHER, SET, GLOBAL_SET]
    );
    // It never means an arbitrary address.
    assert_eq!(in_policy(selecting(Selector::All)), [SAME, SET]);
    assert_eq!(
        in_global(selecting(Selector::Global)),
        [SAME, OTHER, SET, GLOBAL_SET]
    );
    assert_eq!(
        in_global(selecting(Selector::NotEqual("app".into(), "y".into()))),
        [SAME, OTHER, SET, GLOBAL_SET]
    );
}

#[test]
fn a_not_selector_is_unscoped_but_asks_for_an_owner_in_a_network_policy() {
    assert_eq!(in_global(not_selecting(eq("app", "x"))), [STRANGER]);
    assert_eq!(in_policy(not_selecting(eq("app", "x"))), [""; 0]);
    assert_eq!(in_policy(not_selecting(eq("app", "y"))), [SAME, SET]);
    assert_eq!(
        in_global(not_selecting(eq("app", "y"))),
        [SAME, OTHER, SET, GLOBAL_SET, STRANGER]
    );
}

#[test]
fn a_not_selector_beside_a_namespace_selector_is_unscoped() {
    let both = EntityRule {
        namespace_selector: Some(Selector::All),
        not_selector: Some(eq("projectcalico.org/namespace", "ops")),
        ..entity()
    };
    assert_eq!(in_policy(both), [SAME, SET]);
}

#[test]
fn a_not_selector_sees_owners_out_of_scope() {
    let mut world = shop();
    world.put(set("", "around", "10.0.0.2/32", &[("bad", "yes")]));
    let source = EntityRule {
        selector: Some(eq("app", "x")),
        not_selector: Some(Selector::Has("bad".into())),
        ..entity()
    };
    world.put(cnp("shop", "p", from(Allow, source)));
    assert_eq!(admitted(&world), [SET]);
}

#[test]
fn a_namespace_selector_reads_the_namespace_and_its_name() {
    let name = eq("projectcalico.org/name", "ops");
    assert_eq!(in_policy(with_namespace(name.clone())), [OTHER]);
    assert_eq!(in_global(with_namespace(name)), [OTHER]);
    assert_eq!(in_policy(with_namespace(eq("env", "prod"))), [SAME, SET]);
}

#[test]
fn all_is_namespaced_and_global_is_not() {
    assert_eq!(in_policy(with_namespace(Selector::All)), [SAME, OTHER, SET]);
    assert_eq!(in_policy(with_namespace(Selector::Global)), [GLOBAL_SET]);
    let not_all = Selector::Not(Box::new(Selector::All));
    assert_eq!(in_policy(with_namespace(not_all)), [GLOBAL_SET]);
    let either = Selector::Or(vec![Selector::Global, eq("env", "test")]);
    assert_eq!(in_global(with_namespace(either)), [OTHER, GLOBAL_SET]);
}

#[test]
fn an_owner_without_namespace_has_no_namespace_labels() {
    let unlike = Selector::NotEqual("env".into(), "prod".into());
    assert_eq!(in_policy(with_namespace(unlike)), [OTHER, GLOBAL_SET]);
    let not_in = Selector::NotIn("env".into(), BTreeSet::from(["test".into()]));
    assert_eq!(in_policy(with_namespace(not_in)), [SAME, SET, GLOBAL_SET]);
}

#[test]
fn a_missing_namespace_still_has_its_name() {
    let mut world = shop();
    world.delete(&namespace("ops", &[]).key());
    let name = eq("projectcalico.org/name", "ops");
    world.put(cnp("shop", "p", from(Allow, with_namespace(name))));
    assert_eq!(admitted(&world), [OTHER]);
    let unlike = Selector::NotEqual("env".into(), "test".into());
    world.put(cnp("shop", "p", from(Allow, with_namespace(unlike))));
    assert_eq!(admitted(&world), [SAME, OTHER, SET, GLOBAL_SET]);
}

#[test]
fn service_accounts_by_name_and_label() {
    assert_eq!(in_policy(with_accounts(&["robot"], None)), [SAME]);
    assert_eq!(
        in_global(with_accounts(&["robot", "default"], None)),
        [SAME, OTHER]
    );
    assert_eq!(in_policy(with_accounts(&["default"], None)), [""; 0]);
    // Nothing asked: everyone who has one.
    assert_eq!(in_global(with_accounts(&[], None)), [SAME, OTHER]);
    assert_eq!(in_global(with_accounts(&[], Some(eq("role", "r")))), [SAME]);
    assert_eq!(
        in_global(with_accounts(&["default"], Some(eq("role", "r")))),
        [""; 0]
    );
    // The account `default` of `ops` is no object, and still has its name.
    let name = eq("projectcalico.org/name", "default");
    assert_eq!(in_global(with_accounts(&[], Some(name))), [OTHER]);
}

#[test]
fn one_owner_must_satisfy_all_of_it() {
    let mut world = shop();
    // 10.0.0.9 has two owners: one with the label, one in the namespace.
    world.put(Object::Pod(pod("ops", "nine", "10.0.0.9", &[("app", "y")])));
    world.put(Object::Pod(pod("shop", "nine", "10.0.0.9", &[])));
    world.put(cnp("shop", "p", from(Allow, selecting(eq("app", "y")))));
    assert!(!lets_in(&world, "10.0.0.9", TARGET));
    let everywhere = EntityRule {
        selector: Some(eq("app", "y")),
        namespace_selector: Some(eq("env", "prod")),
        ..entity()
    };
    world.put(cnp("shop", "p", from(Allow, everywhere)));
    assert!(!lets_in(&world, "10.0.0.9", TARGET));
    world.put(gnp("q", from(Allow, selecting(eq("app", "y")))));
    assert!(lets_in(&world, "10.0.0.9", TARGET));
}

#[test]
fn the_near_side_is_judged_by_its_address_and_the_subject_by_its_labels() {
    let mut world = shop();
    // A set around the target gives its address a label, and not the target.
    world.put(set("shop", "near", "10.0.0.1/32", &[("near", "yes")]));
    let near = || Rule {
        destination: selecting(eq("near", "yes")),
        ..rule(Allow)
    };
    world.put(cnp("shop", "p", near()));
    assert!(lets_in(&world, STRANGER, TARGET));
    assert!(!lets_in(&world, STRANGER, SAME));

    let mut selects_label = policy("shop", "p");
    selects_label.subject = subject(eq("near", "yes"));
    selects_label.ingress = vec![rule(Deny)];
    world.put(Object::CalicoNetworkPolicy(selects_label));
    // It selects nobody, and the profile allows.
    assert!(lets_in(&world, STRANGER, TARGET));
}

#[test]
fn near_nets_of_egress_rules_are_the_source() {
    let mut world = shop();
    let nets = vec!["10.0.0.1/32".parse().expect("a CIDR")];
    let mut p = policy("shop", "p");
    p.egress = vec![from(Allow, EntityRule { nets, ..entity() })];
    p.types = EGRESS;
    world.put(Object::CalicoNetworkPolicy(p));
    assert_eq!(
        send(&world, &tcp(TARGET, STRANGER, 80)).verdict,
        crate::Verdict::Allow
    );
    assert_eq!(
        send(&world, &tcp(SAME, STRANGER, 80)).verdict,
        crate::Verdict::Deny
    );
}

#[test]
fn subjects_by_labels_namespace_and_service_account() {
    let closes = |subject: Subject| {
        let mut p = policy("", "p");
        p.subject = subject;
        let mut world = shop();
        world.put(Object::GlobalNetworkPolicy(p));
        let mut all = vec![TARGET, SAME, OTHER];
        all.retain(|target| !lets_in(&world, STRANGER, target));
        all
    };
    let all_of = |selector, namespace_selector, service_account_selector| Subject::Selectors {
        selector,
        namespace_selector,
        service_account_selector,
    };
    assert_eq!(
        closes(all_of(Selector::All, None, None)),
        [TARGET, SAME, OTHER]
    );
    assert_eq!(closes(all_of(eq("app", "x"), None, None)), [SAME, OTHER]);
    assert_eq!(
        closes(all_of(eq("app", "x"), Some(eq("env", "test")), None)),
        [OTHER]
    );
    assert_eq!(closes(all_of(eq("pcns.env", "test"), None, None)), [OTHER]);
    assert_eq!(
        closes(all_of(Selector::All, None, Some(eq("role", "r")))),
        [SAME]
    );
    // No pod is without a namespace.
    assert_eq!(
        closes(all_of(Selector::All, Some(Selector::Global), None)),
        [""; 0]
    );
    assert_eq!(
        closes(all_of(Selector::Global, None, None)),
        [TARGET, SAME, OTHER]
    );
}

#[test]
fn a_service_account_selector_needs_a_service_account() {
    let mut world = shop();
    world.put(Object::WorkloadEndpoint(
        ocicat_api::core::WorkloadEndpoint {
            profiles: vec!["kns.shop".into()],
            ..wep("shop", "printer", "10.0.0.7", &[])
        },
    ));
    let mut p = policy("", "p");
    p.subject = Subject::Selectors {
        selector: Selector::All,
        namespace_selector: None,
        service_account_selector: Some(Selector::All),
    };
    world.put(Object::GlobalNetworkPolicy(p));
    assert!(lets_in(&world, STRANGER, "10.0.0.7"));
    assert!(!lets_in(&world, STRANGER, TARGET));
}

#[test]
fn a_network_policy_selects_in_its_namespace_only() {
    let mut world = shop();
    world.put(cnp("shop", "p", rule(Deny)));
    assert!(!lets_in(&world, STRANGER, TARGET));
    assert!(lets_in(&world, STRANGER, OTHER));
}

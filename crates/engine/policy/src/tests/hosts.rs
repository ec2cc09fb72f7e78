//! Host endpoints: whom they are to others, and what judges at their stages.

use ocicat_api::policy::{CalicoPolicy, PolicyStage};
use ocicat_api::rule::{Action, Rule};
use ocicat_api::{Kind, Object};
use ocicat_flow::Direction::{self, Egress, Ingress};
use ocicat_node::{Change, HostInterfaces, Stage};

use super::world::*;
use crate::Engine;

fn staged(name: &str, stage: PolicyStage, ingress: Vec<Rule>, egress: Vec<Rule>) -> Object {
    let mut policy = policy(name, "role == 'edge'", ingress, egress);
    policy.types.egress = !policy.egress.is_empty();
    policy.types.ingress = !policy.ingress.is_empty();
    policy.stage = stage;
    calico(policy)
}

fn edge() -> Object {
    let mut edge = hep("edge", "role=edge", "192.0.2.1");
    edge.ports = vec![port("api", ocicat_api::Protocol::TCP, 6443)];
    Object::HostEndpoint(edge)
}

fn at(engine: &Engine, way: (Stage, Direction), near: &str, far: &str, port: u16) -> String {
    let key = key(Kind::HostEndpoint, "edge");
    match engine.judge_stage(&key, way, (ip(near), ip(far)), &on_tcp(port)) {
        Some(outcome) => outcome.to_string(),
        None => "absent".to_owned(),
    }
}

const IN: (Stage, Direction) = (Stage::Local, Ingress);

#[test]
fn without_policy_the_profiles_decide() {
    let mut open = hep("edge", "", "");
    open.profiles = vec!["kns.shop".into()];
    let engine = with([edge()]);
    assert_eq!(
        at(&engine, IN, "192.0.2.1", "10.0.0.1", 1),
        "Deny by end of profiles"
    );
    assert_eq!(
        at(
            &engine,
            (Stage::Forward, Ingress),
            "10.0.0.1",
            "10.0.0.1",
            1
        ),
        "absent"
    );
    let engine = with([Object::HostEndpoint(open)]);
    let verdict = at(&engine, IN, "192.0.2.1", "10.0.0.1", 1);
    assert_eq!(verdict, "Allow by profile/kns.shop ingress[0]");
}

#[test]
fn stages_have_their_own_policies_and_ends() {
    let deny = |port| vec![tcp(Action::Deny, port)];
    let allow = |port| vec![tcp(Action::Allow, port)];
    let engine = with([
        edge(),
        staged("raw", PolicyStage::Untracked, deny("1"), allow("2")),
        staged("dnat", PolicyStage::PreDnat, deny("3"), vec![]),
        staged("fwd", PolicyStage::Forward, allow("4"), vec![]),
        staged("own", PolicyStage::Normal, allow("5"), vec![]),
    ]);
    let ask = |way, port| at(&engine, way, "192.0.2.1", "198.51.100.1", port);
    assert_eq!(
        ask((Stage::Untracked, Ingress), 1),
        "Deny by gnp/raw ingress[0]"
    );
    assert_eq!(ask((Stage::Untracked, Ingress), 2), "Next by end of stage");
    assert_eq!(
        ask((Stage::Untracked, Egress), 2),
        "Allow by gnp/raw egress[0]"
    );
    assert_eq!(
        ask((Stage::PreDnat, Ingress), 3),
        "Deny by gnp/dnat ingress[0]"
    );
    assert_eq!(ask((Stage::PreDnat, Ingress), 4), "Next by end of stage");
    assert_eq!(ask((Stage::PreDnat, Egress), 4), "absent");
    assert_eq!(
        ask((Stage::Forward, Ingress), 4),
        "Allow by gnp/fwd ingress[0]"
    );
    assert_eq!(
        ask((Stage::Forward, Ingress), 5),
        "Deny by end of tier default"
    );
    assert_eq!(ask((Stage::Forward, Egress), 5), "absent");
    assert_eq!(ask(IN, 4), "Allow by gnp/fwd ingress[0]");
    assert_eq!(ask(IN, 5), "Allow by gnp/own ingress[0]");
    assert_eq!(ask(IN, 1), "Deny by end of tier default");
    assert_eq!(ask((Stage::Local, Egress), 1), "Deny by end of profiles");
}

#[test]
fn tiers_of_early_stages_pass_on_and_forward_denies_after_a_pass() {
    let in_tier = |object: Object, name: &str| match object {
        Object::GlobalNetworkPolicy(policy) => Object::GlobalNetworkPolicy(CalicoPolicy {
            tier: name.into(),
            ..policy
        }),
        other => other,
    };
    let raw = |name, rules| staged(name, PolicyStage::Untracked, rules, vec![]);
    let pass = vec![rule(Action::Pass)];
    let engine = with([
        edge(),
        tier("a", Some(1.0), Action::Deny),
        in_tier(raw("raw1", vec![tcp(Action::Pass, "7")]), "a"),
        in_tier(raw("raw1b", vec![rule(Action::Deny)]), "a"),
        raw("raw2", vec![tcp(Action::Allow, "7")]),
        in_tier(staged("fwd", PolicyStage::Forward, pass, vec![]), "a"),
    ]);
    let ask = |stage, port| at(&engine, (stage, Ingress), "192.0.2.1", "198.51.100.1", port);
    assert_eq!(
        ask(Stage::Untracked, 7),
        "Allow by gnp/raw2 ingress[0]; passed gnp/raw1 ingress[0]"
    );
    assert_eq!(ask(Stage::Untracked, 8), "Deny by gnp/raw1b ingress[0]");
    assert_eq!(
        ask(Stage::Forward, 8),
        "Deny by end of profiles; passed gnp/fwd ingress[0]"
    );
}

#[test]
fn near_sides_are_asked_of_the_packet() {
    let mut to_db = rule(Action::Allow);
    to_db.destination = selecting("app == 'db'");
    let mut named = tcp(Action::Allow, "http api");
    named.source = within("198.51.100.0/24");
    let mut engine = with([
        edge(),
        staged("fwd", PolicyStage::Forward, vec![to_db, named], vec![]),
    ]);
    let ask = |engine: &Engine, near, port| {
        at(
            engine,
            (Stage::Forward, Ingress),
            near,
            "198.51.100.1",
            port,
        )
    };
    assert_eq!(ask(&engine, "10.0.0.2", 1), "Allow by gnp/fwd ingress[0]");
    assert_eq!(ask(&engine, "10.0.0.1", 1), "Deny by end of tier default");
    assert_eq!(
        ask(&engine, "10.0.0.1", 8080),
        "Allow by gnp/fwd ingress[1]"
    );
    assert_eq!(
        ask(&engine, "192.0.2.1", 6443),
        "Allow by gnp/fwd ingress[1]"
    );
    assert_eq!(
        ask(&engine, "10.0.9.9", 8080),
        "Deny by end of tier default"
    );
    let host = engine
        .host_endpoint(&key(Kind::HostEndpoint, "edge"))
        .unwrap();
    assert_eq!(host.interfaces, HostInterfaces::Named("eth0".into()));
    let forward = &host.stages[&(Stage::Forward, Ingress)];
    assert!(forward.by_near.len() >= 3, "{forward:?}");
    assert!(host.stages[&(Stage::Local, Egress)].by_near.is_empty());
    let mut closing = tcp(Action::Deny, "http");
    closing.destination.selector = Some(selector("app == 'db'"));
    engine.upsert(&staged(
        "fwd",
        PolicyStage::Forward,
        vec![closing, rule(Action::Allow)],
        vec![],
    ));
    engine.commit();
    assert_eq!(
        ask(&engine, "10.0.9.9", 1),
        "Deny by gnp/fwd ingress[0] (undetermined)"
    );
    assert_eq!(
        ask(&engine, "10.0.0.1", 8080),
        "Allow by gnp/fwd ingress[1]"
    );
    assert_eq!(ask(&engine, "10.0.0.2", 8080), "Deny by gnp/fwd ingress[0]");
}

#[test]
fn rules_of_others_know_the_expected_addresses() {
    let mut from_edge = selecting("role == 'edge'");
    from_edge.namespace_selector = Some(selector("global()"));
    let rules = vec![from(rule(Action::Allow), from_edge)];
    let mut inside = hep("inside", "role=edge", "10.0.7.7");
    inside.node = "n2".into();
    let engine = with([
        Object::HostEndpoint(inside),
        edge(),
        calico(policy("p", "app == 'db'", rules, vec![])),
    ]);
    assert!(!engine.is_unclaimed(ip("10.0.7.7")));
    assert_eq!(
        into(&engine, "shop/db", "10.0.7.7", 1),
        "Allow by gnp/p ingress[0]"
    );
    assert_eq!(
        into(&engine, "shop/db", "192.0.2.1", 1),
        "Allow by gnp/p ingress[0]"
    );
    assert_eq!(
        into(&engine, "shop/db", "192.0.2.2", 1),
        "Deny by end of tier default"
    );
    assert!(
        engine
            .host_endpoint(&key(Kind::HostEndpoint, "inside"))
            .is_none()
    );
}

#[test]
fn namespaces_and_accounts_select_no_host() {
    let mut by_namespace = policy("ns", "role == 'edge'", vec![rule(Action::Allow)], vec![]);
    if let ocicat_api::policy::Subject::Selectors {
        namespace_selector, ..
    } = &mut by_namespace.subject
    {
        *namespace_selector = Some(selector("!has(x)"));
    }
    let namespaced = policy("shop/np", "all()", vec![rule(Action::Allow)], vec![]);
    let engine = with([edge(), calico(by_namespace), calico(namespaced)]);
    assert_eq!(
        at(&engine, IN, "192.0.2.1", "10.0.0.1", 1),
        "Deny by end of profiles"
    );
}

#[test]
fn what_is_suspended_judges_no_host() {
    let cut = policy("cut", "all()", vec![rule(Action::Deny)], vec![]);
    let own = staged(
        "own",
        PolicyStage::Normal,
        vec![rule(Action::Allow)],
        vec![],
    );
    let mut engine = with([edge(), calico(cut), own]);
    let ask = |engine: &Engine| at(engine, IN, "192.0.2.1", "198.51.100.1", 1);
    assert_eq!(ask(&engine), "Deny by gnp/cut ingress[0]");
    let policy = key(Kind::GlobalNetworkPolicy, "cut");
    engine.suspend(&policy);
    engine.commit();
    assert_eq!(ask(&engine), "Allow by gnp/own ingress[0]");
    assert_eq!(
        into(&engine, "shop/db", "10.0.0.1", 1),
        "Deny by gnp/cut ingress[0]"
    );
    assert_eq!(engine.report(&policy).unwrap().endpoints, 3);
    engine.resume(&policy);
    engine.commit();
    assert_eq!(ask(&engine), "Deny by gnp/cut ingress[0]");
    assert_eq!(engine.report(&policy).unwrap().endpoints, 4);
    let host = key(Kind::HostEndpoint, "edge");
    engine.suspend(&host);
    let commit = engine.commit();
    assert_eq!(ask(&engine), "absent");
    assert!(
        commit
            .delta
            .iter()
            .any(|change| matches!(change, Change::HostEndpoint(_, None)))
    );
    engine.upsert(&edge());
    engine.resume(&host);
    engine.commit();
    assert_eq!(ask(&engine), "Deny by gnp/cut ingress[0]");
}

#[test]
fn a_remote_pod_costs_one_element_beside_a_host_endpoint() {
    let mut to_web = rule(Action::Allow);
    to_web.destination = selecting("app == 'web'");
    let mut engine = with([
        edge(),
        staged("fwd", PolicyStage::Forward, vec![to_web], vec![]),
    ]);
    let mut remote = pod("shop/r", "app=web", "10.0.1.1");
    remote.node = Some("n2".into());
    engine.upsert(&Object::Pod(remote));
    let delta = engine.commit().delta;
    assert!(
        matches!(delta[..], [Change::Class(_, Some(_))]),
        "{delta:?}"
    );
}

#[test]
fn a_stage_that_tells_too_many_near_addresses_apart_is_closed() {
    let rules = |count: u16| -> Vec<Rule> {
        let to = |n: u16| {
            let mut rule = rule(Action::Allow);
            let [high, low] = n.to_be_bytes();
            rule.destination = within(&format!("198.18.{high}.{low}/32"));
            rule
        };
        (0..count).map(to).collect()
    };
    let fwd = |count| staged("fwd", PolicyStage::Forward, rules(count), vec![]);
    let mut engine = with([edge(), fwd(1_200)]);
    let way = (Stage::Forward, Ingress);
    let ask = |engine: &Engine, near| at(engine, way, near, "192.0.2.1", 1);
    let policy = key(Kind::GlobalNetworkPolicy, "fwd");
    assert_eq!(ask(&engine, "198.18.0.7"), "Deny by over budget");
    assert_eq!(engine.report(&policy).unwrap().problems.len(), 1);
    engine.upsert(&fwd(8));
    let commit = engine.commit();
    assert_eq!(commit.reports.len(), 1);
    assert!(commit.reports[0].problems.is_empty());
    assert_eq!(ask(&engine, "198.18.0.7"), "Allow by gnp/fwd ingress[7]");
    assert_eq!(ask(&engine, "198.18.0.8"), "Deny by end of tier default");
}

//! What a change costs, and what it leaves behind.

use ocicat_api::core::Pod;
use ocicat_api::rule::Action;
use ocicat_api::{Kind, Object};
use ocicat_flow::Direction;
use ocicat_node::Change;

use super::world::*;
use crate::{Budget, Engine, Locality, Place};

#[test]
fn a_workload_endpoint_whose_pod_exists_is_silent() {
    let mut shadow = wep("shop/vm", "app=vm", "10.0.0.9");
    shadow.pod = Some("later".into());
    let mut engine = with([Object::WorkloadEndpoint(shadow)]);
    let owners = |engine: &Engine| engine.endpoints_of(ip("10.0.0.9"));
    assert_eq!(owners(&engine), [key(Kind::WorkloadEndpoint, "shop/vm")]);
    engine.upsert(&Object::Pod(pod("shop/later", "", "10.0.0.8")));
    engine.commit();
    assert!(owners(&engine).is_empty());
    assert!(
        engine
            .endpoint(&key(Kind::WorkloadEndpoint, "shop/vm"))
            .is_none()
    );
    engine.remove(&key(Kind::Pod, "shop/later"));
    engine.commit();
    assert_eq!(owners(&engine).len(), 1);
}

#[test]
fn addresses_given_before_the_object_has_them() {
    let new = |text: &str| Pod {
        node: None,
        ..pod("shop/new", "app=db", text)
    };
    let name = key(Kind::Pod, "shop/new");
    let mut engine = with([calico(policy("p", "app == 'db'", vec![], vec![]))]);
    engine.set_addresses(&name, &addresses("10.0.0.7"));
    engine.set_local(&name, Place::Local);
    assert!(engine.commit().delta.is_empty());
    engine.upsert(&Object::Pod(new("")));
    engine.commit();
    assert_eq!(
        into(&engine, "shop/new", "10.0.0.1", 1),
        "Deny by end of tier default"
    );
    engine.upsert(&Object::Pod(new("10.0.0.7")));
    engine.clear_addresses(&name);
    assert!(engine.commit().delta.is_empty());
    engine.set_local(&name, Place::ByNode);
    let commit = engine.commit();
    assert!(
        matches!(commit.delta[..], [Change::Endpoint(_, None)]),
        "{:?}",
        commit.delta
    );
}

/// Each step alone is a commit of nothing but a pod of another host.
#[test]
fn remote_pods_that_look_like_others_come_change_and_go() {
    let remote = |name: &str, labels: &str, address: &str| {
        Object::Pod(Pod {
            node: Some("n2".into()),
            ..pod(name, labels, address)
        })
    };
    let rules = vec![from(rule(Action::Allow), selecting("app == 'web'"))];
    let local = pod("shop/mine", "app=db", "10.0.0.7");
    let mut engine = with([
        calico(policy("p", "app == 'db'", rules, vec![])),
        Object::Pod(local),
        remote("shop/web", "app=web", "10.0.1.1"),
        remote("shop/job", "app=job", "10.0.1.2"),
    ]);
    let steps = [
        // Comes, and looks like another one; then has the address of another one too, of which one is
        // allowed; then looks like that one; then has the address of the local pod.
        ("app=web", "10.0.1.3", ["10.0.1.3"].as_slice()),
        ("app=web", "10.0.1.2 fd00::12", &["10.0.1.2"]),
        ("app=job", "10.0.1.2", &[]),
        ("app=web", "10.0.0.7", &["10.0.0.7"]),
        ("app=web", "", &[]),
    ];
    let far = ["10.0.1.2", "10.0.1.3", "10.0.0.7"];
    for (labels, addresses, allowed) in steps {
        engine.upsert(&remote("shop/new", labels, addresses));
        engine.commit();
        for address in far {
            let said = into(&engine, "shop/mine", address, 1);
            let expected = allowed.contains(&address);
            assert_eq!(said.starts_with("Allow"), expected, "{address}: {said}");
        }
    }
    engine.remove(&key(Kind::Pod, "shop/new"));
    assert!(engine.commit().delta.is_empty());
    engine.remove(&key(Kind::Pod, "shop/web"));
    let commit = engine.commit();
    assert!(
        commit
            .delta
            .iter()
            .any(|change| matches!(change, Change::Class(_, None))),
        "{:?}",
        commit.delta
    );
    assert!(engine.endpoints_of(ip("10.0.1.1")).is_empty());
}

#[test]
fn a_known_remote_pod_is_one_element_for_each_address() {
    let remote = |name: &str, address: &str| {
        Object::Pod(Pod {
            node: Some("n2".into()),
            ..pod(name, "app=web", address)
        })
    };
    let rules = vec![from(rule(Action::Allow), selecting("app == 'web'"))];
    let mut engine = with([
        calico(policy("p", "app == 'db'", rules, vec![])),
        remote("shop/r1", "10.0.1.1"),
    ]);
    engine.upsert(&remote("shop/r2", "10.0.1.2 fd00::12"));
    let commit = engine.commit();
    assert_eq!(commit.delta.len(), 2);
    assert!(
        commit
            .delta
            .iter()
            .all(|change| matches!(change, Change::Class(_, Some(_))))
    );
    assert_eq!(
        into(&engine, "shop/db", "10.0.1.2", 1),
        "Allow by gnp/p ingress[0]"
    );
    engine.remove(&key(Kind::Pod, "shop/r2"));
    let commit = engine.commit();
    assert_eq!(commit.delta.len(), 2);
    assert!(
        commit
            .delta
            .iter()
            .all(|change| matches!(change, Change::Class(_, None)))
    );
}

#[test]
fn a_new_question_moves_the_smaller_half_and_merges_back() {
    let pods = (1..20).map(|n| {
        let app = if n < 15 { "a" } else { "b" };
        Object::Pod(Pod {
            node: Some("n2".into()),
            ..pod(
                &format!("shop/p{n}"),
                &format!("app={app}"),
                &format!("10.0.2.{n}"),
            )
        })
    });
    let mut engine = with(pods);
    let rules = vec![from(rule(Action::Allow), selecting("app == 'a'"))];
    engine.upsert(&calico(policy("p", "app == 'db'", rules, vec![])));
    let moved = |commit: &crate::Commit| {
        commit
            .delta
            .iter()
            .filter(|change| matches!(change, Change::Class(..)))
            .count()
    };
    let commit = engine.commit();
    assert!(moved(&commit) < 14, "{}", moved(&commit));
    engine.remove(&key(Kind::GlobalNetworkPolicy, "p"));
    let commit = engine.commit();
    assert!(moved(&commit) > 0);
    assert_eq!(
        engine.class_of(ip("10.0.2.1")),
        engine.class_of(ip("10.0.2.16"))
    );
}

#[test]
fn over_budget_closes_and_opens_again() {
    let budget = Budget {
        rows: 3,
        ..Budget::default()
    };
    let mut engine = Engine::with_budget(Locality::Node("n1".into()), budget);
    base().iter().for_each(|object| engine.upsert(object));
    let rules = |ports: &[&str]| {
        let nets = ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"];
        let rules = ports.iter().zip(nets);
        rules
            .map(|(port, net)| from(tcp(Action::Allow, port), within(net)))
            .collect()
    };
    engine.upsert(&calico(policy(
        "p",
        "app == 'db'",
        rules(&["1", "2", "3"]),
        vec![],
    )));
    engine.commit();
    assert_eq!(
        into(&engine, "shop/db", "192.0.2.1", 1),
        "Deny by over budget"
    );
    assert_eq!(
        into(&engine, "shop/web", "192.0.2.1", 1),
        "Allow by profile/kns.shop ingress[0]"
    );
    let problems = |engine: &Engine| {
        engine
            .report(&key(Kind::GlobalNetworkPolicy, "p"))
            .unwrap()
            .problems
            .len()
    };
    assert_eq!(problems(&engine), 1);
    engine.upsert(&calico(policy(
        "p",
        "app == 'db'",
        rules(&["1", "2"]),
        vec![],
    )));
    let commit = engine.commit();
    assert_eq!(
        into(&engine, "shop/db", "192.0.2.1", 1),
        "Allow by gnp/p ingress[0]"
    );
    assert_eq!(problems(&engine), 0);
    assert_eq!(commit.reports.len(), 1);
}

#[test]
fn a_profile_that_is_named_twice_decides_at_its_first_place() {
    let second = |rules: Vec<ocicat_api::rule::Rule>| {
        Object::Profile(ocicat_api::policy::Profile {
            metadata: metadata("second", ""),
            ingress: rules,
            egress: Vec::new(),
            labels_to_apply: labels(""),
        })
    };
    let mut vm = wep("shop/vm", "app=vm", "10.0.0.9");
    vm.profiles = ["kns.shop", "open", "second", "kns.shop"]
        .map(Into::into)
        .to_vec();
    let denies = vec![tcp(Action::Deny, "1"), tcp(Action::Deny, "2")];
    let mut engine = with([Object::WorkloadEndpoint(vm), second(denies)]);
    let judge = |engine: &Engine| {
        let addresses = (ip("10.0.0.9"), ip("10.0.0.1"));
        let vm = key(Kind::WorkloadEndpoint, "shop/vm");
        let outcome = engine.judge(&vm, Direction::Ingress, addresses, &on_tcp(1));
        outcome.expect("a row for every class").to_string()
    };
    let expected = "Allow by profile/kns.shop ingress[0]";
    assert_eq!(judge(&engine), expected);
    engine.upsert(&second(Vec::new()));
    engine.commit();
    assert_eq!(judge(&engine), expected);
}

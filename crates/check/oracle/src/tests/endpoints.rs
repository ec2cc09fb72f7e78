//! [1], [3], [14]

use ocicat_api::Object;
use ocicat_api::core::{Pod, WorkloadEndpoint};

use super::build::*;
use crate::{Census, Verdict, World, judge, verdict};

fn keys(world: &World) -> Vec<String> {
    Census::new(world)
        .endpoints
        .iter()
        .map(|e| e.key.name.to_string())
        .collect()
}

#[test]
fn pods_of_the_host_finished_or_without_address_are_no_endpoints() {
    let plain = pod("shop", "plain", "10.0.0.1", &[]);
    let world = World::new([
        Object::Pod(Pod {
            host_network: true,
            ..pod("shop", "host", "10.0.0.2", &[])
        }),
        Object::Pod(Pod {
            finished: true,
            ..pod("shop", "done", "10.0.0.3", &[])
        }),
        Object::Pod(Pod {
            addresses: Vec::new(),
            ..pod("shop", "new", "10.0.0.4", &[])
        }),
        Object::Pod(plain),
    ]);
    assert_eq!(keys(&world), ["plain"]);
    let done = Object::Pod(pod("shop", "done", "10.0.0.3", &[]));
    assert_eq!(
        judge(
            &world,
            &key(&done),
            Ingress,
            &tcp("10.0.0.9", "10.0.0.3", 80)
        ),
        None
    );
}

#[test]
fn the_pod_speaks_for_its_workload_endpoint() {
    let named = WorkloadEndpoint {
        pod: Some("web".into()),
        ..wep("shop", "w", "10.0.0.1", &[])
    };
    let elsewhere = WorkloadEndpoint {
        pod: Some("web".into()),
        ..wep("ops", "v", "10.0.0.2", &[])
    };
    let mut world = World::new([
        Object::WorkloadEndpoint(named),
        Object::WorkloadEndpoint(elsewhere),
    ]);
    assert_eq!(keys(&world), ["v", "w"]);
    // Any Pod object of that name, even one that is no endpoint.
    world.put(Object::Pod(Pod {
        finished: true,
        ..pod("shop", "web", "10.0.0.3", &[])
    }));
    assert_eq!(keys(&world), ["v"]);
}

#[test]
fn given_labels_override_and_profiles_fill_in() {
    let own = [
        ("projectcalico.org/namespace", "forged"),
        ("projectcalico.org/orchestrator", "forged"),
        ("projectcalico.org/serviceaccount", "forged"),
        ("pcns.team", "own"),
    ];
    let world = World::new([
        namespace("shop", &[("team", "a"), ("env", "prod")]),
        account("shop", "default", &[("role", "r")]),
        Object::Pod(pod("shop", "web", "10.0.0.1", &own)),
    ]);
    let census = Census::new(&world);
    let labels = &census.endpoints[0].labels;
    let get = |name: &str| labels.get(name).map(String::as_str);
    assert_eq!(get("projectcalico.org/namespace"), Some("shop"));
    assert_eq!(get("projectcalico.org/orchestrator"), Some("k8s"));
    assert_eq!(get("projectcalico.org/serviceaccount"), Some("default"));
    assert_eq!(get("pcns.team"), Some("own"));
    assert_eq!(get("pcns.env"), Some("prod"));
    assert_eq!(get("pcsa.role"), Some("r"));
}

#[test]
fn the_first_profile_with_a_label_gives_it() {
    let profiles = vec![
        "missing".into(),
        "one".into(),
        "two".into(),
        "kns.shop".into(),
    ];
    let world = World::new([
        namespace("shop", &[("team", "a")]),
        profile("one", vec![], &[("x", "1"), ("own", "1")]),
        profile("two", vec![], &[("x", "2"), ("y", "2"), ("pcns.team", "2")]),
        Object::WorkloadEndpoint(WorkloadEndpoint {
            profiles,
            ..wep("shop", "printer", "10.0.0.1", &[("own", "0")])
        }),
    ]);
    let census = Census::new(&world);
    let endpoint = &census.endpoints[0];
    let get = |name: &str| endpoint.labels.get(name).map(String::as_str);
    assert_eq!(
        (get("x"), get("y"), get("own")),
        (Some("1"), Some("2"), Some("0"))
    );
    assert_eq!(get("pcns.team"), Some("2"));
    assert_eq!(get("projectcalico.org/orchestrator"), Some("bare"));
    assert_eq!(get("projectcalico.org/serviceaccount"), None);
}

#[test]
fn an_endpoint_does_not_inherit_from_a_profile_it_does_not_list() {
    let world = World::new([
        namespace("shop", &[("team", "a")]),
        Object::WorkloadEndpoint(wep("shop", "printer", "10.0.0.1", &[])),
    ]);
    assert_eq!(
        Census::new(&world).endpoints[0].labels.get("pcns.team"),
        None
    );
}

#[test]
fn sets_inherit_from_their_namespace() {
    let world = World::new([
        namespace("shop", &[("team", "a"), ("env", "prod")]),
        set("shop", "s", "10.1.0.0/16", &[("pcns.env", "own")]),
        set("", "g", "10.1.0.0/16", &[("x", "1")]),
    ]);
    let census = Census::new(&world);
    let set = census
        .sets
        .iter()
        .find(|set| set.namespace.is_some())
        .expect("the set");
    let get = |name: &str| set.labels.get(name).map(String::as_str);
    assert_eq!(get("projectcalico.org/namespace"), Some("shop"));
    assert_eq!(
        (get("pcns.team"), get("pcns.env")),
        (Some("a"), Some("own"))
    );
    let global = census
        .sets
        .iter()
        .find(|set| set.namespace.is_none())
        .expect("the global set");
    assert_eq!(global.labels.len(), 1);
}

#[test]
fn both_ends_judge_and_both_must_allow() {
    let mut world = World::new([
        namespace("shop", &[]),
        Object::Pod(pod("shop", "a", "10.0.0.1", &[("app", "a")])),
        Object::Pod(pod("shop", "b", "10.0.0.2", &[("app", "b")])),
    ]);
    let packet = tcp("10.0.0.1", "10.0.0.2", 80);
    let both = verdict(&world, &packet);
    assert_eq!(
        (both.verdict, both.egress.len(), both.ingress.len()),
        (Verdict::Allow, 1, 1)
    );

    let mut closed = policy("shop", "closed");
    closed.subject = subject(eq("app", "a"));
    closed.types = EGRESS;
    world.put(Object::CalicoNetworkPolicy(closed));
    let both = verdict(&world, &packet);
    assert_eq!(both.verdict, Verdict::Deny);
    assert_eq!(both.egress[0].1.decider, end_of_default());
    assert_eq!(both.ingress[0].1.verdict, Verdict::Allow);
    // The other way round `a` only receives.
    assert_eq!(
        verdict(&world, &tcp("10.0.0.2", "10.0.0.1", 80)).verdict,
        Verdict::Allow
    );
}

#[test]
fn an_end_that_is_no_endpoint_does_not_judge() {
    let world = World::new([
        namespace("shop", &[]),
        Object::Pod(pod("shop", "a", "10.0.0.1", &[])),
        node("192.168.0.1"),
    ]);
    let both = verdict(&world, &tcp("192.168.0.1", "10.0.0.1", 80));
    assert_eq!((both.egress.len(), both.ingress.len()), (0, 1));
    let neither = verdict(&world, &tcp("192.168.0.1", "8.8.8.8", 80));
    assert_eq!((neither.verdict, neither.egress.len()), (Verdict::Allow, 0));
}

#[test]
fn endpoints_that_share_an_address_all_judge() {
    let mut world = World::new([
        namespace("shop", &[]),
        Object::Pod(pod("shop", "a", "10.0.0.1", &[])),
        Object::Pod(pod("shop", "b", "10.0.0.1", &[("app", "b")])),
    ]);
    let packet = tcp("8.8.8.8", "10.0.0.1", 80);
    assert_eq!(verdict(&world, &packet).verdict, Verdict::Allow);
    let mut closed = policy("shop", "closed");
    closed.subject = subject(eq("app", "b"));
    world.put(Object::CalicoNetworkPolicy(closed));
    let both = verdict(&world, &packet);
    assert_eq!((both.verdict, both.ingress.len()), (Verdict::Deny, 2));
}

//! Small worlds, each about one thing.

use ocicat_api::policy::{CalicoPolicy, KubePort, Subject};
use ocicat_api::rule::{Action, EntityRule, Icmp, ServiceAccountMatch};
use ocicat_api::{Family, Kind, Object, Problem, Protocol};
use ocicat_flow::Direction::{Egress, Ingress};
use ocicat_node::ServiceMatch;

use super::world::*;

#[test]
fn without_policy_the_profile_of_the_namespace_allows() {
    let mut engine = with([]);
    assert_eq!(
        into(&engine, "shop/db", "10.0.0.1", 80),
        "Allow by profile/kns.shop ingress[0]"
    );
    engine.remove(&key(Kind::Namespace, "shop"));
    engine.commit();
    assert_eq!(
        into(&engine, "shop/db", "10.0.0.1", 80),
        "Deny by missing profile kns.shop"
    );
    engine.upsert(&namespace("shop", ""));
    engine.commit();
    assert_eq!(
        into(&engine, "shop/db", "10.0.0.1", 80),
        "Allow by profile/kns.shop ingress[0]"
    );
}

#[test]
fn kubernetes_policy_by_pods_ports_and_blocks() {
    let ports = vec![
        KubePort {
            protocol: Protocol::TCP,
            port: Some(port_specs("5432")[0].clone()),
        },
        KubePort {
            protocol: Protocol::TCP,
            port: Some(port_specs("http")[0].clone()),
        },
    ];
    let block = ocicat_api::policy::KubePeer::IpBlock {
        cidr: "192.0.2.0/24".parse().unwrap(),
        except: vec!["192.0.2.128/25".parse().unwrap()],
    };
    let engine = with([Object::NetworkPolicy(netpol(
        "shop/db",
        "app == 'db'",
        vec![
            kube_rule(
                Some(vec![pods(None, Some("app == 'web'")), block]),
                Some(ports),
            ),
            kube_rule(Some(vec![pods(Some("team == 'blue'"), None)]), None),
            kube_rule(Some(vec![]), None),
        ],
    ))]);
    let db = |far, port| into(&engine, "shop/db", far, port);
    assert_eq!(db("10.0.0.1", 5432), "Allow by netpol/shop/db ingress[0]");
    assert_eq!(db("fd00::1", 8080), "Allow by netpol/shop/db ingress[0]");
    assert_eq!(db("10.0.0.1", 80), "Deny by end of tier default");
    assert_eq!(db("10.0.0.3", 80), "Allow by netpol/shop/db ingress[1]");
    assert_eq!(db("192.0.2.1", 5432), "Allow by netpol/shop/db ingress[0]");
    assert_eq!(db("192.0.2.129", 5432), "Deny by end of tier default");
    // Unclaimed: the rule that asks for pods stays open, an Allow does not match.
    assert_eq!(db("10.0.0.99", 5432), "Deny by end of tier default");
    // Egress is not governed.
    let out = ask(&engine, "shop/db", Egress, "10.0.0.1", on_tcp(1));
    assert_eq!(out, "Allow by profile/kns.shop egress[0]");
}

#[test]
fn tiers_pass_log_and_end() {
    let mut early = policy(
        "early",
        "app == 'db'",
        vec![
            tcp(Action::Log, ""),
            from(rule(Action::Pass), selecting("app == 'web'")),
            tcp(Action::Allow, "22"),
        ],
        vec![],
    );
    early.tier = "first".into();
    let late = policy(
        "shop/late",
        "all()",
        vec![tcp(Action::Allow, "443")],
        vec![],
    );
    let engine = with([
        tier("first", Some(1.0), Action::Deny),
        calico(early),
        calico(late),
    ]);
    let db = |far, port| into(&engine, "shop/db", far, port);
    let met = "; passed gnp/early ingress[1]; logged gnp/early ingress[0]";
    assert_eq!(
        db("10.0.0.1", 443),
        format!("Allow by cnp/shop/late ingress[0]{met}")
    );
    assert_eq!(
        db("10.0.0.1", 22),
        format!("Deny by end of tier default{met}")
    );
    assert_eq!(
        db("198.51.100.1", 22),
        "Allow by gnp/early ingress[2]; logged gnp/early ingress[0]"
    );
    assert_eq!(
        db("198.51.100.1", 23),
        "Deny by end of tier first; logged gnp/early ingress[0]"
    );
}

#[test]
fn a_tier_that_passes_leads_to_the_next_and_to_profiles() {
    let mut open = policy("open", "all()", vec![tcp(Action::Deny, "23")], vec![]);
    open.tier = "first".into();
    let mut engine = with([tier("first", None, Action::Pass), calico(open)]);
    assert_eq!(
        into(&engine, "shop/db", "10.0.0.1", 23),
        "Deny by gnp/open ingress[0]"
    );
    assert_eq!(
        into(&engine, "shop/db", "10.0.0.1", 24),
        "Allow by profile/kns.shop ingress[0]"
    );
    engine.remove(&key(Kind::Tier, "first"));
    engine.commit();
    assert_eq!(
        into(&engine, "shop/db", "10.0.0.1", 24),
        "Deny by end of tier first"
    );
    let report = engine
        .report(&key(Kind::GlobalNetworkPolicy, "open"))
        .unwrap();
    assert_eq!((report.endpoints, report.problems.len()), (3, 1));
}

#[test]
fn undetermined_rules_close() {
    let denies = policy(
        "denies",
        "app == 'db'",
        vec![
            from(tcp(Action::Deny, "1"), selecting("app == 'bad'")),
            from(
                rule(Action::Allow),
                EntityRule {
                    not_selector: Some(selector("app == 'bad'")),
                    ..EntityRule::default()
                },
            ),
        ],
        vec![],
    );
    let engine = with([
        calico(denies),
        node("n2", "10.0.0.50"),
        set("s", "app=bad", "10.0.0.96/28"),
    ]);
    let db = |far, port| into(&engine, "shop/db", far, port);
    assert_eq!(
        db("10.0.0.77", 1),
        "Deny by gnp/denies ingress[0] (undetermined)"
    );
    assert_eq!(db("10.0.0.77", 2), "Deny by end of tier default");
    // Addresses of nodes and of the world are known; a set says yes for the unclaimed.
    assert_eq!(db("10.0.0.50", 1), "Allow by gnp/denies ingress[1]");
    assert_eq!(db("203.0.113.1", 1), "Allow by gnp/denies ingress[1]");
    assert_eq!(db("10.0.0.97", 1), "Deny by gnp/denies ingress[0]");
    assert_eq!(db("10.0.0.97", 2), "Deny by end of tier default");
}

#[test]
fn named_ports_of_both_sides() {
    let mut to_named = tcp(Action::Allow, "http 90");
    to_named.destination.not_ports = port_specs("91 admin");
    let mut from_named = tcp(Action::Allow, "");
    from_named.source.ports = port_specs("http");
    let named = policy(
        "named",
        "app == 'db'",
        vec![tcp(Action::Allow, "http"), from_named],
        vec![to_named],
    );
    let mut other = pod("bank/web", "app=web", "10.0.0.3 fd00::3");
    other.ports.push(port("admin", Protocol::TCP, 90));
    other.ports[0].port = 81;
    let engine = with([calico(named), Object::Pod(other)]);
    let out = |far, port| ask(&engine, "shop/db", Egress, far, on_tcp(port));
    assert_eq!(
        into(&engine, "shop/db", "203.0.113.1", 8080),
        "Allow by gnp/named ingress[0]"
    );
    assert_eq!(
        into(&engine, "shop/db", "203.0.113.1", 81),
        "Deny by end of tier default"
    );
    let service = ServiceMatch {
        source_port: 8080,
        ..on_tcp(9)
    };
    let answer = |far| ask(&engine, "shop/db", Ingress, far, service);
    assert_eq!(answer("10.0.0.1"), "Allow by gnp/named ingress[1]");
    assert_eq!(answer("10.0.0.3"), "Deny by end of tier default");
    assert_eq!(out("10.0.0.1", 8080), "Allow by gnp/named egress[0]");
    assert_eq!(out("10.0.0.1", 90), "Allow by gnp/named egress[0]");
    assert_eq!(out("10.0.0.3", 81), "Allow by gnp/named egress[0]");
    assert_eq!(out("10.0.0.3", 90), "Deny by end of tier default");
    assert_eq!(out("203.0.113.1", 8080), "Deny by end of tier default");
    assert_eq!(out("203.0.113.1", 90), "Allow by gnp/named egress[0]");
    assert_eq!(out("10.0.0.200", 90), "Deny by end of tier default");
}

#[test]
fn families_and_nets_of_both_sides() {
    let mut near = rule(Action::Allow);
    near.destination.not_nets = vec!["10.0.0.2/32".parse().unwrap()];
    let mut six = tcp(Action::Allow, "6");
    six.ip_version = Some(Family::Ipv6);
    let mut not = tcp(Action::Allow, "7");
    not.source.not_nets = vec!["10.0.0.0/31".parse().unwrap()];
    let nets = policy("nets", "app in {'db','web'}", vec![near, six, not], vec![]);
    let engine = with([calico(nets)]);
    assert_eq!(
        into(&engine, "shop/web", "10.0.0.2", 1),
        "Allow by gnp/nets ingress[0]"
    );
    assert_eq!(
        into(&engine, "shop/web", "fd00::2", 1),
        "Deny by end of tier default"
    );
    assert_eq!(
        into(&engine, "shop/db", "10.0.0.1", 1),
        "Deny by end of tier default"
    );
    assert_eq!(
        into(&engine, "shop/db", "fd00::1", 6),
        "Allow by gnp/nets ingress[1]"
    );
    assert_eq!(
        into(&engine, "shop/db", "10.0.0.1", 6),
        "Deny by end of tier default"
    );
    assert_eq!(
        into(&engine, "shop/db", "10.0.0.1", 7),
        "Deny by end of tier default"
    );
    assert_eq!(
        into(&engine, "shop/db", "10.0.0.3", 7),
        "Allow by gnp/nets ingress[2]"
    );
    assert_eq!(
        into(&engine, "shop/db", "fd00::1", 7),
        "Deny by end of tier default"
    );
}

#[test]
fn icmp_types_and_not() {
    let icmp = |icmp_type, code| Some(Icmp { icmp_type, code });
    let mut one = rule(Action::Allow);
    (one.protocol, one.icmp) = (Some(Protocol::ICMP), icmp(Some(8), None));
    let mut code = rule(Action::Allow);
    (code.protocol, code.icmp) = (Some(Protocol::ICMP), icmp(Some(3), Some(4)));
    let mut not = rule(Action::Allow);
    (not.protocol, not.not_icmp) = (Some(Protocol::ICMPV6), icmp(Some(128), None));
    let engine = with([calico(policy(
        "icmp",
        "app == 'db'",
        vec![one, code, not],
        vec![],
    ))]);
    let get = |far, protocol, port| {
        ask(
            &engine,
            "shop/db",
            Ingress,
            far,
            ServiceMatch {
                protocol,
                source_port: 0,
                port,
            },
        )
    };
    let v4 = ocicat_node::Protocol::ICMP;
    let v6 = ocicat_node::Protocol::ICMPV6;
    assert_eq!(get("10.0.0.1", v4, 0x0800), "Allow by gnp/icmp ingress[0]");
    assert_eq!(get("10.0.0.1", v4, 0x0807), "Allow by gnp/icmp ingress[0]");
    assert_eq!(get("10.0.0.1", v4, 0x0304), "Allow by gnp/icmp ingress[1]");
    assert_eq!(get("10.0.0.1", v4, 0x0303), "Deny by end of tier default");
    assert_eq!(get("fd00::1", v6, 0x8000), "Deny by end of tier default");
    assert_eq!(get("fd00::1", v6, 0x8700), "Allow by gnp/icmp ingress[2]");
}

#[test]
fn namespaces_and_accounts_of_owners() {
    let mut spaces = selecting("all()");
    spaces.namespace_selector = Some(selector("team == 'blue'"));
    let named = EntityRule {
        namespace_selector: Some(selector("projectcalico.org/name == 'shop'")),
        ..EntityRule::default()
    };
    let global = EntityRule {
        namespace_selector: Some(selector("global()")),
        ..selecting("has(g)")
    };
    let accounts = ServiceAccountMatch {
        names: vec![],
        selector: Some(selector("tier == 'low'")),
    };
    let by_account = EntityRule {
        service_accounts: Some(accounts),
        ..EntityRule::default()
    };
    let engine = with([
        calico(policy(
            "shop/p",
            "app == 'db'",
            vec![
                from(tcp(Action::Allow, "1"), spaces),
                from(tcp(Action::Allow, "2"), named),
                from(tcp(Action::Allow, "3"), global),
                from(tcp(Action::Allow, "4"), by_account),
                from(tcp(Action::Allow, "5"), selecting("app == 'web'")),
            ],
            vec![],
        )),
        set("g", "g=1", "203.0.113.0/24"),
        set("shop/n", "g=1 app=web", "203.0.114.0/24"),
    ]);
    let who = |port| {
        let all = [
            "10.0.0.1",
            "10.0.0.3",
            "203.0.113.1",
            "203.0.114.1",
            "198.51.100.1",
        ];
        all.map(|far| u8::from(into(&engine, "shop/db", far, port).starts_with("Allow")))
    };
    assert_eq!(who(1), [0, 1, 0, 0, 0]);
    assert_eq!(who(2), [1, 0, 0, 1, 0]);
    assert_eq!(who(3), [0, 0, 1, 0, 0]);
    assert_eq!(who(4), [1, 0, 0, 0, 0]);
    assert_eq!(who(5), [1, 0, 0, 1, 0]);
}

#[test]
fn an_unreadable_subject_closes_its_namespace() {
    let mut closed = policy("shop/closed", "all()", vec![rule(Action::Allow)], vec![]);
    closed.subject = Subject::Unreadable;
    closed.order = Some(1.0);
    let global = CalicoPolicy {
        metadata: metadata("global", ""),
        ..closed.clone()
    };
    let engine = with([calico(closed), calico(global)]);
    assert_eq!(
        into(&engine, "shop/db", "10.0.0.1", 1),
        "Deny by cnp/shop/closed (unreadable selector)"
    );
    assert_eq!(
        into(&engine, "bank/web", "10.0.0.1", 1),
        "Allow by profile/kns.bank ingress[0]"
    );
    let report = engine
        .report(&key(Kind::GlobalNetworkPolicy, "global"))
        .unwrap();
    assert_eq!((report.endpoints, report.problems.len()), (0, 1));
}

#[test]
fn unreadable_rules_close() {
    let broken = |action, port| {
        let mut rule = tcp(action, port);
        rule.unreadable = vec![Problem::error("http", "not supported")];
        rule
    };
    let engine = with([calico(policy(
        "p",
        "app == 'db'",
        vec![
            broken(Action::Log, "1"),
            broken(Action::Allow, "1"),
            broken(Action::Pass, "2"),
            broken(Action::Deny, "3"),
            rule(Action::Allow),
        ],
        vec![],
    ))]);
    let db = |port| into(&engine, "shop/db", "10.0.0.1", port);
    assert_eq!(db(1), "Allow by gnp/p ingress[4]");
    assert_eq!(db(2), "Deny by gnp/p ingress[2] (undetermined)");
    assert_eq!(db(3), "Deny by gnp/p ingress[3] (undetermined)");
}

#[test]
fn explanation_lists_tiers_policies_and_profiles() {
    let mut a = policy("a", "app == 'db'", vec![], vec![]);
    (a.tier, a.order) = ("first".into(), Some(2.0));
    let mut b = policy("b", "app == 'db'", vec![], vec![]);
    (b.tier, b.order) = ("first".into(), Some(1.0));
    let engine = with([
        calico(a),
        calico(b),
        tier("first", Some(1.0), Action::Pass),
        Object::NetworkPolicy(netpol("shop/np", "", vec![])),
    ]);
    let explanation = engine.explain(&key(Kind::Pod, "shop/db"), Ingress).unwrap();
    let names: Vec<Vec<String>> = (explanation.tiers.iter())
        .map(|tier| tier.policies.iter().map(ToString::to_string).collect())
        .collect();
    assert_eq!(names, [vec!["gnp/b", "gnp/a"], vec!["netpol/shop/np"]]);
    let profiles: Vec<(&str, bool)> = explanation
        .profiles
        .iter()
        .map(|profile| (&*profile.name, profile.exists))
        .collect();
    assert_eq!(profiles, [("kns.shop", true), ("ksa.shop.default", true)]);
}

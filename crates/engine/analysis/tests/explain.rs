//! Explanations of small worlds, from manifests to the story of each side.

use ocicat_analysis::{
    Analysis, Answer, Case, End, Explanation, PolicyEnd, Query, Side, TierEnd, Unanswerable,
};
use ocicat_api::world::World;
use ocicat_api::{Kind, ObjectKey, Protocol};
use ocicat_flow::Verdict;

/// Two namespaces; `a/web` and `a/db` have addresses of both families, `b/x` and `b/y` none.
const PODS: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: a}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: b}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: a, labels: {app: web}}
status: {podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: a, labels: {app: db}}
status: {podIPs: [{ip: 10.0.0.2}, {ip: 'fd00::2'}]}
---
{apiVersion: v1, kind: Pod, metadata: {name: x, namespace: b}}
---
{apiVersion: v1, kind: Pod, metadata: {name: y, namespace: b}}
---
apiVersion: v1
kind: Node
metadata: {name: host-1}
status: {addresses: [{type: InternalIP, address: 172.16.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: proxy, namespace: b}
spec: {hostNetwork: true, nodeName: host-1}
---
";

fn analysis(more: &str) -> Analysis {
    let loaded = World::load([("world.yaml", format!("{PODS}{more}"))]);
    assert!(!loaded.has_errors(), "{:#?}", loaded.problems);
    Analysis::new(&loaded.world.objects)
}

fn end(text: &str) -> End {
    match text.split_once('/') {
        Some((namespace, name)) => End::Endpoint(ObjectKey {
            kind: Kind::Pod,
            namespace: Some(namespace.into()),
            name: name.into(),
        }),
        None => End::Address(text.parse().unwrap()),
    }
}

fn query(source: &str, destination: &str, protocol: Protocol, port: u16) -> Query {
    Query {
        source: end(source),
        destination: end(destination),
        protocol,
        port,
    }
}

fn ask(analysis: &mut Analysis, source: &str, destination: &str, port: u16) -> Explanation {
    analysis
        .explain(&query(source, destination, Protocol::TCP, port))
        .unwrap()
}

/// `source → destination verdict` of each pair of addresses.
fn split(explanation: &Explanation) -> Vec<String> {
    let pairs = |case: &Case| {
        let verdict = case.verdict;
        let pairs = case.pairs.iter();
        pairs
            .map(|x| format!("{} → {} {verdict}", x.source, x.destination))
            .collect::<Vec<_>>()
    };
    explanation.cases.iter().flat_map(pairs).collect()
}

fn ingress(explanation: &Explanation) -> &Side {
    explanation.cases[0].ingress.as_ref().unwrap()
}

#[test]
fn without_policy_the_namespace_profile_allows() {
    let explanation = ask(&mut analysis(""), "a/web", "a/db", 80);
    assert_eq!(explanation.verdict, Answer::Allow);
    let side = ingress(&explanation);
    assert!(side.tiers.is_empty());
    assert_eq!(
        (side.profiles[0].policy.as_str(), side.profiles[0].end),
        ("profile/kns.a", PolicyEnd::Allow)
    );
    assert_eq!(side.reason, "profile/kns.a ingress[0]");
    assert_eq!(
        split(&explanation),
        ["10.0.0.1 → 10.0.0.2 Allow", "fd00::1 → fd00::2 Allow"]
    );
}

#[test]
fn tiers_are_told_in_order() {
    let mut analysis = analysis(
        "
{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: first}, spec: {order: 10}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: first.look}
spec:
  tier: first
  order: 5
  selector: app == 'db'
  ingress:
  - {action: Log}
  - {action: Pass, source: {selector: app == 'web'}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: a}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{ports: [{port: 5432}]}]
",
    );
    let explanation = ask(&mut analysis, "a/web", "a/db", 5432);
    assert_eq!(explanation.verdict, Answer::Allow);
    let side = ingress(&explanation);
    let tiers: Vec<_> = side
        .tiers
        .iter()
        .map(|x| (&*x.tier, x.order, x.end))
        .collect();
    assert_eq!(
        tiers,
        [
            ("first", Some(10.0), TierEnd::Passed),
            ("default", Some(1e6), TierEnd::Decided),
        ]
    );
    let look = &side.tiers[0].policies[0];
    assert_eq!(
        (look.policy.as_str(), look.order, look.end),
        ("gnp/first.look", Some(5.0), PolicyEnd::Pass)
    );
    assert_eq!(
        (look.rule.as_ref().unwrap().index, look.logged[0].index),
        (1, 0)
    );
    assert_eq!(
        (side.policy.as_deref(), side.rule),
        (Some("netpol/a/db"), Some(0))
    );
    assert_eq!(side.tiers[1].policies[0].order, Some(1000.0));

    let explanation = ask(&mut analysis, "a/web", "a/db", 80);
    assert_eq!(explanation.verdict, Answer::Deny);
    assert_eq!(ingress(&explanation).reason, "end of tier default");
    let explanation = ask(&mut analysis, "b/x", "a/db", 5432);
    assert_eq!(ingress(&explanation).reason, "end of tier first");
}

#[test]
fn families_may_differ() {
    let mut analysis = analysis(
        "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: a}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]
",
    );
    let explanation = ask(&mut analysis, "a/web", "a/db", 80);
    assert_eq!(explanation.verdict, Answer::Depends);
    assert_eq!(
        split(&explanation),
        ["10.0.0.1 → 10.0.0.2 Allow", "fd00::1 → fd00::2 Deny"]
    );
    let echo = |protocol| query("a/web", "a/db", protocol, 0x0800);
    let explanation = analysis.explain(&echo(Protocol::ICMP)).unwrap();
    assert_eq!(split(&explanation), ["10.0.0.1 → 10.0.0.2 Allow"]);
    let explanation = analysis.explain(&echo(Protocol::ICMPV6)).unwrap();
    assert_eq!(split(&explanation), ["fd00::1 → fd00::2 Deny"]);
    let one_family = query("192.0.2.1", "fd00::2", Protocol::TCP, 80);
    assert_eq!(
        analysis.explain(&one_family),
        Err(Unanswerable::NoCommonFamily)
    );
}

#[test]
fn a_workload_without_address_stands_for_any_free_one() {
    let mut analysis = analysis(
        "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: a}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{ipBlock: {cidr: 10.244.7.0/24}}, {ipBlock: {cidr: fd00::/16}}]}]
",
    );
    let explanation = ask(&mut analysis, "b/x", "a/db", 80);
    assert_eq!(explanation.verdict, Answer::Depends);
    assert_eq!(
        split(&explanation),
        [
            "any of 10.244.0.0/16 → 10.0.0.2 Deny",
            "any of 10.244.7.0/24 → 10.0.0.2 Allow",
            "any of fd00:10:244::/48 → fd00::2 Allow",
        ]
    );
    // From a host's side the same addresses are nobody's.
    let explanation = ask(&mut analysis, "10.244.7.1", "a/db", 80);
    assert_eq!(explanation.verdict, Answer::Allow);
    let explanation = ask(&mut analysis, "10.244.0.0", "a/db", 80);
    assert_eq!(explanation.verdict, Answer::Deny);
}

/// A region with one free address: each of the two may have it, never both.
#[test]
fn two_workloads_never_stand_at_one_address() {
    let mut analysis = analysis(
        "
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: tiny}
spec: {cidr: 10.9.0.0/26}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: odd}
spec:
  selector: projectcalico.org/namespace == 'b'
  ingress:
  - {action: Deny, source: {nets: [10.9.0.9/32]}}
  - {action: Deny, destination: {nets: [10.9.0.12/32]}}
  - {action: Allow, source: {selector: all()}}
",
    );
    let explanation = ask(&mut analysis, "b/x", "b/y", 80);
    assert_eq!(explanation.verdict, Answer::Depends);
    let (wide, nine, twelve) = (
        "any of 10.9.0.0/26",
        "any of 10.9.0.9/32",
        "any of 10.9.0.12/32",
    );
    let mut found = split(&explanation);
    found.sort();
    let mut expected = vec![
        format!("{wide} → {wide} Allow"),
        format!("{wide} → {nine} Allow"),
        format!("{twelve} → {wide} Allow"),
        format!("{twelve} → {nine} Allow"),
        format!("{wide} → {twelve} Deny"),
        format!("{nine} → {wide} Deny"),
        format!("{nine} → {twelve} Deny"),
    ];
    expected.sort();
    assert_eq!(found, expected);
    // Afterwards nobody stands there.
    let explanation = ask(&mut analysis, "10.9.0.12", "b/y", 80);
    assert!(explanation.source.endpoint.is_none());
    assert_eq!(explanation.verdict, Answer::Deny);
}

#[test]
fn addresses_are_whose_they_are() {
    let mut analysis = analysis("");
    let explanation = ask(&mut analysis, "10.0.0.1", "192.0.2.1", 80);
    assert_eq!(explanation.source.endpoint.as_deref(), Some("pod/a/web"));
    assert_eq!(explanation.destination.endpoint, None);
    let case = &explanation.cases[0];
    assert!(case.egress.is_some() && case.ingress.is_none());
    assert_eq!(split(&explanation), ["10.0.0.1 → 192.0.2.1 Allow"]);
}

#[test]
fn pods_in_the_network_of_their_host_do_not_judge() {
    let explanation = ask(&mut analysis(""), "b/proxy", "a/db", 80);
    assert!(explanation.source.host_network);
    assert!(explanation.cases[0].egress.is_none());
    assert_eq!(split(&explanation), ["172.16.0.1 → 10.0.0.2 Allow"]);
}

#[test]
fn a_workload_reaches_itself() {
    let mut analysis = analysis(
        "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: none, namespace: a}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
",
    );
    let explanation = ask(&mut analysis, "a/web", "10.0.0.1", 80);
    assert_eq!(explanation.verdict, Answer::Allow);
    assert!(explanation.cases[0].within_endpoint);
    assert_eq!(
        ask(&mut analysis, "a/web", "a/db", 80).cases[0].verdict,
        Verdict::Deny
    );
}

#[test]
fn what_is_not_there_is_said() {
    let mut analysis = analysis(
        "
apiVersion: v1
kind: Pod
metadata: {name: done, namespace: b}
status: {phase: Succeeded, podIP: 10.0.0.9}
",
    );
    let key = |text| match end(text) {
        End::Endpoint(key) => key,
        _ => unreachable!("a name"),
    };
    let ask = |analysis: &mut Analysis, from: &str| {
        analysis
            .explain(&query(from, "a/db", Protocol::TCP, 80))
            .unwrap_err()
    };
    assert_eq!(
        ask(&mut analysis, "a/none"),
        Unanswerable::Unknown(key("a/none"))
    );
    assert_eq!(
        ask(&mut analysis, "b/done"),
        Unanswerable::Finished(key("b/done"))
    );
}

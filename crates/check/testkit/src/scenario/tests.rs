use ocicat_api::Kind;

use super::*;
use crate::{Random, Targets, random_change, random_world};

const SHOP: &str = "\
Only the web server may ask the database.

-- resources --
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: []}
status: {podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: []}
status: {podIPs: [{ip: 'fd00::2'}, {ip: 10.0.0.2}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
    - from: [{podSelector: {matchLabels: {app: web}}}]
      ports: [{port: 5432}]

-- queries --
tcp shop/web > shop/db:5432 Allow
tcp shop/web > shop/db:80 Deny             # not this port
tcp [fd00::1]:1024 > shop/db:5432 Allow
udp shop/web > 10.0.0.2:5432 Deny
icmp 192.0.2.1 > shop/db type 8 Deny
icmp 192.0.2.1 > shop/web type 8 code 0 Allow

-- delete --
netpol/shop/db

-- queries --
tcp 192.0.2.1 > shop/db:80 Allow
47 192.0.2.1 > shop/db Allow
";

#[test]
fn a_scenario_is_followed() {
    let scenario = Scenario::parse(SHOP).expect("a scenario");
    assert_eq!(scenario.title, "Only the web server may ask the database.");
    assert_eq!(scenario.steps.len(), 4 + 6 + 1 + 2);
    assert_eq!(
        scenario.disagreements(Answer::of_oracle),
        Vec::<String>::new()
    );
    let Step::Query(second) = &scenario.steps[5] else {
        panic!("a query")
    };
    assert_eq!(second.comment, "not this port");
    let Step::Change(Change::Delete(key)) = &scenario.steps[10] else {
        panic!("a deletion")
    };
    assert_eq!(key.kind, Kind::NetworkPolicy);
}

#[test]
fn a_wrong_expectation_is_found_with_its_line() {
    let wrong = SHOP.replace("shop/db:80 Deny ", "shop/db:80 Allow");
    let found = Scenario::parse(&wrong)
        .expect("a scenario")
        .disagreements(Answer::of_oracle);
    assert_eq!(
        found,
        ["line 31: 10.0.0.1:40000 > 10.0.0.2:80 protocol 6: expected Allow, got Deny"]
    );
    let nobody = SHOP.replace("udp shop/web", "udp shop/nobody");
    let found = Scenario::parse(&nobody)
        .expect("a scenario")
        .disagreements(Answer::of_oracle);
    assert_eq!(found, ["line 33: no endpoint shop/nobody"]);
}

const EDGE: &str = "\
-- resources --
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: eth0}
spec: {node: one, interfaceName: eth0, expectedIPs: [192.0.2.1]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: early}
spec:
  preDNAT: true
  applyOnForward: true
  ingress:
    - {action: Deny, protocol: TCP, destination: {ports: [80]}}
---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: early}
spec: {stagedAction: Delete}

-- queries --
tcp 198.51.100.1 > 192.0.2.1:80 at eth0 prednat ingress Deny pending Absent
tcp 198.51.100.1 > 192.0.2.1:81 at eth0 prednat ingress Next
icmp 192.0.2.1 > 198.51.100.1 type 8 at eth0 local egress Deny
tcp 198.51.100.1 > 192.0.2.1:80 Allow        # no workload
";

#[test]
fn stages_and_what_is_pending_are_asked() {
    let scenario = Scenario::parse(EDGE).expect("a scenario");
    assert_eq!(
        scenario.disagreements(Answer::of_oracle),
        Vec::<String>::new()
    );
    let wrong = EDGE.replace("pending Absent", "pending Next");
    let wrong = Scenario::parse(&wrong).expect("a scenario");
    let found = wrong.disagreements(Answer::of_oracle);
    let expected =
        "line 22: 198.51.100.1:40000 > 192.0.2.1:80 protocol 6: expected pending Next, got Absent";
    assert_eq!(found, [expected]);
    let printed: Vec<String> = (scenario.steps.iter())
        .filter_map(|step| match step {
            Step::Query(query) => Some(query.to_string()),
            Step::Change(_) => None,
        })
        .collect();
    assert_eq!(
        printed[0],
        "tcp 198.51.100.1:40000 > 192.0.2.1:80 at eth0 prednat ingress Deny pending Absent"
    );
    let read = Scenario::parse(&scenario.to_string()).expect("a scenario");
    assert_eq!(read.disagreements(Answer::of_oracle), Vec::<String>::new());
}

#[test]
fn mistakes_are_named() {
    for (text, line, part) in [
        (
            "-- queries --\ntcp a > b:1 Allow",
            2,
            "expected an address or namespace/name",
        ),
        (
            "-- queries --\n\ntcp 1.1.1.1 > 2.2.2.2 Allow",
            3,
            "expected a port",
        ),
        (
            "-- queries --\ntcp 1.1.1.1 < 2.2.2.2:1 Allow",
            2,
            "instead of '>'",
        ),
        (
            "-- queries --\nicmp 1.1.1.1:1 > 2.2.2.2 Allow",
            2,
            "has no ports",
        ),
        (
            "-- queries --\nicmp 1.1.1.1 > 2.2.2.2 type 256 Allow",
            2,
            "expected a number 0-255",
        ),
        (
            "-- queries --\n47 1.1.1.1 > 2.2.2.2 type 2 Allow",
            2,
            "found \"type\"",
        ),
        ("-- queries --\n47 1.1.1.1 > 2.2.2.2", 2, "Allow|Deny"),
        (
            "-- queries --\n47 1.1.1.1 > 2.2.2.2 at eth0 late ingress Allow",
            2,
            "expected stage",
        ),
        (
            "-- queries --\n47 1.1.1.1 > 2.2.2.2 at eth0 local in Allow",
            2,
            "expected ingress or egress",
        ),
        (
            "-- queries --\n47 1.1.1.1 > 2.2.2.2 Allow pending",
            2,
            "Allow|Deny",
        ),
        (
            "-- queries --\n47 1.1.1.1 > 2.2.2.2 Allow it",
            2,
            "expected the end of the line",
        ),
        (
            "-- queries --\nipsec 1.1.1.1 > 2.2.2.2 Allow",
            2,
            "expected TCP",
        ),
        ("\n-- nothing --", 2, "expected section"),
        ("-- delete --\nThing/a", 2, "no such kind"),
        ("-- delete --\nPod/a", 2, "expected Kind/namespace/name"),
        ("-- resources --\n\nkind: [", 4, "expected"),
        (
            "-- resources --\n---\napiVersion: v1\nkind: Pod\n",
            3,
            "metadata",
        ),
    ] {
        let error = Scenario::parse(text).expect_err(text);
        assert_eq!(error.line, line, "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
    }
}

#[test]
fn what_is_printed_reads_back() {
    let mut random = Random::new(5);
    for _ in 0..40 {
        let world = random_world(&mut random);
        let targets = Targets::of(&world);
        let queries = random.several(20, 20, |random| {
            let packet = targets.packet(random);
            let expected = Answer::of_oracle(&world, None, &packet);
            Query {
                pending: random.maybe(50, |_| Answer::of_oracle(&world.pending(), None, &packet)),
                ..Query::of(&packet, expected, "because\nof that")
            }
        });
        let mut written = Scenario::of("What it is.", &world, queries);
        written
            .steps
            .push(Step::Change(random_change(&mut random, &world)));
        let text = written.to_string();
        let read = Scenario::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(read.title, "What it is.");
        assert_eq!(read.steps.len(), written.steps.len());
        let packets = |scenario: &Scenario| -> Vec<_> {
            let queries = scenario.steps.iter().filter_map(|step| match step {
                Step::Query(query) => Some((query.packet(&world), query.expected)),
                Step::Change(_) => None,
            });
            queries.collect()
        };
        assert_eq!(packets(&read), packets(&written));
        // The decoder reads what the generator meant: the oracle says the same of both.
        assert_eq!(read.disagreements(Answer::of_oracle), Vec::<String>::new());
    }
}

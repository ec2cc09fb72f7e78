use ocicat_api::Kind;
use ocicat_oracle::{Census, verdict};

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
    let acts = scenario.acts().expect("acts");
    let asks: Vec<usize> = acts.iter().map(|act| act.asks.len()).collect();
    // Two queries of names are asked in both families.
    assert_eq!(asks, [6 + 2, 2]);
    assert_eq!(scenario.disagreements(ask_oracle), Vec::<String>::new());
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
        .disagreements(ask_oracle);
    assert_eq!(
        found,
        [
            "line 31: 10.0.0.1:40000 > 10.0.0.2:80 protocol 6: expected Allow, got Deny by end of tier default",
            "line 31: [fd00::1]:40000 > [fd00::2]:80 protocol 6: expected Allow, got Deny by end of tier default"
        ]
    );
    let nobody = SHOP.replace("udp shop/web", "udp shop/nobody");
    let found = Scenario::parse(&nobody)
        .expect("a scenario")
        .disagreements(ask_oracle);
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
    assert_eq!(scenario.disagreements(ask_oracle), Vec::<String>::new());
    let wrong = EDGE.replace("pending Absent", "pending Next");
    let wrong = Scenario::parse(&wrong).expect("a scenario");
    let found = wrong.disagreements(ask_oracle);
    let expected = "line 22: 198.51.100.1:40000 > 192.0.2.1:80 protocol 6: expected Deny pending Next, got Deny pending Absent by default gnp/early ingress[0]";
    assert_eq!(found, [expected]);
    let printed: Vec<String> = (scenario.steps.iter())
        .filter_map(|step| match step {
            Step::Query(query) => Some(query.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(
        printed[0],
        "tcp 198.51.100.1:40000 > 192.0.2.1:80 at eth0 prednat ingress Deny pending Absent"
    );
    let read = Scenario::parse(&scenario.to_string()).expect("a scenario");
    assert_eq!(read.disagreements(ask_oracle), Vec::<String>::new());
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
            "-- queries --\n47 1.1.1.1 > 2.2.2.2 Allow it",
            2,
            "expected the end of the line",
        ),
        (
            "-- queries --\nipsec 1.1.1.1 > 2.2.2.2 Allow",
            2,
            "expected TCP",
        ),
        (
            "-- queries --\n47 1.1.1.1 > 2.2.2.2 Deny by",
            2,
            "after 'by'",
        ),
        (
            "-- queries --\ntcp 1.1.1.1 > 2.2.2.2:1 to 2.2.2.2 Deny",
            2,
            "expected a port",
        ),
        ("-- pods --\na/b app=web", 2, "expected an address"),
        ("-- pods --\na/b 1.1.1.1 http:80", 2, "NAME:PORT/PROTOCOL"),
        ("-- namespaces --\na b", 2, "LABEL=VALUE"),
        ("-- reach tcp --\na/b\na/b .", 1, "expected ports"),
        ("-- reach icmp --\na/b\na/b .", 1, "that ask something"),
        ("-- reach icmp --\na/b\na/b + -", 3, "expected 1 cells"),
        ("-- reach icmp --\na/b\na/b x", 3, "'+', '-' or '.'"),
        ("-- hosts --\none", 2, "expected NODE INTERFACE"),
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
            Query::of(
                &packet,
                verdict(&world, &packet).verdict,
                "because\nof that",
            )
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
                Step::Query(query) => Some((query.packets(&Census::new(&world)), query.expected)),
                _ => None,
            });
            queries.collect()
        };
        assert_eq!(packets(&read), packets(&written));
        // The decoder reads what the generator meant: the oracle says the same of both.
        assert_eq!(read.disagreements(ask_oracle), Vec::<String>::new());
    }
}

const MATRIX: &str = "\
Restates nobody: a matrix

-- namespaces --
shop team=sales

-- pods --
shop/web 10.0.0.1 fd00::1 app=web
shop/db  10.0.0.2 fd00::2 app=db sql:5432/tcp @node-1   # the data

-- hosts --
node-1 eth0 192.0.2.9

-- resources --
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{ports: [{port: sql}]}]

-- reach tcp 5432 80 --
            shop/web shop/db   # to
shop/web       .        +
192.0.2.1      +        +

-- queries --
  tcp shop/web > shop/db:5432 Allow by default netpol/shop/db ingress[0]  # named
";

#[test]
fn a_matrix_asks_for_every_port_and_family() {
    let scenario = Scenario::parse(MATRIX).expect("a scenario");
    assert_eq!(scenario.restates(), Some("nobody: a matrix"));
    let acts = scenario.acts().expect("acts");
    let [act] = &acts[..] else { panic!("{acts:?}") };
    // Of two ports, in two families between names; and one query.
    assert_eq!(act.asks.len(), 2 * (2 + 1 + 1) + 2);
    assert_eq!(act.links[0].to_string(), "node-1 eth0 192.0.2.9");
    let found = scenario.disagreements(ask_oracle);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found[0].starts_with("line 23: 10.0.0.1:40000 > 10.0.0.2:80 protocol 6"),
        "{found:?}"
    );
}

#[test]
fn expectations_are_rewritten_in_place() {
    let error = Scenario::rewritten(MATRIX, ask_oracle).expect_err("two answers in one cell");
    assert!(error.contains("line 23: the answers differ"), "{error}");
    let wrong = MATRIX.replace("tcp 5432 80", "tcp 80");
    let wrong = wrong.replace(
        "Allow by default netpol/shop/db ingress[0]",
        "Deny by magic",
    );
    let right = Scenario::rewritten(&wrong, ask_oracle).expect("a rewritten file");
    let expected = MATRIX.replace("tcp 5432 80", "tcp 80");
    let expected = expected.replace("   .        +", "   .        -");
    let expected = expected.replace("   +        +", "   +        -");
    assert_eq!(right, expected);
    let read = Scenario::parse(&right).expect("a scenario");
    assert_eq!(read.disagreements(ask_oracle), Vec::<String>::new());
}

#[test]
fn hosts_and_pending_verdicts_are_read() {
    let text = "-- queries --\n\
        tcp 1.1.1.1 > 2.2.2.2:1 to x/a:2 at one in eth0 out eth1 Allow pending Deny by a rule  # so\n";
    let scenario = Scenario::parse(text).expect("a scenario");
    let Step::Query(query) = &scenario.steps[0] else {
        panic!("a query")
    };
    let Whom::Host(path) = &query.whom else {
        panic!("a host")
    };
    assert_eq!(path.to_string(), "one in eth0 out eth1");
    assert_eq!(query.pending, Some(ocicat_oracle::Verdict::Deny.into()));
    assert_eq!(query.decider, "a rule");
    assert!(
        scenario
            .to_string()
            .contains("at one in eth0 out eth1 Allow pending Deny by a rule")
    );
}

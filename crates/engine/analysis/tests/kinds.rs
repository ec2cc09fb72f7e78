//! Host endpoints, cluster policy, services and staged policy in explanations.

use ocicat_analysis::{Analysis, Answer, End, Explanation, Query};
use ocicat_api::world::World;
use ocicat_api::{Kind, ObjectKey, Protocol};
use ocicat_flow::Verdict;

/// A pod on each of two hosts; the hosts have one endpoint each for all interfaces.
const WORLD: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: a}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: a, labels: {app: web}}
spec: {nodeName: n1}
status: {podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: a, labels: {app: db}}
spec: {nodeName: n2}
status: {podIPs: [{ip: 10.0.0.2}]}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 172.16.0.1}]}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
status: {addresses: [{type: InternalIP, address: 172.16.0.2}]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: n1-all, labels: {host: n1}}
spec: {node: n1, interfaceName: '*', expectedIPs: [172.16.0.1]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: n2-all, labels: {host: n2}}
spec: {node: n2, interfaceName: '*', expectedIPs: [172.16.0.2]}
---
";

fn load(more: &str) -> World {
    let loaded = World::load([("world.yaml", format!("{WORLD}{more}"))]);
    assert!(!loaded.has_errors(), "{:#?}", loaded.problems);
    loaded.world
}

fn end(text: &str) -> End {
    let key = |kind, namespace: Option<&str>, name: &str| ObjectKey {
        kind,
        namespace: namespace.map(Into::into),
        name: name.into(),
    };
    match text.split_once('/') {
        Some(("host", name)) => End::Host(name.into()),
        Some(("hep", name)) => End::HostEndpoint(key(Kind::HostEndpoint, None, name)),
        Some((namespace, name)) => End::Endpoint(key(Kind::Pod, Some(namespace), name)),
        None => End::Address(text.parse().unwrap()),
    }
}

fn ask(analysis: &mut Analysis, source: &str, destination: &str, port: u16) -> Explanation {
    let query = Query {
        source: end(source),
        destination: end(destination),
        protocol: Protocol::TCP,
        port,
    };
    analysis.explain(&query).unwrap()
}

/// Of an ICMPv6 type.
fn ask_icmpv6(analysis: &mut Analysis, source: &str, destination: &str, kind: u8) -> Explanation {
    let query = Query {
        source: end(source),
        destination: end(destination),
        protocol: Protocol::ICMPV6,
        port: u16::from_be_bytes([kind, 0]),
    };
    analysis.explain(&query).unwrap()
}

/// What hosts say, one line each.
fn hosts(explanation: &Explanation) -> Vec<String> {
    let steps = explanation.decisive().hosts.iter();
    steps
        .map(|step| {
            let endpoint = step.endpoint.as_deref().unwrap_or("-");
            let stage = step.stage.unwrap_or("-");
            format!(
                "{endpoint} {stage} {} {}: {}",
                step.direction, step.verdict, step.reason
            )
        })
        .collect()
}

const FORWARD: &str = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: fwd}
spec:
  selector: host == 'n2'
  applyOnForward: true
  types: [Ingress]
  ingress:
    - {action: Allow, protocol: TCP, destination: {ports: [80], selector: app == 'db'}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: early}
spec:
  selector: host == 'n2'
  applyOnForward: true
  preDNAT: true
  types: [Ingress]
  ingress: [{action: Deny, protocol: TCP, destination: {ports: [22, 99]}}]
---
";

#[test]
fn forwarded_traffic_meets_the_stages_of_the_host_it_reaches() {
    let mut analysis = Analysis::new(&load(FORWARD).objects);
    let passed = ask(&mut analysis, "a/web", "a/db", 80);
    assert_eq!(passed.verdict, Answer::Allow);
    assert_eq!(
        hosts(&passed),
        [
            "hep/n2-all pre-DNAT ingress Next: end of stage",
            "hep/n2-all forwarded ingress Allow: gnp/fwd ingress[0]"
        ]
    );
    let stopped = ask(&mut analysis, "192.0.2.1", "a/db", 81);
    assert_eq!(stopped.verdict, Answer::Deny);
    let last = "hep/n2-all forwarded ingress Deny: end of tier default";
    assert_eq!(hosts(&stopped).last().unwrap(), last);
    let early = ask(&mut analysis, "192.0.2.1", "a/db", 99);
    assert_eq!(
        hosts(&early),
        ["hep/n2-all pre-DNAT ingress Deny: gnp/early ingress[0]"]
    );
    // The other host forwards everything.
    assert!(hosts(&ask(&mut analysis, "a/db", "a/web", 80)).is_empty());
}

#[test]
fn a_host_is_closed_but_for_its_fail_safe_ports() {
    let mut analysis = Analysis::new(&load(FORWARD).objects);
    let ssh = ask(&mut analysis, "192.0.2.1", "host/n2", 22);
    assert_eq!(ssh.verdict, Answer::Allow);
    assert_eq!(
        hosts(&ssh),
        [
            "hep/n2-all pre-DNAT ingress Next: fail-safe port",
            "hep/n2-all local ingress Next: fail-safe port"
        ]
    );
    let web = ask(&mut analysis, "192.0.2.1", "172.16.0.2", 443);
    assert_eq!(web.verdict, Answer::Deny);
    assert_eq!(
        hosts(&web).last().unwrap(),
        "hep/n2-all local ingress Deny: end of tier default"
    );
    // From one host to the other: the first says no already.
    let out = ask(&mut analysis, "hep/n1-all", "hep/n2-all", 443);
    let expected = "hep/n1-all local egress Deny: end of profiles";
    assert_eq!(hosts(&out)[0], expected);
    assert_eq!(out.source.endpoint.as_deref(), Some("hep/n1-all"));
}

#[test]
fn nobody_judges_what_a_host_sends_to_its_own_workloads() {
    let closed = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: closed}
spec: {selector: app == 'web', types: [Ingress]}
---
";
    let mut analysis = Analysis::new(&load(closed).objects);
    let own = ask(&mut analysis, "host/n1", "a/web", 443);
    assert_eq!(
        (own.verdict, hosts(&own)),
        (
            Answer::Allow,
            vec!["- - egress Allow: a host reaches its own workloads".to_owned()]
        )
    );
    let other = ask(&mut analysis, "host/n2", "a/web", 443);
    assert_eq!(other.verdict, Answer::Deny);
}

#[test]
fn what_keeps_links_of_ipv6_is_not_judged() {
    let six = "
apiVersion: v1
kind: Pod
metadata: {name: six, namespace: a, labels: {app: six}}
spec: {nodeName: n3}
status: {podIPs: [{ip: 'fd00::1'}]}
---
apiVersion: v1
kind: Node
metadata: {name: n3}
status: {addresses: [{type: InternalIP, address: 'fd16::3'}]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: n3-all, labels: {host: n3}}
spec: {node: n3, interfaceName: '*', expectedIPs: ['fd16::3']}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: forward}
spec: {selector: host == 'n3', applyOnForward: true, types: [Ingress]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: closed}
spec: {selector: app == 'six', types: [Ingress, Egress]}
---
";
    let mut analysis = Analysis::new(&load(six).objects);
    let said = |explanation: &Explanation| (explanation.verdict, hosts(explanation));
    let upkeep = "hep/n3-all local ingress Next: what keeps a link of IPv6".to_owned();
    for kind in [130, 134, 136, 143] {
        let into = ask_icmpv6(&mut analysis, "fd99::1", "host/n3", kind);
        assert_eq!(said(&into), (Answer::Allow, vec![upkeep.clone()]));
    }
    let echo = ask_icmpv6(&mut analysis, "fd99::1", "host/n3", 128);
    assert_eq!(echo.verdict, Answer::Deny);
    // What is forwarded keeps no link of this host.
    let through = ask_icmpv6(&mut analysis, "fd99::1", "a/six", 135);
    let denied = "hep/n3-all forwarded ingress Deny: end of tier default".to_owned();
    assert_eq!(said(&through), (Answer::Deny, vec![denied]));
    for (kind, answer) in [
        (133, Answer::Allow),
        (135, Answer::Allow),
        (134, Answer::Deny),
    ] {
        let own = ask_icmpv6(&mut analysis, "a/six", "host/n3", kind);
        assert_eq!(own.verdict, answer, "type {kind}");
    }
}

#[test]
fn a_workload_reaches_its_own_host_only_where_it_is_configured() {
    let felix = "
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: node.n1}
spec: {defaultEndpointToHostAction: Accept}
---
";
    let mut analysis = Analysis::new(&load(felix).objects);
    let allowed = ask(&mut analysis, "a/web", "host/n1", 1);
    assert_eq!(
        hosts(&allowed),
        ["- - ingress Allow: defaultEndpointToHostAction Accept"]
    );
    let dropped = ask(&mut analysis, "a/db", "host/n2", 1);
    assert_eq!(dropped.verdict, Answer::Deny);
}

#[test]
fn cluster_policy_and_services_are_told() {
    let more = "
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: no-web}
spec:
  tier: Admin
  priority: 7
  subject: {namespaces: {}}
  ingress:
    - {action: Deny, from: [{pods: {podSelector: {matchLabels: {app: web}}}}],
       protocols: [{tcp: {destinationPort: {number: 81}}}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, namespace: a, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.2]}]
ports: [{port: 80, protocol: TCP}]
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: to-db, namespace: a}
spec:
  selector: app == 'web'
  types: [Egress]
  egress: [{action: Allow, destination: {services: {name: db}}}, {action: Allow, protocol: TCP, destination: {ports: [81]}}]
---
";
    let mut analysis = Analysis::new(&load(more).objects);
    let egress = |explanation: &Explanation| explanation.cases[0].egress.clone().unwrap();
    let by_service = ask(&mut analysis, "a/web", "a/db", 80);
    assert_eq!(by_service.verdict, Answer::Allow);
    assert_eq!(egress(&by_service).reason, "cnp/a/to-db egress[0]");
    let refused = ask(&mut analysis, "a/web", "a/db", 81);
    let ingress = refused.cases[0].ingress.as_ref().unwrap();
    assert_eq!(ingress.reason, "clusternp/no-web ingress[0]");
    assert_eq!(ingress.tiers[0].policies[0].order, Some(7.0));
    let other = ask(&mut analysis, "a/web", "a/db", 82);
    assert_eq!(egress(&other).reason, "end of tier default");
}

#[test]
fn the_pending_world_stands_beside_the_enforced_one() {
    let more = "
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: close}
spec: {selector: app == 'db', order: 3, ingress: [{action: Deny}]}
---
";
    let world = load(more);
    let mut enforced = Analysis::new(&world.objects);
    assert_eq!(
        ask(&mut enforced, "a/web", "a/db", 80).verdict,
        Answer::Allow
    );
    let mut pending = Analysis::pending(&world.objects).expect("something is staged");
    let denied = ask(&mut pending, "a/web", "a/db", 80);
    let ingress = denied.cases[0].ingress.as_ref().unwrap();
    assert_eq!(
        (ingress.verdict, &*ingress.reason),
        (Verdict::Deny, "sgnp/close ingress[0]")
    );
    assert_eq!(ingress.tiers[0].policies[0].order, Some(3.0));
    assert!(Analysis::pending(&load("").objects).is_none());
}

#[test]
fn settled_addresses_make_answers_that_do_not_depend() {
    let more = "
{apiVersion: v1, kind: Pod, metadata: {name: new, namespace: a}}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: pool}
spec: {cidr: 10.0.0.0/24}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: nets}
spec: {selector: app == 'db', ingress: [{action: Allow, source: {nets: [10.0.0.0/29]}}]}
---
";
    let world = load(more);
    let mut analysis = Analysis::new(&world.objects);
    assert_eq!(
        ask(&mut analysis, "a/new", "a/db", 80).verdict,
        Answer::Depends
    );
    let mut analysis = Analysis::new(&world.objects);
    analysis.settle_addresses();
    let settled = ask(&mut analysis, "a/new", "a/db", 80);
    assert_eq!(settled.verdict, Answer::Allow);
    assert_eq!(settled.source.places[0].address.to_string(), "10.0.0.0");
}

use super::super::tests::{problems, yaml};
use super::*;
use crate::Object;

fn read(spec: &str) -> (ClusterNetworkPolicy, Vec<String>) {
    let decoded = yaml(&format!(
        "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\n\
         metadata: {{name: p}}\nspec: {spec}\n"
    ));
    let found = problems(&decoded);
    let Some(Object::ClusterNetworkPolicy(policy)) = decoded.object else {
        panic!()
    };
    (policy, found)
}

/// One egress rule of a policy that is right otherwise.
fn egress(rule: &str) -> (ClusterRule, Vec<String>) {
    let spec =
        format!("{{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, egress: [{rule}]}}");
    let (mut policy, found) = read(&spec);
    assert_ne!(policy.subject, ClusterSubject::Unreadable);
    (policy.egress.remove(0), found)
}

#[test]
fn a_whole_policy() {
    let (policy, found) = read(
        "
  tier: Baseline
  priority: 1000
  subject:
    pods: {namespaceSelector: {matchLabels: {team: a}}, podSelector: {}}
  ingress:
  - name: from friends
    action: Accept
    from:
    - namespaces: {}
    - pods: {podSelector: {matchLabels: {app: web}}}
    protocols:
    - tcp: {destinationPort: {number: 80}}
    - udp: {destinationPort: {range: {start: 5000, end: 5010}}}
    - sctp: {destinationPort: {number: 1}}
    - destinationNamedPort: http
  egress:
  - action: Pass
    to:
    - nodes: {matchLabels: {role: edge}}
    - networks: [10.0.0.0/8, 'fd00::/8']
  - action: Deny
    to: [{networks: [0.0.0.0/0]}]",
    );
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(
        (policy.tier, policy.priority),
        (ClusterTier::Baseline, 1000)
    );
    let ClusterSubject::Pods {
        namespace_selector,
        pod_selector,
    } = &policy.subject
    else {
        panic!()
    };
    assert_eq!(namespace_selector.to_string(), "team == \"a\"");
    assert_eq!(*pod_selector, Selector::All);
    let first = &policy.ingress[0];
    assert_eq!(
        (&*first.name, first.action),
        ("from friends", Action::Allow)
    );
    assert!(first.unreadable.is_empty() && !first.unreadable_peers && !first.unreadable_protocols);
    assert_eq!(first.peers[0], ClusterPeer::Namespaces(Selector::All));
    assert!(matches!(
        &first.peers[1],
        ClusterPeer::Pods {
            namespace_selector: Selector::All,
            ..
        }
    ));
    let port = |protocol, first, last| {
        ClusterProtocol::Ports(protocol, Some(PortSpec::Range { first, last }))
    };
    assert_eq!(
        first.protocols.as_deref().unwrap(),
        [
            port(Protocol::TCP, 80, 80),
            port(Protocol::UDP, 5000, 5010),
            port(Protocol::SCTP, 1, 1),
            ClusterProtocol::Named("http".into()),
        ]
    );
    let second = &policy.egress[0];
    assert_eq!((second.action, &second.protocols), (Action::Pass, &None));
    assert!(matches!(
        &second.peers[0],
        ClusterPeer::Nodes(Selector::Equal(..))
    ));
    assert!(matches!(&second.peers[1], ClusterPeer::Networks(nets) if nets.len() == 2));
    assert_eq!(policy.egress[1].action, Action::Deny);
}

#[test]
fn what_says_where_the_policy_stands_must_be_readable() {
    for (spec, part) in [
        (
            "{priority: 1, subject: {namespaces: {}}}",
            "spec.tier: missing: expected Admin or Baseline",
        ),
        (
            "{tier: admin, priority: 1, subject: {namespaces: {}}}",
            "\"admin\": expected Admin or Baseline",
        ),
        (
            "{tier: Admin, subject: {namespaces: {}}}",
            "spec.priority: missing: expected 0-1000",
        ),
        (
            "{tier: Admin, priority: 1001, subject: {namespaces: {}}}",
            "1001: expected 0-1000",
        ),
        (
            "{tier: Admin, priority: -1, subject: {namespaces: {}}}",
            "-1: expected 0-1000",
        ),
        (
            "{tier: Admin, priority: 1}",
            "spec.subject: missing: expected namespaces or pods",
        ),
        (
            "{tier: Admin, priority: 1, subject: {}}",
            "spec.subject: expected exactly one of namespaces, pods",
        ),
        (
            "{tier: Admin, priority: 1, subject: {namespaces: {}, pods: {podSelector: {}}}}",
            "spec.subject: expected exactly one of",
        ),
        (
            "{tier: Admin, priority: 1, subject: {nodes: {}}}",
            "spec.subject.nodes: unknown field",
        ),
        (
            "{tier: Admin, priority: 1, subject: {namespaces: {matchLabels: {a: 1}}}}",
            "put it in quotes",
        ),
        (
            "{tier: Admin, priority: 1, subject: {pods: {namespaceSelector: {}}}}",
            "podSelector: missing",
        ),
        (
            "{tier: Admin, priority: 1, subject: {pods: {podSelector: {}, namspaceSelector: {}}}}",
            "did you mean \"namespaceSelector\"?",
        ),
        (
            "{tier: Admin, priority: 1, subject: {namespaces: {}}, order: 1}",
            "spec.order: unknown field",
        ),
        ("[]", "spec: a list: expected a mapping"),
    ] {
        let (policy, found) = read(spec);
        assert_eq!(policy.subject, ClusterSubject::Unreadable, "{spec}");
        assert!(
            found.iter().any(|text| text.contains(part)),
            "{spec}: {found:?}"
        );
    }
}

/// Rules of one peer or protocol that cannot be read, without their action.
pub(in crate::decode) const BAD_PEERS: &[(&str, &str)] = &[
    ("", "egress[0]: missing to: expected 1-25 peers"),
    ("to: []", "egress[0].to: 0 entries: expected 1-25"),
    ("to: x", "egress[0].to: \"x\": expected a list"),
    (
        "to: [{}]",
        "to[0]: expected exactly one of namespaces, pods, nodes, networks, domainNames",
    ),
    ("to: [{services: {}}]", "to[0].services: unknown field"),
    (
        "to: [{namespaces: {}, nodes: {}}]",
        "to[0]: expected exactly one",
    ),
    (
        "to: [{namespaces: []}]",
        "to[0].namespaces: a list: expected a mapping",
    ),
    (
        "to: [{nodes: {matchLabel: {}}}]",
        "did you mean \"matchLabels\"?",
    ),
    ("to: [{pods: {}}]", "to[0].pods.podSelector: missing"),
    (
        "to: [{networks: []}]",
        "to[0].networks: 0 entries: expected 1-25",
    ),
    (
        "to: [{networks: [10.0.0.1]}]",
        "to[0].networks[0]: \"10.0.0.1\": expected a CIDR, with '/'",
    ),
    (
        "to: [{networks: [10.0.0.0/33]}]",
        "prefix length is at most 32",
    ),
    ("to: [{domainNames: []}]", "0 entries"),
    (
        "to: [{domainNames: [a]}]",
        "domainNames[0]: \"a\": expected a domain name",
    ),
    ("to: [{domainNames: ['a.*.b']}]", "expected a domain name"),
];

#[test]
fn peers_that_cannot_be_read() {
    for (rest, part) in BAD_PEERS {
        for (action, expected) in [
            ("Accept", Action::Allow),
            ("Deny", Action::Deny),
            ("Pass", Action::Pass),
        ] {
            let (rule, found) = egress(&format!("{{action: {action}, {rest}}}"));
            assert!(
                found.iter().any(|text| text.contains(part)),
                "{rest}: {found:?}"
            );
            assert_eq!((rule.action, rule.peers.len()), (expected, 0), "{rest}");
            assert!(
                rule.unreadable_peers && !rule.unreadable_protocols,
                "{rest}"
            );
            assert!(!rule.unreadable.is_empty());
        }
    }
    let (rule, _) = egress("{action: Deny, to: [{}, {namespaces: {}}]}");
    assert_eq!((rule.peers.len(), rule.unreadable_peers), (1, true));
    let many = vec!["{namespaces: {}}"; 26].join(", ");
    let (rule, found) = egress(&format!("{{action: Accept, to: [{many}]}}"));
    assert_eq!((rule.peers.len(), rule.unreadable_peers), (0, true));
    assert!(found[0].contains("26 entries: expected 1-25"));
    // Ingress has fewer kinds of peers.
    let (policy, found) = read(
        "{tier: Admin, priority: 1, subject: {namespaces: {}}, \
         ingress: [{action: Deny, from: [{networks: [10.0.0.0/8]}]}]}",
    );
    assert!(policy.ingress[0].unreadable_peers);
    assert!(
        found[0].contains("from[0].networks: unknown field"),
        "{found:?}"
    );
}

#[test]
fn protocols_that_cannot_be_read() {
    for (protocols, part) in [
        ("[]", "protocols: 0 entries: expected 1-25"),
        ("{}", "protocols: a mapping: expected a list"),
        (
            "[{}]",
            "protocols[0]: expected exactly one of tcp, udp, sctp, destinationNamedPort",
        ),
        ("[{icmp: {}}]", "protocols[0].icmp: unknown field"),
        (
            "[{tcp: {}}]",
            "protocols[0].tcp: expected exactly one of destinationPort",
        ),
        (
            "[{tcp: {destinationPort: {}}}]",
            "destinationPort: expected exactly one of number, range",
        ),
        (
            "[{tcp: {destinationPort: {number: 0}}}]",
            "number: 0: expected 1-65535",
        ),
        (
            "[{tcp: {destinationPort: {number: 1, range: {start: 1, end: 2}}}}]",
            "expected exactly one",
        ),
        (
            "[{udp: {destinationPort: {range: {start: 1}}}}]",
            "range.end: missing: expected 1-65535",
        ),
        (
            "[{udp: {destinationPort: {range: {start: 0, end: 2}}}}]",
            "range.start: 0: expected",
        ),
        (
            "[{udp: {destinationPort: {range: {start: 2, end: 2}}}}]",
            "expected end after start 2, not 2",
        ),
        (
            "[{udp: {destinationPort: {range: {start: 1, end: 2, step: 1}}}}]",
            "step: unknown field",
        ),
        (
            "[{sctp: {sourcePort: {number: 1}}}]",
            "sourcePort: unknown field",
        ),
        (
            "[{destinationNamedPort: HTTP}]",
            "\"HTTP\": expected a port's name",
        ),
    ] {
        let rule = format!("{{action: Deny, to: [{{namespaces: {{}}}}], protocols: {protocols}}}");
        let (rule, found) = egress(&rule);
        assert!(
            found.iter().any(|text| text.contains(part)),
            "{protocols}: {found:?}"
        );
        assert_eq!(rule.protocols, Some(vec![]), "{protocols}");
        assert!(
            rule.unreadable_protocols && !rule.unreadable_peers,
            "{protocols}"
        );
        assert_eq!(rule.peers.len(), 1);
    }
    for peer in ["networks: [10.0.0.0/8]", "nodes: {}", "domainNames: [a.b]"] {
        let (rule, found) = egress(&format!(
            "{{action: Accept, to: [{{{peer}}}], protocols: [{{destinationNamedPort: http}}]}}"
        ));
        assert!(
            found[0].contains("protocols: expected no destinationNamedPort beside"),
            "{found:?}"
        );
        assert_eq!(rule.protocols, Some(vec![]));
        assert!(rule.unreadable_protocols);
    }
}

#[test]
fn parts_of_a_rule() {
    let (rule, found) = egress("{to: [{namespaces: {}}]}");
    assert_eq!((rule.action, rule.peers.len()), (Action::Deny, 1));
    assert_eq!(
        found,
        ["spec.egress[0].action: missing: expected Accept, Deny or Pass"]
    );
    let (rule, found) = egress("{action: Allow, to: [{namespaces: {}}]}");
    assert_eq!((rule.action, rule.unreadable.len()), (Action::Deny, 1));
    assert!(found[0].contains("\"Allow\": expected Accept, Deny or Pass"));
    let name = "x".repeat(101);
    let (rule, found) = egress(&format!(
        "{{action: Deny, name: {name}, to: [{{namespaces: {{}}}}]}}"
    ));
    assert_eq!((&*rule.name, rule.unreadable.len()), ("", 1));
    assert!(found[0].contains("expected at most 100 characters"));
    // Of an unknown field nobody knows what it narrows or widens; other mistakes are said too.
    let (rule, found) = egress("{action: Accept, to: [{namespaces: {}}, {}], ports: []}");
    assert_eq!((rule.peers.len(), rule.unreadable_peers), (0, true));
    assert_eq!(found.len(), 2, "{found:?}");
    let (rule, _) = egress("x");
    assert_eq!((rule.action, rule.unreadable_peers), (Action::Deny, true));
    let many = vec!["{action: Pass, to: [{nodes: {}}]}"; 26].join(", ");
    let spec =
        format!("{{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, egress: [{many}]}}");
    let (policy, found) = read(&spec);
    assert_eq!(found, ["spec.egress: 26 rules: expected at most 25"]);
    assert_eq!(
        (policy.egress.len(), policy.egress[25].action),
        (26, Action::Deny)
    );
    let (policy, _) = read("{tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: {}}");
    assert!(policy.ingress[0].unreadable_peers);
}

#[test]
fn domain_names_match_nothing_yet() {
    let (rule, found) = egress("{action: Accept, to: [{domainNames: ['*.Example.COM.', a.b]}]}");
    let names: Vec<Arc<str>> = vec!["*.example.com".into(), "a.b".into()];
    assert_eq!(rule.peers, [ClusterPeer::Domains(names)]);
    assert!(!rule.unreadable_peers);
    assert_eq!(rule.unreadable.len(), 1);
    assert_eq!(
        found,
        [
            "warning: spec.egress[0].to: no observer of names enforces domainNames yet: until one does, \
          they match nothing"
        ]
    );
    let (rule, found) = egress("{action: Deny, to: [{domainNames: [a.b]}]}");
    assert!(rule.unreadable_peers && rule.peers.is_empty());
    assert!(
        found[0]
            .contains("to[0].domainNames: expected domainNames only in a rule with action Accept")
    );
}

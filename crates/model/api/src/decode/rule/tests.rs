use super::super::tests::policy;
use super::*;
use crate::PortSpec;

fn one(rule: &str) -> (Rule, Vec<String>) {
    let (mut policy, problems) = policy("NetworkPolicy", &format!("  ingress: [{rule}]"));
    assert_eq!(policy.ingress.len(), 1);
    (policy.ingress.remove(0), problems)
}

/// The rule is unreadable, with a problem that has the text.
fn unreadable(rule: &str, part: &str) -> Rule {
    let (read, problems) = one(rule);
    assert!(
        problems.iter().any(|text| text.contains(part)),
        "{rule}: {problems:?}"
    );
    assert!(!read.unreadable.is_empty(), "{rule}");
    read
}

#[test]
fn all_fields() {
    let (rule, problems) = one("{
      action: Deny, ipVersion: 4, protocol: tcp, notProtocol: 17, notICMP: {type: 8},
      metadata: {annotations: {why: because}},
      source: {nets: [10.0.0.0/8], notNets: [10.1.0.0/16], selector: a == 'x', notSelector: has(b),
        namespaceSelector: global(), serviceAccounts: {names: [x], selector: has(c)},
        ports: [1], notPorts: ['2:3']},
      destination: {ports: [80, '81', '90:99', http, 0]}}");
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(rule.action, Action::Deny);
    assert_eq!(rule.ip_version, Some(Family::Ipv4));
    assert_eq!(rule.protocol, Some(Protocol::TCP));
    assert_eq!(rule.not_protocol, Some(Protocol::UDP));
    assert_eq!(
        rule.not_icmp,
        Some(Icmp {
            icmp_type: Some(8),
            code: None
        })
    );
    assert_eq!(rule.annotations.len(), 1);
    assert_eq!(rule.source.nets.len() + rule.source.not_nets.len(), 2);
    assert!(rule.source.selector.is_some() && rule.source.not_selector.is_some());
    assert_eq!(
        rule.source.namespace_selector,
        Some(ocicat_selector::Selector::Global)
    );
    let accounts = rule.source.service_accounts.unwrap();
    assert_eq!(accounts.names.len(), 1);
    assert!(accounts.selector.is_some());
    assert_eq!(
        rule.source.not_ports,
        [PortSpec::Range { first: 2, last: 3 }]
    );
    let ports: Vec<String> = rule
        .destination
        .ports
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(ports, ["80", "81", "90:99", "http", "0"]);
    assert!(rule.unreadable.is_empty());
}

#[test]
fn empty_is_absent() {
    let (rule, problems) = one(
        "{action: Allow, source: {selector: '', nets: [], ports: [], namespaceSelector: null},
          destination: {serviceAccounts: {}}}",
    );
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(rule.source, EntityRule::default());
    // Any endpoint with a service account.
    let accounts = rule.destination.service_accounts.unwrap();
    assert!(accounts.names.is_empty() && accounts.selector.is_none());
    // Blank is not empty.
    let (rule, _) = one("{action: Allow, source: {selector: ' '}}");
    assert_eq!(rule.source.selector, Some(ocicat_selector::Selector::All));
}

/// Rules of which a part cannot be read, and what the problem says.
const BAD_PARTS: &[(&str, &str)] = &[
    (
        "{action: Allow, prtocol: TCP}",
        "spec.ingress[0].prtocol: unknown field \"prtocol\"",
    ),
    (
        "{action: Allow, protocol: HTTP}",
        "protocol: \"HTTP\": expected TCP, UDP",
    ),
    ("{action: Allow, protocol: 0}", "expected TCP"),
    ("{action: Allow, protocol: 256}", "number 1-255"),
    (
        "{action: Allow, notProtocol: []}",
        "notProtocol: a list: expected a text",
    ),
    (
        "{action: Allow, ipVersion: 5}",
        "ipVersion: 5: expected 4 or 6",
    ),
    (
        "{action: Allow, ipVersion: 6, protocol: ICMP}",
        "expected IPv4: ICMP is of that family",
    ),
    (
        "{action: Allow, ipVersion: 4, notProtocol: ICMPv6}",
        "expected IPv6",
    ),
    (
        "{action: Allow, icmp: {type: 8}}",
        "expected protocol ICMP or ICMPv6",
    ),
    (
        "{action: Allow, protocol: ICMP, icmp: {type: 255}}",
        "icmp.type: 255: expected 0-254",
    ),
    (
        "{action: Allow, protocol: ICMP, icmp: {code: 1}}",
        "code without type",
    ),
    (
        "{action: Allow, notICMP: {typ: 1}}",
        "did you mean \"type\"?",
    ),
    (
        "{action: Allow, source: {net: [10.0.0.0/8]}}",
        "did you mean \"nets\"?",
    ),
    (
        "{action: Allow, source: x}",
        "source: \"x\": expected a mapping",
    ),
    (
        "{action: Allow, source: {selector: 'a =='}}",
        "source.selector: column 5: expected",
    ),
    (
        "{action: Allow, source: {notSelector: 5}}",
        "notSelector: 5: expected a text",
    ),
    (
        "{action: Allow, source: {namespaceSelector: 'a'}}",
        "namespaceSelector: column 2",
    ),
    (
        "{action: Allow, source: {serviceAccounts: {name: a}}}",
        "did you mean \"names\"?",
    ),
    (
        "{action: Allow, source: {serviceAccounts: {names: a}}}",
        "names: \"a\": expected a list",
    ),
    (
        "{action: Allow, source: {nets: [10.0.0.0/8, 10.0.0.0/33]}}",
        "nets[1]: 10.0.0.0/33: prefix",
    ),
    (
        "{action: Allow, source: {nets: 10.0.0.0/8}}",
        "nets: \"10.0.0.0/8\": expected a list",
    ),
    (
        "{action: Allow, source: {notNets: [0.0.0.0/0]}}",
        "notNets[0]: 0.0.0.0/0: expected a net",
    ),
    (
        "{action: Allow, destination: {ports: [80]}}",
        "destination.ports: expected protocol TCP",
    ),
    (
        "{action: Allow, protocol: ICMP, source: {notPorts: [80]}}",
        "expected protocol TCP",
    ),
    (
        "{action: Allow, protocol: UDPLite, source: {ports: [80]}}",
        "expected protocol TCP",
    ),
    (
        "{action: Allow, protocol: TCP, source: {ports: [70000]}}",
        "ports[0]: 70000: expected 0-65535",
    ),
    (
        "{action: Allow, protocol: TCP, source: {ports: ['70000']}}",
        "70000: expected 0-65535",
    ),
    (
        "{action: Allow, protocol: TCP, source: {ports: ['9:8']}}",
        "ends at or after 9, not at 8",
    ),
    (
        "{action: Allow, protocol: TCP, source: {ports: ['1:x']}}",
        "expected a range of ports",
    ),
    (
        "{action: Allow, protocol: TCP, source: {ports: ['a b']}}",
        "expected a port 0-65535",
    ),
    (
        "{action: Allow, protocol: TCP, source: {ports: ['']}}",
        "expected a port 0-65535",
    ),
    (
        "{action: Allow, protocol: TCP, source: {ports: [-1]}}",
        "-1: expected 0-65535",
    ),
    (
        "{action: Allow, metadata: {labels: {}}}",
        "metadata.labels: unknown field",
    ),
];

#[test]
fn parts_that_cannot_be_read_are_left_out_and_noted() {
    for (rule, part) in BAD_PARTS {
        let read = unreadable(rule, part);
        assert_eq!(read.action, Action::Allow);
        assert_eq!(read.source, EntityRule::default(), "{rule}");
        assert_eq!(read.destination, EntityRule::default(), "{rule}");
        assert_eq!(read.icmp, None);
        assert_eq!(read.not_icmp, None);
    }
}

#[test]
fn an_unreadable_action_denies() {
    for rule in ["{}", "{action: allow}", "{action: 5}", "{action: null}"] {
        assert_eq!(
            unreadable(rule, "expected Allow, Deny, Log or Pass").action,
            Action::Deny
        );
    }
    assert_eq!(
        unreadable("null", "expected a mapping").action,
        Action::Deny
    );
}

#[test]
fn what_is_readable_beside_it_stays() {
    let rule = unreadable(
        "{action: Deny, protocol: TCP, source: {nets: [10.0.0.0/8], selector: '('},
          destination: {ports: [80, 99999]}}",
        "selector",
    );
    assert_eq!(rule.protocol, Some(Protocol::TCP));
    assert_eq!(rule.source.nets.len(), 1);
    assert!(rule.destination.ports.is_empty());
    assert_eq!(rule.unreadable.len(), 2);
    // The protocol is noted once; the ports are not a mistake of their own.
    let (rule, problems) = one("{action: Deny, protocol: TPC, destination: {ports: [80]}}");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(rule.destination.ports.is_empty());
}

#[test]
fn one_family_a_rule() {
    for (rule, part) in [
        (
            "{action: Deny, source: {nets: [10.0.0.0/8, 'fd00::/8']}}",
            "nets[1]: fd00::/8: expected IPv4",
        ),
        (
            "{action: Deny, source: {nets: [10.0.0.0/8]}, destination: {notNets: ['fd00::/8']}}",
            "destination.notNets[0]: fd00::/8: expected IPv4, as the first CIDR of the rule",
        ),
        (
            "{action: Deny, ipVersion: 6, source: {nets: [10.0.0.0/8]}}",
            "expected IPv6, as ipVersion says",
        ),
    ] {
        unreadable(rule, part);
    }
}

#[test]
fn limits() {
    let many = |count: usize, entry: &str| vec![entry; count].join(", ");
    let nets = |count| {
        format!(
            "{{action: Deny, source: {{nets: [{}]}}}}",
            many(count, "10.0.0.0/8")
        )
    };
    assert!(one(&nets(256)).0.unreadable.is_empty());
    assert!(
        unreadable(&nets(257), "257 entries: expected at most 256")
            .source
            .nets
            .is_empty()
    );
    let ports = |count| {
        format!(
            "{{action: Deny, protocol: TCP, source: {{ports: [{}]}}}}",
            many(count, "80")
        )
    };
    assert!(one(&ports(50)).0.unreadable.is_empty());
    assert!(
        unreadable(&ports(51), "expected at most 50")
            .source
            .ports
            .is_empty()
    );

    let rules = |count| {
        policy(
            "NetworkPolicy",
            &format!("  egress: [{}]", many(count, "{action: Allow}")),
        )
    };
    let (policy_, problems) = rules(1024);
    assert_eq!((policy_.egress.len(), problems.len()), (1024, 0));
    let (policy_, problems) = rules(1025);
    assert_eq!(problems, ["spec.egress: 1025 rules: expected at most 1024"]);
    let last = policy_.egress.last().unwrap();
    assert_eq!((policy_.egress.len(), last.action), (1025, Action::Deny));
    assert_eq!(last.unreadable.len(), 1);

    let (policy_, _) = policy("NetworkPolicy", "  ingress: {}");
    assert_eq!(policy_.ingress[0].action, Action::Deny);
    assert_eq!(policy_.ingress[0].unreadable.len(), 1);
}

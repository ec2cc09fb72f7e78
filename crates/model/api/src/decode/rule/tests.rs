use super::super::tests::policy;
use super::*;
use crate::PortSpec;
use crate::rule::EntityRule;

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
pub(in crate::decode) const BAD_PARTS: &[(&str, &str)] = &[
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

/// One egress rule of a policy of that kind.
fn egress(kind: &str, rule: &str) -> (Rule, Vec<String>) {
    let (mut policy, problems) = policy(kind, &format!("  egress: [{rule}]"));
    (policy.egress.remove(0), problems)
}

#[test]
fn services() {
    let (rule, problems) = one("{action: Allow, source: {services: {name: web}, ports: []}}");
    assert_eq!(problems, Vec::<String>::new());
    let service = rule.source.service.unwrap();
    assert_eq!((&*service.namespace, &*service.name), ("default", "web"));
    let text =
        "{action: Deny, protocol: TCP, destination: {services: {name: web, namespace: shop}}}";
    let (rule, problems) = egress("GlobalNetworkPolicy", text);
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(&*rule.destination.service.unwrap().namespace, "shop");
    for (text, part) in [
        (
            "{services: {name: web}}",
            "services: missing namespace: expected the namespace of",
        ),
        (
            "{services: {namespace: shop}}",
            "services: missing name: expected the name of a service",
        ),
        (
            "{services: {name: a_b, namespace: shop}}",
            "services.name: \"a_b\": expected at most 253",
        ),
        (
            "{services: {name: a, namespace: S}}",
            "services.namespace: \"S\": expected at most 63",
        ),
        (
            "{services: {name: a, namespace: shop, port: 1}}",
            "services.port: unknown field",
        ),
        ("{services: web}", "services: \"web\": expected a mapping"),
        (
            "{services: {name: a, namespace: s}, selector: has(a)}",
            "services: expected services without selectors",
        ),
        (
            "{services: {name: a, namespace: s}, nets: [10.0.0.0/8]}",
            "services: expected services without selectors",
        ),
        (
            "{services: {name: a, namespace: s}, ports: [80]}",
            "services: expected services without selectors",
        ),
        (
            "{services: {name: a, namespace: s}, serviceAccounts: {}}",
            "services: expected services without selectors",
        ),
    ] {
        let (rule, problems) = egress(
            "GlobalNetworkPolicy",
            &format!("{{action: Allow, protocol: TCP, destination: {text}}}"),
        );
        assert!(
            problems.iter().any(|text| text.contains(part)),
            "{text}: {problems:?}"
        );
        assert_eq!(
            (rule.destination.service, rule.unreadable.is_empty()),
            (None, false),
            "{text}"
        );
    }
    let (_, problems) = one("{action: Allow, destination: {services: {name: web}}}");
    assert!(problems[0].ends_with("expected services only in the source of an ingress rule"));
    let (_, problems) = egress(
        "NetworkPolicy",
        "{action: Allow, source: {services: {name: web}}}",
    );
    assert!(problems[0].ends_with("only in the destination of an egress rule"));
}

#[test]
fn http() {
    let text = "{action: Allow, http: {methods: [GET, '*'], paths: [{exact: /a}, {prefix: /b}]}}";
    let (rule, problems) = one(text);
    assert_eq!(
        problems,
        [
            "warning: spec.ingress[0].http: no layer-7 proxy enforces this yet: until one does, the rule \
          matches nothing"
        ]
    );
    assert_eq!(rule.unreadable.len(), 1);
    let http = rule.http.unwrap();
    assert_eq!((http.methods.len(), http.paths.len()), (2, 2));
    for (text, part) in [
        (
            "{action: Deny, http: {}}",
            "http: expected http only in a rule with action Allow",
        ),
        (
            "{action: Allow, protocol: UDP, http: {}}",
            "expected protocol TCP in a rule with http, not UDP",
        ),
        (
            "{action: Allow, http: []}",
            "http: a list: expected a mapping",
        ),
        (
            "{action: Allow, http: {method: [GET]}}",
            "did you mean \"methods\"?",
        ),
        (
            "{action: Allow, http: {methods: GET}}",
            "methods: \"GET\": expected a list",
        ),
        (
            "{action: Allow, http: {methods: ['']}}",
            "methods[0]: \"\": expected a method such as GET",
        ),
        (
            "{action: Allow, http: {paths: [{}]}}",
            "paths[0]: expected one of exact and prefix",
        ),
        (
            "{action: Allow, http: {paths: [{exact: /a, prefix: /b}]}}",
            "expected one of exact and prefix",
        ),
        (
            "{action: Allow, http: {paths: [{exat: /a}]}}",
            "did you mean \"exact\"?",
        ),
        (
            "{action: Allow, http: {paths: [{exact: a}]}}",
            "exact: \"a\": expected a path",
        ),
        (
            "{action: Allow, http: {paths: [{prefix: '/a?b'}]}}",
            "prefix: \"/a?b\": expected a path",
        ),
    ] {
        assert_eq!(unreadable(text, part).http, None, "{text}");
    }
    let many = vec!["GET"; 21].join(", ");
    unreadable(
        &format!("{{action: Allow, http: {{methods: [{many}]}}}}"),
        "methods: 21 entries: expected at most 20",
    );
    let many = vec!["{exact: /}"; 21].join(", ");
    unreadable(
        &format!("{{action: Allow, http: {{paths: [{many}]}}}}"),
        "paths: 21 entries: expected at most 20",
    );
    let long = format!("/{}", "x".repeat(1024));
    unreadable(
        &format!("{{action: Allow, http: {{paths: [{{exact: {long}}}]}}}}"),
        "expected at most 1024 characters",
    );
    let (rule, problems) = egress("NetworkPolicy", "{action: Allow, http: {}}");
    assert_eq!(rule.http, None);
    assert!(problems[0].ends_with("http: expected http only in ingress rules"));
}

#[test]
fn domains() {
    let (rule, problems) = egress(
        "NetworkPolicy",
        "{action: Allow, destination: {domains: ['*.Example.com', a.]}}",
    );
    assert_eq!(
        problems,
        [
            "warning: spec.egress[0].destination.domains: no observer of names enforces this yet: until \
          one does, the rule matches nothing"
        ]
    );
    assert_eq!(rule.unreadable.len(), 1);
    assert_eq!(
        rule.destination.domains,
        ["*.example.com".into(), "a".into()]
    );
    let many = vec!["a.b"; 257].join(", ");
    for (text, part) in [
        (
            "{action: Deny, destination: {domains: [a.b]}}",
            "domains only in a rule with action Allow",
        ),
        (
            "{action: Allow, source: {domains: [a.b]}}",
            "only in the destination of an egress rule",
        ),
        (
            "{action: Allow, destination: {domains: ['a.*']}}",
            "domains[0]: \"a.*\": expected a domain name",
        ),
        (
            "{action: Allow, destination: {domains: a.b}}",
            "domains: \"a.b\": expected a list",
        ),
        (
            &format!("{{action: Allow, destination: {{domains: [{many}]}}}}"),
            "257 entries: expected at most 256",
        ),
    ] {
        let (rule, problems) = egress("NetworkPolicy", text);
        assert!(
            problems.iter().any(|text| text.contains(part)),
            "{text}: {problems:?}"
        );
        assert!(rule.destination.domains.is_empty() && !rule.unreadable.is_empty());
    }
    unreadable(
        "{action: Allow, destination: {domains: [a.b]}}",
        "only in the destination of an egress",
    );
}

#[test]
fn all_mistakes_of_a_rule_are_said() {
    let (rule, problems) = one(
        "{action: Allow, protcol: TCP, protocol: ICMP, icmp: {typ: 1, code: 300},
          source: {net: [x], nets: [y], serviceAccounts: {name: a, names: 5}}}",
    );
    assert_eq!(problems.len(), 7, "{problems:?}");
    assert_eq!(rule.unreadable.len(), 7);
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

use super::super::tests::{problems, yaml};
use super::*;
use crate::{Object, Protocol};

fn read(spec: &str) -> (HostEndpoint, Vec<String>) {
    let decoded = yaml(&format!(
        "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\n\
         metadata: {{name: n1-eth0, labels: {{role: edge}}}}\nspec: {spec}\n"
    ));
    let found = problems(&decoded);
    let Some(Object::HostEndpoint(endpoint)) = decoded.object else {
        panic!()
    };
    (endpoint, found)
}

#[test]
fn a_whole_endpoint() {
    let (endpoint, found) = read(
        "{node: n1, interfaceName: eth0, expectedIPs: [192.0.2.1, 'fd00::1'], profiles: [p],
          ports: [{name: ssh, port: 22, protocol: TCP}, {name: dns, port: 53, protocol: 17}]}",
    );
    assert_eq!(found, Vec::<String>::new());
    assert_eq!((&*endpoint.node, endpoint.metadata.labels.len()), ("n1", 1));
    assert_eq!(endpoint.interface, HostInterface::Named("eth0".into()));
    assert_eq!(
        (endpoint.expected_ips.len(), endpoint.profiles.len()),
        (2, 1)
    );
    assert_eq!(endpoint.ports[1].protocol, Protocol::UDP);
    assert_eq!(
        read("{node: n1, interfaceName: '*'}").0.interface,
        HostInterface::All
    );
    let (endpoint, found) = read("{node: n1, expectedIPs: [192.0.2.1]}");
    assert_eq!(
        (endpoint.interface, found.len()),
        (HostInterface::ByAddress, 0)
    );
}

/// What is wrong, and what is said of it.
const BAD: &[(&str, &str)] = &[
    (
        "{interfaceName: eth0}",
        "spec.node: missing: expected the name of its host",
    ),
    (
        "{node: N1, interfaceName: eth0}",
        "spec.node: \"N1\": expected at most 253",
    ),
    (
        "{node: n1}",
        "spec: expected interfaceName, or expectedIPs, or both",
    ),
    (
        "{node: n1, expectedIPs: []}",
        "spec: expected interfaceName",
    ),
    (
        "{node: n1, interfaceName: abcdefghijklmnop}",
        "spec.interfaceName: \"abcdefghijklmnop\": expected '*', or",
    ),
    ("{node: n1, interfaceName: 'eth*'}", "expected '*', or"),
    (
        "{node: n1, interfaceName: 5}",
        "spec.interfaceName: 5: expected a text",
    ),
    (
        "{node: n1, expectedIPs: [192.0.2.0/24]}",
        "spec.expectedIPs[0]: \"192.0.2.0/24\": expected an IP address",
    ),
    (
        "{node: n1, expectedIPs: 192.0.2.1}",
        "spec.expectedIPs: \"192.0.2.1\": expected a list",
    ),
    (
        "{node: n1, interfaceName: a, profiles: [1]}",
        "spec.profiles[0]: 1: expected a text",
    ),
    (
        "{node: n1, interfaceName: a, ports: [{port: 1, protocol: TCP}]}",
        "spec.ports[0]: missing name",
    ),
    (
        "{node: n1, interfaceName: a, ports: [{name: a b, port: 1, protocol: TCP}]}",
        "ports[0].name: expected at most 128",
    ),
    (
        "{node: n1, interfaceName: a, ports: [{name: a, protocol: TCP}]}",
        "missing port: expected 1-65535",
    ),
    (
        "{node: n1, interfaceName: a, ports: [{name: a, port: 0, protocol: TCP}]}",
        "0: expected 1-65535",
    ),
    (
        "{node: n1, interfaceName: a, ports: [{name: a, port: 1}]}",
        "missing protocol",
    ),
    (
        "{node: n1, interfaceName: a, ports: [{name: a, port: 1, protocol: ICMP}]}",
        "expected TCP, UDP or SCTP",
    ),
    (
        "{node: n1, interfaceName: a, ports: [{name: a, port: 1, protocol: TCP, x: 1}]}",
        "ports[0].x: unknown field",
    ),
    (
        "{node: n1, interfacName: a}",
        "did you mean \"interfaceName\"?",
    ),
    ("[]", "spec: a list: expected a mapping"),
];

#[test]
fn what_cannot_be_read_is_left_out() {
    for (spec, part) in BAD {
        let (endpoint, found) = read(spec);
        assert!(
            found.iter().any(|text| text.contains(part)),
            "{spec}: {found:?}"
        );
        assert!(
            endpoint.ports.is_empty()
                && endpoint.expected_ips.is_empty()
                && endpoint.profiles.is_empty()
        );
    }
}

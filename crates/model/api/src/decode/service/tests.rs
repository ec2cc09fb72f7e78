use super::super::tests::{problems, yaml};
use super::*;
use crate::Object;

fn service_of(spec: &str, status: &str) -> (Service, Vec<String>) {
    let decoded = yaml(&format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\n\
         spec: {spec}\nstatus: {status}\n"
    ));
    let found = problems(&decoded);
    let Some(Object::Service(service)) = decoded.object else {
        panic!()
    };
    (service, found)
}

fn slice_of(rest: &str) -> (EndpointSlice, Vec<String>) {
    let decoded = yaml(&format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: web-1, \
         namespace: shop, labels: {{kubernetes.io/service-name: web}}}}\n{rest}\n"
    ));
    let found = problems(&decoded);
    let Some(Object::EndpointSlice(slice)) = decoded.object else {
        panic!()
    };
    (slice, found)
}

#[test]
fn services() {
    let (service, found) = service_of(
        "{clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, 'fd00::1'], externalIPs: [192.0.2.1],
          selector: {app: web}, sessionAffinity: None, ports: [
            {name: http, port: 80, targetPort: http}, {port: 53, protocol: UDP, targetPort: 5353},
            {port: 1}, {port: 2, targetPort: 0}]}",
        "{loadBalancer: {ingress: [{ip: 192.0.2.2}, {hostname: x}, {ip: 192.0.2.1}]}}",
    );
    assert_eq!(found, Vec::<String>::new());
    let addresses: Vec<String> = service.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(
        addresses,
        ["10.96.0.1", "fd00::1", "192.0.2.1", "192.0.2.2"]
    );
    let targets: Vec<String> = service.ports.iter().map(|p| p.target.to_string()).collect();
    assert_eq!(targets, ["http", "5353", "1", "2"]);
    assert_eq!(
        (service.ports[1].protocol, service.ports[1].port),
        (Protocol::UDP, 53)
    );
    assert_eq!(service.selector.unwrap().len(), 1);
    let (service, found) = service_of("{clusterIP: None}", "{}");
    assert_eq!(
        (service.addresses.len(), service.selector, found.len()),
        (0, None, 0)
    );
    assert_eq!(
        service_of("{clusterIP: 10.96.0.1}", "{}").0.addresses.len(),
        1
    );
}

#[test]
fn what_of_a_service_cannot_be_read() {
    for (spec, part) in [
        (
            "{clusterIPs: [x]}",
            "spec.clusterIPs[0]: \"x\": expected an IP address",
        ),
        ("{clusterIP: 5}", "spec.clusterIP: 5: expected a text"),
        ("{externalIPs: [10.0.0.0/8]}", "expected an IP address"),
        ("{ports: [{}]}", "spec.ports[0]: missing port"),
        ("{ports: [{port: 70000}]}", "70000: expected 1-65535"),
        (
            "{ports: [{port: 1, protocol: ICMP}]}",
            "expected TCP, UDP or SCTP",
        ),
        (
            "{ports: [{port: 1, targetPort: 'a b'}]}",
            "targetPort: \"a b\": expected a port",
        ),
        ("{selector: {a: 1}}", "spec.selector.a: 1: expected a text"),
    ] {
        let (service, found) = service_of(spec, "{}");
        assert!(
            found.iter().any(|text| text.contains(part)),
            "{spec}: {found:?}"
        );
        assert!(
            service.addresses.is_empty() && service.ports.is_empty() && service.selector.is_none()
        );
    }
}

#[test]
fn slices() {
    let (slice, found) = slice_of(
        "addressType: IPv4
endpoints:
- {addresses: [10.0.0.1], conditions: {ready: true}}
- {addresses: [10.0.0.2, 10.0.0.1], conditions: {ready: false}}
ports: [{name: http, port: 80}, {protocol: UDP, port: null}]",
    );
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(slice.service.as_deref(), Some("web"));
    assert_eq!(slice.addresses.len(), 2);
    assert_eq!(
        slice.ports,
        [
            SlicePort {
                protocol: Protocol::TCP,
                port: Some(80)
            },
            SlicePort {
                protocol: Protocol::UDP,
                port: None
            },
        ]
    );
    let (slice, found) = slice_of("addressType: FQDN\nendpoints: [{addresses: [a.b]}]");
    assert_eq!(
        (slice.addresses.len(), slice.ports.len(), found.len()),
        (0, 0, 0)
    );
    for (rest, part) in [
        (
            "endpoints: [{addresses: [a.b]}]",
            "endpoints[0].addresses[0]: \"a.b\": expected an IP",
        ),
        ("endpoints: [x]", "endpoints[0]: \"x\": expected a mapping"),
        ("endpoints: x", "endpoints: \"x\": expected a list"),
        ("ports: [{port: 0}]", "ports[0].port: 0: expected 1-65535"),
        (
            "ports: [{protocol: tpc}]",
            "ports[0].protocol: \"tpc\": expected TCP",
        ),
    ] {
        let (slice, found) = slice_of(rest);
        assert!(found[0].contains(part), "{rest}: {found:?}");
        assert!(slice.addresses.is_empty() && slice.ports.is_empty());
    }
}

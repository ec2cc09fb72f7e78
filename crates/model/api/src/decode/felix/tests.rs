use super::super::tests::{problems, yaml};
use super::*;
use crate::Object;

fn read(spec: &str) -> (FelixConfiguration, Vec<String>) {
    named("default", spec)
}

fn named(name: &str, spec: &str) -> (FelixConfiguration, Vec<String>) {
    let decoded = yaml(&format!(
        "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\n\
         metadata: {{name: {name}}}\nspec: {spec}\n"
    ));
    let found = problems(&decoded);
    let Some(Object::FelixConfiguration(configuration)) = decoded.object else {
        panic!()
    };
    (configuration, found)
}

#[test]
fn all_fields() {
    let (read, found) = read(
        "{defaultEndpointToHostAction: accept, nftablesFilterDenyAction: Reject,
          failsafeInboundHostPorts: [{port: 22}, {protocol: udp, port: 68, net: 10.0.0.0/8}],
          failsafeOutboundHostPorts: [], workloadSourceSpoofing: Any, logPrefix: 'drop: ',
          nftablesRefreshInterval: 1m30s, interfacePrefix: 'cali, tap', nftablesMarkMask: 0xffff0000}",
    );
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(read.default_endpoint_to_host, Some(EndpointToHost::Accept));
    assert_eq!(read.deny_action, Some(DenyAction::Reject));
    let inbound = read.failsafe_inbound.unwrap();
    assert_eq!((inbound[0].protocol, inbound[0].port), (Protocol::TCP, 22));
    assert_eq!(inbound[1].net, Some("10.0.0.0/8".parse().unwrap()));
    assert_eq!(read.failsafe_outbound, Some(vec![]));
    assert_eq!(read.source_spoofing, Some(SourceSpoofing::Any));
    assert_eq!(read.log_prefix.as_deref(), Some("drop: "));
    assert_eq!(read.refresh_interval_ms, Some(90_000));
    assert_eq!(read.interface_prefixes.unwrap().len(), 2);
    assert_eq!(read.mark_mask, Some(0xffff_0000));
    assert!(read.ignored.is_empty());
}

#[test]
fn absent_and_empty_is_none() {
    let empty = "{defaultEndpointToHostAction: '', nftablesFilterDenyAction: '',
        workloadSourceSpoofing: '', logPrefix: '', interfacePrefix: '', failsafeInboundHostPorts: null}";
    for spec in ["{}", empty] {
        let (read, found) = read(spec);
        assert_eq!(found, Vec::<String>::new());
        let nothing = FelixConfiguration {
            metadata: read.metadata.clone(),
            ..Default::default()
        };
        assert_eq!(read, nothing);
    }
}

#[test]
fn fields_for_iptables() {
    let (read_, found) = read(
        "{iptablesFilterDenyAction: Reject, iptablesRefreshInterval: '0', iptablesMarkMask: 7}",
    );
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(read_.deny_action, Some(DenyAction::Reject));
    assert_eq!(
        (read_.refresh_interval_ms, read_.mark_mask),
        (Some(0), Some(7))
    );
    let (read_, found) = read("{iptablesFilterDenyAction: Reject, nftablesFilterDenyAction: Drop}");
    assert_eq!(read_.deny_action, Some(DenyAction::Drop));
    assert_eq!(read_.ignored, ["iptablesFilterDenyAction".into()]);
    assert_eq!(
        found,
        ["warning: spec.iptablesFilterDenyAction: has no effect beside nftablesFilterDenyAction"]
    );
}

#[test]
fn fields_without_effect() {
    let (read_, found) = read("{vxlanVNI: 5, bpfEnabled: nonsense, wireguardEnabled: null}");
    assert_eq!(read_.ignored, ["bpfEnabled".into(), "vxlanVNI".into()]);
    assert_eq!(
        found,
        [
            "warning: spec.bpfEnabled: has no effect in Ocicat",
            "warning: spec.vxlanVNI: has no effect in Ocicat",
        ]
    );
    assert!(IGNORED.is_sorted() && READ.iter().all(|name| !IGNORED.contains(name)));
    let (_, found) = named("node.n1", "{}");
    assert_eq!(found, Vec::<String>::new());
    let (_, found) = named("other", "{}");
    assert_eq!(
        found,
        ["warning: metadata.name: has no effect: expected default, or node.NAME for one host"]
    );
}

#[test]
fn what_cannot_be_read_is_as_good_as_absent() {
    for (spec, part) in [
        (
            "{defaultEndpointToHostAction: Allow}",
            "\"Allow\": expected Drop, Return or Accept",
        ),
        (
            "{nftablesFilterDenyAction: Deny}",
            "expected Drop or Reject",
        ),
        (
            "{iptablesFilterDenyAction: 1}",
            "spec.iptablesFilterDenyAction: 1: expected Drop or Reject",
        ),
        ("{workloadSourceSpoofing: All}", "expected Disabled or Any"),
        ("{logPrefix: 5}", "spec.logPrefix: 5: expected a text"),
        (
            "{logPrefix: \"a\\nb\"}",
            "expected at most 127 printable ASCII characters",
        ),
        (
            "{nftablesRefreshInterval: 90}",
            "spec.nftablesRefreshInterval: 90: expected a text",
        ),
        (
            "{nftablesRefreshInterval: '90'}",
            "\"90\": expected a duration such as 90s",
        ),
        ("{iptablesRefreshInterval: 5d}", "expected a duration"),
        (
            "{interfacePrefix: 'a b'}",
            "expected prefixes of interface names",
        ),
        (
            "{interfacePrefix: 'a,,b'}",
            "expected prefixes of interface names",
        ),
        (
            "{nftablesMarkMask: -1}",
            "spec.nftablesMarkMask: -1: expected 0-4294967295",
        ),
        ("{iptablesMarkMask: 4294967296}", "expected 0-4294967295"),
        (
            "{failsafeInboundHostPorts: 22}",
            "failsafeInboundHostPorts: 22: expected a list",
        ),
        (
            "{failsafeOutbondHostPorts: []}",
            "did you mean \"failsafeOutboundHostPorts\"?",
        ),
        ("[]", "spec: a list: expected a mapping"),
    ] {
        let (read, found) = read(spec);
        assert!(
            found.iter().any(|text| text.contains(part)),
            "{spec}: {found:?}"
        );
        let nothing = FelixConfiguration {
            metadata: read.metadata.clone(),
            ..Default::default()
        };
        assert_eq!(read, nothing, "{spec}");
    }
    let long = "x".repeat(128);
    assert_eq!(read(&format!("{{logPrefix: {long}}}")).0.log_prefix, None);
}

#[test]
fn failsafe_ports_that_cannot_be_read_are_left_out() {
    for (port, part) in [
        (
            "{}",
            "failsafeInboundHostPorts[0]: missing port: expected 0-65535",
        ),
        ("{port: 65536}", "65536: expected 0-65535"),
        ("{port: 1, protocol: ICMP}", "expected TCP, UDP or SCTP"),
        ("{port: 1, net: x}", "[0].net: \"x\": expected a CIDR"),
        ("{port: 1, nets: x}", "did you mean \"net\"?"),
        ("x", "[0]: \"x\": expected a mapping"),
    ] {
        let (read, found) = read(&format!(
            "{{failsafeInboundHostPorts: [{port}, {{port: 2}}]}}"
        ));
        assert!(
            found.iter().any(|text| text.contains(part)),
            "{port}: {found:?}"
        );
        assert_eq!(
            read.failsafe_inbound.map(|ports| ports.len()),
            Some(1),
            "{port}"
        );
    }
}

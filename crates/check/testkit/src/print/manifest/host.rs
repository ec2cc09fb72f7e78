//! Host endpoints, and what hosts are configured to do.

use ocicat_api::config::{EndpointToHost, Failsafe, FelixConfiguration};
use ocicat_api::core::{HostEndpoint, HostInterface};
use serde_json::{Value, json};

use super::put_ports;

pub fn spec(host: &HostEndpoint) -> Value {
    let mut spec = json!({"node": host.node});
    match &host.interface {
        HostInterface::Named(name) => spec["interfaceName"] = json!(name),
        HostInterface::All => spec["interfaceName"] = json!("*"),
        HostInterface::ByAddress => {}
    }
    if !host.expected_ips.is_empty() {
        spec["expectedIPs"] = json!(host.expected_ips);
    }
    if !host.profiles.is_empty() {
        spec["profiles"] = json!(host.profiles);
    }
    put_ports(&mut spec, &host.ports);
    spec
}

/// What random worlds configure: fail-safe ports, and what workloads may send to their hosts.
pub fn configuration(felix: &FelixConfiguration) -> Value {
    let mut spec = json!({});
    if let Some(action) = felix.default_endpoint_to_host {
        spec["defaultEndpointToHostAction"] = json!(match action {
            EndpointToHost::Drop => "Drop",
            EndpointToHost::Return => "Return",
            EndpointToHost::Accept => "Accept",
        });
    }
    for (field, list) in [
        ("failsafeInboundHostPorts", &felix.failsafe_inbound),
        ("failsafeOutboundHostPorts", &felix.failsafe_outbound),
    ] {
        if let Some(list) = list {
            spec[field] = list.iter().map(failsafe).collect();
        }
    }
    spec
}

fn failsafe(open: &Failsafe) -> Value {
    let mut value = json!({"protocol": open.protocol.to_string(), "port": open.port});
    if let Some(net) = open.net {
        value["net"] = json!(net.to_string());
    }
    value
}

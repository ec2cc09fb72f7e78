//! Services and their slices.

use ocicat_api::PortSpec;
use ocicat_api::core::{EndpointSlice, Service, ServicePort, SlicePort};
use serde_json::{Value, json};

use super::string_map;

pub fn spec(service: &Service) -> Value {
    let port = |port: &ServicePort| {
        let mut value = json!({
            "protocol": port.protocol.to_string(),
            "port": port.port,
            "targetPort": match &port.target {
                PortSpec::Range { first, .. } => json!(first),
                PortSpec::Name(name) => json!(name),
            },
        });
        if !port.name.is_empty() {
            value["name"] = json!(port.name);
        }
        value
    };
    let mut spec = json!({"ports": service.ports.iter().map(port).collect::<Vec<_>>()});
    if !service.addresses.is_empty() {
        spec["clusterIPs"] = json!(service.addresses);
    }
    if let Some(selector) = &service.selector {
        spec["selector"] = string_map(selector);
    }
    spec
}

/// What stands beside `metadata`. The service is in its labels.
pub fn slice(slice: &EndpointSlice) -> [(&'static str, Value); 3] {
    let is_ipv6 = slice
        .addresses
        .first()
        .is_some_and(std::net::IpAddr::is_ipv6);
    // An endpoint for each: of one with several only the first counts for most readers.
    let endpoint = |address| json!({"addresses": [address]});
    let port = |port: &SlicePort| {
        let mut value = json!({"protocol": port.protocol.to_string()});
        if let Some(number) = port.port {
            value["port"] = json!(number);
        }
        value
    };
    [
        ("addressType", json!(if is_ipv6 { "IPv6" } else { "IPv4" })),
        ("endpoints", slice.addresses.iter().map(endpoint).collect()),
        ("ports", slice.ports.iter().map(port).collect()),
    ]
}

//! Host endpoints.

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

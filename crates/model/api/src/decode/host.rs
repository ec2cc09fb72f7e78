//! Host endpoints.

use std::sync::Arc;

use super::core::{address, endpoint_port};
use super::meta::shared;
use super::names;
use super::node::{Node, Path, Problems, Read};
use crate::Metadata;
use crate::core::{EndpointPort, HostEndpoint, HostInterface};

const FIELDS: &[&str] = &["expectedIPs", "interfaceName", "node", "ports", "profiles"];

/// Reads a HostEndpoint. One whose interface cannot be read stands for the interface that has one of
/// its addresses; one without a host is enforced on none.
pub(super) fn endpoint(
    root: &Node<'_>,
    metadata: Metadata,
    problems: &mut Problems,
) -> HostEndpoint {
    let spec = super::spec(root);
    if spec.mapping(problems).is_ok() {
        spec.has_unknown(FIELDS, problems);
    }
    if spec.field("node").is_none() {
        let message = "missing: expected the name of its host";
        problems.error(&Path::Key(&spec.path, "node"), message);
    }
    let node = spec.lenient("node", problems, node_name);
    let interface = spec.optional("interfaceName", problems, interface);
    let expected_ips = spec.each("expectedIPs", problems, address);
    let none = matches!(interface, Ok(None | Some(HostInterface::ByAddress)));
    if none
        && spec
            .field("expectedIPs")
            .is_none_or(|list| list.value.as_array().is_some_and(Vec::is_empty))
    {
        let message = "expected interfaceName, or expectedIPs, or both";
        problems.error(&spec.path, message);
    }
    HostEndpoint {
        metadata,
        node: node.unwrap_or_default(),
        interface: interface.ok().flatten().unwrap_or(HostInterface::ByAddress),
        expected_ips,
        profiles: spec.each("profiles", problems, shared),
        ports: spec.each("ports", problems, named_port),
    }
}

fn node_name(node: Node<'_>, problems: &mut Problems) -> Read<Arc<str>> {
    let text = node.text(problems)?;
    if names::is_rfc1123_subdomain(text) {
        Ok(text.into())
    } else {
        Err(node.expected(names::RFC1123_SUBDOMAIN, problems))
    }
}

fn interface(node: Node<'_>, problems: &mut Problems) -> Read<HostInterface> {
    match node.text(problems)? {
        "" => Ok(HostInterface::ByAddress),
        "*" => Ok(HostInterface::All),
        name if names::is_interface_name(name) => Ok(HostInterface::Named(name.into())),
        _ => Err(node.expected(
            "'*', or an interface's name of at most 15 letters, digits, '_', '.' and '-'",
            problems,
        )),
    }
}

fn named_port(node: Node<'_>, problems: &mut Problems) -> Read<EndpointPort> {
    node.mapping(problems)?;
    let unknown = node.has_unknown(&["name", "port", "protocol"], problems);
    if node.field("name").is_none_or(|name| name.value == "") {
        return Err(problems.error(&node.path, "missing name: expected the name of the port"));
    }
    let port = endpoint_port(node, problems)?;
    if !names::is_calico_port_name(&port.name) {
        let message = "expected at most 128 letters, digits, '_', '.' and '-'";
        return Err(problems.error(&Path::Key(&node.path, "name"), message));
    }
    if unknown {
        Err(super::node::Unreadable)
    } else {
        Ok(port)
    }
}

#[cfg(test)]
mod tests;

//! Pods, workload endpoints and nodes: who exists and where.
//!
//! These come from other programs, so only what we need is read, and fields that we do not know
//! are not our concern.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::entity::net;
use super::meta::shared;
use super::node::{Node, Path, Problems, Read};
use crate::core::{EndpointPort, Node as Host, Pod, WorkloadEndpoint};
use crate::net::parse_net;
use crate::{Metadata, Protocol};

/// Service account of pods that name none.
const DEFAULT_SERVICE_ACCOUNT: &str = "default";

/// Where Calico's CNI plugin keeps a pod's addresses, separated by commas, until the kubelet
/// reports them.
const POD_IPS_ANNOTATION: &str = "cni.projectcalico.org/podIPs";

/// Where Calico keeps the addresses of a host and its tunnels on a Kubernetes Node.
const NODE_ADDRESS_ANNOTATIONS: [&str; 7] = [
    "projectcalico.org/IPv4Address",
    "projectcalico.org/IPv6Address",
    "projectcalico.org/IPv4IPIPTunnelAddr",
    "projectcalico.org/IPv4VXLANTunnelAddr",
    "projectcalico.org/IPv6VXLANTunnelAddr",
    "projectcalico.org/IPv4WireguardInterfaceAddr",
    "projectcalico.org/IPv6WireguardInterfaceAddr",
];

/// Reads a Pod.
pub(super) fn pod(root: &Node<'_>, metadata: Metadata, problems: &mut Problems) -> Pod {
    let spec = super::spec(root);
    let mut pod = pod_spec(&spec, metadata, problems);
    if let Some(status) = root.field("status") {
        let phase = status.lenient("phase", problems, shared);
        pod.finished = matches!(phase.as_deref(), Some("Succeeded" | "Failed"));
        let listed = status.each("podIPs", problems, |entry, problems| {
            entry.optional("ip", problems, address)
        });
        pod.addresses = listed.into_iter().flatten().collect();
        if pod.addresses.is_empty() {
            pod.addresses
                .extend(status.lenient("podIP", problems, address_or_none).flatten());
        }
    }
    if pod.addresses.is_empty() {
        pod.addresses = match annotated_addresses(&pod.metadata) {
            Ok(addresses) => addresses,
            Err(text) => {
                let message = format!("{POD_IPS_ANNOTATION}: {text:?}: expected an address");
                problems.error(&Path::Key(&root.path, "metadata"), message);
                Vec::new()
            }
        };
    }
    if let Err(text) = allowed_sources(&pod.metadata) {
        let message = format!(
            "{}: {text:?}: expected a JSON list of CIDRs",
            Pod::ALLOWED_SOURCES
        );
        problems.error(&Path::Key(&root.path, "metadata"), message);
    }
    pod
}

/// Reads the `spec` of a Pod or of a template.
pub(super) fn pod_spec(spec: &Node<'_>, metadata: Metadata, problems: &mut Problems) -> Pod {
    // A pod without a readable spec serves nothing; it exists all the same.
    let _ = spec.mapping(problems);
    let mut ports = Vec::new();
    for (list, only_sidecars) in [("initContainers", true), ("containers", false)] {
        let lists = spec.each(list, problems, |container, problems| {
            let policy = container.lenient("restartPolicy", problems, shared);
            if only_sidecars && policy.as_deref() != Some("Always") {
                return Ok(Vec::new());
            }
            Ok(container.each("ports", problems, container_port))
        });
        ports.extend(lists.into_iter().flatten());
    }
    let account = spec
        .lenient("serviceAccountName", problems, shared)
        .or_else(|| spec.lenient("serviceAccount", problems, shared))
        .filter(|name| !name.is_empty());
    Pod {
        metadata,
        node: spec
            .lenient("nodeName", problems, shared)
            .filter(|name| !name.is_empty()),
        service_account: account.unwrap_or_else(|| DEFAULT_SERVICE_ACCOUNT.into()),
        host_network: spec
            .lenient("hostNetwork", problems, Node::boolean)
            .unwrap_or_default(),
        finished: false,
        addresses: Vec::new(),
        ports,
    }
}

fn container_port(node: Node<'_>, problems: &mut Problems) -> Read<EndpointPort> {
    let Some(port) = node.field("containerPort") else {
        return Err(problems.error(&node.path, "missing containerPort: expected 1-65535"));
    };
    Ok(EndpointPort {
        name: node.optional("name", problems, shared)?.unwrap_or_default(),
        protocol: node
            .optional("protocol", problems, port_protocol)?
            .unwrap_or(Protocol::TCP),
        port: port.integer(1, 65_535, problems)?,
    })
}

pub(super) fn port_protocol(node: Node<'_>, problems: &mut Problems) -> Read<Protocol> {
    let protocol = super::rule::protocol(node, problems)?;
    if protocol.has_ports() {
        Ok(protocol)
    } else {
        Err(node.expected("TCP, UDP or SCTP", problems))
    }
}

pub(super) fn address(node: Node<'_>, problems: &mut Problems) -> Read<IpAddr> {
    let text = node.text(problems)?;
    text.parse()
        .map_err(|_| node.expected("an IP address", problems))
}

pub(super) fn address_or_none(node: Node<'_>, problems: &mut Problems) -> Read<Option<IpAddr>> {
    if node.value.as_str() == Some("") {
        Ok(None)
    } else {
        address(node, problems).map(Some)
    }
}

/// The addresses that the CNI plugin noted.
///
/// # Errors
///
/// The entry that is no address.
pub(super) fn annotated_addresses(metadata: &Metadata) -> Result<Vec<IpAddr>, &str> {
    let Some(list) = metadata.annotations.get(POD_IPS_ANNOTATION) else {
        return Ok(Vec::new());
    };
    let entries = list
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    entries.map(|entry| host_part(entry).ok_or(entry)).collect()
}

/// What [`Pod::ALLOWED_SOURCES`] lists, host bits cleared; as an error the text that is no such list.
pub(crate) fn allowed_sources(metadata: &Metadata) -> Result<Vec<IpNet>, &str> {
    let Some(text) = metadata.annotations.get(Pod::ALLOWED_SOURCES) else {
        return Ok(Vec::new());
    };
    let entries: Vec<&str> = serde_json::from_str(text).map_err(|_| &**text)?;
    let nets = entries.iter().map(|entry| parse_net(entry).ok());
    nets.collect::<Option<_>>().ok_or(text)
}

/// The address of `address` or `address/length`.
fn host_part(text: &str) -> Option<IpAddr> {
    text.split_once('/')
        .map_or(text, |(address, _)| address)
        .parse()
        .ok()
}

/// Reads a `projectcalico.org/v3` WorkloadEndpoint.
pub(super) fn workload_endpoint(
    root: &Node<'_>,
    metadata: Metadata,
    problems: &mut Problems,
) -> WorkloadEndpoint {
    let spec = super::spec(root);
    let _ = spec.mapping(problems);
    let text = |name: &str, problems: &mut Problems| {
        spec.lenient(name, problems, shared)
            .filter(|text| !text.is_empty())
    };
    let required = |name: &str, expected: &str, problems: &mut Problems| {
        text(name, problems).unwrap_or_else(|| {
            if spec.field(name).is_none_or(|field| field.value == "") {
                problems.error(
                    &Path::Key(&spec.path, name),
                    format!("missing: expected {expected}"),
                );
            }
            Arc::default()
        })
    };
    WorkloadEndpoint {
        node: required("node", "the name of its node", problems),
        orchestrator: required("orchestrator", "what runs it, such as k8s", problems),
        pod: text("pod", problems),
        interface: text("interfaceName", problems),
        mac: spec.lenient("mac", problems, mac),
        addresses: spec.each("ipNetworks", problems, one_address),
        profiles: spec.each("profiles", problems, shared),
        service_account: text("serviceAccountName", problems)
            .or_else(|| text("serviceAccount", problems)),
        ports: spec.each("ports", problems, endpoint_port),
        allowed_sources: spec.each("allowSpoofedSourcePrefixes", problems, net),
        metadata,
    }
}

fn one_address(node: Node<'_>, problems: &mut Problems) -> Read<IpAddr> {
    let net = net(node, problems)?;
    if net.prefix_len() == net.max_prefix_len() {
        Ok(net.addr())
    } else {
        let message = format!(
            "{net}: expected one address, with /{}",
            net.max_prefix_len()
        );
        Err(problems.error(&node.path, message))
    }
}

pub(super) fn endpoint_port(node: Node<'_>, problems: &mut Problems) -> Read<EndpointPort> {
    let Some(port) = node.field("port") else {
        return Err(problems.error(&node.path, "missing port: expected 1-65535"));
    };
    let Some(protocol) = node.field("protocol") else {
        return Err(problems.error(&node.path, "missing protocol: expected TCP, UDP or SCTP"));
    };
    Ok(EndpointPort {
        name: node.optional("name", problems, shared)?.unwrap_or_default(),
        protocol: port_protocol(protocol, problems)?,
        port: port.integer(1, 65_535, problems)?,
    })
}

fn mac(node: Node<'_>, problems: &mut Problems) -> Read<[u8; 6]> {
    let text = node.text(problems)?;
    parse_mac(text).ok_or_else(|| node.expected("a MAC such as 02:00:00:00:00:01", problems))
}

/// Six bytes in hexadecimal, separated by `:` or `-`.
pub(super) fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut bytes {
        let part = parts.next()?;
        if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

/// Reads a Node of Kubernetes or of Calico.
pub(super) fn node(root: &Node<'_>, metadata: Metadata, problems: &mut Problems) -> Host {
    let mut addresses = Vec::new();
    if let Some(status) = root.field("status") {
        let listed = status.each("addresses", problems, |entry, problems| {
            let kind = entry.optional("type", problems, shared)?;
            if kind.as_deref() != Some("InternalIP") {
                return Ok(None);
            }
            entry.optional("address", problems, address)
        });
        addresses.extend(listed.into_iter().flatten());
    }
    calico_addresses(&super::spec(root), &mut addresses, problems);
    for name in NODE_ADDRESS_ANNOTATIONS {
        addresses.extend(
            metadata
                .annotations
                .get(name)
                .and_then(|text| host_part(text)),
        );
    }
    let mut unique = Vec::with_capacity(addresses.len());
    for address in addresses {
        if !unique.contains(&address) {
            unique.push(address);
        }
    }
    Host {
        metadata,
        addresses: unique,
    }
}

/// What a Calico Node says of its host: BGP and tunnel addresses.
fn calico_addresses(spec: &Node<'_>, addresses: &mut Vec<IpAddr>, problems: &mut Problems) {
    let read = |node: Node<'_>, problems: &mut Problems| {
        let text = node.text(problems)?;
        if text.is_empty() {
            return Ok(None);
        }
        let address = host_part(text).map(Some);
        address
            .ok_or_else(|| node.expected("an address, with or without a prefix length", problems))
    };
    let mut take = |parent: &Node<'_>, names: &[&str], problems: &mut Problems| {
        for name in names {
            addresses.extend(parent.lenient(name, problems, read).flatten());
        }
    };
    if let Some(bgp) = spec.field("bgp") {
        take(
            &bgp,
            &["ipv4Address", "ipv6Address", "ipv4IPIPTunnelAddr"],
            problems,
        );
    }
    take(
        spec,
        &["ipv4VXLANTunnelAddr", "ipv6VXLANTunnelAddr"],
        problems,
    );
    if let Some(wireguard) = spec.field("wireguard") {
        take(
            &wireguard,
            &["interfaceIPv4Address", "interfaceIPv6Address"],
            problems,
        );
    }
    let listed = spec.each("addresses", problems, |entry, problems| {
        entry.optional("address", problems, read)
    });
    addresses.extend(listed.into_iter().flatten().flatten());
}

#[cfg(test)]
mod tests;

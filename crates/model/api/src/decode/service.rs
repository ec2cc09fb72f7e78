//! Services, and what is behind them. They come from other programs, so only what we need is read.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::core::{address, address_or_none, port_protocol};
use super::meta::{shared, strings};
use super::node::{Node, Problems, Read};
use crate::core::{EndpointSlice, Service, ServicePort, SlicePort};
use crate::{Metadata, PortSpec, Protocol};

/// The label of a slice that says whose it is.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// The address of a service that has none.
const HEADLESS: &str = "None";

/// Reads a Service.
pub(super) fn service(root: &Node<'_>, metadata: Metadata, problems: &mut Problems) -> Service {
    let spec = super::spec(root);
    let _ = spec.mapping(problems);
    let mut addresses = spec.each("clusterIPs", problems, cluster_ip);
    if addresses.is_empty() {
        addresses.extend(spec.lenient("clusterIP", problems, cluster_ip));
    }
    addresses.extend(spec.each("externalIPs", problems, address_or_none));
    addresses.extend(spec.lenient("loadBalancerIP", problems, address_or_none));
    let balancer = root.field("status");
    let balancer = balancer
        .as_ref()
        .and_then(|status| status.field("loadBalancer"));
    if let Some(balancer) = balancer {
        // An entry may have a name instead.
        let listed = balancer.each("ingress", problems, |entry, problems| {
            entry.optional("ip", problems, address_or_none)
        });
        addresses.extend(listed.into_iter().flatten());
    }
    let selector = spec
        .field("selector")
        .map(|labels| strings(&labels, problems));
    Service {
        metadata,
        addresses: unique(addresses.into_iter().flatten()),
        ports: spec.each("ports", problems, service_port),
        selector: selector.filter(|labels: &BTreeMap<_, _>| !labels.is_empty()),
    }
}

fn cluster_ip(node: Node<'_>, problems: &mut Problems) -> Read<Option<IpAddr>> {
    if node.value == HEADLESS {
        Ok(None)
    } else {
        address_or_none(node, problems)
    }
}

fn unique(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut unique = Vec::new();
    for address in addresses {
        if !unique.contains(&address) {
            unique.push(address);
        }
    }
    unique
}

fn service_port(node: Node<'_>, problems: &mut Problems) -> Read<ServicePort> {
    let Some(port) = node.field("port") else {
        return Err(problems.error(&node.path, "missing port: expected 1-65535"));
    };
    let port: u16 = port.integer(1, 65_535, problems)?;
    // The API's Go type makes 0 or an empty text of an absent field.
    let target = node.field("targetPort");
    let target = target.filter(|target| *target.value != 0 && target.value != "");
    let target = target.map(|target| super::kube::number_or_name(target, problems));
    Ok(ServicePort {
        name: node.optional("name", problems, shared)?.unwrap_or_default(),
        protocol: protocol(&node, problems)?,
        port,
        target: target
            .transpose()?
            .unwrap_or_else(|| PortSpec::single(port)),
    })
}

/// `protocol`; absent is TCP.
fn protocol(node: &Node<'_>, problems: &mut Problems) -> Read<Protocol> {
    let read = node.optional("protocol", problems, port_protocol)?;
    Ok(read.unwrap_or(Protocol::TCP))
}

/// Reads an EndpointSlice.
pub(super) fn slice(root: &Node<'_>, metadata: Metadata, problems: &mut Problems) -> EndpointSlice {
    let address_type = root.lenient("addressType", problems, shared);
    // Names of hosts are not for us to look up.
    let named = address_type.as_deref() == Some("FQDN");
    let listed = root.each("endpoints", problems, |endpoint, problems| {
        endpoint.mapping(problems)?;
        if named {
            return Ok(Vec::new());
        }
        Ok(endpoint.each("addresses", problems, address))
    });
    let service = metadata.labels.get(SERVICE_NAME_LABEL);
    EndpointSlice {
        service: service.filter(|name| !name.is_empty()).map(Arc::clone),
        addresses: unique(listed.into_iter().flatten()),
        ports: root.each("ports", problems, slice_port),
        metadata,
    }
}

fn slice_port(node: Node<'_>, problems: &mut Problems) -> Read<SlicePort> {
    node.mapping(problems)?;
    let port = node.optional("port", problems, |node, problems| {
        node.integer(1, 65_535, problems)
    })?;
    Ok(SlicePort {
        protocol: protocol(&node, problems)?,
        port,
    })
}

#[cfg(test)]
mod tests;

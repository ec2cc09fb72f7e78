//! Nodes and pods.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};

use super::{NODE, Size, labels};

/// The pools of pod addresses.
pub const POOL4: &str = "10.64.0.0/14";
pub const POOL6: &str = "fd00:10:64::/48";

const PODS_OF_NODE: usize = 100;

pub(super) fn nodes(size: &Size) -> usize {
    1 + size.endpoints.div_ceil(PODS_OF_NODE)
}

pub(super) fn node(number: usize) -> Value {
    let address = Ipv4Addr::from_bits(0x0a00_0000 + offset(number) + 1);
    let six = Ipv6Addr::from_bits((0xfd00_0010_u128 << 96) + u128::from(offset(number)) + 1);
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("node-{number}")},
        "status": {"addresses": [
            {"type": "InternalIP", "address": address},
            {"type": "InternalIP", "address": six},
        ]},
    })
}

/// Every pod of the world.
pub(super) fn pods(size: &Size) -> impl Iterator<Item = Value> {
    let each = size.workloads_of_namespace();
    let workloads = (0..size.namespaces).flat_map(move |n| (0..each).map(move |w| (n, w)));
    let size = *size;
    workloads
        .enumerate()
        .flat_map(move |(number, (namespace, workload))| {
            let label_set = size.label_set_of(namespace, workload);
            let is_local = (0..2)
                .map(|i| 2 * namespace + i)
                .any(|local| local < size.locals && size.local(local) == (namespace, workload));
            (0..size.replicas).map(move |replica| {
                let index = number * size.replicas + replica;
                let node = if is_local && replica == 0 {
                    NODE.to_owned()
                } else {
                    // Replicas are spread over the nodes.
                    format!("node-{}", 1 + index % (nodes(&size) - 1))
                };
                pod(index, namespace, label_set, &node)
            })
        })
}

/// The pod of a number; it has addresses of its own. Numbers from 0 to 260,000.
#[must_use]
pub fn pod(index: usize, namespace: usize, label_set: usize, node: &str) -> Value {
    let (four, six) = addresses(index);
    let app = labels::app(label_set);
    let component = labels::component(label_set);
    let of_set = u16::try_from(label_set % 5).unwrap_or(0);
    let mut ports = vec![
        json!({"name": "http", "containerPort": 8080 + of_set}),
        json!({"name": "metrics", "containerPort": 9090 + of_set % 3, "protocol": "TCP"}),
    ];
    if component == "api" {
        ports.push(json!({"name": "grpc", "containerPort": 50_051}));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": format!("{app}-{component}-{index}"),
            "namespace": labels::namespace_name(namespace),
            "uid": format!("8c1b2f6e-4d0a-4c57-9b1e-{index:012x}"),
            "resourceVersion": (1_000_000 + index).to_string(),
            "labels": labels::label_set(label_set),
        },
        "spec": {
            "nodeName": node,
            "serviceAccountName": "default",
            "containers": [{"name": component, "image": format!("registry.example/{app}:1"), "ports": ports}],
        },
        "status": {
            "phase": "Running",
            "podIP": four,
            "podIPs": [{"ip": four}, {"ip": six}],
        },
    })
}

/// The addresses of a pod.
#[must_use]
pub fn addresses(index: usize) -> (Ipv4Addr, Ipv6Addr) {
    let offset = offset(index) + 2;
    let six = (0xfd00_0010_0064_u128 << 80) + u128::from(offset);
    (
        Ipv4Addr::from_bits(0x0a40_0000 + offset),
        Ipv6Addr::from_bits(six),
    )
}

fn offset(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX) & 0x3_ffff
}

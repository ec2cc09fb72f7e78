//! Networks that mean something to policy, which the wire must therefore not have.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use ocicat_api::policy::{CalicoPolicy, KubePeer, KubeRule, NetworkPolicy, Profile};
use ocicat_api::rule::Rule;
use ocicat_api::{Object, ObjectKey};

/// Every address and network that the objects name.
#[must_use]
pub fn networks(objects: &BTreeMap<ObjectKey, Object>) -> Vec<IpNet> {
    objects.values().flat_map(of_object).collect()
}

fn of_object(object: &Object) -> Vec<IpNet> {
    let hosts = |addresses: &[IpAddr]| addresses.iter().map(|x| IpNet::from(*x)).collect();
    match object {
        Object::IpPool(pool) => vec![pool.cidr],
        Object::Pod(pod) => hosts(&pod.addresses),
        Object::Node(node) => hosts(&node.addresses),
        Object::WorkloadEndpoint(endpoint) => hosts(&endpoint.addresses),
        Object::NetworkSet(set) | Object::GlobalNetworkSet(set) => set.nets.clone(),
        Object::NetworkPolicy(NetworkPolicy {
            ingress, egress, ..
        }) => ingress
            .iter()
            .chain(egress)
            .flat_map(of_kube_rule)
            .collect(),
        Object::CalicoNetworkPolicy(CalicoPolicy {
            ingress, egress, ..
        })
        | Object::GlobalNetworkPolicy(CalicoPolicy {
            ingress, egress, ..
        })
        | Object::Profile(Profile {
            ingress, egress, ..
        }) => ingress.iter().chain(egress).flat_map(of_rule).collect(),
        _ => Vec::new(),
    }
}

fn of_rule(rule: &Rule) -> impl Iterator<Item = IpNet> {
    [&rule.source, &rule.destination]
        .into_iter()
        .flat_map(|side| side.nets.iter().chain(&side.not_nets).copied())
}

fn of_kube_rule(rule: &KubeRule) -> impl Iterator<Item = IpNet> {
    rule.peers.iter().flatten().flat_map(|peer| match peer {
        KubePeer::IpBlock { cidr, except } => [*cidr].into_iter().chain(except.clone()).collect(),
        KubePeer::Pods { .. } => Vec::new(),
    })
}

//! Addresses that workloads claim for themselves: each is one workload's.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ocicat_api::core::{Pod, WorkloadEndpoint};
use ocicat_api::world::{FileProblem, World};
use ocicat_api::{Kind, Object, ObjectKey, Severity};
use serde_json::Value;

/// An address, who claims it, and by which field.
struct Claim {
    address: IpAddr,
    key: ObjectKey,
    field: String,
}

/// Claims of addresses that another workload has claimed before, in the order of their keys.
pub fn collisions(world: &World, values: &BTreeMap<ObjectKey, Value>) -> Vec<FileProblem> {
    let mut holders: BTreeMap<IpAddr, ObjectKey> = BTreeMap::new();
    let mut problems = Vec::new();
    for claim in claims(world, values) {
        let Some(holder) = holders.get(&claim.address) else {
            holders.insert(claim.address, claim.key);
            continue;
        };
        let at = world.position_of(holder, "");
        let at = at.map(|at| format!(", at {at}")).unwrap_or_default();
        let expected = if *holder == claim.key {
            "expected no more than one pod, or no address".to_owned()
        } else {
            format!(
                "expected an address of its own; {} has it{at}",
                name(holder)
            )
        };
        problems.extend(problem(world, &claim, &expected));
    }
    problems
}

fn problem(world: &World, claim: &Claim, expected: &str) -> Option<FileProblem> {
    let place = world.position_of(&claim.key, &claim.field)?;
    Some(FileProblem {
        file: place.file,
        position: place.position,
        object: name(&claim.key),
        field: claim.field.clone(),
        message: format!("{}: {expected}", claim.address),
        severity: Severity::Error,
    })
}

/// `Pod shop/web`.
fn name(key: &ObjectKey) -> String {
    let namespace = key.namespace.as_deref().unwrap_or_default();
    format!("{} {namespace}/{}", key.kind.info().name, key.name)
}

fn claims(world: &World, values: &BTreeMap<ObjectKey, Value>) -> Vec<Claim> {
    let mut claims = Vec::new();
    for (key, object) in &world.objects {
        match object {
            Object::Pod(pod) if !pod.host_network && !pod.finished => {
                claims.extend(of_pod(key, pod, values.get(key).unwrap_or(&Value::Null)));
            }
            Object::WorkloadEndpoint(endpoint) if !is_pods(endpoint, world) => {
                let claim = |(index, address): (usize, &IpAddr)| Claim {
                    address: *address,
                    key: key.clone(),
                    field: format!("spec.ipNetworks[{index}]"),
                };
                claims.extend(endpoint.addresses.iter().enumerate().map(claim));
            }
            // Who makes one pod on each host is not known to have several here.
            Object::Controller(kind, controller) if *kind != Kind::DaemonSet => {
                let field = format!(
                    "spec.template.metadata.annotations[{}]",
                    Pod::WANTED_ADDRESSES
                );
                for _ in 0..controller.replicas.min(2) {
                    claims.extend(wanted(key, &controller.template, &field));
                }
            }
            _ => {}
        }
    }
    claims
}

fn is_pods(endpoint: &WorkloadEndpoint, world: &World) -> bool {
    let namespace = endpoint.metadata.namespace.as_deref();
    let pod = endpoint.pod.as_deref();
    pod.is_some_and(|pod| world.get(Kind::Pod, namespace, pod).is_some())
}

/// What its annotation asks for; else what its status says, as in a cluster that it was copied from.
fn of_pod(key: &ObjectKey, pod: &Pod, value: &Value) -> Vec<Claim> {
    let field = format!("metadata.annotations[{}]", Pod::WANTED_ADDRESSES);
    let asked = wanted(key, pod, &field);
    if !asked.is_empty() {
        return asked;
    }
    let listed = value["status"]["podIPs"].as_array().map_or(0, Vec::len);
    let single = value["status"]["podIP"].is_string();
    let claim = |(index, address): (usize, &IpAddr)| Claim {
        address: *address,
        key: key.clone(),
        field: match (listed, single) {
            (0, true) => "status.podIP".to_owned(),
            (0, false) => "metadata.annotations".to_owned(),
            _ => format!("status.podIPs[{index}].ip"),
        },
    };
    pod.addresses.iter().enumerate().map(claim).collect()
}

fn wanted(key: &ObjectKey, pod: &Pod, field: &str) -> Vec<Claim> {
    let claim = |address| Claim {
        address,
        key: key.clone(),
        field: field.to_owned(),
    };
    pod.wanted_addresses().into_iter().map(claim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        let loaded = World::load([("a.yaml", text)]);
        assert!(!loaded.has_errors(), "{:?}", loaded.problems);
        let documents = ocicat_api::document::parse(text).unwrap().into_iter();
        let values = documents.filter_map(|document| {
            let object = ocicat_api::decode::decode(&document.value).object?;
            Some((object.key(), document.value))
        });
        let problems = collisions(&loaded.world, &values.collect());
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_address_is_one_workloads() {
        let text = "
{apiVersion: v1, kind: Pod, metadata: {name: a}, status: {podIP: 10.0.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b}, status: {podIPs: [{ip: 10.0.0.2}, {ip: 10.0.0.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: c}, spec: {hostNetwork: true}, status: {podIP: 10.0.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: d}, status: {phase: Failed, podIP: 10.0.0.1}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: e}
spec:
  replicas: 2
  template:
    metadata: {annotations: {cni.projectcalico.org/ipAddrs: '[\"10.0.0.3\"]'}}
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {name: f}
spec: {node: n, orchestrator: vm, workload: f, endpoint: eth0, ipNetworks: [10.0.0.2/32]}
";
        let mut said = said(text);
        said.sort();
        let expected = [
            "a.yaml:16:61: Deployment default/e: \
             spec.template.metadata.annotations[cni.projectcalico.org/ipAddrs]: 10.0.0.3: expected no \
             more than one pod, or no address",
            "a.yaml:21:77: WorkloadEndpoint default/f: spec.ipNetworks[0]: 10.0.0.2: expected an \
             address of its own; Pod default/b has it, at a.yaml:4:1",
            "a.yaml:4:89: Pod default/b: status.podIPs[1].ip: 10.0.0.1: expected an address of its \
             own; Pod default/a has it, at a.yaml:2:1",
        ];
        assert_eq!(said, expected);
    }
}

//! From manifests to what a lab is made of. Decides everything, does nothing.

mod taken;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ocicat_api::core::{IpPool, Pod, WorkloadEndpoint};
use ocicat_api::expand::{self, OWNER_ANNOTATION};
use ocicat_api::{Kind, Object, ObjectKey};
use serde_json::{Map, Value, json};

use crate::Failure;
use crate::manifests::Manifests;
use crate::probe::named_ports;
use crate::state::{Folder, Host, LONGEST_NAME, Workload, WorkloadKind, short};
use crate::wire::{MOST_HOSTS, Range};

/// Annotations in which a cluster says what became of a pod; here it becomes something else.
const GIVEN_ADDRESSES: [&str; 3] = [
    "cni.projectcalico.org/podIP",
    "cni.projectcalico.org/podIPs",
    "cni.projectcalico.org/containerID",
];
/// Fields of `metadata` that a server fills in.
const SERVER_FIELDS: [&str; 7] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "managedFields",
    "selfLink",
];

/// What a lab will be made of.
#[derive(Debug)]
pub struct Plan {
    pub hosts: Vec<Host>,
    pub workloads: Vec<Planned>,
    /// All objects but the workloads' own.
    pub objects: Vec<Entry>,
    /// What is worth saying before it is built.
    pub notes: Vec<String>,
}

/// A workload and the object it plays.
#[derive(Debug, Clone)]
pub struct Planned {
    pub workload: Workload,
    pub entry: Entry,
    /// Name and image of each container.
    pub containers: Vec<(String, String)>,
    /// The manifest says which addresses it has.
    pub has_own_addresses: bool,
    /// The Deployment or the like that it comes from.
    pub controller: Option<ObjectKey>,
}

/// An object to be written.
#[derive(Debug, Clone)]
pub struct Entry {
    pub kind: Kind,
    pub value: Value,
    /// What its `status` becomes at once, if anything.
    pub status: Option<Value>,
    /// It stands in a manifest, and so `ocicat apply` may change it later.
    pub is_written_by_hand: bool,
}

/// Plans a lab with `count` hosts in the cluster, besides those that pods, workload endpoints
/// and host endpoints name.
///
/// # Errors
/// With exit code 2 if there are more hosts than a wire can have.
pub fn make(folder: &Folder, manifests: Manifests, count: usize) -> anyhow::Result<Plan> {
    let Manifests {
        world,
        mut values,
        mut notes,
    } = manifests;
    let objects = &world.objects;
    let mut hosts = hosts(folder, objects, count)?;
    let nodes: Vec<Arc<str>> = hosts
        .iter()
        .filter(|x| !x.outside)
        .map(|x| x.name.as_str().into())
        .collect();
    let mut planner = Planner {
        folder,
        values: &values,
        next: 0,
        count,
        workloads: Vec::new(),
    };
    let expansion = expand::expand(objects, &nodes);
    for pod in objects
        .values()
        .filter_map(as_pod)
        .filter(|pod| is_workload(pod))
    {
        planner.add_pod(pod, expansion.owners.get(&pod_key(pod)));
    }
    for made in &expansion.made {
        if is_workload(&made.pod) {
            planner.add_pod(
                &made.pod,
                made.pod.metadata.annotations.get(OWNER_ANNOTATION),
            );
        }
    }
    for endpoint in objects.values().filter_map(as_endpoint) {
        if !plays_a_pod(endpoint, objects) {
            planner.add_endpoint(endpoint);
        }
    }
    let workloads = planner.workloads;
    let made = expansion.made.iter().map(|made| &made.pod);
    notes.extend(left_out(objects.values().filter_map(as_pod).chain(made)));
    if objects.keys().any(|key| key.kind == Kind::HostEndpoint) {
        let all: Vec<Workload> = workloads.iter().map(|x| x.workload.clone()).collect();
        let ports: Vec<u16> = named_ports(&all, objects.values()).into_iter().collect();
        for host in &mut hosts {
            host.ports.clone_from(&ports);
        }
    }
    for planned in &workloads {
        values.remove(&key_of(&planned.workload));
    }
    let mut entries: Vec<Entry> = Vec::new();
    for (key, object) in objects {
        if key.kind == Kind::IpamBlock {
            // Blocks belong to the hosts of another cluster; the lab's agents make their own.
            continue;
        }
        if let Some(value) = values.get(key) {
            entries.push(written(object, value));
        } else if matches!(key.kind, Kind::Namespace | Kind::ServiceAccount) {
            entries.push(assumed(key));
        }
    }
    if !objects.keys().any(|key| key.kind == Kind::IpPool) {
        entries.extend(default_pools());
    }
    add_nodes(&mut entries, &hosts);
    if workloads.is_empty() {
        notes.push("there are no workloads in the manifests".to_owned());
    }
    Ok(Plan {
        hosts,
        workloads,
        objects: entries,
        notes,
    })
}

/// The cluster's hosts first; machines outside it last.
fn hosts(
    folder: &Folder,
    objects: &BTreeMap<ObjectKey, Object>,
    count: usize,
) -> anyhow::Result<Vec<Host>> {
    let mut names: Vec<(String, bool)> = (1..=count)
        .map(|number| (format!("host-{number}"), false))
        .collect();
    let of_pods = objects
        .values()
        .filter_map(as_pod)
        .filter(|pod| is_workload(pod));
    let of_pods = of_pods
        .filter_map(|pod| pod.node.clone())
        .map(|name| (name, false));
    let of_endpoints = objects
        .values()
        .filter_map(as_endpoint)
        .filter(|endpoint| !plays_a_pod(endpoint, objects))
        .map(|endpoint| (Arc::clone(&endpoint.node), true));
    let of_hosts = objects.values().filter_map(|object| match object {
        Object::HostEndpoint(endpoint) => Some((Arc::clone(&endpoint.node), true)),
        _ => None,
    });
    let mut extra: BTreeSet<Arc<str>> = BTreeSet::new();
    for (name, outside) in of_pods.chain(of_endpoints).chain(of_hosts) {
        let is_known = names.iter().any(|(known, _)| **known == *name);
        if !name.is_empty() && !is_known && extra.insert(Arc::clone(&name)) {
            names.push((name.to_string(), outside));
        }
    }
    if names.len() > MOST_HOSTS {
        return Err(Failure::input(format!(
            "{} hosts: a lab has at most {MOST_HOSTS}",
            names.len()
        )));
    }
    let range = Range::choose(&taken::networks(objects));
    let host = |(index, (name, outside)): (usize, (String, bool))| Host {
        netns: folder.host_netns(&name),
        addresses: range.addresses(index),
        name,
        outside,
        ports: Vec::new(),
    };
    Ok(names.into_iter().enumerate().map(host).collect())
}

struct Planner<'a> {
    folder: &'a Folder,
    values: &'a BTreeMap<ObjectKey, Value>,
    /// Number of the host, from 0, on which the next pod lands that names none.
    next: usize,
    /// How many hosts take such pods.
    count: usize,
    workloads: Vec<Planned>,
}

impl Planner<'_> {
    fn add_pod(&mut self, pod: &Pod, owner: Option<&Arc<str>>) {
        let host = pod
            .node
            .as_deref()
            .filter(|name| !name.is_empty())
            .map(str::to_owned);
        let host = host.unwrap_or_else(|| {
            self.next += 1;
            format!("host-{}", (self.next - 1) % self.count + 1)
        });
        let key = pod_key(pod);
        let controller =
            owner.and_then(|owner| controller_key(owner, pod.metadata.namespace.as_ref()));
        let is_written_by_hand = self.values.contains_key(&key);
        let mut value = match self.values.get(&key) {
            Some(value) => cleaned(value),
            None => self.make_from_template(pod, controller.as_ref()),
        };
        value["metadata"]["namespace"] = json!(key.namespace);
        value["spec"]["nodeName"] = json!(host);
        let asks = pod.metadata.annotations.contains_key(Pod::WANTED_ADDRESSES);
        let has_own_addresses = asks || !pod.addresses.is_empty();
        if has_own_addresses && !asks {
            let wanted = json!(pod.addresses).to_string();
            value["metadata"]["annotations"][Pod::WANTED_ADDRESSES] = json!(wanted);
        }
        let workload = self.workload(
            WorkloadKind::Pod,
            &key,
            host,
            pod.ports.iter().map(|p| p.port),
        );
        self.workloads.push(Planned {
            workload: Workload {
                owner: owner.map(ToString::to_string),
                ..workload
            },
            containers: containers(&value),
            entry: Entry {
                kind: Kind::Pod,
                value,
                status: None,
                is_written_by_hand,
            },
            has_own_addresses,
            controller,
        });
    }

    fn add_endpoint(&mut self, endpoint: &WorkloadEndpoint) {
        let key = ObjectKey {
            kind: Kind::WorkloadEndpoint,
            namespace: endpoint.metadata.namespace.clone(),
            name: Arc::clone(&endpoint.metadata.name),
        };
        let Some(value) = self.values.get(&key) else {
            return;
        };
        let mut value = cleaned(value);
        value["metadata"]["namespace"] = json!(key.namespace);
        let ports = endpoint.ports.iter().map(|port| port.port);
        let host = endpoint.node.to_string();
        self.workloads.push(Planned {
            workload: self.workload(WorkloadKind::WorkloadEndpoint, &key, host, ports),
            entry: Entry {
                kind: Kind::WorkloadEndpoint,
                value,
                status: None,
                is_written_by_hand: true,
            },
            containers: Vec::new(),
            has_own_addresses: !endpoint.addresses.is_empty(),
            controller: None,
        });
    }

    fn workload(
        &self,
        kind: WorkloadKind,
        key: &ObjectKey,
        host: String,
        ports: impl Iterator<Item = u16>,
    ) -> Workload {
        let namespace = key.namespace.as_deref().unwrap_or("default").to_owned();
        // Names of namespaces hold no dot, so that this is one name for one workload.
        let suffix = if kind == WorkloadKind::Pod {
            ""
        } else {
            ".wep"
        };
        let id = short(&format!("{namespace}.{}{suffix}", key.name), LONGEST_NAME);
        let ports: BTreeSet<u16> = ports.filter(|port| *port > 0).collect();
        Workload {
            kind,
            namespace,
            name: key.name.to_string(),
            owner: None,
            host,
            netns: self.folder.workload_netns(&id),
            container_id: id,
            addresses: Vec::new(),
            ports: ports.into_iter().collect(),
        }
    }

    /// The pod as its controller would make it.
    fn make_from_template(&self, pod: &Pod, controller: Option<&ObjectKey>) -> Value {
        let template = controller
            .and_then(|key| self.values.get(key))
            .map_or(&Value::Null, |value| &value["spec"]["template"]);
        let spec = match &template["spec"] {
            Value::Object(spec) => Value::Object(spec.clone()),
            _ => json!({ "containers": [] }),
        };
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": pod.metadata.name,
                "labels": pod.metadata.labels,
                "annotations": pod.metadata.annotations,
            },
            "spec": spec,
        })
    }
}

/// Whether a pod has a network of its own that is to be built.
fn is_workload(pod: &Pod) -> bool {
    !pod.host_network && !pod.finished
}

/// Says which pods have no network of their own to be built.
fn left_out<'a>(pods: impl Iterator<Item = &'a Pod>) -> Vec<String> {
    const NAMED: usize = 5;
    let (mut on_host, mut finished) = (Vec::new(), Vec::new());
    for pod in pods {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let name = format!("{namespace}/{}", pod.metadata.name);
        match pod {
            Pod { finished: true, .. } => finished.push(name),
            Pod {
                host_network: true, ..
            } => on_host.push(name),
            _ => {}
        }
    }
    [
        (on_host, "in the network of their host"),
        (finished, "that have finished"),
    ]
    .into_iter()
    .filter(|(names, _)| !names.is_empty())
    .map(|(names, what)| {
        let shown = names[..names.len().min(NAMED)].join(", ");
        let more = if names.len() > NAMED { ", …" } else { "" };
        format!("skipped, {what}: {} × Pod ({shown}{more})", names.len())
    })
    .collect()
}

fn plays_a_pod(endpoint: &WorkloadEndpoint, objects: &BTreeMap<ObjectKey, Object>) -> bool {
    endpoint.pod.as_ref().is_some_and(|pod| {
        objects.contains_key(&ObjectKey {
            kind: Kind::Pod,
            namespace: endpoint.metadata.namespace.clone(),
            name: Arc::clone(pod),
        })
    })
}

fn as_pod(object: &Object) -> Option<&Pod> {
    match object {
        Object::Pod(pod) => Some(pod),
        _ => None,
    }
}

fn as_endpoint(object: &Object) -> Option<&WorkloadEndpoint> {
    match object {
        Object::WorkloadEndpoint(endpoint) => Some(endpoint),
        _ => None,
    }
}

fn pod_key(pod: &Pod) -> ObjectKey {
    ObjectKey {
        kind: Kind::Pod,
        namespace: pod.metadata.namespace.clone(),
        name: Arc::clone(&pod.metadata.name),
    }
}

fn key_of(workload: &Workload) -> ObjectKey {
    ObjectKey {
        kind: match workload.kind {
            WorkloadKind::Pod => Kind::Pod,
            WorkloadKind::WorkloadEndpoint => Kind::WorkloadEndpoint,
        },
        namespace: Some(workload.namespace.as_str().into()),
        name: workload.name.as_str().into(),
    }
}

/// `deploy/web` as the key of the controller.
fn controller_key(owner: &str, namespace: Option<&Arc<str>>) -> Option<ObjectKey> {
    let (kind, name) = owner.split_once('/')?;
    Some(ObjectKey {
        kind: Kind::parse(kind)?,
        namespace: namespace.cloned(),
        name: name.into(),
    })
}

/// An object of a manifest; a status that it has there is kept where nobody here makes another.
fn written(object: &Object, value: &Value) -> Entry {
    let mut entry = Entry {
        kind: object.kind(),
        value: cleaned(value),
        status: None,
        is_written_by_hand: true,
    };
    if let Some(namespace) = &object.metadata().namespace {
        entry.value["metadata"]["namespace"] = json!(namespace);
    }
    if matches!(entry.kind, Kind::Pod | Kind::Node) {
        entry.status = value.get("status").cloned();
    }
    entry
}

/// An object that manifests take for granted.
fn assumed(key: &ObjectKey) -> Entry {
    let mut metadata = Map::from_iter([("name".to_owned(), json!(key.name))]);
    if let Some(namespace) = &key.namespace {
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
    let value = json!({ "apiVersion": "v1", "kind": key.kind.info().name, "metadata": metadata });
    Entry {
        kind: key.kind,
        value,
        status: None,
        is_written_by_hand: false,
    }
}

/// Without what a server adds.
fn cleaned(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = value["metadata"].as_object_mut() {
        for field in SERVER_FIELDS {
            metadata.remove(field);
        }
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            for annotation in GIVEN_ADDRESSES {
                annotations.remove(annotation);
            }
        }
    }
    value
}

fn containers(pod: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let containers = pod["spec"]["containers"].as_array();
    containers
        .into_iter()
        .flatten()
        .map(|x| (text(&x["name"]), text(&x["image"])))
        .collect()
}

fn default_pools() -> [Entry; 2] {
    IpPool::ASSUMED.map(|(name, cidr, block_size)| Entry {
        kind: Kind::IpPool,
        value: json!({
            "apiVersion": "projectcalico.org/v3",
            "kind": "IPPool",
            "metadata": {"name": name},
            "spec": {"cidr": cidr, "blockSize": block_size, "natOutgoing": false},
        }),
        status: None,
        is_written_by_hand: false,
    })
}

/// A Node for each host, with its addresses on the wire, whatever a manifest says they are elsewhere.
fn add_nodes(entries: &mut Vec<Entry>, hosts: &[Host]) {
    for host in hosts {
        let addresses: Vec<Value> = host
            .addresses
            .iter()
            .map(|address| json!({ "type": "InternalIP", "address": address }))
            .chain([json!({ "type": "Hostname", "address": host.name })])
            .collect();
        let status = json!({
            "addresses": addresses,
            "conditions": [{"type": "Ready", "status": "True", "reason": "LabIsUp"}],
        });
        let known = entries
            .iter_mut()
            .find(|x| x.kind == Kind::Node && x.value["metadata"]["name"] == json!(host.name));
        if let Some(entry) = known {
            entry.status = Some(status);
            continue;
        }
        // A label's value has at most 63 bytes; a node's name may have more.
        let hostname = host.name.split('.').next().unwrap_or_default();
        let value = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": host.name,
                "labels": {"kubernetes.io/hostname": hostname, "kubernetes.io/os": "linux"},
            },
        });
        let status = Some(status);
        entries.push(Entry {
            kind: Kind::Node,
            value,
            status,
            is_written_by_hand: false,
        });
    }
}

#[cfg(test)]
mod tests;

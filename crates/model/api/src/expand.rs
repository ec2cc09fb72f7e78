//! Controllers to pods, as a cluster would make them.
//!
//! | kind | pods | names |
//! |---|---|---|
//! | Deployment | `replicas` | `web-f4k2x-9zq7c` |
//! | ReplicaSet | `replicas` | `web-9zq7c` |
//! | StatefulSet | `replicas` | `db-0`, `db-1` |
//! | DaemonSet | one for each host | `agent-9zq7c` |
//! | Job | `parallelism` | `load-9zq7c` |
//!
//! What looks random in a name is a hash of controller and index: the same world has the same pods.
//! A dump of a cluster holds controllers and their pods; then only those that are missing are made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::core::{Controller, Pod};
use crate::{Kind, Object, ObjectKey, Owner};

/// Annotation of a pod that names its controller, as people type it: `deploy/web`.
pub const OWNER_ANNOTATION: &str = "ocicat.io/owner";

/// Label of Kubernetes that holds the hash in the name of a Deployment's ReplicaSet.
const TEMPLATE_HASH_LABEL: &str = "pod-template-hash";

/// Letters and digits of generated names; without vowels, so that they spell nothing.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Longest part of a name before what is generated (Kubernetes, `names/generate.go`).
const BASE_BYTES: usize = 58;

/// What controllers add to a world.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expansion {
    /// Pods that are not there yet.
    pub made: Vec<MadePod>,
    /// For pods that are there and belong to a controller: its name, as people type it.
    pub owners: BTreeMap<ObjectKey, Arc<str>>,
}

/// A pod with the controller that makes it.
#[derive(Debug, Clone, PartialEq)]
pub struct MadePod {
    pub controller: ObjectKey,
    pub pod: Pod,
}

/// The pods that the controllers among `objects` make on hosts of the names `nodes`. Without names
/// the Node objects count; without those, a DaemonSet makes one pod on no host.
#[must_use]
pub fn expand(objects: &BTreeMap<ObjectKey, Object>, nodes: &[Arc<str>]) -> Expansion {
    let mut expansion = Expansion::default();
    let mut owned: BTreeMap<ObjectKey, Vec<&Pod>> = BTreeMap::new();
    for (key, object) in objects {
        if let Object::Pod(pod) = object
            && let Some(controller) = controller_of(objects, pod)
        {
            expansion
                .owners
                .insert(key.clone(), typed_name(&controller));
            owned.entry(controller).or_default().push(pod);
        }
    }
    let hosts = hosts(objects, nodes);
    let mut names: BTreeSet<(Arc<str>, Arc<str>)> = objects
        .keys()
        .filter(|key| key.kind == Kind::Pod)
        .filter_map(|key| Some((key.namespace.clone()?, Arc::clone(&key.name))))
        .collect();
    for (key, object) in objects {
        let Object::Controller(_, controller) = object else {
            continue;
        };
        if deployment_of(objects, controller, key.kind).is_some() {
            continue;
        }
        let there = owned.get(key).map_or(&[][..], Vec::as_slice);
        let mut maker = Maker::new(objects, key, controller, &mut names);
        match key.kind {
            Kind::StatefulSet => maker.ordinals(),
            Kind::DaemonSet => maker.one_for_each(&hosts, there),
            _ => maker.missing(there),
        }
        expansion.made.append(&mut maker.made);
    }
    expansion
}

/// Names of hosts; `None` stands for no host in particular.
fn hosts(objects: &BTreeMap<ObjectKey, Object>, nodes: &[Arc<str>]) -> Vec<Option<Arc<str>>> {
    let mut hosts: Vec<_> = nodes.iter().cloned().map(Some).collect();
    if hosts.is_empty() {
        let named = objects.keys().filter(|key| key.kind == Kind::Node);
        hosts = named.map(|key| Some(Arc::clone(&key.name))).collect();
    }
    if hosts.is_empty() {
        hosts.push(None);
    }
    hosts
}

/// The controller whose pod it is: the owner, or the Deployment that owns the owner.
fn controller_of(objects: &BTreeMap<ObjectKey, Object>, pod: &Pod) -> Option<ObjectKey> {
    let owner = pod.metadata.owner.as_ref()?;
    let kind = controller_kind(&owner.kind)?;
    let namespace = pod.metadata.namespace.clone();
    let key = ObjectKey {
        kind,
        namespace: namespace.clone(),
        name: Arc::clone(&owner.name),
    };
    if let Some(Object::Controller(_, controller)) = objects.get(&key) {
        return Some(deployment_of(objects, controller, kind).unwrap_or(key));
    }
    // A ReplicaSet that is not there, but whose name says whose it is.
    let hash = pod.metadata.labels.get(TEMPLATE_HASH_LABEL)?;
    let name = owner.name.strip_suffix(&**hash)?.strip_suffix('-')?;
    let key = ObjectKey {
        kind: Kind::Deployment,
        namespace,
        name: name.into(),
    };
    (kind == Kind::ReplicaSet && objects.contains_key(&key)).then_some(key)
}

/// The Deployment that owns a ReplicaSet, if it is there.
fn deployment_of(
    objects: &BTreeMap<ObjectKey, Object>,
    controller: &Controller,
    kind: Kind,
) -> Option<ObjectKey> {
    let owner = controller.metadata.owner.as_ref()?;
    if kind != Kind::ReplicaSet || &*owner.kind != "Deployment" {
        return None;
    }
    let key = ObjectKey {
        kind: Kind::Deployment,
        namespace: controller.metadata.namespace.clone(),
        name: Arc::clone(&owner.name),
    };
    objects.contains_key(&key).then_some(key)
}

fn controller_kind(name: &str) -> Option<Kind> {
    [
        Kind::Deployment,
        Kind::StatefulSet,
        Kind::DaemonSet,
        Kind::ReplicaSet,
        Kind::Job,
    ]
    .into_iter()
    .find(|kind| kind.info().name == name)
}

fn typed_name(controller: &ObjectKey) -> Arc<str> {
    format!("{}/{}", controller.kind.short(), controller.name).into()
}

/// Makes the pods of one controller.
struct Maker<'a> {
    key: &'a ObjectKey,
    controller: &'a Controller,
    template: &'a Pod,
    /// Who owns the pods, and what their names begin with: a Deployment's ReplicaSet, or the
    /// controller.
    owner: Owner,
    /// Labels that Kubernetes gives to all pods of the controller.
    labels: Vec<(&'static str, Arc<str>)>,
    /// Namespaces and names that are taken.
    names: &'a mut BTreeSet<(Arc<str>, Arc<str>)>,
    made: Vec<MadePod>,
}

impl<'a> Maker<'a> {
    fn new(
        objects: &'a BTreeMap<ObjectKey, Object>,
        key: &'a ObjectKey,
        controller: &'a Controller,
        names: &'a mut BTreeSet<(Arc<str>, Arc<str>)>,
    ) -> Self {
        let mut template = &controller.template;
        let mut owner = Owner {
            kind: key.kind.info().name.into(),
            name: Arc::clone(&key.name),
        };
        let mut labels = Vec::new();
        match key.kind {
            Kind::Deployment => {
                owner.kind = Kind::ReplicaSet.info().name.into();
                if let Some((name, set)) = newest_replica_set(objects, key) {
                    owner.name = name;
                    template = &set.template;
                } else {
                    let hash = generated(&[&key.to_string()]);
                    owner.name = format!("{}-{hash}", key.name).into();
                    labels.push((TEMPLATE_HASH_LABEL, hash.into()));
                }
            }
            Kind::Job => {
                labels.push(("batch.kubernetes.io/job-name", Arc::clone(&key.name)));
                labels.push(("job-name", Arc::clone(&key.name)));
            }
            _ => {}
        }
        Self {
            key,
            controller,
            template,
            owner,
            labels,
            names,
            made: Vec::new(),
        }
    }

    /// As many as are wanted, less those that run. A Job's finished pods have done their part.
    fn missing(&mut self, there: &[&Pod]) {
        let counted = there
            .iter()
            .filter(|pod| self.key.kind == Kind::Job || !pod.finished);
        let counted = u32::try_from(counted.count()).unwrap_or(u32::MAX);
        for index in counted..self.controller.replicas {
            let name = self.free_name(&index.to_string());
            self.make(name, self.template.node.clone(), &[]);
        }
    }

    fn one_for_each(&mut self, hosts: &[Option<Arc<str>>], there: &[&Pod]) {
        for host in hosts {
            let runs = |pod: &&Pod| !pod.finished && (host.is_none() || pod.node == *host);
            if there.iter().any(runs) {
                continue;
            }
            let name = self.free_name(host.as_deref().unwrap_or_default());
            self.make(name, host.clone(), &[]);
        }
    }

    fn ordinals(&mut self) {
        for index in 0..self.controller.replicas {
            let name: Arc<str> = format!("{}-{index}", self.key.name).into();
            let Some(namespace) = self.key.namespace.clone() else {
                continue;
            };
            if !self.names.insert((namespace, Arc::clone(&name))) {
                continue;
            }
            let labels = [
                ("statefulset.kubernetes.io/pod-name", Arc::clone(&name)),
                ("apps.kubernetes.io/pod-index", index.to_string().into()),
            ];
            self.make(name, self.template.node.clone(), &labels);
        }
    }

    fn make(
        &mut self,
        name: Arc<str>,
        node: Option<Arc<str>>,
        labels: &[(&'static str, Arc<str>)],
    ) {
        let mut pod = self.template.clone();
        pod.metadata.name = name;
        pod.metadata.namespace.clone_from(&self.key.namespace);
        pod.metadata.owner = Some(self.owner.clone());
        pod.metadata
            .annotations
            .insert(OWNER_ANNOTATION.into(), typed_name(self.key));
        for (label, value) in self.labels.iter().chain(labels) {
            pod.metadata
                .labels
                .insert((*label).into(), Arc::clone(value));
        }
        pod.node = node;
        self.made.push(MadePod {
            controller: self.key.clone(),
            pod,
        });
    }

    /// A name that nobody has, from what is to be told apart.
    fn free_name(&mut self, what: &str) -> Arc<str> {
        let base = &self.owner.name[..self.owner.name.floor_char_boundary(BASE_BYTES - 1)];
        let namespace = self.key.namespace.clone().unwrap_or_default();
        let mut attempt = 0_u32;
        loop {
            let suffix = generated(&[&self.key.to_string(), what, &attempt.to_string()]);
            let name: Arc<str> = format!("{base}-{suffix}").into();
            if self
                .names
                .insert((Arc::clone(&namespace), Arc::clone(&name)))
            {
                return name;
            }
            attempt += 1;
        }
    }
}

/// The ReplicaSet of a Deployment that wants the most pods.
fn newest_replica_set<'a>(
    objects: &'a BTreeMap<ObjectKey, Object>,
    deployment: &ObjectKey,
) -> Option<(Arc<str>, &'a Controller)> {
    let first = ObjectKey {
        kind: Kind::ReplicaSet,
        namespace: deployment.namespace.clone(),
        name: Arc::default(),
    };
    let of_namespace = objects.range(&first..).take_while(|(key, _)| {
        key.kind == Kind::ReplicaSet && key.namespace == deployment.namespace
    });
    let sets = of_namespace.filter_map(|(key, object)| match object {
        Object::Controller(_, set)
            if deployment_of(objects, set, key.kind).as_ref() == Some(deployment) =>
        {
            Some((Arc::clone(&key.name), set))
        }
        _ => None,
    });
    sets.filter(|(_, set)| set.replicas > 0)
        .max_by_key(|(_, set)| set.replicas)
}

/// Five letters and digits that depend on all of the parts.
fn generated(parts: &[&str]) -> String {
    // FNV-1a: stable across machines and versions, which the standard hasher does not promise.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in parts.join("\n").bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    // The low bits alone are weak.
    hash ^= hash >> 32;
    let letter = |place: u32| {
        let index = (hash / 27_u64.pow(place)) % 27;
        char::from(ALPHABET[usize::try_from(index).unwrap_or_default()])
    };
    (0..5).map(letter).collect()
}

#[cfg(test)]
mod tests;

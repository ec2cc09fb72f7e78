//! What a cluster has although nobody wrote it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::{FileProblem, Loaded, World};
use crate::core::{Namespace, ServiceAccount};
use crate::decode::NAMESPACE_NAME_LABEL;
use crate::policy::{ClusterSubject, ClusterTier};
use crate::{Kind, Metadata, Object, ObjectKey, Problem};

/// Namespaces that every cluster has.
const ALWAYS: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// The service account that every namespace has.
const DEFAULT_SERVICE_ACCOUNT: &str = "default";

/// Namespace and name of a service account.
type Account = (Arc<str>, Arc<str>);

/// Adds namespaces that objects name and nobody defined, and service accounts. Says where the API leaves
/// open which policy goes first.
pub(super) fn complete(loaded: &mut Loaded) {
    warn_of_equal_priorities(loaded);
    add_namespaces(loaded);
    add_service_accounts(loaded);
}

fn warn_of_equal_priorities(loaded: &mut Loaded) {
    let mut first: BTreeMap<(ClusterTier, u16), Arc<str>> = BTreeMap::new();
    let mut equal = Vec::new();
    for (key, object) in &loaded.world.objects {
        let Object::ClusterNetworkPolicy(policy) = object else {
            continue;
        };
        if policy.subject == ClusterSubject::Unreadable {
            continue;
        }
        match first.entry((policy.tier, policy.priority)) {
            Entry::Vacant(entry) => drop(entry.insert(Arc::clone(&key.name))),
            Entry::Occupied(entry) => {
                let message = format!(
                    "{} is the priority of {} too; of equals the first by name is judged first",
                    policy.priority,
                    entry.get()
                );
                equal.push((key.clone(), message));
            }
        }
    }
    for (key, message) in equal {
        warn(loaded, &key, "spec.priority", message);
    }
}

fn add_namespaces(loaded: &mut Loaded) {
    let mut missing: BTreeMap<Arc<str>, ObjectKey> = BTreeMap::new();
    for key in loaded.world.objects.keys() {
        let Some(namespace) = &key.namespace else {
            continue;
        };
        if loaded.world.get(Kind::Namespace, None, namespace).is_none() {
            missing
                .entry(Arc::clone(namespace))
                .or_insert_with(|| key.clone());
        }
    }
    for (name, user) in missing {
        if !ALWAYS.contains(&&*name) {
            let message = format!("namespace {name} is not defined; assumed without labels");
            warn(loaded, &user, "metadata.namespace", message);
        }
        let labels = BTreeMap::from([(NAMESPACE_NAME_LABEL.into(), Arc::clone(&name))]);
        let metadata = Metadata {
            name,
            labels,
            ..Metadata::default()
        };
        insert(&mut loaded.world, Object::Namespace(Namespace { metadata }));
    }
}

fn add_service_accounts(loaded: &mut Loaded) {
    let mut missing: BTreeMap<Account, Option<(ObjectKey, &'static str)>> = BTreeMap::new();
    for (key, object) in &loaded.world.objects {
        let (namespace, account, field) = match object {
            Object::Namespace(namespace) => (
                Some(&namespace.metadata.name),
                DEFAULT_SERVICE_ACCOUNT.into(),
                "",
            ),
            Object::Pod(pod) => (
                key.namespace.as_ref(),
                Arc::clone(&pod.service_account),
                "spec.serviceAccountName",
            ),
            Object::Controller(_, controller) => (
                key.namespace.as_ref(),
                Arc::clone(&controller.template.service_account),
                "spec.template.spec.serviceAccountName",
            ),
            Object::WorkloadEndpoint(endpoint) => match &endpoint.service_account {
                Some(account) => (
                    key.namespace.as_ref(),
                    Arc::clone(account),
                    "spec.serviceAccountName",
                ),
                None => continue,
            },
            _ => continue,
        };
        let Some(namespace) = namespace else { continue };
        if loaded
            .world
            .get(Kind::ServiceAccount, Some(namespace), &account)
            .is_none()
        {
            let user = (&*account != DEFAULT_SERVICE_ACCOUNT).then(|| (key.clone(), field));
            missing
                .entry((Arc::clone(namespace), account))
                .or_insert(user);
        }
    }
    for ((namespace, name), user) in missing {
        if let Some((key, field)) = user {
            let message = format!(
                "service account {namespace}/{name} is not defined; assumed without labels"
            );
            warn(loaded, &key, field, message);
        }
        let metadata = Metadata {
            name,
            namespace: Some(namespace),
            ..Metadata::default()
        };
        insert(
            &mut loaded.world,
            Object::ServiceAccount(ServiceAccount { metadata }),
        );
    }
}

fn insert(world: &mut World, object: Object) {
    world.objects.insert(object.key(), object);
}

fn warn(loaded: &mut Loaded, key: &ObjectKey, field: &str, message: String) {
    // Whatever names something came from a file.
    let Some(place) = loaded.world.position_of(key, field) else {
        return;
    };
    let name = &key.name;
    let object = match &key.namespace {
        Some(namespace) => format!("{} {namespace}/{name}", key.kind.info().name),
        None => format!("{} {name}", key.kind.info().name),
    };
    let problem = Problem::warning(field, message);
    loaded.problems.push(FileProblem::of(
        &place.file,
        place.position,
        object,
        problem,
    ));
}

//! All objects there are.

use std::collections::BTreeMap;

use ocicat_api::core::{Namespace, Pod, ServiceAccount};
use ocicat_api::policy::{Profile, StagedAction, Tier};
use ocicat_api::{Kind, Metadata, Object, ObjectKey};

/// A set of objects, one for each key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct World {
    pub objects: BTreeMap<ObjectKey, Object>,
    /// Staged policies count as if they were enforced. [22]
    pending: bool,
}

impl World {
    /// Of two objects with one key the later stays.
    #[must_use]
    pub fn new(objects: impl IntoIterator<Item = Object>) -> Self {
        Self {
            objects: objects
                .into_iter()
                .map(|object| (object.key(), object))
                .collect(),
            pending: false,
        }
    }

    /// The world as it would be if what is staged were enforced. [22]
    #[must_use]
    pub fn pending(&self) -> Self {
        let mut pending = self.clone();
        pending.pending = true;
        for object in self.objects.values() {
            let (action, twin) = match object {
                Object::StagedNetworkPolicy(x) => (x.action, Kind::CalicoNetworkPolicy),
                Object::StagedGlobalNetworkPolicy(x) => (x.action, Kind::GlobalNetworkPolicy),
                Object::StagedKubernetesNetworkPolicy(x) => (x.action, Kind::NetworkPolicy),
                _ => continue,
            };
            if matches!(action, StagedAction::Set | StagedAction::Delete) {
                let staged = object.key();
                pending.delete(&ObjectKey {
                    kind: twin,
                    ..staged
                });
            }
        }
        pending
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.pending
    }

    /// Adds an object, or replaces that of its key.
    pub fn put(&mut self, object: Object) {
        self.objects.insert(object.key(), object);
    }

    /// Removes an object, if it is there.
    pub fn delete(&mut self, key: &ObjectKey) {
        self.objects.remove(key);
    }

    pub(crate) fn namespace(&self, name: &str) -> Option<&Namespace> {
        match self.find(Kind::Namespace, None, name)? {
            Object::Namespace(namespace) => Some(namespace),
            _ => None,
        }
    }

    pub(crate) fn service_account(&self, namespace: &str, name: &str) -> Option<&ServiceAccount> {
        match self.find(Kind::ServiceAccount, Some(namespace), name)? {
            Object::ServiceAccount(account) => Some(account),
            _ => None,
        }
    }

    pub(crate) fn pod(&self, namespace: &str, name: &str) -> Option<&Pod> {
        match self.find(Kind::Pod, Some(namespace), name)? {
            Object::Pod(pod) => Some(pod),
            _ => None,
        }
    }

    pub(crate) fn profile(&self, name: &str) -> Option<&Profile> {
        match self.find(Kind::Profile, None, name)? {
            Object::Profile(profile) => Some(profile),
            _ => None,
        }
    }

    pub(crate) fn tier(&self, name: &str) -> Option<&Tier> {
        match self.find(Kind::Tier, None, name)? {
            Object::Tier(tier) => Some(tier),
            _ => None,
        }
    }

    fn find(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Option<&Object> {
        let key = ObjectKey {
            kind,
            namespace: namespace.map(Into::into),
            name: name.into(),
        };
        self.objects.get(&key)
    }
}

/// The namespace of an object of a namespaced kind.
pub fn namespace_of(metadata: &Metadata) -> String {
    metadata
        .namespace
        .as_deref()
        .unwrap_or("default")
        .to_owned()
}

//! What all objects have in common.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::Kind;

/// The parts of `metadata` that we read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    pub name: Arc<str>,
    /// `None` for cluster-scoped kinds. Namespaced kinds without one get `default`.
    pub namespace: Option<Arc<str>>,
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    pub annotations: BTreeMap<Arc<str>, Arc<str>>,
    pub uid: Option<Arc<str>>,
    pub resource_version: Option<Arc<str>>,
    pub generation: Option<i64>,
    /// The owner reference with `controller: true`: who makes and keeps this object.
    pub owner: Option<Owner>,
}

/// An owner within the same namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// As written: `ReplicaSet`, `Job`, …
    pub kind: Arc<str>,
    pub name: Arc<str>,
}

/// Names an object among all objects.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    pub kind: Kind,
    pub namespace: Option<Arc<str>>,
    pub name: Arc<str>,
}

/// `kind/namespace/name`, or `kind/name` where there is no namespace.
impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{}/{namespace}/{}", self.kind, self.name),
            None => write!(f, "{}/{}", self.kind, self.name),
        }
    }
}

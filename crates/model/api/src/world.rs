//! All objects of some texts together: what `-f` reads.
//!
//! ```text
//!   (file name, text)… ──parse──► documents ──decode──► World { objects, origins }
//!                         │                     │              │ what a cluster adds by itself:
//!                         ▼                     ▼              ▼ namespaces, service accounts, pods
//!                    FileProblem           FileProblem    FileProblem
//! ```
//!
//! It takes texts, not paths: who calls it opens the files.
//!
//! ```
//! use ocicat_api::world::World;
//!
//! let loaded = World::load([("web.yaml", "
//! apiVersion: v1
//! kind: Pod
//! metadata: {name: web}
//! status: {podIP: 10.0.0.300}
//! ")]);
//! assert_eq!(
//!     loaded.problems[0].to_string(),
//!     "web.yaml:5:17: Pod default/web: status.podIP: \"10.0.0.300\": expected an IP address",
//! );
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::core::IpPool;
use crate::decode::{Decoded, decode_written};
use crate::document::{self, Document, Places};
use crate::expand::expand;
use crate::limits::REPORTED_PROBLEMS;
use crate::{Kind, Metadata, Object, ObjectKey, Position, Problem, Severity};

mod complete;

/// Objects by key, and where each came from.
#[derive(Debug, Clone, Default)]
pub struct World {
    pub objects: BTreeMap<ObjectKey, Object>,
    origins: BTreeMap<ObjectKey, Origin>,
}

/// What was read, and what was not.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    pub world: World,
    /// In the order of the texts; those that need the whole world last.
    pub problems: Vec<FileProblem>,
    /// Kinds that we have no use for, such as `ConfigMap (v1)`, and how many objects of each.
    pub skipped: BTreeMap<String, usize>,
}

/// One problem of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    pub file: Arc<str>,
    pub position: Position,
    /// `NetworkPolicy shop/web`; empty where the text itself cannot be read.
    pub object: String,
    /// Path of the field; empty where the object as a whole is concerned.
    pub field: String,
    /// What was found and what was expected.
    pub message: String,
    pub severity: Severity,
}

/// A place in a named file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePosition {
    pub file: Arc<str>,
    pub position: Position,
}

#[derive(Debug, Clone)]
struct Origin {
    file: Arc<str>,
    places: Places,
}

impl World {
    /// Reads texts, each with the name of its file, and adds what a cluster adds by itself:
    /// namespaces that are named but not defined, and service accounts. Of objects with the same
    /// key the later wins. Pods of controllers are added by [`World::expand`].
    pub fn load<F, T>(sources: impl IntoIterator<Item = (F, T)>) -> Loaded
    where
        F: AsRef<str>,
        T: AsRef<str>,
    {
        let mut loaded = Loaded::default();
        for (file, text) in sources {
            let file: Arc<str> = file.as_ref().into();
            match document::parse(text.as_ref()) {
                Ok(documents) => {
                    for document in documents {
                        loaded.add(&file, document);
                    }
                }
                Err(error) => loaded.problems.push(FileProblem {
                    file,
                    position: error.position,
                    object: String::new(),
                    field: String::new(),
                    message: error.message,
                    severity: Severity::Error,
                }),
            }
        }
        complete::complete(&mut loaded);
        loaded
    }

    /// Adds the pods that controllers would make on hosts of these names, as
    /// [`crate::expand::expand`] says, and notes the owners of pods that are there.
    pub fn expand(&mut self, nodes: &[Arc<str>]) {
        let expansion = expand(&self.objects, nodes);
        for (key, owner) in expansion.owners {
            if let Some(Object::Pod(pod)) = self.objects.get_mut(&key) {
                pod.metadata
                    .annotations
                    .insert(crate::expand::OWNER_ANNOTATION.into(), owner);
            }
        }
        for made in expansion.made {
            let object = Object::Pod(made.pod);
            let key = object.key();
            if let Some(origin) = self.origins.get(&made.controller).cloned() {
                self.origins.insert(key.clone(), origin);
            }
            self.objects.insert(key, object);
        }
    }

    /// Adds [`IpPool::ASSUMED`] where no pool is named: their addresses are then those of workloads,
    /// known or not, and never the outside world's.
    pub fn assume_pools(&mut self) {
        if self.objects.keys().any(|key| key.kind == Kind::IpPool) {
            return;
        }
        for (name, cidr, block_size) in IpPool::ASSUMED {
            let metadata = Metadata {
                name: name.into(),
                ..Metadata::default()
            };
            let pool = Object::IpPool(IpPool {
                metadata,
                cidr,
                block_size,
                disabled: false,
                nat_outgoing: false,
            });
            self.objects.insert(pool.key(), pool);
        }
    }

    /// Where a field of an object stands; `None` for objects that came from no file. For pods that
    /// a controller makes: where the controller stands.
    #[must_use]
    pub fn position_of(&self, key: &ObjectKey, field: &str) -> Option<FilePosition> {
        let origin = self.origins.get(key)?;
        let file = Arc::clone(&origin.file);
        Some(FilePosition {
            file,
            position: origin.places.find(field),
        })
    }

    /// An object by kind, namespace and name.
    #[must_use]
    pub fn get(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Option<&Object> {
        let namespace = namespace.map(Arc::from);
        self.objects.get(&ObjectKey {
            kind,
            namespace,
            name: name.into(),
        })
    }
}

impl Loaded {
    /// True if something could not be understood; then nothing of it must be applied.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.problems
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }

    fn add(&mut self, file: &Arc<str>, document: Document) {
        let Decoded {
            object,
            problems,
            unused,
        } = decode_written(&document.value);
        let name = describe(&document.value);
        let mut problems = problems.into_iter();
        for problem in problems.by_ref().take(REPORTED_PROBLEMS) {
            let position = document.position_of(&problem.field);
            self.problems
                .push(FileProblem::of(file, position, name.clone(), problem));
        }
        let more = problems.len();
        if let Some(severity) = problems.map(|problem| problem.severity).max() {
            let message = format!("{more} more problems");
            let problem = Problem {
                severity,
                field: String::new(),
                message,
            };
            self.problems.push(FileProblem::of(
                file,
                document.start(),
                name.clone(),
                problem,
            ));
        }
        if let Some(what) = unused {
            *self.skipped.entry(what).or_default() += 1;
        }
        let Some(object) = object else { return };
        let key = object.key();
        let start = document.start();
        if let Some(earlier) = self.world.position_of(&key, "") {
            let message = format!("defined before, at {earlier}; this one is used");
            let problem = Problem::warning("", message);
            self.problems
                .push(FileProblem::of(file, start, name, problem));
        }
        let places = document.into_places();
        self.world.origins.insert(
            key.clone(),
            Origin {
                file: Arc::clone(file),
                places,
            },
        );
        self.world.objects.insert(key, object);
    }
}

/// `NetworkPolicy shop/web`, as far as the value says it.
fn describe(value: &Value) -> String {
    let text = |value: &Value, name: &str| {
        value
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let kind = text(value, "kind").unwrap_or_else(|| "object".to_owned());
    let Some(metadata) = value.get("metadata") else {
        return kind;
    };
    let Some(name) = text(metadata, "name") else {
        return kind;
    };
    let version = text(value, "apiVersion").unwrap_or_default();
    let namespaced = Kind::of(&version, &kind).map(Kind::is_namespaced);
    let namespace = text(metadata, "namespace").filter(|_| namespaced != Some(false));
    match namespace.or_else(|| (namespaced == Some(true)).then(|| "default".to_owned())) {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

impl FileProblem {
    fn of(file: &Arc<str>, position: Position, object: String, problem: Problem) -> Self {
        Self {
            file: Arc::clone(file),
            position,
            object,
            field: problem.field,
            message: problem.message,
            severity: problem.severity,
        }
    }
}

/// `shop.yaml:12:15: NetworkPolicy shop/web: spec.ingress[0].action: message`.
impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.position)?;
        for part in [&self.object, &self.field] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.message)
    }
}

/// `shop.yaml:12:15`.
impl fmt::Display for FilePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.position)
    }
}

#[cfg(test)]
mod tests;

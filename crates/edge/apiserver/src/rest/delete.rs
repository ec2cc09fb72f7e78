//! Delete, of one object, of many, and of a namespace with all that is in it.
//!
//! There is no garbage collector: owners and propagation policies are accepted and not acted on. An object
//! with finalizers stays, marked with a deletion time, until the last one is removed. A namespace is
//! marked, which keeps new objects out; a task of its own empties it a second later, and then removes it.
//! Clients count on that delay: `kubectl delete -f` deletes a namespace and then what else is in the file.

use std::time::Duration;

use ocicat_store::{Entry, Error, Expected, Range, Write};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, Call, Reply, success};
use crate::failure::Failure;
use crate::object::Object;
use crate::registry::{self, RESOURCES};
use crate::{render, time};

/// Objects removed in one transaction.
const CHUNK: usize = 128;

/// How long a deleted namespace stays.
const DELAY: Duration = Duration::from_secs(1);

/// How often a delete that lost a race is tried again.
const TRIES: usize = 16;

/// Namespaces that exist from the first start and cannot be deleted.
const OWN_NAMESPACES: [&str; 2] = ["default", "kube-system"];

/// What the server reads of `DeleteOptions`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Options {
    preconditions: Option<Preconditions>,
    dry_run: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl Api {
    pub(super) async fn delete(&self, call: &Call) -> Result<Reply, Failure> {
        let (resource, name) = (call.target.resource, &call.target.name);
        let options = call.options()?;
        let dry_run = call.params.dry_run
            || options
                .dry_run
                .as_ref()
                .is_some_and(|list| !list.is_empty());
        if resource.kind == "Namespace" && OWN_NAMESPACES.contains(&name.as_str()) {
            return Err(Failure::forbidden(
                resource,
                name,
                "this namespace may not be deleted",
            ));
        }
        for _ in 0..TRIES {
            let entry = self.entry(call).await?;
            let object = Object::decode(&entry.value, entry.modified)?;
            options.check(&object, call)?;
            if dry_run {
                return Ok(Reply::json(
                    200,
                    &success(&call.target, name, object.meta_text("uid")),
                ));
            }
            let stays = resource.kind == "Namespace" || object.has_finalizers();
            let write = if stays {
                marked(&entry, &object)
            } else {
                Some(removal(&entry))
            };
            match self.store.commit(write.into_iter().collect()).await {
                Err(Error::Conflict { .. }) => continue,
                other => other?,
            };
            if !stays {
                return Ok(Reply::json(
                    200,
                    &success(&call.target, name, object.meta_text("uid")),
                ));
            }
            self.unfinished.notify_one();
            let entry = self.entry(call).await?;
            return Ok(call.show(200, Object::decode(&entry.value, entry.modified)?));
        }
        Err(Failure::modified(resource, name))
    }

    pub(super) async fn delete_collection(&self, call: &Call) -> Result<Reply, Failure> {
        let resource = call.target.resource;
        if resource.kind == "Namespace" || (resource.namespaced && call.target.namespace.is_empty())
        {
            return Err(Failure::method_not_allowed());
        }
        let options = call.options()?;
        let dry_run = call.params.dry_run || options.dry_run.is_some_and(|list| !list.is_empty());
        let listing = self.listing(call).await?;
        let mut objects = Vec::with_capacity(listing.entries.len());
        for entry in &listing.entries {
            objects.push(Object::decode(&entry.value, entry.modified)?);
        }
        if !dry_run {
            for _ in 0..TRIES {
                if self.remove(self.listing(call).await?.entries).await? {
                    break;
                }
            }
        }
        let metadata = render::list_metadata(self.store.revision(), "");
        Ok(Reply::json(
            200,
            &render::list(
                call.accept.view,
                call.params.include,
                resource,
                objects,
                &metadata,
            ),
        ))
    }

    /// Ends the namespaces that are marked for it, whenever there may be some; never returns.
    pub(crate) async fn end_namespaces(&self) {
        loop {
            self.unfinished.notified().await;
            tokio::time::sleep(DELAY).await;
            if let Err(failure) = self.end_marked().await {
                // The next delete or the next start tries again.
                tracing::warn!(reason = %failure.status()["message"], "namespaces could not be ended");
            }
        }
    }

    async fn end_marked(&self) -> Result<(), Failure> {
        for entry in self
            .store
            .range(Range::prefix(&registry::namespaces().key("", "")))
            .await?
            .entries
        {
            let object = Object::decode(&entry.value, entry.modified)?;
            if object.is_terminating() {
                self.end_namespace(object.name()).await?;
            }
        }
        Ok(())
    }

    /// Removes the content of a namespace that is marked, then the namespace. Content with finalizers
    /// keeps it; the last one that goes gives notice.
    async fn end_namespace(&self, name: &str) -> Result<(), Failure> {
        let key = registry::namespaces().key("", name);
        for _ in 0..TRIES {
            let Some(entry) = self.store.get(&key).await? else {
                return Ok(());
            };
            let mut content = Vec::new();
            for resource in RESOURCES.iter().filter(|resource| resource.namespaced) {
                content.extend(
                    self.store
                        .range(Range::prefix(&resource.key(name, "")))
                        .await?
                        .entries,
                );
            }
            if !content.is_empty() {
                if self.remove(content).await? && self.has_content(name).await? {
                    return Ok(());
                }
                continue;
            }
            if Object::decode(&entry.value, entry.modified)?.has_finalizers() {
                return Ok(());
            }
            match self.store.commit(vec![removal(&entry)]).await {
                Ok(_) => return Ok(()),
                Err(Error::Conflict { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    }

    /// Makes the namespaces that must exist.
    pub(crate) async fn prepare(&self) -> Result<(), Failure> {
        for name in OWN_NAMESPACES {
            self.ensure_namespace(name).await?;
        }
        // An earlier process may have left some.
        self.unfinished.notify_one();
        Ok(())
    }

    async fn has_content(&self, namespace: &str) -> Result<bool, Failure> {
        for resource in RESOURCES.iter().filter(|resource| resource.namespaced) {
            let range = Range {
                limit: Some(1),
                ..Range::prefix(&resource.key(namespace, ""))
            };
            if !self.store.range(range).await?.entries.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes objects, or marks them if they have finalizers. `false` if some changed meanwhile.
    async fn remove(&self, entries: Vec<Entry>) -> Result<bool, Failure> {
        let mut undisturbed = true;
        for chunk in entries.chunks(CHUNK) {
            let mut writes = Vec::with_capacity(chunk.len());
            for entry in chunk {
                let object = Object::decode(&entry.value, entry.modified)?;
                writes.extend(if object.has_finalizers() {
                    marked(entry, &object)
                } else {
                    Some(removal(entry))
                });
            }
            match self.store.commit(writes).await {
                Ok(_) => {}
                Err(Error::Conflict { .. }) => undisturbed = false,
                Err(other) => return Err(other.into()),
            }
        }
        Ok(undisturbed)
    }
}

impl Call {
    fn options(&self) -> Result<Options, Failure> {
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Options::default());
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| Failure::bad_request(format!("DeleteOptions: {error}")))
    }
}

impl Options {
    fn check(&self, object: &Object, call: &Call) -> Result<(), Failure> {
        let Some(demand) = &self.preconditions else {
            return Ok(());
        };
        let fields = [
            ("uid", "UID", &demand.uid),
            (
                "resourceVersion",
                "ResourceVersion",
                &demand.resource_version,
            ),
        ];
        for (field, word, wanted) in fields {
            let found = object.meta_text(field);
            if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != found) {
                let why = format!(
                    "Precondition failed: {word} in precondition: {wanted}, {word} in object meta: {found}"
                );
                return Err(Failure::conflict(call.target.resource, object.name(), &why));
            }
        }
        Ok(())
    }
}

fn removal(entry: &Entry) -> Write {
    Write::delete(&entry.key, Expected::At(entry.modified))
}

/// The object with a deletion time; nothing if it has one.
fn marked(entry: &Entry, object: &Object) -> Option<Write> {
    if object.is_terminating() {
        return None;
    }
    let mut object = object.clone();
    object.set_meta("deletionTimestamp", time::format(time::now()).into());
    object.set_meta("deletionGracePeriodSeconds", Value::from(0));
    if object.get("kind") == Some(&"Namespace".into()) {
        object.set("status", json!({ "phase": "Terminating" }));
    }
    Some(Write::put(
        &entry.key,
        &object.encode(),
        Expected::At(entry.modified),
    ))
}

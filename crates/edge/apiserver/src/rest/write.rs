//! Create, update and patch.

use ocicat_store::{Entry, Error, Expected, Write};
use serde_json::{Value, json};

use super::{Api, Call, Reply};
use crate::admission::FieldProblem;
use crate::failure::Failure;
use crate::object::Object;
use crate::params::UnknownFields;
use crate::patch::Patch;
use crate::protobuf;
use crate::registry::{self, Resource};
use crate::render;
use crate::route::Part;
use crate::time;

/// How often a write that lost a race is tried again before the client is told.
const TRIES: usize = 16;

/// The label that carries a namespace's name.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

/// Fields of the metadata that only the server sets.
const SERVER_FIELDS: [&str; 7] = [
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
];

impl Api {
    pub(super) async fn create(&self, call: &Call) -> Result<Reply, Failure> {
        let resource = call.target.resource;
        let mut object = Object::parse(call.json()?, resource)?;
        if resource.namespaced && call.target.namespace.is_empty() {
            return Err(Failure::method_not_allowed());
        }
        place(&mut object, resource, &call.target.namespace)?;
        if !object.meta_text("resourceVersion").is_empty() {
            return Err(Failure::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        self.name(&mut object)?;
        self.begin(&mut object, resource)?;
        let (object, warnings) = self.admit(object, call)?;
        let mut reply = self.insert(object, call).await?;
        reply.warnings = warnings;
        Ok(reply)
    }

    /// Stores a new object, while its namespace exists.
    async fn insert(&self, mut object: Object, call: &Call) -> Result<Reply, Failure> {
        let resource = call.target.resource;
        let key = resource.key(object.namespace(), object.name());
        for _ in 0..TRIES {
            let mut writes = vec![Write::put(&key, &object.encode(), Expected::Absent)];
            if resource.namespaced {
                writes.push(self.living_namespace(&object, resource).await?);
            }
            if call.params.dry_run {
                if self.store.get(&key).await?.is_some() {
                    return Err(Failure::already_exists(resource, object.name()));
                }
                return Ok(call.show(201, object));
            }
            match self.store.commit(writes).await {
                Ok(revision) => {
                    object.set_meta("resourceVersion", revision.to_string().into());
                    return Ok(call.show(201, object));
                }
                Err(Error::Conflict { key: lost, .. }) if *lost == *key => {
                    return Err(Failure::already_exists(resource, object.name()));
                }
                Err(Error::Conflict { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(Failure::modified(
            registry::namespaces(),
            object.namespace(),
        ))
    }

    /// The demand that the namespace of an object stays as it is now: there, and not on its way out.
    async fn living_namespace(
        &self,
        object: &Object,
        resource: &Resource,
    ) -> Result<Write, Failure> {
        let name = object.namespace();
        let key = registry::namespaces().key("", name);
        let Some(entry) = self.store.get(&key).await? else {
            return Err(Failure::not_found(registry::namespaces(), name));
        };
        if Object::decode(&entry.value, entry.modified)?.is_terminating() {
            let why = format!(
                "unable to create new content in namespace {name} because it is being terminated"
            );
            return Err(Failure::forbidden(resource, object.name(), &why));
        }
        Ok(Write::check(&key, Expected::At(entry.modified)))
    }

    /// Makes a namespace if it does not exist.
    pub(super) async fn ensure_namespace(&self, name: &str) -> Result<(), Failure> {
        let resource = registry::namespaces();
        let mut object = Object::parse(json!({ "metadata": { "name": name } }), resource)?;
        self.begin(&mut object, resource)?;
        match self
            .store
            .commit(vec![Write::put(
                &resource.key("", name),
                &object.encode(),
                Expected::Absent,
            )])
            .await
        {
            Ok(_) | Err(Error::Conflict { .. }) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }

    /// Gives an object without a name one that starts as it wishes.
    fn name(&self, object: &mut Object) -> Result<(), Failure> {
        let prefix = object.meta_text("generateName").to_owned();
        if object.name().is_empty() && !prefix.is_empty() {
            let suffix = self.random.suffix().map_err(Failure::internal)?;
            let kept: String = prefix.chars().take(58).collect();
            object.set_meta("name", format!("{kept}{suffix}").into());
        }
        Ok(())
    }

    /// Sets what only the server sets on a new object.
    fn begin(&self, object: &mut Object, resource: &Resource) -> Result<(), Failure> {
        object.set_meta("uid", self.random.uuid().map_err(Failure::internal)?.into());
        object.set_meta("creationTimestamp", time::format(time::now()).into());
        object.set_meta("generation", 1.into());
        for field in [
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "resourceVersion",
        ] {
            object.meta_mut().remove(field);
        }
        if resource.status {
            object.remove("status");
        }
        match resource.kind {
            "Namespace" => {
                label_namespace(object);
                object.set("spec", json!({ "finalizers": ["kubernetes"] }));
                object.set("status", json!({ "phase": "Active" }));
            }
            "Pod" => object.set("status", json!({ "phase": "Pending" })),
            _ => {}
        }
        Ok(())
    }

    pub(super) async fn replace(&self, call: &Call) -> Result<Reply, Failure> {
        let mut object = Object::parse(call.json()?, call.target.resource)?;
        place(&mut object, call.target.resource, &call.target.namespace)?;
        if object.name() != call.target.name {
            let text = format!(
                "the name of the object ({}) does not match the name on the URL ({})",
                object.name(),
                call.target.name
            );
            return Err(Failure::bad_request(text));
        }
        self.change(call, |_| Ok(object.clone())).await
    }

    pub(super) async fn patch(&self, call: &Call) -> Result<Reply, Failure> {
        let resource = call.target.resource;
        let patch = Patch::parse(&call.media_type, &call.body, resource)?;
        self.change(call, |old| {
            let mut object =
                Object::parse(patch.apply(old.clone().into_value(), resource)?, resource)?;
            // A patch that does not name a version is one of whatever is there.
            if object.meta_text("resourceVersion").is_empty() {
                object.meta_mut().remove("resourceVersion");
            }
            Ok(object)
        })
        .await
    }

    /// Stores what `wish` makes of the object. A lost race is run again on the newer object; a wish that
    /// names a version then no longer agrees.
    async fn change(
        &self,
        call: &Call,
        wish: impl Fn(&Object) -> Result<Object, Failure>,
    ) -> Result<Reply, Failure> {
        let (resource, name) = (call.target.resource, &call.target.name);
        for _ in 0..TRIES {
            let entry = self.entry(call).await?;
            let old = Object::decode(&entry.value, entry.modified)?;
            let wished = wish(&old)?;
            agrees(&old, &wished, call)?;
            let (new, warnings) = match call.target.part {
                Part::Status => (with_status(&old, wished), Vec::new()),
                Part::Whole => self.admit(carry_over(&old, wished, resource), call)?,
            };
            if let Some(mut reply) = self.store_change(call, &entry, &old, new).await? {
                reply.warnings = warnings;
                return Ok(reply);
            }
        }
        Err(Failure::modified(resource, name))
    }

    /// `None` if somebody else was faster.
    async fn store_change(
        &self,
        call: &Call,
        entry: &Entry,
        old: &Object,
        mut new: Object,
    ) -> Result<Option<Reply>, Failure> {
        new.set_meta("resourceVersion", entry.modified.to_string().into());
        if call.target.part == Part::Whole && !old.same_content(&new) {
            let generation = old
                .meta()
                .get("generation")
                .and_then(Value::as_i64)
                .unwrap_or(0);
            new.set_meta("generation", (generation + 1).into());
        }
        if call.params.dry_run || new == *old {
            return Ok(Some(call.show(200, new)));
        }
        let gone = new.is_terminating()
            && !new.has_finalizers()
            && new.get("kind") != Some(&"Namespace".into());
        let expected = Expected::At(entry.modified);
        let write = if gone {
            Write::delete(&entry.key, expected)
        } else {
            Write::put(&entry.key, &new.encode(), expected)
        };
        match self.store.commit(vec![write]).await {
            Ok(revision) => new.set_meta("resourceVersion", revision.to_string().into()),
            Err(Error::Conflict { .. }) => return Ok(None),
            Err(other) => return Err(other.into()),
        }
        if new.is_terminating() {
            self.unfinished.notify_one();
        }
        Ok(Some(call.show(200, new)))
    }

    /// Asks whether an object may be stored.
    fn admit(&self, object: Object, call: &Call) -> Result<(Object, Vec<String>), Failure> {
        let resource = call.target.resource;
        let name = object.name().to_owned();
        let refuse = |problems: &[FieldProblem]| Err(Failure::invalid(resource, &name, problems));
        let problems = object.metadata_problems(resource);
        if !problems.is_empty() {
            return refuse(&problems);
        }
        let admitted = match self.admission.admit(&object.into_value()) {
            Ok(admitted) => admitted,
            Err(problems) => return refuse(&problems),
        };
        let mut warnings = admitted.warnings;
        let unknown = admitted
            .unknown_fields
            .iter()
            .map(|field| format!("unknown field {field:?}"));
        match call.params.unknown_fields {
            UnknownFields::Refuse if !admitted.unknown_fields.is_empty() => {
                let list = unknown.collect::<Vec<_>>().join(", ");
                return Err(Failure::bad_request(format!(
                    "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {list}",
                    kind = resource.kind,
                    version = resource.version,
                )));
            }
            UnknownFields::Warn => warnings.extend(unknown),
            _ => {}
        }
        Ok((Object::parse(admitted.object, resource)?, warnings))
    }
}

impl Call {
    /// The object in the body.
    fn json(&self) -> Result<Value, Failure> {
        if self.media_type == protobuf::MEDIA_TYPE {
            return protobuf::decode(&self.body, self.target.resource);
        }
        if !matches!(self.media_type.as_str(), "application/json" | "") {
            return Err(Failure::unsupported_media(format!(
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json; got {:?}",
                self.media_type
            )));
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| Failure::bad_request(format!("the body is not valid JSON: {error}")))
    }

    /// An object in the form that the client asked for.
    pub(super) fn show(&self, code: u16, object: Object) -> Reply {
        Reply::json(
            code,
            &render::one(
                self.accept.view,
                self.params.include,
                self.target.resource,
                object,
            ),
        )
    }
}

/// Puts an object into the namespace of the path.
fn place(object: &mut Object, resource: &Resource, namespace: &str) -> Result<(), Failure> {
    if !resource.namespaced {
        object.meta_mut().remove("namespace");
    } else if object.namespace().is_empty() {
        object.set_meta("namespace", namespace.into());
    } else if object.namespace() != namespace {
        return Err(Failure::bad_request(format!(
            "the namespace of the provided object ({}) does not match the namespace sent on the request ({namespace})",
            object.namespace()
        )));
    }
    Ok(())
}

fn label_namespace(object: &mut Object) {
    let name = object.name().to_owned();
    let labels = object
        .meta_mut()
        .entry("labels")
        .or_insert_with(|| json!({}));
    labels[NAMESPACE_LABEL] = name.into();
}

/// Refuses a wish for another object or another version than there is.
fn agrees(old: &Object, wished: &Object, call: &Call) -> Result<(), Failure> {
    let (resource, name) = (call.target.resource, &call.target.name);
    let differs = |field: &str| {
        let wanted = wished.meta_text(field);
        !wanted.is_empty() && wanted != old.meta_text(field)
    };
    if differs("resourceVersion") {
        return Err(Failure::modified(resource, name));
    }
    if differs("uid") {
        let (wanted, found) = (wished.meta_text("uid"), old.meta_text("uid"));
        let why = format!(
            "Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
        );
        return Err(Failure::conflict(resource, name, &why));
    }
    if differs("name") || differs("namespace") {
        return Err(Failure::bad_request(
            "the name and the namespace of an object cannot be changed",
        ));
    }
    Ok(())
}

/// The wish, with what the caller may not change as it was.
fn carry_over(old: &Object, mut wished: Object, resource: &Resource) -> Object {
    for field in SERVER_FIELDS {
        match old.meta().get(field) {
            Some(value) => wished.set_meta(field, value.clone()),
            None => drop(wished.meta_mut().remove(field)),
        }
    }
    if resource.status {
        match old.get("status") {
            Some(status) => wished.set("status", status.clone()),
            None => drop(wished.remove("status")),
        }
    }
    if resource.kind == "Namespace" {
        label_namespace(&mut wished);
        if let Some(spec) = old.get("spec") {
            wished.set("spec", spec.clone());
        }
    }
    wished
}

/// The old object with the status of the wish.
fn with_status(old: &Object, mut wished: Object) -> Object {
    let mut new = old.clone();
    match wished.remove("status") {
        Some(status) => new.set("status", status),
        None => drop(new.remove("status")),
    }
    new
}

//! Objects as they travel and as they are stored.
//!
//! A stored object is its JSON without `resourceVersion`, which is the revision of the store, and always
//! begins with `{"metadata":{`. So a list or a watch without selectors puts the revision in by copying
//! bytes, without parsing.

use serde_json::{Map, Value, json};

use crate::admission::{Cause, FieldProblem};
use crate::failure::Failure;
use crate::registry::Resource;

mod names;

pub(crate) use names::{label_key, label_value, subdomain};

/// What every stored object begins with.
const START: &[u8] = b"{\"metadata\":{";

/// Longest total of annotations, in bytes, as in Kubernetes.
const ANNOTATION_BYTES: usize = 256 * 1024;

/// A JSON object that has a `metadata` object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Object(Map<String, Value>);

impl Object {
    /// Reads an object of this kind as a client sent it. An absent `kind` or `apiVersion` is filled in.
    pub(crate) fn parse(value: Value, resource: &Resource) -> Result<Self, Failure> {
        let Value::Object(mut map) = value else {
            return Err(Failure::bad_request("the body is not a JSON object"));
        };
        for (field, expected) in [
            ("kind", resource.kind),
            ("apiVersion", &resource.api_version()),
        ] {
            match map.get(field) {
                None | Some(Value::Null) => drop(map.insert(field.to_owned(), expected.into())),
                Some(Value::String(found)) if found.is_empty() => {
                    drop(map.insert(field.to_owned(), expected.into()));
                }
                Some(Value::String(found)) if found == expected => {}
                Some(found) => {
                    let text =
                        format!("{field}: the path expects {expected:?}, the object has {found}");
                    return Err(Failure::bad_request(text));
                }
            }
        }
        let metadata = map.entry("metadata").or_insert_with(|| json!({}));
        if metadata.is_null() {
            *metadata = json!({});
        }
        let Value::Object(metadata) = metadata else {
            return Err(Failure::bad_request("metadata: expected an object"));
        };
        metadata_types(metadata)?;
        Ok(Self(map))
    }

    /// Reads what [`Object::encode`] wrote, and puts the revision in.
    pub(crate) fn decode(bytes: &[u8], revision: u64) -> Result<Self, Failure> {
        let broken =
            |error: String| Failure::internal(format!("a stored object is broken: {error}"));
        let map: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|error| broken(error.to_string()))?;
        if !map.get("metadata").is_some_and(Value::is_object) {
            return Err(broken("it has no metadata".to_owned()));
        }
        let mut object = Self(map);
        object.set_meta("resourceVersion", revision.to_string().into());
        Ok(object)
    }

    /// The bytes to store.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut metadata = self.meta().clone();
        metadata.remove("resourceVersion");
        // A name keeps metadata from being empty, which `with_revision` relies on.
        metadata.entry("name").or_insert_with(|| "".into());
        let mut bytes = b"{\"metadata\":".to_vec();
        bytes.extend_from_slice(Value::Object(metadata).to_string().as_bytes());
        for (key, value) in self.0.iter().filter(|(key, _)| *key != "metadata") {
            bytes.push(b',');
            bytes.extend_from_slice(Value::from(key.as_str()).to_string().as_bytes());
            bytes.push(b':');
            bytes.extend_from_slice(value.to_string().as_bytes());
        }
        bytes.push(b'}');
        bytes
    }

    /// The object for a client.
    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// A look at the whole object.
    pub(crate) fn pointer(&self, pointer: &str) -> Option<&Value> {
        let (first, rest) = match pointer.strip_prefix('/')?.split_once('/') {
            Some((first, rest)) => (first, Some(rest)),
            None => (pointer.strip_prefix('/')?, None),
        };
        let value = self.0.get(first)?;
        match rest {
            None => Some(value),
            Some(rest) => value.pointer(&format!("/{rest}")),
        }
    }

    pub(crate) fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    pub(crate) fn set(&mut self, field: &str, value: Value) {
        self.0.insert(field.to_owned(), value);
    }

    pub(crate) fn remove(&mut self, field: &str) -> Option<Value> {
        self.0.remove(field)
    }

    pub(crate) fn meta(&self) -> &Map<String, Value> {
        // Every constructor checks it, and `set` is never called with "metadata".
        self.0
            .get("metadata")
            .and_then(Value::as_object)
            .expect("objects have metadata")
    }

    pub(crate) fn meta_mut(&mut self) -> &mut Map<String, Value> {
        self.0
            .get_mut("metadata")
            .and_then(Value::as_object_mut)
            .expect("objects have metadata")
    }

    pub(crate) fn set_meta(&mut self, field: &str, value: Value) {
        self.meta_mut().insert(field.to_owned(), value);
    }

    /// A text field of the metadata; empty when absent.
    pub(crate) fn meta_text(&self, field: &str) -> &str {
        self.meta().get(field).and_then(Value::as_str).unwrap_or("")
    }

    pub(crate) fn name(&self) -> &str {
        self.meta_text("name")
    }

    pub(crate) fn namespace(&self) -> &str {
        self.meta_text("namespace")
    }

    pub(crate) fn labels(&self) -> Option<&Map<String, Value>> {
        self.meta().get("labels").and_then(Value::as_object)
    }

    /// Whether somebody still has to agree before the object goes.
    pub(crate) fn has_finalizers(&self) -> bool {
        self.meta()
            .get("finalizers")
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty())
    }

    /// Whether the object was deleted and waits for its finalizers or, a namespace, for its content.
    pub(crate) fn is_terminating(&self) -> bool {
        !self.meta_text("deletionTimestamp").is_empty()
    }

    /// Everything that `generation` counts changes of.
    pub(crate) fn same_content(&self, other: &Self) -> bool {
        let content = |object: &Self| {
            object
                .0
                .iter()
                .filter(|(key, _)| !matches!(key.as_str(), "metadata" | "status"))
                .map(owned)
                .collect()
        };
        let (ours, theirs): (Map<String, Value>, Map<String, Value>) =
            (content(self), content(other));
        ours == theirs
    }

    /// What is wrong with the metadata, by the rules that all kinds share.
    pub(crate) fn metadata_problems(&self, resource: &Resource) -> Vec<FieldProblem> {
        let mut problems = Vec::new();
        let mut found = |field: String, cause, detail: String| {
            problems.push(FieldProblem {
                field,
                cause,
                detail,
            });
        };
        match self.name() {
            "" => found(
                "metadata.name".into(),
                Cause::Required,
                "name or generateName is required".into(),
            ),
            name => {
                let verdict = if resource.kind == "Namespace" {
                    names::label(name)
                } else {
                    subdomain(name)
                };
                if let Err(why) = verdict {
                    found(
                        "metadata.name".into(),
                        Cause::Invalid,
                        format!("{name:?}: {why}"),
                    );
                }
            }
        }
        for (key, value) in self.labels().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            if let Err(why) = label_key(key).and_then(|()| label_value(value)) {
                found(
                    "metadata.labels".into(),
                    Cause::Invalid,
                    format!("{key:?}={value:?}: {why}"),
                );
            }
        }
        let mut bytes = 0;
        for (key, value) in self
            .meta()
            .get("annotations")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            bytes += key.len() + value.as_str().map_or(0, str::len);
            if let Err(why) = label_key(&key.to_ascii_lowercase()) {
                found(
                    "metadata.annotations".into(),
                    Cause::Invalid,
                    format!("{key:?}: {why}"),
                );
            }
        }
        if bytes > ANNOTATION_BYTES {
            let detail = format!("{bytes} bytes: at most {ANNOTATION_BYTES} in all");
            found("metadata.annotations".into(), Cause::Invalid, detail);
        }
        problems
    }
}

/// The stored bytes as JSON with the revision in it.
pub(crate) fn with_revision(stored: &[u8], revision: u64) -> Vec<u8> {
    let rest = stored.strip_prefix(START).unwrap_or_default();
    let mut bytes = Vec::with_capacity(stored.len() + 48);
    bytes.extend_from_slice(START);
    bytes.extend_from_slice(format!("\"resourceVersion\":\"{revision}\",").as_bytes());
    bytes.extend_from_slice(rest);
    bytes
}

fn owned((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

/// Refuses metadata whose fields have other types than Kubernetes gives them, and drops nulls.
fn metadata_types(metadata: &mut Map<String, Value>) -> Result<(), Failure> {
    metadata.retain(|_, value| !value.is_null());
    let refuse = |field: &str, expected| {
        Err(Failure::bad_request(format!(
            "metadata.{field}: expected {expected}"
        )))
    };
    for field in [
        "name",
        "generateName",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "deletionTimestamp",
    ] {
        if metadata.get(field).is_some_and(|value| !value.is_string()) {
            return refuse(field, "a string");
        }
    }
    for field in ["labels", "annotations"] {
        let Some(value) = metadata.get_mut(field) else {
            continue;
        };
        let Some(map) = value.as_object_mut() else {
            return refuse(field, "an object of strings");
        };
        map.retain(|_, value| !value.is_null());
        if let Some((key, _)) = map.iter().find(|(_, value)| !value.is_string()) {
            return refuse(&format!("{field}[{key:?}]"), "a string (quote it)");
        }
    }
    if let Some(list) = metadata.get("finalizers")
        && !list
            .as_array()
            .is_some_and(|list| list.iter().all(Value::is_string))
    {
        return refuse("finalizers", "a list of strings");
    }
    metadata.remove("managedFields");
    metadata.remove("selfLink");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;

    fn pod(metadata: &Value) -> Result<Object, Failure> {
        let resource = registry::find("", "v1", "pods").unwrap();
        Object::parse(
            json!({ "metadata": metadata, "spec": { "nodeName": "n" } }),
            resource,
        )
    }

    #[test]
    fn the_revision_goes_in_and_out() {
        let object = pod(&json!({ "name": "a", "resourceVersion": "7" })).unwrap();
        let stored = object.encode();
        assert!(stored.starts_with(START));
        let spliced: Value = serde_json::from_slice(&with_revision(&stored, 12)).unwrap();
        assert_eq!(spliced, Object::decode(&stored, 12).unwrap().into_value());
        assert_eq!(spliced["metadata"]["resourceVersion"], "12");
        assert_eq!(spliced["kind"], "Pod");
    }

    #[test]
    fn metadata_of_the_wrong_types_is_refused() {
        for metadata in [
            json!([]),
            json!({ "name": 1 }),
            json!({ "labels": { "a": 1 } }),
            json!({ "annotations": [] }),
            json!({ "finalizers": [1] }),
        ] {
            assert!(pod(&metadata).is_err(), "{metadata}");
        }
        assert!(
            Object::parse(
                json!({ "kind": "Node" }),
                registry::find("", "v1", "pods").unwrap()
            )
            .is_err()
        );
    }

    #[test]
    fn bad_names_and_labels_are_found() {
        let object = pod(&json!({ "name": "A_b", "labels": { "a b": "x", "ok": "-" } })).unwrap();
        let problems = object.metadata_problems(registry::find("", "v1", "pods").unwrap());
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}

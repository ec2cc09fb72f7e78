//! `apply` as kubectl does it: a three-way merge with what was applied last.

use serde_json::{Map, Value};

use crate::Error;
use crate::merge;
use crate::request::Client;
use crate::resource::{Name, Resource};

/// The annotation that holds what was applied last; kubectl's own, so that both can be used in
/// turn.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What [`Client::apply`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    Created,
    Configured,
    Unchanged,
}

/// Whether [`Client::apply`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Write,
    /// The server checks and answers as if, but stores nothing.
    DryRun,
}

/// How often an object that appears or goes at the same time is looked at again.
const ATTEMPTS: u32 = 3;

impl Client {
    /// Creates the object, or changes the one that is there: fields of `object` are set, fields
    /// that were applied last and are missing now are removed, all others stay as they are. Lists
    /// are replaced as a whole.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`] if its namespace is not there, or any that
    /// concerns the connection.
    pub async fn apply(
        &self,
        resource: impl Into<Resource>,
        object: &Value,
        mode: Mode,
    ) -> Result<Applied, Error> {
        let resource = resource.into();
        let name = Name::of(object).ok_or_else(|| Error::Protocol {
            what: "object to apply".into(),
            message: "it has no metadata.name".into(),
        })?;
        let wanted = annotated(object);
        let mut attempt = 1;
        loop {
            match self.apply_once(&resource, &name, &wanted, mode).await {
                Err(Error::AlreadyExists { .. } | Error::Conflict { .. }) if attempt < ATTEMPTS => {
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }

    async fn apply_once(
        &self,
        resource: &Resource,
        name: &Name,
        wanted: &Value,
        mode: Mode,
    ) -> Result<Applied, Error> {
        let query = match mode {
            Mode::Write => "&fieldValidation=Strict",
            Mode::DryRun => "&fieldValidation=Strict&dryRun=All",
        };
        let current = match self.get(resource, name).await {
            Ok(current) => current,
            Err(Error::NotFound { .. }) => {
                self.create_with(resource, wanted, query).await?;
                return Ok(Applied::Created);
            }
            Err(error) => return Err(error),
        };
        let Some(patch) = merge::three_way(&last_applied(&current), wanted, &current) else {
            return Ok(Applied::Unchanged);
        };
        let stored = self.patch_with(resource, name, &patch, "", query).await?;
        // The server may add defaults to what we name and find that nothing changed. A dry run
        // leaves the version as it is in any case.
        let version = |x: &Value| x["metadata"]["resourceVersion"].clone();
        let same = match mode {
            Mode::Write => version(&stored) == version(&current),
            Mode::DryRun => stored == current,
        };
        Ok(if same {
            Applied::Unchanged
        } else {
            Applied::Configured
        })
    }
}

/// The object with the annotation that remembers it.
fn annotated(object: &Value) -> Value {
    let mut wanted = object.clone();
    let Some(metadata) = wanted.get_mut("metadata").and_then(Value::as_object_mut) else {
        return wanted;
    };
    let empty = || Value::Object(Map::new());
    let annotations = metadata.entry("annotations").or_insert_with(empty);
    if !annotations.is_object() {
        *annotations = empty();
    }
    let plain = {
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.remove(LAST_APPLIED);
        }
        format!("{wanted}\n")
    };
    wanted["metadata"]["annotations"][LAST_APPLIED] = Value::String(plain);
    wanted
}

fn last_applied(current: &Value) -> Value {
    let text = current["metadata"]["annotations"][LAST_APPLIED].as_str();
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_annotation_remembers_the_object_without_itself() {
        let object = json!({"kind": "Tier", "metadata": {"name": "a"}, "spec": {"order": 1}});
        let wanted = annotated(&object);
        let again = annotated(&wanted);
        assert_eq!(wanted, again);
        assert_eq!(last_applied(&wanted)["spec"], json!({"order": 1}));
        assert_eq!(last_applied(&wanted)["metadata"]["annotations"], json!({}));
    }
}

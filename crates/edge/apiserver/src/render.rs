//! The forms in which objects are shown: as they are, metadata only, or as tables for people.

use serde_json::{Value, json};

use crate::object::Object;
use crate::params::{Include, View};
use crate::registry::Resource;

mod cells;
mod columns;

use columns::Column;

/// One object.
pub(crate) fn one(view: View, include: Include, resource: &Resource, object: Object) -> Value {
    match view {
        View::Object => object.into_value(),
        View::Metadata => metadata_of(&object),
        View::Table => {
            let version = object.meta_text("resourceVersion").to_owned();
            table(
                include,
                resource,
                vec![object],
                &json!({ "resourceVersion": version }),
            )
        }
    }
}

/// Many objects, with the metadata of the list.
pub(crate) fn list(
    view: View,
    include: Include,
    resource: &Resource,
    objects: Vec<Object>,
    metadata: &Value,
) -> Value {
    match view {
        View::Object => json!({
            "apiVersion": resource.api_version(),
            "kind": format!("{}List", resource.kind),
            "metadata": metadata,
            "items": objects.into_iter().map(Object::into_value).collect::<Vec<_>>(),
        }),
        View::Metadata => json!({
            "apiVersion": "meta.k8s.io/v1",
            "kind": "PartialObjectMetadataList",
            "metadata": metadata,
            "items": objects.iter().map(metadata_of).collect::<Vec<_>>(),
        }),
        View::Table => table(include, resource, objects, metadata),
    }
}

/// The metadata of a list: its revision, and where the next page goes on.
pub(crate) fn list_metadata(revision: u64, next: &str) -> Value {
    let mut metadata = json!({ "resourceVersion": revision.to_string() });
    if !next.is_empty() {
        metadata["continue"] = next.into();
    }
    metadata
}

/// What tells a watcher how far it has seen.
pub(crate) fn bookmark(
    view: View,
    resource: &Resource,
    revision: u64,
    end_of_initial: bool,
) -> Value {
    let mut metadata = json!({ "resourceVersion": revision.to_string() });
    if end_of_initial {
        metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
    }
    match view {
        View::Object => {
            json!({ "apiVersion": resource.api_version(), "kind": resource.kind, "metadata": metadata })
        }
        View::Metadata => {
            json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata })
        }
        View::Table => table(Include::Nothing, resource, Vec::new(), &metadata),
    }
}

fn metadata_of(object: &Object) -> Value {
    json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object.meta() })
}

fn table(include: Include, resource: &Resource, objects: Vec<Object>, metadata: &Value) -> Value {
    let columns = columns::of(resource);
    let definitions: Vec<Value> = columns.iter().map(Column::definition).collect();
    let now = crate::time::now();
    let row = |object: Object| {
        let cells: Vec<Value> = columns
            .iter()
            .map(|column| column.cell(&object, now))
            .collect();
        match include {
            Include::Metadata => json!({ "cells": cells, "object": metadata_of(&object) }),
            Include::Object => json!({ "cells": cells, "object": object.into_value() }),
            Include::Nothing => json!({ "cells": cells }),
        }
    };
    json!({
        "apiVersion": "meta.k8s.io/v1",
        "kind": "Table",
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": objects.into_iter().map(row).collect::<Vec<_>>(),
    })
}

//! `OpenAPI`, as far as `kubectl` reads it: which paths take which parameters, and what the kinds look
//! like: those that have a schema in `model/api` in full, others at the top.
//!
//! Of the others, fields that are not described are allowed (`x-kubernetes-preserve-unknown-fields`);
//! what a kind really accepts is judged by the server. Strategic merge patches are served for Kubernetes' own kinds but not
//! announced here: a client that finds them announced takes its merge keys from these schemas, which do
//! not have them, and one that does not uses its own, which do.

use ocicat_api::Kind;
use ocicat_api::schema::{self, Schemas, policy_status};
use serde_json::{Map, Value, json};

use crate::registry::{self, GROUPS, RESOURCES, Resource};

mod fields;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The media type and the document of `/openapi/v2` for clients that take it in protobuf only. It says
/// `swagger: "2.0"` and describes nothing, which sends them to what they know themselves; `kubectl` before
/// 1.29 does not apply without it.
pub(crate) const V2_PROTOBUF: (&str, &[u8]) = (
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    b"\x0a\x032.0",
);

/// `/openapi/v2`: all kinds in one document.
pub(crate) fn v2() -> Value {
    let reference = |name: &str| format!("#/definitions/{name}");
    let mut definitions = Map::new();
    definitions.insert(OBJECT_META.to_owned(), fields::object_meta());
    for resource in &RESOURCES {
        let mut schema = schema(resource, &reference(OBJECT_META));
        for_v2(&mut schema);
        definitions.insert(schema_name(resource), schema);
    }
    let mut paths = Map::new();
    for resource in &RESOURCES {
        for path in item_paths(resource) {
            let response = json!({ "200": { "description": "OK", "schema": { "$ref": reference(&schema_name(resource)) } } });
            let mut operations = operations(resource, &response);
            operations["patch"]["consumes"] = json!(PATCHES);
            paths.insert(path, operations);
        }
    }
    json!({ "swagger": "2.0", "info": info(), "paths": paths, "definitions": definitions })
}

/// `/openapi/v3`: where the documents of the groups are.
pub(crate) fn v3_index() -> Value {
    let mut paths = Map::new();
    for (group, version) in GROUPS {
        let place = match group {
            "" => format!("api/{version}"),
            group => format!("apis/{group}/{version}"),
        };
        // Clients keep a document as long as its address stays.
        let address = format!(
            "/openapi/v3/{place}?hash={:016X}",
            hash(&v3(group, version).to_string())
        );
        paths.insert(place, json!({ "serverRelativeURL": address }));
    }
    json!({ "paths": paths })
}

/// `/openapi/v3/apis/GROUP/VERSION`: one group and version.
pub(crate) fn v3(group: &str, version: &str) -> Value {
    let reference = |name: &str| format!("#/components/schemas/{name}");
    let (mut schemas, mut paths) = (Map::new(), Map::new());
    schemas.insert(OBJECT_META.to_owned(), fields::object_meta());
    for resource in registry::of_version(group, version) {
        let name = schema_name(resource);
        let content = json!({ "application/json": { "schema": { "$ref": reference(&name) } } });
        let response = json!({ "200": { "description": "OK", "content": content } });
        for path in item_paths(resource) {
            let mut operations = operations(resource, &response);
            let bodies = PATCHES.map(|media_type| {
                (
                    media_type.to_owned(),
                    json!({ "schema": { "type": "object" } }),
                )
            });
            operations["patch"]["requestBody"] =
                json!({ "content": Value::Object(bodies.into_iter().collect()) });
            paths.insert(path, operations);
        }
        schemas.insert(name, schema(resource, &reference(OBJECT_META)));
    }
    json!({ "openapi": "3.0.0", "info": info(), "paths": paths, "components": { "schemas": schemas } })
}

/// The patches that are announced.
const PATCHES: [&str; 2] = [
    "application/json-patch+json",
    "application/merge-patch+json",
];

fn info() -> Value {
    json!({ "title": "Ocicat", "version": env!("CARGO_PKG_VERSION") })
}

/// `org.projectcalico.v3.Tier`; the core group is called `core`.
fn schema_name(resource: &Resource) -> String {
    let group = if resource.group.is_empty() {
        "core.api.k8s.io"
    } else {
        resource.group
    };
    let reversed: Vec<&str> = group.split('.').rev().collect();
    format!(
        "{}.{}.{}",
        reversed.join("."),
        resource.version,
        resource.kind
    )
}

/// The paths of the collection and of one object.
fn item_paths(resource: &Resource) -> [String; 2] {
    let root = match resource.group {
        "" => format!("/api/{}", resource.version),
        group => format!("/apis/{group}/{}", resource.version),
    };
    let collection = if resource.namespaced {
        format!("{root}/namespaces/{{namespace}}/{}", resource.plural)
    } else {
        format!("{root}/{}", resource.plural)
    };
    let item = format!("{collection}/{{name}}");
    [collection, item]
}

/// The operations of a path, each naming its kind and the parameters that writes take.
fn operations(resource: &Resource, response: &Value) -> Value {
    let kind =
        json!({ "group": resource.group, "version": resource.version, "kind": resource.kind });
    let parameter = |name: &str| json!({ "name": name, "in": "query", "schema": { "type": "string" }, "type": "string", "uniqueItems": true });
    let writes = json!([
        parameter("dryRun"),
        parameter("fieldManager"),
        parameter("fieldValidation")
    ]);
    let operation = |action: &str, parameters: &Value| {
        json!({
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": kind,
            "parameters": parameters,
            "responses": response,
        })
    };
    json!({
        "get": operation("get", &json!([])),
        "post": operation("post", &writes),
        "put": operation("put", &writes),
        "patch": operation("patch", &writes),
        "delete": operation("delete", &json!([parameter("dryRun")])),
    })
}

fn schema(resource: &Resource, object_meta: &str) -> Value {
    let text = |text: &str| json!({ "type": "string", "description": text });
    let mut properties = Map::new();
    properties.insert(
        "apiVersion".to_owned(),
        text("The group and version of this object's schema."),
    );
    properties.insert("kind".to_owned(), text("The kind of this object."));
    let metadata = json!({ "description": "Name, namespace, labels and annotations.", "allOf": [{ "$ref": object_meta }], "default": {} });
    properties.insert("metadata".to_owned(), metadata);
    let mut schema = json!({
        "type": "object",
        "x-kubernetes-group-version-kind":
            [{ "group": resource.group, "version": resource.version, "kind": resource.kind }],
    });
    if let Some(described) = described(resource) {
        schema["description"] = described.about.into();
        if described.spec_required {
            schema["required"] = json!(["spec"]);
        }
        properties.insert("spec".to_owned(), described.spec);
        if let Some(status) = described.status {
            properties.insert("status".to_owned(), status);
        }
    } else {
        let (description, known) = fields::of(resource);
        schema["description"] = description.into();
        schema["x-kubernetes-preserve-unknown-fields"] = true.into();
        for (field, value) in known {
            properties.insert(field.to_owned(), value);
        }
    }
    schema["properties"] = properties.into();
    schema
}

/// The schemas of a kind that has some.
fn described(resource: &Resource) -> Option<Schemas> {
    if resource.kind == "PolicyStatus" {
        return Some(policy_status());
    }
    schema::of(Kind::of(&resource.api_version(), resource.kind)?)
}

/// What version 2 cannot say is left out, as Kubernetes does: alternatives, null, and types of what may
/// have two.
fn for_v2(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for name in ["anyOf", "nullable", "x-kubernetes-validations"] {
                // A field of a resource that is called so is a schema, not a list or flag.
                if fields.get(name).is_some_and(|value| !value.is_object()) {
                    fields.remove(name);
                }
            }
            fields.values_mut().for_each(for_v2);
        }
        Value::Array(items) => items.iter_mut().for_each(for_v2),
        _ => {}
    }
}

/// FNV-1a.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_are_served_in_full() {
        let name = "org.projectcalico.v3.GlobalNetworkPolicy";
        let action = "/properties/spec/properties/ingress/items/properties/action/enum/0";
        let v3 = v3("projectcalico.org", "v3");
        let v2 = v2();
        for schema in [&v3["components"]["schemas"][name], &v2["definitions"][name]] {
            assert_eq!(schema.pointer(action), Some(&json!("Allow")));
        }
        let protocol = "/properties/spec/properties/ingress/items/properties/protocol/anyOf";
        assert!(
            v3["components"]["schemas"][name]
                .pointer(protocol)
                .is_some()
        );
        assert!(v2["definitions"][name].pointer(protocol).is_none());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        for (group, version) in GROUPS {
            let document = v3(group, version);
            assert!(!document["paths"].as_object().unwrap().is_empty());
            let text = document.to_string();
            for part in text.split("#/components/schemas/").skip(1) {
                let name = part.split('"').next().unwrap();
                assert!(
                    document["components"]["schemas"].get(name).is_some(),
                    "{name}"
                );
            }
        }
    }
}

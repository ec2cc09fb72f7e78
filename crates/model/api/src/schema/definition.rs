//! Custom resource definitions (`apiextensions.k8s.io/v1`).

use serde_json::{Value, json};

use super::{Schemas, policy_status};
use crate::{Kind, Scope};

/// One custom resource definition.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// `PLURAL.GROUP`.
    pub name: String,
    pub value: Value,
}

/// What a definition needs to know of a kind.
struct Names {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    scope: Scope,
}

/// The definitions of all kinds that Kubernetes does not have by itself, by name.
#[must_use]
pub fn definitions() -> Vec<Definition> {
    let ours = Kind::table()
        .iter()
        .filter(|info| matches!(info.group, "projectcalico.org" | "policy.networking.k8s.io"));
    let mut all: Vec<Definition> = ours
        .filter_map(|info| {
            let names = Names {
                group: info.group,
                version: info.version,
                kind: info.name,
                plural: info.plural,
                short: info.short_names,
                scope: info.scope,
            };
            Some(definition(&names, super::of(info.kind)?))
        })
        .collect();
    let names = Names {
        group: "ocicat.io",
        version: "v1alpha1",
        kind: "PolicyStatus",
        plural: "policystatuses",
        short: &[],
        scope: Scope::Cluster,
    };
    // Agents write it in one piece.
    let mut status = definition(&names, policy_status());
    status.value["spec"]["versions"][0]
        .as_object_mut()
        .map(|version| version.remove("subresources"));
    all.push(status);
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn definition(names: &Names, schemas: Schemas) -> Definition {
    let name = format!("{}.{}", names.plural, names.group);
    let has_status = schemas.status.is_some();
    let mut version = json!({
        "name": names.version,
        "served": true,
        "storage": true,
        "schema": { "openAPIV3Schema": whole(schemas) },
    });
    if has_status {
        version["subresources"] = json!({ "status": {} });
    }
    let columns = columns(names.kind);
    if !columns.is_empty() {
        version["additionalPrinterColumns"] = columns.into();
    }
    let mut called = json!({
        "kind": names.kind,
        "listKind": format!("{}List", names.kind),
        "plural": names.plural,
        "singular": names.kind.to_lowercase(),
    });
    if !names.short.is_empty() {
        called["shortNames"] = names.short.into();
    }
    let mut metadata = json!({ "name": name });
    if names.group.ends_with(".k8s.io") {
        // Kubernetes asks for it in its own groups.
        metadata["annotations"] = json!({
            "api-approved.kubernetes.io": "unapproved, written from the API's v1alpha2"
        });
    }
    let scope = match names.scope {
        Scope::Cluster => "Cluster",
        Scope::Namespaced => "Namespaced",
    };
    let value = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": {
            "group": names.group,
            "names": called,
            "scope": scope,
            "versions": [version],
        },
    });
    Definition { name, value }
}

/// The schema of a whole object.
fn whole(schemas: Schemas) -> Value {
    let text = |about: &str| json!({ "type": "string", "description": about });
    let mut schema = json!({
        "type": "object",
        "description": schemas.about,
        "properties": {
            "apiVersion": text("The group and version of this object's schema."),
            "kind": text("The kind of this object."),
            "metadata": { "type": "object" },
            "spec": schemas.spec,
        },
    });
    if let Some(status) = schemas.status {
        schema["properties"]["status"] = status;
    }
    if schemas.spec_required {
        schema["required"] = json!(["spec"]);
    }
    schema
}

/// Columns for `kubectl get`: heading, type and path.
fn columns(kind: &str) -> Vec<Value> {
    let columns: &[(&str, &str, &str)] = match kind {
        "NetworkPolicy" | "GlobalNetworkPolicy" => &[
            ("Tier", "string", ".spec.tier"),
            ("Order", "number", ".spec.order"),
            ("Selector", "string", ".spec.selector"),
        ],
        "StagedNetworkPolicy" | "StagedGlobalNetworkPolicy" => &[
            ("Action", "string", ".spec.stagedAction"),
            ("Tier", "string", ".spec.tier"),
            ("Order", "number", ".spec.order"),
            ("Selector", "string", ".spec.selector"),
        ],
        "StagedKubernetesNetworkPolicy" => &[("Action", "string", ".spec.stagedAction")],
        "ClusterNetworkPolicy" => &[
            ("Tier", "string", ".spec.tier"),
            ("Priority", "integer", ".spec.priority"),
        ],
        "Tier" => &[
            ("Order", "number", ".spec.order"),
            ("Default-Action", "string", ".spec.defaultAction"),
        ],
        "IPPool" => &[
            ("CIDR", "string", ".spec.cidr"),
            ("NAT", "boolean", ".spec.natOutgoing"),
        ],
        "IPAMBlock" => &[
            ("CIDR", "string", ".spec.cidr"),
            ("Affinity", "string", ".spec.affinity"),
        ],
        "WorkloadEndpoint" | "HostEndpoint" => &[
            ("Node", "string", ".spec.node"),
            ("Interface", "string", ".spec.interfaceName"),
        ],
        "PolicyStatus" => &[("Tier", "string", ".spec.policy.tier")],
        _ => &[],
    };
    if columns.is_empty() {
        return Vec::new();
    }
    let age = ("Age", "date", ".metadata.creationTimestamp");
    let column = |(name, kind, path): &(&str, &str, &str)| json!({ "name": name, "type": kind, "jsonPath": path });
    columns.iter().chain([&age]).map(column).collect()
}

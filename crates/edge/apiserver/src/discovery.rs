//! What is served, as clients ask for it before anything else.

use serde_json::{Value, json};

use crate::registry::{self, GROUPS, Resource};

/// Media type of the answers for all groups at once.
pub(crate) const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
const STATUS_VERBS: [&str; 3] = ["get", "patch", "update"];

/// `/version`: the version of the Kubernetes API that is followed, and our own.
pub(crate) fn version() -> Value {
    json!({
        "major": "1",
        "minor": "32",
        "gitVersion": concat!("v1.32.0+ocicat-", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// `/api`.
pub(crate) fn core_versions(host: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": host }],
    })
}

/// `/apis`.
pub(crate) fn groups() -> Value {
    let groups: Vec<Value> = named_groups()
        .filter_map(|(name, _)| group_entry(name))
        .collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `/apis/GROUP`.
pub(crate) fn group(name: &str) -> Option<Value> {
    let mut group = group_entry(name)?;
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    Some(group)
}

/// `/api/v1` and `/apis/GROUP/VERSION`.
pub(crate) fn resources(group: &str, version: &str) -> Value {
    let mut resources = Vec::new();
    for resource in registry::of_version(group, version) {
        resources.push(json!({
            "name": resource.plural,
            "singularName": resource.singular,
            "shortNames": resource.short_names,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "categories": categories(resource),
            "verbs": VERBS,
        }));
        if resource.status {
            resources.push(json!({
                "name": format!("{}/status", resource.plural),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": resource.kind,
                "verbs": STATUS_VERBS,
            }));
        }
    }
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": registry::api_version(group, version),
        "resources": resources,
    })
}

/// `/api` for all versions and resources at once.
pub(crate) fn aggregated_core() -> Value {
    aggregated(&[aggregated_group("", "v1")])
}

/// `/apis` for all groups, versions and resources at once.
pub(crate) fn aggregated_groups() -> Value {
    let groups = named_groups().map(|(group, version)| aggregated_group(group, version));
    aggregated(&groups.collect::<Vec<_>>())
}

fn named_groups() -> impl Iterator<Item = (&'static str, &'static str)> {
    GROUPS.into_iter().filter(|(group, _)| !group.is_empty())
}

fn group_entry(name: &str) -> Option<Value> {
    let (group, version) = named_groups().find(|(group, _)| *group == name)?;
    let version =
        json!({ "groupVersion": registry::api_version(group, version), "version": version });
    Some(json!({ "name": group, "versions": [version], "preferredVersion": version }))
}

fn aggregated(items: &[Value]) -> Value {
    json!({ "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items })
}

fn aggregated_group(group: &str, version: &str) -> Value {
    let resources: Vec<Value> = registry::of_version(group, version)
        .map(aggregated_resource)
        .collect();
    let version = json!({ "version": version, "freshness": "Current", "resources": resources });
    match group {
        "" => json!({ "metadata": {}, "versions": [version] }),
        group => json!({ "metadata": { "name": group }, "versions": [version] }),
    }
}

fn aggregated_resource(resource: &'static Resource) -> Value {
    let kind =
        json!({ "group": resource.group, "version": resource.version, "kind": resource.kind });
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": kind,
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "shortNames": resource.short_names,
        "categories": categories(resource),
        "verbs": VERBS,
    });
    if resource.status {
        entry["subresources"] =
            json!([{ "subresource": "status", "responseKind": kind, "verbs": STATUS_VERBS }]);
    }
    entry
}

/// `kubectl get all` means workloads.
fn categories(resource: &Resource) -> &'static [&'static str] {
    match resource.kind {
        "Pod" | "Service" | "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => {
            &["all"]
        }
        _ => &[],
    }
}

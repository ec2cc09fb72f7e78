//! What is told about the fields of Kubernetes' own kinds: enough for `kubectl explain KIND` and
//! `KIND.spec`.

use serde_json::{Map, Value, json};

use crate::registry::Resource;

/// Name, type and description of a field. A type that ends in `[]` is a list.
type Field = (&'static str, &'static str, &'static str);

/// The description of a kind, and its fields beside the usual three.
pub(super) fn of(resource: &Resource) -> (&'static str, Vec<(&'static str, Value)>) {
    let (description, spec): (&str, &[Field]) = match (resource.group, resource.kind) {
        ("", kind) => core(kind),
        ("discovery.k8s.io", _) => ("EndpointSlice is a part of what is behind a service.", &[]),
        (_, kind) => workload(kind),
    };
    let mut known = Vec::new();
    match resource.kind {
        "ConfigMap" => known.push(("data", text_map("The data, by key."))),
        "ServiceAccount" => known.push((
            "secrets",
            property("object[]", "Secrets that pods of this account may use."),
        )),
        "EndpointSlice" => {
            known.push(("addressType", property("string", "IPv4, IPv6 or FQDN.")));
            known.push((
                "endpoints",
                property("object[]", "Who is behind the service, with addresses."),
            ));
            known.push((
                "ports",
                property("object[]", "The ports of all the endpoints."),
            ));
        }
        _ => known.push(("spec", object("What is wanted.", spec))),
    }
    if resource.status {
        known.push(("status", object("What was observed.", &[])));
    }
    (description, known)
}

/// The metadata that all objects share.
pub(super) fn object_meta() -> Value {
    let mut meta = object(
        "ObjectMeta is what all objects have in common.",
        &[
            (
                "name",
                "string",
                "Unique among the objects of the kind in a namespace.",
            ),
            (
                "generateName",
                "string",
                "Start of a name that the server completes when name is empty.",
            ),
            (
                "namespace",
                "string",
                "The namespace; empty for cluster-wide kinds.",
            ),
            (
                "uid",
                "string",
                "Unique in time and space; set by the server.",
            ),
            (
                "resourceVersion",
                "string",
                "Changes with each change of the object; set by the server.",
            ),
            (
                "generation",
                "integer",
                "Counts the changes of what is wanted; set by the server.",
            ),
            (
                "creationTimestamp",
                "string",
                "When the object was made; set by the server.",
            ),
            (
                "deletionTimestamp",
                "string",
                "When the object was deleted, while finalizers keep it.",
            ),
            (
                "finalizers",
                "string[]",
                "Who must still agree before the object goes.",
            ),
            (
                "ownerReferences",
                "object[]",
                "The objects that this one belongs to.",
            ),
        ],
    );
    meta["properties"]["labels"] = text_map("Keys and values that selectors read.");
    meta["properties"]["annotations"] = text_map("Keys and values that nothing selects by.");
    meta
}

fn object(description: &str, fields: &[Field]) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|(name, kind, text)| ((*name).to_owned(), property(kind, text)))
        .collect();
    json!({
        "type": "object",
        "description": description,
        "properties": properties,
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

fn property(kind: &str, description: &str) -> Value {
    let plain = |kind: &str| match kind {
        "object" => json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true }),
        kind => json!({ "type": kind }),
    };
    let mut property = match kind.strip_suffix("[]") {
        Some(item) => json!({ "type": "array", "items": plain(item) }),
        None => plain(kind),
    };
    property["description"] = description.into();
    property
}

fn text_map(description: &str) -> Value {
    json!({ "type": "object", "additionalProperties": { "type": "string" }, "description": description })
}

fn core(kind: &str) -> (&'static str, &'static [Field]) {
    match kind {
        "Namespace" => ("Namespace holds objects whose names are unique in it.", &[]),
        "Node" => (
            "Node is a host.",
            &[(
                "podCIDRs",
                "string[]",
                "Prefixes whose addresses its pods get.",
            )],
        ),
        "Pod" => (
            "Pod is one workload: containers with one network namespace.",
            &POD_SPEC,
        ),
        "Service" => (
            "Service is a stable address and name for a set of pods.",
            &[
                (
                    "selector",
                    "object",
                    "Labels of the pods behind the service.",
                ),
                ("ports", "object[]", "The ports, and where they lead."),
                ("clusterIP", "string", "The address of the service."),
                (
                    "type",
                    "string",
                    "ClusterIP, NodePort, LoadBalancer or ExternalName.",
                ),
            ],
        ),
        "ServiceAccount" => ("ServiceAccount is an identity of pods.", &[]),
        _ => ("ConfigMap holds configuration for pods.", &[]),
    }
}

static POD_SPEC: [Field; 5] = [
    (
        "containers",
        "object[]",
        "The containers; their ports are what listens.",
    ),
    (
        "initContainers",
        "object[]",
        "Containers that run to their end before the others start.",
    ),
    ("nodeName", "string", "The host that runs the pod."),
    ("serviceAccountName", "string", "The identity of the pod."),
    (
        "hostNetwork",
        "boolean",
        "Whether the pod uses the network of its host.",
    ),
];

fn workload(kind: &str) -> (&'static str, &'static [Field]) {
    let description = match kind {
        "Deployment" => "Deployment wants a number of equal pods.",
        "StatefulSet" => "StatefulSet wants a number of pods with fixed names.",
        "DaemonSet" => "DaemonSet wants one pod on each host.",
        "ReplicaSet" => "ReplicaSet wants a number of equal pods.",
        _ => "Job wants pods that run to their end.",
    };
    (
        description,
        &[
            ("replicas", "integer", "How many pods."),
            ("selector", "object", "Which pods belong to it."),
            ("template", "object", "What its pods look like."),
        ],
    )
}

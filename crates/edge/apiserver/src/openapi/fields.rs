//! What is told about the fields of the kinds: enough for `kubectl explain KIND` and `KIND.spec`.

use serde_json::{Map, Value, json};

use crate::registry::Resource;

/// Name, type and description of a field. A type that ends in `[]` is a list.
type Field = (&'static str, &'static str, &'static str);

/// The description of a kind, and its fields beside the usual three.
pub(super) fn of(resource: &Resource) -> (&'static str, Vec<(&'static str, Value)>) {
    let (description, spec): (&str, &[Field]) = match (resource.group, resource.kind) {
        ("", kind) => core(kind),
        ("networking.k8s.io", _) => (
            "NetworkPolicy says which traffic the selected pods of its namespace accept and send.",
            &[
                (
                    "podSelector",
                    "object",
                    "The pods that this policy selects; empty selects all of its namespace.",
                ),
                ("policyTypes", "string[]", "Ingress, Egress or both."),
                ("ingress", "object[]", "What the selected pods accept."),
                ("egress", "object[]", "What the selected pods may send."),
            ],
        ),
        ("projectcalico.org", kind) => calico(kind),
        ("ocicat.io", _) => (
            "PolicyStatus says where a policy is in force, and where it is not and why.",
            &[],
        ),
        (_, kind) => workload(kind),
    };
    let mut known = Vec::new();
    match resource.kind {
        "ConfigMap" => known.push(("data", text_map("The data, by key."))),
        "ServiceAccount" => known.push((
            "secrets",
            property("object[]", "Secrets that pods of this account may use."),
        )),
        _ => known.push(("spec", object("What is wanted.", spec))),
    }
    if resource.status || resource.group == "ocicat.io" {
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

fn calico(kind: &str) -> (&'static str, &'static [Field]) {
    match kind {
        "NetworkPolicy" => (
            "NetworkPolicy is an ordered policy for endpoints of its namespace.",
            &POLICY_SPEC[..7],
        ),
        "GlobalNetworkPolicy" => (
            "GlobalNetworkPolicy is an ordered policy for endpoints of all kinds.",
            &POLICY_SPEC,
        ),
        _ => tier_set_or_profile(kind),
    }
}

fn tier_set_or_profile(kind: &str) -> (&'static str, &'static [Field]) {
    match kind {
        "Tier" => (
            "Tier is a group of policies that are judged together.",
            &[
                (
                    "order",
                    "number",
                    "Place among the tiers: lower is earlier, absent is last.",
                ),
                (
                    "defaultAction",
                    "string",
                    "Deny or Pass, for what a selected endpoint's policies do not decide.",
                ),
            ],
        ),
        "NetworkSet" | "GlobalNetworkSet" => (
            "NetworkSet and GlobalNetworkSet give prefixes labels, so that selectors match them.",
            &[("nets", "string[]", "The prefixes, IPv4 and IPv6.")],
        ),
        "Profile" => (
            "Profile holds rules for endpoints that no policy decides, and labels that they inherit.",
            &[
                ("ingress", "object[]", "Rules for traffic to the endpoint."),
                ("egress", "object[]", "Rules for traffic from the endpoint."),
                (
                    "labelsToApply",
                    "object",
                    "Labels that the endpoints inherit.",
                ),
            ],
        ),
        _ => endpoint_or_addresses(kind),
    }
}

fn endpoint_or_addresses(kind: &str) -> (&'static str, &'static [Field]) {
    match kind {
        "IPPool" => (
            "IPPool is a prefix from which workloads get addresses.",
            &[
                ("cidr", "string", "The prefix."),
                (
                    "blockSize",
                    "integer",
                    "Prefix length of the blocks that hosts take.",
                ),
                (
                    "natOutgoing",
                    "boolean",
                    "Whether traffic that leaves the pools is masqueraded.",
                ),
                ("nodeSelector", "string", "The hosts that may use the pool."),
                (
                    "disabled",
                    "boolean",
                    "Whether no new addresses are taken from it.",
                ),
            ],
        ),
        "IPAMBlock" => (
            "IPAMBlock is a part of a pool, and who has its addresses.",
            &[
                ("cidr", "string", "The prefix."),
                ("affinity", "string", "The host that the block belongs to."),
                (
                    "allocations",
                    "object[]",
                    "Per address, which attributes its owner has.",
                ),
                ("attributes", "object[]", "The owners."),
            ],
        ),
        _ => (
            "WorkloadEndpoint is an interface of a workload.",
            &[
                ("node", "string", "The host."),
                (
                    "orchestrator",
                    "string",
                    "Who made the workload, such as k8s.",
                ),
                ("pod", "string", "The pod, if it is one."),
                ("workload", "string", "The workload, if it is not a pod."),
                ("endpoint", "string", "The interface inside the workload."),
                ("interfaceName", "string", "The interface on the host."),
                ("ipNetworks", "string[]", "The addresses."),
                ("mac", "string", "The MAC address."),
                ("profiles", "string[]", "The profiles, in order."),
                ("ports", "object[]", "Ports with names."),
            ],
        ),
    }
}

static POLICY_SPEC: [Field; 12] = [
    ("tier", "string", "The tier; default if absent."),
    (
        "order",
        "number",
        "Place in the tier: lower is earlier, absent is last.",
    ),
    (
        "selector",
        "string",
        "The endpoints that this policy selects; absent selects all.",
    ),
    (
        "serviceAccountSelector",
        "string",
        "Selects by the labels of service accounts.",
    ),
    ("types", "string[]", "Ingress, Egress or both."),
    (
        "ingress",
        "object[]",
        "Rules for traffic to the endpoints, in order.",
    ),
    (
        "egress",
        "object[]",
        "Rules for traffic from the endpoints, in order.",
    ),
    (
        "namespaceSelector",
        "string",
        "Selects by the labels of namespaces.",
    ),
    (
        "applyOnForward",
        "boolean",
        "Whether it judges traffic that a host forwards.",
    ),
    (
        "doNotTrack",
        "boolean",
        "Whether it judges before connection tracking.",
    ),
    (
        "preDNAT",
        "boolean",
        "Whether it judges before addresses are translated.",
    ),
    (
        "performanceHints",
        "string[]",
        "Hints that change no verdict.",
    ),
];

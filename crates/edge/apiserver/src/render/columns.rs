//! The columns of each kind, as `kubectl get` prints them.

use serde_json::{Value, json};

use super::cells;
use crate::object::Object;
use crate::registry::Resource;
use crate::time;

/// One column.
#[derive(Clone, Copy)]
pub(super) struct Column {
    title: &'static str,
    /// Shown only by `-o wide`.
    wide: bool,
    source: Source,
}

/// Where a cell comes from.
#[derive(Clone, Copy)]
enum Source {
    Name,
    Age,
    /// The value at a JSON pointer.
    At(&'static str),
    /// A calculation.
    By(fn(&Object) -> Value),
}

impl Column {
    pub(super) fn definition(&self) -> Value {
        json!({
            "name": self.title,
            "type": "string",
            "format": if matches!(self.source, Source::Name) { "name" } else { "" },
            "description": "",
            "priority": i32::from(self.wide),
        })
    }

    pub(super) fn cell(&self, object: &Object, now: i64) -> Value {
        let value = match self.source {
            Source::Name => object.name().into(),
            Source::Age => match time::parse(object.meta_text("creationTimestamp")) {
                Some(then) => time::age(now - then).into(),
                None => "<unknown>".into(),
            },
            Source::At(pointer) => object.pointer(pointer).map_or(Value::Null, cells::plain),
            Source::By(calculate) => calculate(object),
        };
        match value {
            Value::Null => "<none>".into(),
            Value::String(text) if text.is_empty() => "<none>".into(),
            other => other,
        }
    }
}

const fn at(title: &'static str, pointer: &'static str) -> Column {
    Column {
        title,
        wide: false,
        source: Source::At(pointer),
    }
}

const fn by(title: &'static str, calculate: fn(&Object) -> Value) -> Column {
    Column {
        title,
        wide: false,
        source: Source::By(calculate),
    }
}

const fn wide(mut column: Column) -> Column {
    column.wide = true;
    column
}

const NAME: Column = Column {
    title: "Name",
    wide: false,
    source: Source::Name,
};
const AGE: Column = Column {
    title: "Age",
    wide: false,
    source: Source::Age,
};
const CONTAINERS: Column = wide(by("Containers", |o| {
    cells::each(o, "/spec/template/spec/containers", "name")
}));
const IMAGES: Column = wide(by("Images", |o| {
    cells::each(o, "/spec/template/spec/containers", "image")
}));
const SELECTOR: Column = wide(by("Selector", |o| {
    cells::label_selector(o, "/spec/selector")
}));

/// The columns of a kind.
pub(super) fn of(resource: &Resource) -> &'static [Column] {
    match (resource.group, resource.kind) {
        ("", "Namespace") => &const { [NAME, at("Status", "/status/phase"), AGE] },
        ("", "Node") => &NODE,
        ("", "Pod") => &POD,
        ("", "Service") => &SERVICE,
        ("", "ConfigMap") => &const { [NAME, by("Data", cells::data_count), AGE] },
        ("apps", "Deployment") => &DEPLOYMENT,
        ("apps", "DaemonSet") => &DAEMON_SET,
        ("apps", "ReplicaSet") => &REPLICA_SET,
        ("apps", "StatefulSet") => {
            &const {
                [
                    NAME,
                    by("Ready", cells::ready_replicas),
                    AGE,
                    CONTAINERS,
                    IMAGES,
                ]
            }
        }
        ("batch", "Job") => {
            &const {
                [
                    NAME,
                    by("Completions", cells::completions),
                    AGE,
                    CONTAINERS,
                    IMAGES,
                ]
            }
        }
        ("networking.k8s.io", "NetworkPolicy") => {
            &const {
                [
                    NAME,
                    by("Pod-Selector", |o| {
                        cells::label_selector(o, "/spec/podSelector")
                    }),
                    AGE,
                ]
            }
        }
        ("projectcalico.org", "NetworkPolicy" | "GlobalNetworkPolicy") => &POLICY,
        ("projectcalico.org", "StagedNetworkPolicy" | "StagedGlobalNetworkPolicy") => &STAGED,
        ("policy.networking.k8s.io", "ClusterNetworkPolicy") => {
            &const {
                [
                    NAME,
                    at("Tier", "/spec/tier"),
                    at("Priority", "/spec/priority"),
                    AGE,
                ]
            }
        }
        ("discovery.k8s.io", "EndpointSlice") => &ENDPOINT_SLICE,
        ("projectcalico.org", kind) => calico(kind),
        ("ocicat.io", "PolicyStatus") => &POLICY_STATUS,
        _ => &const { [NAME, AGE] },
    }
}

fn calico(kind: &str) -> &'static [Column] {
    match kind {
        "Tier" => {
            &const {
                [
                    NAME,
                    at("Order", "/spec/order"),
                    at("Default-Action", "/spec/defaultAction"),
                    AGE,
                ]
            }
        }
        "NetworkSet" | "GlobalNetworkSet" => {
            &const {
                [
                    NAME,
                    by("Nets", |o| cells::count(o, "/spec/nets")),
                    wide(at("CIDRs", "/spec/nets")),
                    AGE,
                ]
            }
        }
        "IPPool" => &IP_POOL,
        "IPAMBlock" => {
            &const {
                [
                    NAME,
                    at("CIDR", "/spec/cidr"),
                    at("Affinity", "/spec/affinity"),
                    AGE,
                ]
            }
        }
        "WorkloadEndpoint" => &WORKLOAD_ENDPOINT,
        "HostEndpoint" => &HOST_ENDPOINT,
        "StagedKubernetesNetworkPolicy" => {
            &const {
                [
                    NAME,
                    STAGED_ACTION,
                    by("Pod-Selector", |o| {
                        cells::label_selector(o, "/spec/podSelector")
                    }),
                    AGE,
                ]
            }
        }
        _ => &const { [NAME, AGE] },
    }
}

static NODE: [Column; 6] = [
    NAME,
    by("Status", cells::node_status),
    by("Roles", cells::node_roles),
    AGE,
    at("Version", "/status/nodeInfo/kubeletVersion"),
    wide(by("Internal-IP", cells::internal_ip)),
];

static POD: [Column; 9] = [
    NAME,
    by("Ready", cells::ready_containers),
    by("Status", cells::pod_status),
    by("Restarts", cells::restarts),
    AGE,
    wide(at("IP", "/status/podIP")),
    wide(at("Node", "/spec/nodeName")),
    wide(at("Nominated Node", "/status/nominatedNodeName")),
    wide(by("Readiness Gates", |_| Value::Null)),
];

static SERVICE: [Column; 7] = [
    NAME,
    by("Type", |o| {
        o.pointer("/spec/type")
            .map_or_else(|| "ClusterIP".into(), cells::plain)
    }),
    at("Cluster-IP", "/spec/clusterIP"),
    at("External-IP", "/spec/externalIPs"),
    by("Port(s)", cells::service_ports),
    AGE,
    wide(by("Selector", |o| cells::labels(o, "/spec/selector"))),
];

static DEPLOYMENT: [Column; 8] = [
    NAME,
    by("Ready", cells::ready_replicas),
    by("Up-to-date", |o| {
        cells::number(o, "/status/updatedReplicas")
    }),
    by("Available", |o| {
        cells::number(o, "/status/availableReplicas")
    }),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

static DAEMON_SET: [Column; 8] = [
    NAME,
    by("Desired", |o| {
        cells::number(o, "/status/desiredNumberScheduled")
    }),
    by("Current", |o| {
        cells::number(o, "/status/currentNumberScheduled")
    }),
    by("Ready", |o| cells::number(o, "/status/numberReady")),
    by("Node Selector", |o| {
        cells::labels(o, "/spec/template/spec/nodeSelector")
    }),
    AGE,
    CONTAINERS,
    IMAGES,
];

static REPLICA_SET: [Column; 7] = [
    NAME,
    by("Desired", cells::desired_replicas),
    by("Current", |o| cells::number(o, "/status/replicas")),
    by("Ready", |o| cells::number(o, "/status/readyReplicas")),
    AGE,
    CONTAINERS,
    SELECTOR,
];

const TIER: Column = by("Tier", |o| {
    o.pointer("/spec/tier")
        .map_or_else(|| "default".into(), cells::plain)
});
const EXPRESSION: Column = by("Selector", |o| {
    o.pointer("/spec/selector")
        .map_or_else(|| "all()".into(), cells::plain)
});
const STAGED_ACTION: Column = by("Action", |o| {
    o.pointer("/spec/stagedAction")
        .map_or_else(|| "Set".into(), cells::plain)
});

static POLICY: [Column; 6] = [
    NAME,
    TIER,
    at("Order", "/spec/order"),
    EXPRESSION,
    wide(at("Types", "/spec/types")),
    AGE,
];

static STAGED: [Column; 7] = [
    NAME,
    STAGED_ACTION,
    TIER,
    at("Order", "/spec/order"),
    EXPRESSION,
    wide(at("Types", "/spec/types")),
    AGE,
];

static ENDPOINT_SLICE: [Column; 5] = [
    NAME,
    at("AddressType", "/addressType"),
    by("Ports", |o| cells::each_number(o, "/ports", "port")),
    by("Endpoints", cells::addresses),
    AGE,
];

static HOST_ENDPOINT: [Column; 6] = [
    NAME,
    at("Node", "/spec/node"),
    at("Interface", "/spec/interfaceName"),
    at("IPs", "/spec/expectedIPs"),
    wide(at("Profiles", "/spec/profiles")),
    AGE,
];

static IP_POOL: [Column; 6] = [
    NAME,
    at("CIDR", "/spec/cidr"),
    at("NAT", "/spec/natOutgoing"),
    at("Disabled", "/spec/disabled"),
    wide(at("Block-Size", "/spec/blockSize")),
    AGE,
];

static WORKLOAD_ENDPOINT: [Column; 6] = [
    NAME,
    by("Workload", |o| {
        cells::first(o, &["/spec/pod", "/spec/workload"])
    }),
    at("Node", "/spec/node"),
    at("Networks", "/spec/ipNetworks"),
    at("Interface", "/spec/interfaceName"),
    AGE,
];

static POLICY_STATUS: [Column; 6] = [
    NAME,
    by("Policy", cells::policy),
    at("Tier", "/spec/policy/tier"),
    by("Nodes", cells::nodes_in_force),
    by("Problem", cells::first_problem),
    AGE,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{self, RESOURCES};

    #[test]
    fn every_kind_has_a_name_and_an_age() {
        for resource in &RESOURCES {
            let titles: Vec<_> = of(resource).iter().map(|column| column.title).collect();
            assert!(
                titles[0] == "Name" && titles.contains(&"Age"),
                "{}: {titles:?}",
                resource.kind
            );
        }
    }

    #[test]
    fn cells_of_a_pod() {
        let resource = registry::find("", "v1", "pods").unwrap();
        let object = json!({
            "metadata": { "name": "a", "creationTimestamp": "2026-11-04T12:00:00Z" },
            "spec": { "nodeName": "n", "containers": [{ "name": "c" }] },
            "status": { "phase": "Running", "podIP": "10.0.0.1",
                        "containerStatuses": [{ "ready": true, "restartCount": 2 }] },
        });
        let object = Object::parse(object, resource).unwrap();
        let now = time::parse("2026-11-04T12:00:30Z").unwrap();
        let cells: Vec<Value> = of(resource)
            .iter()
            .map(|column| column.cell(&object, now))
            .collect();
        let expected = json!([
            "a", "1/1", "Running", 2, "30s", "10.0.0.1", "n", "<none>", "<none>"
        ]);
        assert_eq!(Value::Array(cells), expected);
    }
}

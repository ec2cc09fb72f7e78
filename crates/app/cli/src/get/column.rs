//! The columns of each kind.

use ocicat_client::Resource;
use serde_json::Value;

use super::age;

/// A column: its heading, whether only `-o wide` shows it, and where its cells come from.
pub struct Column {
    pub heading: &'static str,
    pub wide: bool,
    cell: fn(&Value) -> String,
}

impl Column {
    pub fn cell(&self, object: &Value) -> String {
        (self.cell)(object)
    }
}

const fn always(heading: &'static str, cell: fn(&Value) -> String) -> Column {
    Column {
        heading,
        wide: false,
        cell,
    }
}

const fn wide(heading: &'static str, cell: fn(&Value) -> String) -> Column {
    Column {
        heading,
        wide: true,
        cell,
    }
}

/// The columns of a kind, without namespace and name.
pub fn columns(resource: &Resource) -> Vec<Column> {
    let mut columns = match resource.kind {
        "Pod" => pod(),
        "Node" => vec![always("ADDRESSES", node_addresses)],
        "Namespace" => vec![wide("LABELS", labels)],
        "Service" => vec![
            always("TYPE", |x| text(&x["spec"]["type"], "ClusterIP")),
            always("CLUSTER-IP", |x| text(&x["spec"]["clusterIP"], "<none>")),
            always("PORTS", service_ports),
        ],
        "Deployment" | "StatefulSet" | "ReplicaSet" => {
            vec![always("REPLICAS", |x| text(&x["spec"]["replicas"], "1"))]
        }
        "NetworkPolicy" if resource.group == "networking.k8s.io" => vec![
            always("POD-SELECTOR", |x| kube_selector(&x["spec"]["podSelector"])),
            always("TYPES", |x| list(&x["spec"]["policyTypes"])),
        ],
        "NetworkPolicy" | "GlobalNetworkPolicy" => policy(),
        "Tier" => vec![
            always("ORDER", |x| text(&x["spec"]["order"], "<none>")),
            always("DEFAULT-ACTION", |x| {
                text(&x["spec"]["defaultAction"], "Deny")
            }),
        ],
        "NetworkSet" | "GlobalNetworkSet" => vec![
            always("NETS", |x| items(&x["spec"]["nets"]).count().to_string()),
            wide("CIDRS", |x| list(&x["spec"]["nets"])),
            wide("LABELS", labels),
        ],
        "WorkloadEndpoint" => vec![
            always("NODE", |x| text(&x["spec"]["node"], "<none>")),
            always("NETWORKS", |x| list(&x["spec"]["ipNetworks"])),
            wide("INTERFACE", |x| text(&x["spec"]["interfaceName"], "<none>")),
            wide("PROFILES", |x| list(&x["spec"]["profiles"])),
        ],
        "IPPool" => vec![
            always("CIDR", |x| text(&x["spec"]["cidr"], "<none>")),
            always("BLOCK-SIZE", |x| text(&x["spec"]["blockSize"], "<default>")),
            always("NAT", |x| text(&x["spec"]["natOutgoing"], "false")),
            always("DISABLED", |x| text(&x["spec"]["disabled"], "false")),
        ],
        "IPAMBlock" => vec![
            always("CIDR", |x| text(&x["spec"]["cidr"], "<none>")),
            always("AFFINITY", |x| text(&x["spec"]["affinity"], "<none>")),
        ],
        _ => later(resource.kind),
    };
    columns.push(always("AGE", |x| {
        age::since(x["metadata"]["creationTimestamp"].as_str())
    }));
    columns
}

/// Staged and cluster-wide policies, endpoints of hosts and services, and our own kind.
fn later(kind: &str) -> Vec<Column> {
    match kind {
        "StagedNetworkPolicy" | "StagedGlobalNetworkPolicy" => {
            let mut columns = vec![always("ACTION", staged_action)];
            columns.extend(policy());
            columns
        }
        "StagedKubernetesNetworkPolicy" => vec![
            always("ACTION", staged_action),
            always("POD-SELECTOR", |x| kube_selector(&x["spec"]["podSelector"])),
            always("TYPES", |x| list(&x["spec"]["policyTypes"])),
        ],
        "ClusterNetworkPolicy" => vec![
            always("TIER", |x| text(&x["spec"]["tier"], "<none>")),
            always("PRIORITY", |x| text(&x["spec"]["priority"], "<none>")),
        ],
        "HostEndpoint" => vec![
            always("NODE", |x| text(&x["spec"]["node"], "<none>")),
            always("INTERFACE", |x| text(&x["spec"]["interfaceName"], "<none>")),
            always("IPS", |x| list(&x["spec"]["expectedIPs"])),
            wide("PROFILES", |x| list(&x["spec"]["profiles"])),
        ],
        "EndpointSlice" => vec![
            always("SERVICE", |x| {
                text(
                    &x["metadata"]["labels"]["kubernetes.io/service-name"],
                    "<none>",
                )
            }),
            always("ENDPOINTS", |x| {
                let all = items(&x["endpoints"]).flat_map(|endpoint| items(&endpoint["addresses"]));
                joined(&all.map(|address| text(address, "")).collect::<Vec<_>>())
            }),
        ],
        "PolicyStatus" => vec![
            always("TIER", |x| text(&x["spec"]["policy"]["tier"], "<none>")),
            always("NODES", |x| nodes(x).len().to_string()),
            always("FAILED", |x| {
                nodes(x)
                    .iter()
                    .filter(|node| node["state"] == "Failed")
                    .count()
                    .to_string()
            }),
        ],
        _ => Vec::new(),
    }
}

fn pod() -> Vec<Column> {
    vec![
        always("STATUS", |x| text(&x["status"]["phase"], "Pending")),
        always("IP", |x| text(&x["status"]["podIP"], "<none>")),
        always("NODE", |x| text(&x["spec"]["nodeName"], "<none>")),
        wide("ALL-IPS", |x| {
            let ips: Vec<_> = items(&x["status"]["podIPs"])
                .map(|ip| text(&ip["ip"], ""))
                .collect();
            joined(&ips)
        }),
        wide("SERVICE-ACCOUNT", |x| {
            text(&x["spec"]["serviceAccountName"], "default")
        }),
        wide("LABELS", labels),
    ]
}

fn staged_action(object: &Value) -> String {
    text(&object["spec"]["stagedAction"], "Set")
}

fn policy() -> Vec<Column> {
    vec![
        always("TIER", |x| text(&x["spec"]["tier"], "default")),
        always("ORDER", |x| text(&x["spec"]["order"], "<none>")),
        always("SELECTOR", |x| text(&x["spec"]["selector"], "all()")),
        wide("TYPES", |x| list(&x["spec"]["types"])),
        wide("INGRESS", |x| {
            items(&x["spec"]["ingress"]).count().to_string()
        }),
        wide("EGRESS", |x| {
            items(&x["spec"]["egress"]).count().to_string()
        }),
    ]
}

/// A value as a person writes it, or what stands for its absence.
fn text(value: &Value, absent: &str) -> String {
    match value {
        Value::Null => absent.to_owned(),
        Value::String(text) if text.is_empty() => absent.to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn list(value: &Value) -> String {
    joined(&items(value).map(|item| text(item, "")).collect::<Vec<_>>())
}

fn joined(words: &[String]) -> String {
    if words.is_empty() {
        "<none>".into()
    } else {
        words.join(",")
    }
}

fn pairs(map: &Value) -> Vec<String> {
    let pair = |(name, value): (&String, &Value)| format!("{name}={}", text(value, ""));
    map.as_object().into_iter().flatten().map(pair).collect()
}

fn labels(object: &Value) -> String {
    joined(&pairs(&object["metadata"]["labels"]))
}

/// As kubectl writes label selectors.
fn kube_selector(selector: &Value) -> String {
    let mut parts = pairs(&selector["matchLabels"]);
    for expression in items(&selector["matchExpressions"]) {
        let (key, values) = (text(&expression["key"], ""), list(&expression["values"]));
        parts.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key,
        });
    }
    joined(&parts)
}

/// The entries of a PolicyStatus.
fn nodes(status: &Value) -> Vec<&Value> {
    status["status"]["nodes"]
        .as_object()
        .into_iter()
        .flat_map(|nodes| nodes.values())
        .collect()
}

fn node_addresses(node: &Value) -> String {
    let addresses = items(&node["status"]["addresses"]);
    let internal = addresses.filter(|address| address["type"] == "InternalIP");
    joined(
        &internal
            .map(|address| text(&address["address"], ""))
            .collect::<Vec<_>>(),
    )
}

fn service_ports(service: &Value) -> String {
    let port = |port: &Value| {
        format!(
            "{}/{}",
            text(&port["port"], ""),
            text(&port["protocol"], "TCP")
        )
    };
    joined(
        &items(&service["spec"]["ports"])
            .map(port)
            .collect::<Vec<_>>(),
    )
}

//! Cells that take some calculation.

use serde_json::Value;

use crate::object::Object;

/// A value on one line: lists joined by commas, long ones cut.
pub(super) fn plain(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let text = |item: &Value| {
                item.as_str()
                    .map_or_else(|| item.to_string(), str::to_owned)
            };
            let shown: Vec<String> = items.iter().take(3).map(text).collect();
            let more = if items.len() > 3 {
                format!(" + {} more", items.len() - 3)
            } else {
                String::new()
            };
            format!("{}{more}", shown.join(",")).into()
        }
        Value::Object(_) => value.to_string().into(),
        other => other.clone(),
    }
}

/// The first of some pointers that leads somewhere.
pub(super) fn first(object: &Object, pointers: &[&str]) -> Value {
    pointers
        .iter()
        .find_map(|pointer| object.pointer(pointer))
        .map_or(Value::Null, plain)
}

/// One field of each item of a list.
pub(super) fn each(object: &Object, list: &str, field: &str) -> Value {
    let items = array(object, list)
        .iter()
        .filter_map(|item| item.get(field)?.as_str());
    items.collect::<Vec<_>>().join(",").into()
}

/// One numeric field of each item of a list.
pub(super) fn each_number(object: &Object, list: &str, field: &str) -> Value {
    let items = array(object, list)
        .iter()
        .filter_map(|item| Some(item.get(field)?.as_i64()?.to_string()));
    items.collect::<Vec<_>>().join(",").into()
}

/// The addresses of all endpoints of a slice.
pub(super) fn addresses(object: &Object) -> Value {
    let lists = array(object, "/endpoints")
        .iter()
        .filter_map(|endpoint| endpoint.get("addresses")?.as_array());
    plain(&Value::Array(lists.flatten().cloned().collect()))
}

/// The length of a list.
pub(super) fn count(object: &Object, list: &str) -> Value {
    array(object, list).len().into()
}

/// A number, 0 when absent.
pub(super) fn number(object: &Object, pointer: &str) -> Value {
    object
        .pointer(pointer)
        .and_then(Value::as_i64)
        .unwrap_or(0)
        .into()
}

/// `a=1,b=2` for an object of strings.
pub(super) fn labels(object: &Object, pointer: &str) -> Value {
    let map = object.pointer(pointer).and_then(Value::as_object);
    let pairs = map
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or("")));
    pairs.collect::<Vec<_>>().join(",").into()
}

/// A Kubernetes label selector, as its string form.
pub(super) fn label_selector(object: &Object, pointer: &str) -> Value {
    let mut parts = Vec::new();
    if let Value::String(text) = labels(object, &format!("{pointer}/matchLabels"))
        && !text.is_empty()
    {
        parts.push(text);
    }
    for expression in array(object, &format!("{pointer}/matchExpressions")) {
        let text = |field: &str| {
            expression
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or("")
                .to_owned()
        };
        let values = expression
            .get("values")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        let values = values
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(",");
        parts.push(match text("operator").as_str() {
            "Exists" => text("key"),
            "DoesNotExist" => format!("!{}", text("key")),
            operator => format!(
                "{} {} ({values})",
                text("key"),
                operator.to_ascii_lowercase()
            ),
        });
    }
    parts.join(",").into()
}

pub(super) fn data_count(object: &Object) -> Value {
    let size = |field: &str| {
        object
            .get(field)
            .and_then(Value::as_object)
            .map_or(0, serde_json::Map::len)
    };
    (size("data") + size("binaryData")).into()
}

pub(super) fn ready_containers(object: &Object) -> Value {
    let ready = array(object, "/status/containerStatuses")
        .iter()
        .filter(|status| status["ready"] == true);
    format!(
        "{}/{}",
        ready.count(),
        array(object, "/spec/containers").len()
    )
    .into()
}

pub(super) fn pod_status(object: &Object) -> Value {
    if object.is_terminating() {
        return "Terminating".into();
    }
    first(object, &["/status/reason", "/status/phase"])
}

pub(super) fn restarts(object: &Object) -> Value {
    let counts = array(object, "/status/containerStatuses")
        .iter()
        .filter_map(|status| status["restartCount"].as_i64());
    counts.sum::<i64>().into()
}

pub(super) fn desired_replicas(object: &Object) -> Value {
    object
        .pointer("/spec/replicas")
        .and_then(Value::as_i64)
        .unwrap_or(1)
        .into()
}

pub(super) fn ready_replicas(object: &Object) -> Value {
    format!(
        "{}/{}",
        number(object, "/status/readyReplicas"),
        desired_replicas(object)
    )
    .into()
}

pub(super) fn completions(object: &Object) -> Value {
    let wanted = object
        .pointer("/spec/completions")
        .and_then(Value::as_i64)
        .unwrap_or(1);
    format!("{}/{wanted}", number(object, "/status/succeeded")).into()
}

pub(super) fn service_ports(object: &Object) -> Value {
    let port = |port: &Value| {
        let node = port
            .get("nodePort")
            .map_or_else(String::new, |node| format!(":{node}"));
        format!(
            "{}{node}/{}",
            port["port"],
            port["protocol"].as_str().unwrap_or("TCP")
        )
    };
    array(object, "/spec/ports")
        .iter()
        .map(port)
        .collect::<Vec<_>>()
        .join(",")
        .into()
}

pub(super) fn node_status(object: &Object) -> Value {
    let ready = array(object, "/status/conditions")
        .iter()
        .find(|condition| condition["type"] == "Ready");
    let word = match ready.and_then(|condition| condition["status"].as_str()) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = object.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
    if cordoned {
        format!("{word},SchedulingDisabled").into()
    } else {
        word.into()
    }
}

pub(super) fn node_roles(object: &Object) -> Value {
    let keys = object
        .labels()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str());
    let roles = keys.filter_map(|key| key.strip_prefix("node-role.kubernetes.io/"));
    roles.collect::<Vec<_>>().join(",").into()
}

pub(super) fn internal_ip(object: &Object) -> Value {
    let addresses = array(object, "/status/addresses");
    let internal = addresses
        .iter()
        .find(|address| address["type"] == "InternalIP");
    internal
        .and_then(|address| address.get("address"))
        .cloned()
        .unwrap_or_default()
}

/// The policy that a status is about: `gnp/deny-all`, `netpol/shop/web`.
pub(super) fn policy(object: &Object) -> Value {
    let part = |field: &str| {
        object
            .pointer(&format!("/spec/policy/{field}"))
            .and_then(Value::as_str)
    };
    let parts: Vec<&str> = ["kind", "namespace", "name"]
        .into_iter()
        .filter_map(part)
        .collect();
    parts.join("/").into()
}

/// On how many of the nodes that reported a policy is in force: `3/4`.
pub(super) fn nodes_in_force(object: &Object) -> Value {
    let nodes = object.pointer("/status/nodes").and_then(Value::as_object);
    let in_force = nodes
        .into_iter()
        .flatten()
        .filter(|(_, node)| node["state"] == "InForce")
        .count();
    format!("{in_force}/{}", nodes.map_or(0, serde_json::Map::len)).into()
}

/// The first problem that a node reported.
pub(super) fn first_problem(object: &Object) -> Value {
    let mut nodes = object
        .pointer("/status/nodes")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let problem = nodes.find_map(|(_, node)| node["problems"].get(0));
    let text = |field: &str| {
        problem
            .and_then(|problem| problem[field].as_str())
            .unwrap_or("")
    };
    match (text("field"), text("message")) {
        ("", message) => message.into(),
        (field, message) => format!("{field}: {message}").into(),
    }
}

fn array<'a>(object: &'a Object, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

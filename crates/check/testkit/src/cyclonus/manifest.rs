//! Descriptions as objects, by way of the manifests that people would write.

use ocicat_api::Object;
use ocicat_api::decode::decode;
use serde_json::{Value, json};

use super::describe::{Labels, Peer, Pick, Pod, Policy, Port, Rule, Spaces, Where};

pub fn namespace(name: &str, labels: &Labels) -> Object {
    object(&json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": labels},
    }))
}

pub fn pod(pod: &Pod) -> Object {
    let mut ports = Vec::new();
    for port in [80, 81] {
        for protocol in ["TCP", "UDP", "SCTP"] {
            let name = format!("serve-{port}-{}", protocol.to_lowercase());
            ports.push(json!({"name": name, "containerPort": port, "protocol": protocol}));
        }
    }
    let addresses = pod.addresses.map(|address| json!({"ip": address}));
    let node = if pod.namespace == "y" {
        "node-2"
    } else {
        "node-1"
    };
    object(&json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod.name, "namespace": pod.namespace, "labels": pod.labels},
        "spec": {"nodeName": node, "containers": [{"name": "main", "ports": ports}]},
        "status": {"podIPs": addresses},
    }))
}

pub fn policy(policy: &Policy) -> Object {
    let mut spec = json!({"podSelector": selector(&policy.target)});
    let mut types = Vec::new();
    for (name, rules, side) in [
        ("Ingress", &policy.ingress, "from"),
        ("Egress", &policy.egress, "to"),
    ] {
        if let Some(rules) = rules {
            types.push(name);
            let rules: Vec<Value> = rules.iter().map(|x| rule(x, side)).collect();
            spec[name.to_lowercase()] = rules.into();
        }
    }
    spec["policyTypes"] = types.into();
    object(&json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": policy.name, "namespace": policy.namespace},
        "spec": spec,
    }))
}

fn rule(rule: &Rule, side: &str) -> Value {
    let peers: Vec<Value> = rule.peers.iter().map(peer).collect();
    let ports: Vec<Value> = rule.ports.iter().map(port).collect();
    let mut value = json!({"ports": ports});
    value[side] = peers.into();
    value
}

fn peer(peer: &Peer) -> Value {
    match peer {
        Peer::Block { net, except } => {
            let except: Vec<String> = except.iter().map(ToString::to_string).collect();
            json!({"ipBlock": {"cidr": net.to_string(), "except": except}})
        }
        Peer::Pods { spaces, pods } => {
            let mut value = json!({"podSelector": selector(pods)});
            if let Spaces::Of(pick) = spaces {
                value["namespaceSelector"] = selector(pick);
            }
            value
        }
    }
}

fn port(port: &Port) -> Value {
    let mut value = json!({});
    if let Some(protocol) = port.protocol {
        value["protocol"] = protocol.into();
    }
    match port.place {
        Where::Any => {}
        Where::Number(number) => value["port"] = number.into(),
        Where::Named(name) => value["port"] = name.into(),
        Where::Range(first, last) => {
            value["port"] = first.into();
            value["endPort"] = last.into();
        }
    }
    value
}

fn selector(pick: &Pick) -> Value {
    let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
    match pick {
        Pick::All => json!({}),
        Pick::Is(label, value) => {
            let mut labels = json!({});
            labels[*label] = (*value).into();
            json!({"matchLabels": labels})
        }
        Pick::In(label, values) => expression(label, "In", values),
        Pick::NotIn(label, values) => expression(label, "NotIn", values),
    }
}

fn object(value: &Value) -> Object {
    let decoded = decode(value);
    assert!(decoded.problems.is_empty(), "{:?}", decoded.problems);
    decoded.object.expect("a manifest that is written here")
}

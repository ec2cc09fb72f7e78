use serde_json::{Value, json};

use super::super::decode;
use super::*;

fn pod() -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {
            "name": "web-1", "namespace": "shop", "uid": "u-1", "resourceVersion": "42",
            "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [],
            "labels": {"app": "web", "example.com/tier": "front"},
            "annotations": {"cni.projectcalico.org/podIPs": "10.0.0.9/32", "text": "a \"b\"\n"},
            "ownerReferences": [
                {"kind": "Other", "name": "x", "controller": false},
                {"kind": "ReplicaSet", "name": "web", "controller": true, "uid": "z"},
            ],
        },
        "spec": {
            "nodeName": "n1", "serviceAccountName": "web", "hostNetwork": false,
            "tolerations": [{"key": "a"}], "volumes": null,
            "initContainers": [
                {"name": "a", "ports": [{"containerPort": 1}]},
                {"name": "b", "restartPolicy": "Always", "ports": [{"containerPort": 2}]},
            ],
            "containers": [{
                "name": "c", "image": "i",
                "ports": [
                    {"containerPort": 80, "name": "http", "protocol": "TCP"},
                    {"containerPort": 53, "protocol": "UDP"},
                ],
            }],
        },
        "status": {
            "phase": "Running", "podIP": "10.0.0.1",
            "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
        },
    })
}

fn workload_endpoint() -> Value {
    json!({
        "kind": "WorkloadEndpoint", "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": "vm1", "namespace": "shop", "labels": {"a": "b"}},
        "spec": {
            "node": "n1", "orchestrator": "openstack", "workload": "w", "interfaceName": "tap1",
            "mac": "02:00:00:00:00:0a", "ipNetworks": ["10.0.0.7/32", "fd00::7"],
            "profiles": ["kns.shop"], "serviceAccountName": "vm",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        },
    })
}

fn set(kind: &str) -> Value {
    json!({
        "kind": kind, "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": "s", "labels": {"a": "b"}},
        "spec": {"nets": ["10.1.2.3/8", "fd00::/64"]},
    })
}

fn is_fast(value: &Value) -> bool {
    fast(&value.to_string()).is_some()
}

/// Every value in which one part, anywhere, is replaced or removed.
pub(in crate::decode) fn variants(value: &Value) -> Vec<Value> {
    let replacements = || {
        vec![
            Value::Null,
            json!(""),
            json!("A b"),
            json!(70000),
            json!(-1),
            json!([]),
            json!({}),
        ]
    };
    match value {
        Value::Object(fields) => {
            let mut all = replacements();
            for (key, part) in fields {
                let mut without = fields.clone();
                without.remove(key);
                all.push(Value::Object(without));
                for variant in variants(part) {
                    let mut changed = fields.clone();
                    changed.insert(key.clone(), variant);
                    all.push(Value::Object(changed));
                }
            }
            let mut more = fields.clone();
            more.insert("unknown".to_owned(), json!("x"));
            all.push(Value::Object(more));
            all
        }
        Value::Array(items) => {
            let mut all = replacements();
            for (index, part) in items.iter().enumerate() {
                for variant in variants(part) {
                    let mut changed = items.clone();
                    changed[index] = variant;
                    all.push(Value::Array(changed));
                }
            }
            all
        }
        _ => replacements(),
    }
}

#[test]
fn both_ways_are_equal() {
    let namespace = json!({
        "kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "shop", "labels": {"a": "b"}},
    });
    for value in [
        pod(),
        workload_endpoint(),
        set("GlobalNetworkSet"),
        namespace,
    ] {
        assert!(is_fast(&value), "{value}");
        for variant in variants(&value) {
            let json = serde_json::to_vec(&variant).unwrap();
            assert_eq!(decode_json(&json), decode(&variant), "{variant}");
        }
    }
    let set = set("NetworkSet");
    assert_eq!(decode_json(set.to_string().as_bytes()), decode(&set));
}

#[test]
fn escapes_are_read() {
    let mut value = pod();
    value["metadata"]["labels"] = json!({});
    let json = value.to_string().replace("\"web-1\"", "\"web\\u002d1\"");
    let Some(Object::Pod(pod)) = decode_json(json.as_bytes()).object else {
        panic!()
    };
    assert_eq!(&*pod.metadata.name, "web-1");
    assert_eq!(&*pod.metadata.annotations["text"], "a \"b\"\n");
}

#[test]
fn what_is_no_json_is_a_problem() {
    for bytes in [&b""[..], b"{", b"\xff", b"kind: Pod"] {
        let decoded = decode_json(bytes);
        assert!(decoded.object.is_none());
        assert!(decoded.problems[0].message.starts_with("not JSON: "));
    }
}

//! What holds for any input.

use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::decode::{decode, decode_json};
use crate::document::parse;
use crate::world::World;

/// Words that objects are made of, so that random values reach far into the decoder.
const WORDS: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    "status",
    "name",
    "namespace",
    "labels",
    "selector",
    "ingress",
    "egress",
    "action",
    "source",
    "destination",
    "nets",
    "ports",
    "protocol",
    "types",
    "from",
    "podSelector",
    "matchLabels",
    "ipBlock",
    "cidr",
    "template",
    "containers",
    "items",
    "services",
    "domains",
    "http",
    "paths",
    "exact",
    "stagedAction",
    "doNotTrack",
    "preDNAT",
    "applyOnForward",
    "tier",
    "priority",
    "subject",
    "namespaces",
    "pods",
    "networks",
    "domainNames",
    "to",
    "protocols",
    "tcp",
    "destinationPort",
    "number",
    "range",
    "start",
    "end",
    "node",
    "interfaceName",
    "expectedIPs",
    "failsafeInboundHostPorts",
    "port",
    "net",
    "logPrefix",
    "nftablesRefreshInterval",
    "vxlanVNI",
    "controllers",
    "hostEndpoint",
    "templates",
    "generateName",
    "endpoints",
    "addresses",
    "clusterIPs",
    "targetPort",
];

const TEXTS: &[&str] = &[
    "",
    "a",
    "Allow",
    "TCP",
    "10.0.0.0/8",
    "fd00::1",
    "Ingress",
    "app == 'a'",
    "a:b",
    "80:90",
    "*",
    "*.example.com",
    "Accept",
    "Admin",
    "Set",
    "1m30s",
    "None",
    "/path",
];

const KINDS: &[(&str, &str)] = &[
    ("v1", "Pod"),
    ("v1", "List"),
    ("v1", "Node"),
    ("apps/v1", "Deployment"),
    ("batch/v1", "Job"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("projectcalico.org/v3", "NetworkPolicy"),
    ("projectcalico.org/v3", "GlobalNetworkPolicy"),
    ("projectcalico.org/v3", "WorkloadEndpoint"),
    ("projectcalico.org/v3", "Profile"),
    ("projectcalico.org/v3", "IPPool"),
    ("projectcalico.org/v3", "IPAMBlock"),
    ("projectcalico.org/v3", "GlobalNetworkSet"),
    ("projectcalico.org/v3", "StagedNetworkPolicy"),
    ("projectcalico.org/v3", "StagedGlobalNetworkPolicy"),
    ("projectcalico.org/v3", "StagedKubernetesNetworkPolicy"),
    ("projectcalico.org/v3", "HostEndpoint"),
    ("projectcalico.org/v3", "FelixConfiguration"),
    ("projectcalico.org/v3", "KubeControllersConfiguration"),
    ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
    ("v1", "Service"),
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2_i64..70_000).prop_map(Value::from),
        prop::sample::select(TEXTS).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(WORDS), inner, 0..6).prop_map(fields),
        ]
    })
}

fn fields(entries: std::collections::BTreeMap<&str, Value>) -> Value {
    let entries = entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    Value::Object(entries.collect::<Map<_, _>>())
}

/// Objects of kinds that we read, with anything in them.
fn object() -> impl Strategy<Value = Value> {
    (prop::sample::select(KINDS), value(), value()).prop_map(|((version, kind), metadata, spec)| {
        let mut metadata = metadata;
        if let Value::Object(fields) = &mut metadata {
            fields.insert("name".to_owned(), "x".into());
        }
        let mut object = serde_json::json!({
            "apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec, "status": spec,
        });
        // Of these, what others have in spec stands at the top.
        if kind == "EndpointSlice" {
            for name in ["endpoints", "ports", "addressType"] {
                object[name] = spec.get(name).unwrap_or(&spec).clone();
            }
        }
        object
    })
}

proptest! {
    #[test]
    fn any_value_decodes_or_says_why(value in prop_oneof![value(), object()]) {
        let decoded = decode(&value);
        prop_assert!(decoded.object.is_some() || decoded.unused.is_some() || decoded.has_errors());
        prop_assert_eq!(&decode_json(value.to_string().as_bytes()), &decoded);
        prop_assert_eq!(&decode(&value), &decoded);
    }

    #[test]
    fn places_are_within_the_text(value in object()) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        let lines: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
        let mut loaded = World::load([("a.json", &text)]);
        for problem in &loaded.problems {
            let place = problem.position;
            prop_assert!((1..=lines.len()).contains(&place.line), "{}", problem);
            prop_assert!((1..=lines[place.line - 1]).contains(&place.column), "{}", problem);
        }
        loaded.world.expand(&[]);
    }

    #[test]
    fn json_and_yaml_give_one_value(value in prop_oneof![value(), object()]) {
        let compact = parse(&value.to_string()).unwrap();
        let pretty = parse(&format!("# yaml\n{}", serde_json::to_string_pretty(&value).unwrap()));
        let pretty = pretty.unwrap();
        prop_assert_eq!(compact.len(), pretty.len());
        for (compact, pretty) in compact.iter().zip(&pretty) {
            prop_assert_eq!(&compact.value, &pretty.value);
        }
    }

    #[test]
    fn any_text_parses_or_fails(text in "[-a:{}\\[\\], \t\n\"'&*!|>#<?%@0.~]{0,60}") {
        match parse(&text) {
            Ok(documents) => {
                for document in documents {
                    let _ = document.position_of("a.b[0]");
                    let _ = decode(&document.value);
                }
            }
            Err(error) => prop_assert!(error.position.line >= 1 && error.position.column >= 1),
        }
    }
}

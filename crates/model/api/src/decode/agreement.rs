//! Schemas and decoder accept and refuse the same, and say the same.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::decode;
use super::fast::tests::variants;
use crate::{Kind, document, schema};

mod corpus;
mod evaluate;

use evaluate::{Fault, evaluate};

/// What the decoder knows beyond a schema: parts of its messages.
const ONLY_DECODER: &[&str] = &[
    // Selectors have a grammar.
    "column ",
    // Addresses are more than their letters, and are compared with each other.
    "expected a CIDR",
    "expected an IP address",
    "prefix length",
    "expected a prefix length",
    "expected IPv",
    "expected one address, with",
    "expected a part of",
    "and not all",
    "expected a net that is not everything",
    "without host bits",
    "at least one block of",
    "no link-local",
    // The bounds of numbers that stand in texts, or depend on another field.
    "expected 0-65535",
    "expected a range",
    "expected 20-32",
    "expected a label",
    "expected an annotation name",
    "expected a duration",
    // Conditions between fields in lists without a limit, which an API server does not evaluate.
    "expected at least one for In and NotIn",
    "expected none for Exists and DoesNotExist",
    "expected ipBlock alone",
    "expected only beside a port that is a number",
    "expected at least port",
    "the index of one of the attributes",
];

/// What the decoder says of an object beside its metadata, which no schema describes.
fn decoder(object: &Value) -> Vec<String> {
    let problems = decode(object).problems.into_iter();
    problems
        .filter(|problem| problem.is_error() && !problem.field.starts_with("metadata"))
        .map(|problem| problem.to_string())
        .collect()
}

static DEFINITIONS: LazyLock<Vec<schema::Definition>> = LazyLock::new(schema::definitions);

/// What the schema of its definition says of an object.
fn definition(kind: Kind, object: &Value) -> Vec<Fault> {
    let info = kind.info();
    let name = format!("{}.{}", info.plural, info.group);
    let definition = DEFINITIONS.iter().find(|one| one.name == name).unwrap();
    let version = &definition.value["spec"]["versions"][0];
    evaluate(&version["schema"]["openAPIV3Schema"], object)
}

/// Compares both; returns whether they refuse the object, or how they differ.
fn compare(kind: Kind, object: &Value) -> Result<bool, String> {
    let (said, faults) = (decoder(object), definition(kind, object));
    for fault in faults.iter().filter(|fault| fault.is_check) {
        if !said.iter().any(|text| text.contains(&fault.message)) {
            return Err(format!("{fault:?}, but {said:?}"));
        }
    }
    if said.is_empty() && !faults.is_empty() {
        return Err(format!("only the schema refuses: {faults:?}"));
    }
    let beyond = |text: &&String| !ONLY_DECODER.iter().any(|part| text.contains(part));
    match said.iter().find(beyond).filter(|_| faults.is_empty()) {
        Some(unexpected) => Err(format!("only the decoder refuses: {unexpected}")),
        None => Ok(!said.is_empty()),
    }
}

/// Both refuse the object.
fn refused(kind: Kind, spec: &Value) {
    assert_eq!(compare(kind, &object(kind, spec)), Ok(true), "{spec}");
}

/// Both accept the object.
fn accepted(kind: Kind, spec: &Value) {
    assert_eq!(compare(kind, &object(kind, spec)), Ok(false), "{spec}");
}

fn object(kind: Kind, spec: &Value) -> Value {
    let info = kind.info();
    json!({
        "apiVersion": info.api_version(), "kind": info.name,
        "metadata": {"name": "default"}, "spec": spec,
    })
}

fn yaml(text: &str) -> Value {
    document::parse(text).unwrap().remove(0).value
}

#[test]
fn good_objects_and_all_that_can_be_wrong_with_them() {
    let mut kinds = Vec::new();
    let mut differences = std::collections::BTreeSet::new();
    for (kind, spec) in corpus::GOOD {
        let good = yaml(spec);
        accepted(*kind, &good);
        kinds.push(*kind);
        let mut count = 0;
        for spec in variants(&good) {
            match compare(*kind, &object(*kind, &spec)) {
                Ok(refused) => count += usize::from(refused),
                Err(difference) => drop(differences.insert(format!("{kind}: {difference}"))),
            }
        }
        assert!(count > 0, "{kind}");
    }
    assert!(differences.is_empty(), "{differences:#?}");
    for info in Kind::table() {
        let described = schema::of(info.kind).is_some() && info.kind != Kind::NetworkPolicy;
        assert_eq!(kinds.contains(&info.kind), described, "{}", info.name);
    }
}

#[test]
fn bad_objects() {
    for (rule, _) in super::rule::tests::BAD_PARTS {
        for kind in [Kind::CalicoNetworkPolicy, Kind::StagedGlobalNetworkPolicy] {
            let spec = yaml(&format!("{{ingress: [{rule}]}}"));
            refused(kind, &spec);
        }
    }
    for (peers, _) in super::cluster::tests::BAD_PEERS {
        let spec = format!(
            "{{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, egress: [{{action: Deny, {peers}}}]}}"
        );
        let kind = Kind::ClusterNetworkPolicy;
        refused(kind, &yaml(&spec));
    }
    for (kind, spec) in corpus::BAD {
        refused(*kind, &yaml(spec));
    }
}

/// Each condition between fields is seen to refuse something.
#[test]
fn every_check_is_met() {
    let mut met = std::collections::BTreeSet::new();
    for (kind, spec) in corpus::BAD {
        let faults = definition(*kind, &object(*kind, &yaml(spec)));
        met.extend(
            faults
                .into_iter()
                .filter(|fault| fault.is_check)
                .map(|fault| fault.message),
        );
    }
    let mut all = std::collections::BTreeSet::new();
    for definition in DEFINITIONS.iter() {
        messages(&definition.value, &mut all);
    }
    let missing: Vec<_> = all.difference(&met).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn messages(value: &Value, found: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for check in fields
                .get("x-kubernetes-validations")
                .into_iter()
                .flat_map(|x| x.as_array().unwrap())
            {
                found.insert(check["message"].as_str().unwrap().to_owned());
            }
            fields.values().for_each(|part| messages(part, found));
        }
        Value::Array(items) => items.iter().for_each(|part| messages(part, found)),
        _ => {}
    }
}

#[test]
fn limits_are_the_same() {
    let rules = |count: usize| json!({"ingress": vec![json!({"action": "Deny"}); count]});
    let nets = |count: usize| json!({"ingress": [{"action": "Deny", "source": {"nets": vec!["10.0.0.0/8"; count]}}]});
    let ports = |count: usize| json!({"ingress": [{"action": "Deny", "protocol": "TCP", "source": {"ports": vec![1; count]}}]});
    let selector = |chars: usize| json!({"selector": format!("has({})", "a".repeat(chars - 5))});
    let methods = |count: usize| json!({"ingress": [{"action": "Allow", "http": {"methods": vec!["GET"; count]}}]});
    let domains = |count: usize| json!({"egress": [{"action": "Allow", "destination": {"domains": vec!["a.b"; count]}}]});
    let limits: [(&dyn Fn(usize) -> Value, usize); 5] = [
        (&rules, 1024),
        (&nets, 256),
        (&ports, 50),
        (&methods, 20),
        (&domains, 256),
    ];
    let kind = Kind::CalicoNetworkPolicy;
    for (make, limit) in limits {
        accepted(kind, &make(limit));
        refused(kind, &make(limit + 1));
    }
    refused(kind, &selector(1025));
    let cluster = |count: usize| {
        json!({
            "tier": "Admin", "priority": 1, "subject": {"namespaces": {}},
            "ingress": vec![json!({"action": "Pass", "from": vec![json!({"namespaces": {}}); count]}); count],
        })
    };
    let kind = Kind::ClusterNetworkPolicy;
    accepted(kind, &cluster(25));
    refused(kind, &cluster(26));
}

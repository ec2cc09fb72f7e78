use serde_json::json;

use super::*;
use crate::Severity;
use crate::document;
use crate::policy::{CalicoPolicy, PolicyStage, StagedAction, Subject};
use crate::rule::Action;

/// Decodes the one object of a YAML text.
pub(super) fn yaml(text: &str) -> Decoded {
    let mut documents = document::parse(text).unwrap();
    assert_eq!(documents.len(), 1);
    decode(&documents.remove(0).value)
}

/// All problems, one a line; warnings begin with `warning: `.
pub(super) fn problems(decoded: &Decoded) -> Vec<String> {
    let text = |problem: &Problem| match problem.severity {
        Severity::Error => problem.to_string(),
        Severity::Warning => format!("warning: {problem}"),
    };
    decoded.problems.iter().map(text).collect()
}

pub(super) fn policy(kind: &str, spec: &str) -> (CalicoPolicy, Vec<String>) {
    let text = format!(
        "apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: p}}\nspec:\n{spec}\n"
    );
    let decoded = yaml(&text);
    let found = problems(&decoded);
    match decoded.object {
        Some(Object::CalicoNetworkPolicy(policy) | Object::GlobalNetworkPolicy(policy)) => {
            (policy, found)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_whole_policy() {
    let (policy, found) = policy(
        "NetworkPolicy",
        "
  tier: security
  order: 12.5
  selector: app == 'web'
  serviceAccountSelector: has(team)
  performanceHints: [AssumeNeededOnEveryNode]
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [80, '8000:8080', http]}}]
  egress: [{action: Pass}]",
    );
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(policy.metadata.namespace.as_deref(), Some("default"));
    assert_eq!((&*policy.tier, policy.order), ("security", Some(12.5)));
    assert!(policy.types.ingress && policy.types.egress);
    assert!(!policy.is_host_only());
    let Subject::Selectors {
        selector,
        namespace_selector,
        service_account_selector,
    } = policy.subject
    else {
        panic!()
    };
    assert_eq!(selector.to_string(), "app == \"web\"");
    assert_eq!(namespace_selector, None);
    assert_eq!(service_account_selector.unwrap().to_string(), "has(team)");
    assert_eq!(policy.egress[0].action, Action::Pass);
    assert_eq!(policy.ingress[0].destination.ports.len(), 3);
}

#[test]
fn types_by_default() {
    let types = |spec: &str| {
        let types = policy("NetworkPolicy", spec).0.types;
        (types.ingress, types.egress)
    };
    let rule = "[{action: Allow}]";
    assert_eq!(types("  {}"), (true, false));
    assert_eq!(types(&format!("  ingress: {rule}")), (true, false));
    assert_eq!(types(&format!("  egress: {rule}")), (false, true));
    assert_eq!(
        types(&format!("  ingress: {rule}\n  egress: {rule}")),
        (true, true)
    );
    assert_eq!(types("  types: [Egress]"), (false, true));
    assert_eq!(types("  types: [Ingress, Egress]"), (true, true));
    // What cannot be read closes both.
    assert_eq!(types("  types: [ingress]"), (true, true));
    assert_eq!(types("  types: []"), (true, true));
    assert_eq!(types("  types: [Egress, Egress]"), (true, true));
    assert_eq!(types("  egres: []"), (true, true));
}

#[test]
fn a_policy_that_selects_nobody_knows_whom_is_unreadable() {
    for (spec, expected) in [
        (
            "  selector: app ==",
            "spec.selector: column 7: expected a string in quotes",
        ),
        (
            "  serviceAccountSelector: '('",
            "spec.serviceAccountSelector: column 2: expected",
        ),
        (
            "  slector: all()",
            "spec.slector: unknown field \"slector\": did you mean \"selector\"?",
        ),
        (
            "  namespaceSelector: all()",
            "spec.namespaceSelector: unknown field",
        ),
        ("  order: first", "spec.order: \"first\": expected a number"),
        ("  tier: A_B", "spec.tier: \"A_B\": expected at most 253"),
        (
            "  tier: 5",
            "spec.tier: 5: expected a text: put it in quotes",
        ),
        ("  [a]", "spec: a list: expected a mapping"),
    ] {
        let (policy, found) = policy("NetworkPolicy", spec);
        assert_eq!(policy.subject, Subject::Unreadable, "{spec}");
        assert!(found[0].starts_with(expected), "{spec}: {found:?}");
    }
    let long = format!("  selector: {}", vec!["has(a)"; 103].join(" && "));
    let (long, found) = policy("NetworkPolicy", &long);
    assert_eq!(long.subject, Subject::Unreadable);
    assert_eq!(
        found,
        ["spec.selector: 1026 characters: expected at most 1024"]
    );
    let decoded = yaml(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: p}\nspecs: {}\n",
    );
    assert_eq!(
        problems(&decoded),
        ["specs: unknown field \"specs\": did you mean \"spec\"?"]
    );
    let Some(Object::CalicoNetworkPolicy(policy)) = decoded.object else {
        panic!()
    };
    assert_eq!(policy.subject, Subject::Unreadable);
}

#[test]
fn global_policies() {
    let (policy_, found) = policy("GlobalNetworkPolicy", "  namespaceSelector: global()\n");
    assert_eq!(policy_.metadata.namespace, None);
    assert!(
        found[0].starts_with("warning: spec.namespaceSelector: global() is what has no namespace")
    );
    let (policy_, found) = policy(
        "GlobalNetworkPolicy",
        "  doNotTrack: true\n  applyOnForward: true\n",
    );
    assert!(policy_.is_host_only());
    assert_eq!(policy_.stage, PolicyStage::Untracked);
    assert_eq!(found, Vec::<String>::new());
    let (policy_, found) = policy(
        "GlobalNetworkPolicy",
        "  preDNAT: true\n  types: [Egress]\n",
    );
    assert!(policy_.is_host_only());
    assert!(
        found
            .iter()
            .any(|text| text.contains("preDNAT without applyOnForward")),
        "{found:?}"
    );
    assert!(
        found.iter().any(|text| text.contains("expected no egress")),
        "{found:?}"
    );
    let (policy_, found) = policy(
        "GlobalNetworkPolicy",
        "  preDNAT: true\n  doNotTrack: true\n  applyOnForward: true\n",
    );
    assert_eq!(policy_.subject, Subject::Unreadable);
    assert!(
        found.iter().any(|text| text.contains("not both")),
        "{found:?}"
    );
    let (policy_, _) = policy("GlobalNetworkPolicy", "  doNotTrack: yes\n");
    assert_eq!(
        (policy_.is_host_only(), policy_.subject),
        (false, Subject::Unreadable)
    );
    let (policy_, found) = policy("GlobalNetworkPolicy", "  applyOnForward: true\n");
    assert_eq!((policy_.stage, found.len()), (PolicyStage::Forward, 0));
    let spec = "  doNotTrack: true\n  applyOnForward: true\n  namespaceSelector: all()\n";
    let (policy_, found) = policy("GlobalNetworkPolicy", spec);
    assert_eq!(policy_.stage, PolicyStage::Untracked);
    assert!(
        found[0].starts_with("warning: spec.namespaceSelector: a host endpoint has no namespace"),
        "{found:?}"
    );
    for flag in ["doNotTrack", "preDNAT", "applyOnForward"] {
        let (policy_, found) = policy("GlobalNetworkPolicy", &format!("  {flag}: 1\n"));
        assert_eq!(policy_.subject, Subject::Unreadable, "{flag}");
        assert_eq!(found, [format!("spec.{flag}: 1: expected true or false")]);
        let (_, found) = policy("NetworkPolicy", &format!("  {flag}: true\n"));
        assert!(found[0].starts_with(&format!("spec.{flag}: unknown field")));
    }
}

#[test]
fn staged_policies() {
    let staged = |kind: &str, spec: &str| {
        let decoded = yaml(&format!(
            "apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: p}}\nspec: {spec}\n"
        ));
        let found = problems(&decoded);
        match decoded.object {
            Some(
                Object::StagedNetworkPolicy(staged) | Object::StagedGlobalNetworkPolicy(staged),
            ) => (staged, found),
            other => panic!("{other:?}"),
        }
    };
    for (text, action) in [
        ("Set", StagedAction::Set),
        ("Delete", StagedAction::Delete),
        ("Learn", StagedAction::Learn),
        ("Ignore", StagedAction::Ignore),
    ] {
        let spec = format!("{{stagedAction: {text}, order: 5, ingress: [{{action: Pass}}]}}");
        let (read, found) = staged("StagedNetworkPolicy", &spec);
        assert_eq!((read.action, found), (action, vec![]));
        assert_eq!(
            (read.policy.order, read.policy.ingress.len()),
            (Some(5.0), 1)
        );
        assert_eq!(read.policy.metadata.namespace.as_deref(), Some("default"));
    }
    let (read, found) = staged("StagedGlobalNetworkPolicy", "{applyOnForward: true}");
    assert_eq!(
        (read.action, read.policy.stage),
        (StagedAction::Set, PolicyStage::Forward)
    );
    assert_eq!((read.policy.metadata.namespace, found.len()), (None, 0));
    let (read, found) = staged("StagedGlobalNetworkPolicy", "{stagedAction: Add, ordr: 5}");
    assert_eq!(
        (read.action, read.policy.subject),
        (StagedAction::Ignore, Subject::Unreadable)
    );
    assert_eq!(
        found[0],
        "spec.stagedAction: \"Add\": expected Set, Delete, Learn or Ignore"
    );
    assert!(found[1].contains("did you mean \"order\"?"));
    let (_, found) = policy("NetworkPolicy", "  stagedAction: Set");
    assert!(
        found[0].starts_with("spec.stagedAction: unknown field"),
        "{found:?}"
    );
}

#[test]
fn tiers() {
    let tier = |name: &str, spec: &str| {
        let decoded = yaml(&format!(
            "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        ));
        let found = problems(&decoded);
        let Some(Object::Tier(tier)) = decoded.object else {
            panic!()
        };
        (tier, found)
    };
    let (read, found) = tier("a", "{order: 10, defaultAction: Pass}");
    assert_eq!(
        (read.order, read.default_action, found.len()),
        (Some(10.0), Action::Pass, 0)
    );
    let (read, found) = tier("a", "{defaultAction: Allow}");
    assert_eq!((read.order, read.default_action), (None, Action::Deny));
    assert_eq!(
        found,
        ["spec.defaultAction: \"Allow\": expected Deny or Pass"]
    );
    let (_, found) = tier("default", "{order: 5, defaultAction: Pass}");
    assert_eq!(found.len(), 2);
    assert!(found[0].starts_with("warning: spec.order: tier default has order 1000000"));
}

#[test]
fn sets_and_profiles() {
    let decoded = yaml(
        "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: s, namespace: x, labels: {projectcalico.org/namespace: y}}
spec: {nets: [10.1.2.3/8, nonsense, 'fd00::1']}",
    );
    let Some(Object::GlobalNetworkSet(set)) = &decoded.object else {
        panic!()
    };
    let nets: Vec<String> = set.nets.iter().map(ToString::to_string).collect();
    assert_eq!(nets, ["10.0.0.0/8", "fd00::1/128"]);
    assert_eq!(set.metadata.namespace, None);
    let found = problems(&decoded);
    assert!(found[0].starts_with("warning: metadata.namespace: GlobalNetworkSet objects have no"));
    assert!(
        found[1].starts_with("metadata.labels: projectcalico.org/namespace"),
        "{found:?}"
    );
    assert!(
        found[2].starts_with("spec.nets[1]: \"nonsense\": expected a CIDR"),
        "{found:?}"
    );

    let decoded = yaml(
        "
apiVersion: projectcalico.org/v3
kind: NetworkSet
metadata: {name: s}
spec: {nets: [10.0.0.0/8], allowedEgressDomains: ['*.Example.com', 'a b']}",
    );
    let Some(Object::NetworkSet(set)) = &decoded.object else {
        panic!()
    };
    assert_eq!(set.domains, ["*.example.com".into()]);
    let found = problems(&decoded);
    assert!(found[0].starts_with("spec.allowedEgressDomains[1]: \"a b\": expected a domain name"));
    assert!(found[1].starts_with("warning: spec.allowedEgressDomains: no observer of names"));

    let decoded = yaml(
        "
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: kns.shop}
spec:
  labelsToApply: {pcns.team: a}
  ingress: [{action: Allow}]
  egres: [{action: Allow}]",
    );
    let Some(Object::Profile(profile)) = &decoded.object else {
        panic!()
    };
    assert_eq!(profile.ingress[0].action, Action::Deny);
    assert_eq!(profile.egress[0].action, Action::Deny);
    assert_eq!(profile.labels_to_apply.len(), 1);
}

#[test]
fn names_and_labels() {
    let found = |metadata: &str| {
        let decoded = yaml(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {metadata}\n"
        ));
        (decoded.object.is_some(), problems(&decoded))
    };
    let (object, text) = found("{}");
    assert!(!object);
    assert_eq!(text, ["metadata.name: missing: expected a name"]);
    let (object, text) = found("{name: A_b}");
    assert!(object);
    assert!(text[0].starts_with("metadata.name: \"A_b\": expected at most 253 lower-case"));
    let (object, text) = found("{name: a, namespace: 5}");
    assert!(!object);
    assert_eq!(
        text,
        ["metadata.namespace: 5: expected a text: put it in quotes"]
    );
    let (_, text) = found("{name: a, namespace: b.c}");
    assert!(text[0].starts_with("metadata.namespace: \"b.c\": expected at most 63 lower-case"));
    let (_, text) = found("{name: a, labels: {version: 1}}");
    assert_eq!(
        text,
        ["metadata.labels.version: 1: expected a text: put it in quotes"]
    );
    let (_, text) = found("{name: a, labels: {a/b/c: 'x y'}}");
    assert!(text[0].starts_with("metadata.labels[a/b/c]: \"a/b/c\": expected a label name"));
    assert!(text[1].starts_with("metadata.labels[a/b/c]: \"x y\": expected a label value"));
    let (_, text) = found("{name: a, annotations: {-: x}}");
    assert!(text[0].starts_with("metadata.annotations.-: \"-\": expected an annotation name"));
    let (object, text) = found("[]");
    assert!(!object && !text.is_empty());
    let decoded = decode(&json!([]));
    assert_eq!(problems(&decoded), ["a list: expected a mapping"]);
}

#[test]
fn unused_kinds_are_named() {
    let decoded = yaml("apiVersion: v1\nkind: ConfigMap\ndata: {}\n");
    assert_eq!(decoded.unused.as_deref(), Some("ConfigMap (v1)"));
    assert!(decoded.problems.is_empty() && decoded.object.is_none());
}

use super::super::tests::{problems, yaml};
use super::*;
use crate::Object;

fn read(spec: &str) -> (KubeControllersConfiguration, Vec<String>) {
    let decoded = yaml(&format!(
        "apiVersion: projectcalico.org/v3\nkind: KubeControllersConfiguration\n\
         metadata: {{name: default}}\nspec: {spec}\nstatus: {{environmentVars: {{}}}}\n"
    ));
    let found = problems(&decoded);
    let Some(Object::KubeControllersConfiguration(configuration)) = decoded.object else {
        panic!()
    };
    (configuration, found)
}

fn host_endpoint(text: &str) -> (KubeControllersConfiguration, Vec<String>) {
    read(&format!(
        "{{controllers: {{node: {{hostEndpoint: {text}}}}}}}"
    ))
}

#[test]
fn all_fields() {
    let (read, found) = host_endpoint(
        "{autoCreate: Enabled, createDefaultHostEndpoint: Disabled, templates: [
          {generateName: lan, interfaceCIDRs: [192.0.2.0/24], labels: {a: b}, annotations: {c: d},
           nodeSelector: has(edge)},
          {generateName: wan, interfacePattern: 'eth.*'}]}",
    );
    assert_eq!(found, Vec::<String>::new());
    assert!(read.auto_host_endpoints && !read.default_host_endpoint);
    assert_eq!(&*read.templates[0].generate_name, "lan");
    assert_eq!(read.templates[0].interface_cidrs.len(), 1);
    assert_eq!(
        read.templates[0].labels.len() + read.templates[0].annotations.len(),
        2
    );
    assert_eq!(read.templates[0].node_selector.to_string(), "has(edge)");
    assert_eq!(
        read.templates[1].interface_pattern.as_deref(),
        Some("eth.*")
    );
    assert_eq!(read.templates[1].node_selector, Selector::All);
    let (read, found) = host_endpoint("{}");
    assert!(!read.auto_host_endpoints && read.default_host_endpoint && found.is_empty());
}

#[test]
fn fields_without_effect() {
    let (read, found) = read(
        "{healthChecks: Enabled, controllers: {namespace: {}, policy: null, node: {syncLabels: Enabled}}}",
    );
    let ignored: Vec<&str> = read.ignored.iter().map(|name| &**name).collect();
    assert_eq!(
        ignored,
        [
            "controllers.namespace",
            "controllers.node.syncLabels",
            "healthChecks"
        ]
    );
    assert_eq!(found.len(), 3);
    assert!(
        found.iter().all(|text| text.starts_with("warning: ")),
        "{found:?}"
    );
}

#[test]
fn what_cannot_be_read_makes_no_host_endpoint() {
    for (spec, part) in [
        (
            "{}",
            "spec.controllers: missing: expected the controllers to run",
        ),
        (
            "{controllers: []}",
            "spec.controllers: a list: expected a mapping",
        ),
        ("{controllers: {nodes: {}}}", "did you mean \"node\"?"),
        (
            "{controllers: {node: {hostEndpoints: {}}}}",
            "did you mean \"hostEndpoint\"?",
        ),
        (
            "{controllers: {}, healthCheck: x}",
            "did you mean \"healthChecks\"?",
        ),
    ] {
        let (configuration, found) = read(spec);
        assert!(
            found.iter().any(|text| text.contains(part)),
            "{spec}: {found:?}"
        );
        assert!(!configuration.auto_host_endpoints);
    }
    for (text, part) in [
        ("x", "hostEndpoint: \"x\": expected a mapping"),
        (
            "{autoCreate: true}",
            "autoCreate: true: expected Enabled or Disabled",
        ),
        (
            "{createDefaultHostEndpoint: no}",
            "createDefaultHostEndpoint: \"no\": expected Enabled",
        ),
        ("{autocreate: Enabled}", "did you mean \"autoCreate\"?"),
        ("{templates: {}}", "templates: a mapping: expected a list"),
        ("{templates: [{}]}", "templates[0]: missing generateName"),
        (
            "{templates: [{generateName: A}]}",
            "generateName: \"A\": expected at most 253",
        ),
        (
            "{templates: [{generateName: a, interfaceCIDRs: [10.0.0.1]}]}",
            "expected a CIDR, with '/'",
        ),
        (
            "{templates: [{generateName: a, interfacePattern: 5}]}",
            "interfacePattern: 5: expected a text",
        ),
        (
            "{templates: [{generateName: a, nodeSelector: x}]}",
            "templates[0].nodeSelector: column 2",
        ),
        (
            "{templates: [{generateName: a, cidrs: []}]}",
            "templates[0].cidrs: unknown field",
        ),
    ] {
        let (configuration, found) = host_endpoint(text);
        assert!(
            found.iter().any(|text| text.contains(part)),
            "{text}: {found:?}"
        );
        assert!(configuration.templates.is_empty() && !configuration.auto_host_endpoints);
    }
    let template = "{generateName: a, interfaceCIDRs: [10.0.0.0/8]}";
    let (_, found) = host_endpoint(&format!("{{templates: [{template}, {template}]}}"));
    assert!(found[0].contains("templates: a: expected templates with a generateName of their own"));
    let (_, found) = host_endpoint("{templates: [{generateName: a}]}");
    assert!(found[0].starts_with("warning: ") && found[0].contains("makes no host endpoint"));
    let bad = "{templates: [{generateName: a, interfacePattern: b, labels: {a: 'x y'}}]}";
    assert!(host_endpoint(bad).1[0].contains("expected a label value"));
}

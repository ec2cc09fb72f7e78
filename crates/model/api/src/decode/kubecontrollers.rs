//! KubeControllersConfiguration, as far as it makes host endpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use ocicat_selector::Selector;

use super::felix::NO_EFFECT;
use super::meta::{check_label, shared, strings};
use super::names;
use super::node::{Node, Path, Problems, Read, Unreadable};
use super::selector;
use crate::Metadata;
use crate::config::{HostEndpointTemplate, KubeControllersConfiguration};

/// Fields of `spec` that have no effect here.
pub(crate) const IGNORED: &[&str] = &[
    "debugProfilePort",
    "etcdV3CompactionPeriod",
    "healthChecks",
    "logSeverityScreen",
    "prometheusMetricsPort",
];

/// Fields of `spec.controllers` that have no effect here.
pub(crate) const IGNORED_CONTROLLERS: &[&str] = &[
    "loadBalancer",
    "migration",
    "namespace",
    "policy",
    "serviceAccount",
    "workloadEndpoint",
];

/// Fields of `spec.controllers.node` that have no effect here.
pub(crate) const IGNORED_NODE: &[&str] = &["leakGracePeriod", "reconcilerPeriod", "syncLabels"];

/// Reads a KubeControllersConfiguration. What cannot be read makes no host endpoint.
pub(super) fn configuration(
    root: &Node<'_>,
    metadata: Metadata,
    problems: &mut Problems,
) -> KubeControllersConfiguration {
    let mut configuration = KubeControllersConfiguration {
        metadata,
        default_host_endpoint: true,
        ..KubeControllersConfiguration::default()
    };
    if &*configuration.metadata.name != "default" {
        let path = Path::Key(&root.path, "metadata");
        let message = "has no effect: expected default";
        problems.warning(&Path::Key(&path, "name"), message);
    }
    let mut ignored = Vec::new();
    let spec = super::spec(root);
    fields(&spec, IGNORED, &["controllers"], &mut ignored, problems);
    if let Some(controllers) = spec.field("controllers") {
        fields(
            &controllers,
            IGNORED_CONTROLLERS,
            &["node"],
            &mut ignored,
            problems,
        );
        if let Some(node) = controllers.field("node") {
            fields(
                &node,
                IGNORED_NODE,
                &["hostEndpoint"],
                &mut ignored,
                problems,
            );
            if let Some(host_endpoint) = node.field("hostEndpoint") {
                self::host_endpoint(&host_endpoint, &mut configuration, problems);
            }
        }
    } else {
        let path = Path::Key(&spec.path, "controllers");
        problems.error(&path, "missing: expected the controllers to run");
    }
    ignored.sort();
    configuration.ignored = ignored;
    configuration
}

/// Checks the fields of a mapping, and notes those that have no effect, by path.
fn fields(
    node: &Node<'_>,
    no_effect: &[&str],
    read: &[&str],
    ignored: &mut Vec<Arc<str>>,
    problems: &mut Problems,
) {
    let Ok(fields) = node.mapping(problems) else {
        return;
    };
    node.has_unknown(&[read, no_effect].concat(), problems);
    for (name, value) in fields {
        if no_effect.contains(&name.as_str()) && !value.is_null() {
            let path = Path::Key(&node.path, name);
            problems.warning(&path, NO_EFFECT);
            let path = path.to_string();
            ignored.push(path.strip_prefix("spec.").unwrap_or(&path).into());
        }
    }
}

fn host_endpoint(
    node: &Node<'_>,
    configuration: &mut KubeControllersConfiguration,
    problems: &mut Problems,
) {
    if node.mapping(problems).is_err() {
        return;
    }
    node.has_unknown(
        &["autoCreate", "createDefaultHostEndpoint", "templates"],
        problems,
    );
    let switch = |name, problems: &mut Problems| {
        node.lenient(name, problems, |node, problems| {
            if node.value == "" {
                return Ok(None);
            }
            Ok(Some(
                node.one_of(&["Enabled", "Disabled"], problems)? == "Enabled",
            ))
        })
    };
    configuration.auto_host_endpoints = switch("autoCreate", problems).flatten() == Some(true);
    configuration.default_host_endpoint =
        switch("createDefaultHostEndpoint", problems).flatten() != Some(false);
    configuration.templates = node.each("templates", problems, template);
    let names: Vec<&str> = configuration
        .templates
        .iter()
        .map(|t| &*t.generate_name)
        .collect();
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            let message = format!("{name}: expected templates with a generateName of their own");
            problems.error(&Path::Key(&node.path, "templates"), message);
        }
    }
}

fn template(node: Node<'_>, problems: &mut Problems) -> Read<HostEndpointTemplate> {
    const FIELDS: &[&str] = &[
        "annotations",
        "generateName",
        "interfaceCIDRs",
        "interfacePattern",
        "labels",
        "nodeSelector",
    ];
    node.mapping(problems)?;
    let unknown = node.has_unknown(FIELDS, problems);
    let generate_name = match node.field("generateName") {
        Some(name) => generate_name(name, problems),
        None => {
            let message = "missing generateName: expected the middle of the endpoints' names";
            Err(problems.error(&node.path, message))
        }
    };
    let interface_cidrs = node.optional("interfaceCIDRs", problems, |list, problems| {
        list.all(usize::MAX, problems, super::kube::cidr)
    });
    let interface_pattern = node.optional("interfacePattern", problems, shared);
    let node_selector = selector::optional_without_global(&node, "nodeSelector", problems);
    let labels = labels(&node, problems);
    let annotations = super::meta::annotations(&node, problems);
    let interface_cidrs = interface_cidrs?.unwrap_or_default();
    let interface_pattern = interface_pattern?.filter(|text| !text.is_empty());
    if interface_cidrs.is_empty() && interface_pattern.is_none() {
        let message = "makes no host endpoint: expected interfaceCIDRs or interfacePattern";
        problems.warning(&node.path, message);
    }
    if unknown {
        return Err(Unreadable);
    }
    Ok(HostEndpointTemplate {
        generate_name: generate_name?,
        interface_cidrs,
        interface_pattern,
        labels,
        annotations,
        node_selector: node_selector?.unwrap_or(Selector::All),
    })
}

fn generate_name(node: Node<'_>, problems: &mut Problems) -> Read<Arc<str>> {
    let text = shared(node, problems)?;
    if names::is_rfc1123_subdomain(&text) {
        Ok(text)
    } else {
        Err(node.expected(names::RFC1123_SUBDOMAIN, problems))
    }
}

fn labels(node: &Node<'_>, problems: &mut Problems) -> BTreeMap<Arc<str>, Arc<str>> {
    let Some(labels) = node.field("labels") else {
        return BTreeMap::new();
    };
    let found = strings(&labels, problems);
    for (key, value) in &found {
        check_label(&labels, key, value, problems);
    }
    found
}

#[cfg(test)]
mod tests;

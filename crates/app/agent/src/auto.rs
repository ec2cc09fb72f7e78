//! Host endpoints that are made of themselves: what KubeControllersConfiguration asks for, for this
//! host.
//!
//! ```text
//!   core: configuration, Node, links ──► wanted objects ──► writer ──► API
//! ```
//!
//! Each agent makes those of its own host, and removes those that bear its mark and are not wanted.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;
use ocicat_api::Kind;
use ocicat_api::config::{HostEndpointTemplate, KubeControllersConfiguration};
use ocicat_api::core::Node;
use ocicat_api::policy::Profile;
use ocicat_client::{Client, Error, Name, Selection};
use ocicat_compile::HostLink;
use regex::bytes::RegexBuilder;
use serde_json::{Value, json};
use tokio::sync::watch;

/// The label by which host endpoints are known that nobody wrote by hand.
const CREATED_BY: (&str, &str) = ("projectcalico.org/created-by", "calico-kube-controllers");
const RETRY: Duration = Duration::from_secs(10);

/// Objects by name.
pub type Wanted = BTreeMap<String, Value>;

/// The host endpoints that a host shall have, and what is wrong with the templates.
pub fn wanted(
    configuration: &KubeControllersConfiguration,
    node: &Node,
    links: &[HostLink],
) -> (Wanted, Vec<String>) {
    let (mut out, mut problems) = (Wanted::new(), Vec::new());
    if !configuration.auto_host_endpoints {
        return (out, problems);
    }
    let name = &*node.metadata.name;
    if configuration.default_host_endpoint {
        let spec = json!({
            "node": name,
            "interfaceName": "*",
            "expectedIPs": node.addresses,
            // It allows everything, and is there without an object.
            "profiles": [Profile::DEFAULT_ALLOW],
        });
        let object = object(&format!("{name}-auto-hep"), node, None, spec);
        out.extend([object]);
    }
    for template in &configuration.templates {
        if !template.node_selector.matches(&node.metadata.labels) {
            continue;
        }
        match of_template(template, node, links) {
            Ok(objects) => out.extend(objects),
            Err(problem) => problems.push(problem),
        }
    }
    (out, problems)
}

fn of_template(
    template: &HostEndpointTemplate,
    node: &Node,
    links: &[HostLink],
) -> Result<Vec<(String, Value)>, String> {
    let inside = |address: &&IpAddr| {
        let mut cidrs = template.interface_cidrs.iter();
        cidrs.any(|cidr| cidr.contains(*address))
    };
    let stem = format!("{}-{}", node.metadata.name, template.generate_name);
    let Some(pattern) = &template.interface_pattern else {
        let addresses: Vec<&IpAddr> = node.addresses.iter().filter(inside).collect();
        if addresses.is_empty() {
            return Ok(Vec::new());
        }
        let spec = json!({ "node": node.metadata.name, "expectedIPs": addresses });
        return Ok(vec![object(
            &format!("{stem}-auto-hep"),
            node,
            Some(template),
            spec,
        )]);
    };
    let matcher = RegexBuilder::new(pattern).unicode(false).build();
    let matcher = matcher.map_err(|error| format!("interfacePattern {pattern:?}: {error}"))?;
    let of_link = |link: &HostLink| {
        let addresses: Vec<&IpAddr> = link.addresses.iter().filter(inside).collect();
        let spec = json!({
            "node": node.metadata.name,
            "interfaceName": link.name,
            "expectedIPs": addresses,
        });
        // Names of interfaces may hold what names of objects may not.
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        };
        let part: String = link.name.chars().map(plain).collect();
        object(
            &format!("{stem}-{part}-auto-hep"),
            node,
            Some(template),
            spec,
        )
    };
    let matching = links
        .iter()
        .filter(|link| matcher.is_match(link.name.as_bytes()));
    Ok(matching.map(of_link).collect())
}

fn object(
    name: &str,
    node: &Node,
    template: Option<&HostEndpointTemplate>,
    spec: Value,
) -> (String, Value) {
    let mut labels = node.metadata.labels.clone();
    let mut annotations = BTreeMap::new();
    if let Some(template) = template {
        labels.extend(template.labels.clone());
        annotations.clone_from(&template.annotations);
    }
    let (key, value) = CREATED_BY;
    labels.insert(key.into(), value.into());
    let object = json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "HostEndpoint",
        "metadata": { "name": name, "labels": labels, "annotations": annotations },
        "spec": spec,
    });
    (name.to_owned(), object)
}

/// Writes what is wanted until the core is gone. `None` until that is known.
pub async fn follow(client: Client, node: String, mut wanted: watch::Receiver<Option<Wanted>>) {
    loop {
        let now = wanted.borrow_and_update().clone();
        let mut settled = true;
        if let Some(now) = now
            && let Err(error) = write(&client, &node, &now).await
        {
            tracing::warn!("automatic host endpoints: {error:#}; trying again");
            settled = false;
        }
        let changed = match settled {
            true => wanted.changed().await,
            false => tokio::time::timeout(RETRY, wanted.changed())
                .await
                .unwrap_or(Ok(())),
        };
        if changed.is_err() {
            return;
        }
    }
}

async fn write(client: &Client, node: &str, wanted: &Wanted) -> anyhow::Result<()> {
    let (key, value) = CREATED_BY;
    let selection = Selection::all().with_labels(format!("{key}={value}"));
    let list = client.list(Kind::HostEndpoint, &selection).await;
    let list = list.context("listing host endpoints")?;
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    for item in &list.items {
        let object: Value = serde_json::from_slice(item)?;
        if object["spec"]["node"] == node {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            found.insert(name.to_owned(), object);
        }
    }
    for (name, object) in wanted {
        let about = || format!("writing host endpoint {name}");
        match found.remove(name) {
            None => match client.create(Kind::HostEndpoint, object).await {
                Err(Error::AlreadyExists { .. }) => {
                    anyhow::bail!(
                        "host endpoint {name} is there and not ours: remove or rename it"
                    );
                }
                created => drop(created.with_context(about)?),
            },
            Some(mut known) if differs(&known, object) => {
                for part in ["apiVersion", "kind"] {
                    known[part] = object[part].clone();
                }
                known["spec"] = object["spec"].clone();
                known["metadata"]["labels"] = object["metadata"]["labels"].clone();
                let annotations = object["metadata"]["annotations"].clone();
                known["metadata"]["annotations"] = annotations;
                let replaced = client.replace(Kind::HostEndpoint, &known).await;
                drop(replaced.with_context(about)?);
            }
            Some(_) => {}
        }
    }
    for name in found.keys() {
        match client
            .delete(Kind::HostEndpoint, Name::cluster(name.as_str()))
            .await
        {
            Err(error) if !error.is_not_found() => {
                return Err(error).with_context(|| format!("removing host endpoint {name}"));
            }
            _ => tracing::info!(name, "automatic host endpoint removed"),
        }
    }
    Ok(())
}

fn differs(known: &Value, wanted: &Value) -> bool {
    let annotations = |x: &Value| {
        let annotations = x["metadata"]["annotations"].as_object().cloned();
        annotations.unwrap_or_default()
    };
    known["spec"] != wanted["spec"]
        || known["metadata"]["labels"] != wanted["metadata"]["labels"]
        || annotations(known) != annotations(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocicat_selector::Selector;

    fn node() -> Node {
        let mut node = Node {
            metadata: ocicat_api::Metadata::default(),
            addresses: vec!["10.1.0.5".parse().unwrap(), "192.0.2.5".parse().unwrap()],
        };
        node.metadata.name = "a".into();
        node.metadata.labels.insert("zone".into(), "x".into());
        node
    }

    fn links() -> Vec<HostLink> {
        let link = |name: &str, address: &str| HostLink {
            name: name.into(),
            addresses: vec![address.parse().unwrap()],
        };
        vec![link("eth0", "10.1.0.5"), link("wan.1", "192.0.2.5")]
    }

    fn template(cidr: &str, pattern: Option<&str>) -> HostEndpointTemplate {
        HostEndpointTemplate {
            generate_name: "edge".into(),
            interface_cidrs: vec![cidr.parse().unwrap()],
            interface_pattern: pattern.map(Into::into),
            labels: BTreeMap::from([("edge".into(), "yes".into())]),
            annotations: BTreeMap::new(),
            node_selector: Selector::All,
        }
    }

    #[test]
    fn a_disabled_configuration_wants_nothing() {
        let configuration = KubeControllersConfiguration {
            default_host_endpoint: true,
            ..KubeControllersConfiguration::default()
        };
        assert!(wanted(&configuration, &node(), &links()).0.is_empty());
    }

    #[test]
    fn endpoints_follow_from_the_node_and_from_templates() {
        let configuration = KubeControllersConfiguration {
            auto_host_endpoints: true,
            default_host_endpoint: true,
            templates: vec![
                template("192.0.2.0/24", None),
                template("192.0.2.0/24", Some("^wan")),
                template("198.51.100.0/24", None),
            ],
            ..KubeControllersConfiguration::default()
        };
        let (objects, problems) = wanted(&configuration, &node(), &links());
        assert!(problems.is_empty());
        let names: Vec<&String> = objects.keys().collect();
        assert_eq!(
            names,
            ["a-auto-hep", "a-edge-auto-hep", "a-edge-wan-1-auto-hep"]
        );
        let all = &objects["a-auto-hep"];
        assert_eq!(all["spec"]["interfaceName"], "*");
        assert_eq!(all["spec"]["expectedIPs"], json!(["10.1.0.5", "192.0.2.5"]));
        assert_eq!(all["metadata"]["labels"]["zone"], "x");
        let edge = &objects["a-edge-wan-1-auto-hep"];
        assert_eq!(edge["spec"]["interfaceName"], "wan.1");
        assert_eq!(edge["metadata"]["labels"]["edge"], "yes");
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_said() {
        let configuration = KubeControllersConfiguration {
            auto_host_endpoints: true,
            templates: vec![
                template("0.0.0.0/0", Some("(")),
                template("10.0.0.0/8", None),
            ],
            ..KubeControllersConfiguration::default()
        };
        let (objects, problems) = wanted(&configuration, &node(), &links());
        assert_eq!((objects.len(), problems.len()), (1, 1));
    }
}

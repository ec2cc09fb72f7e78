//! Labels of workloads and namespaces.

use serde_json::{Value, json};

use super::Size;

pub(super) const COMPONENTS: [&str; 4] = ["web", "api", "db", "cache"];
pub(super) const ENVIRONMENTS: [&str; 4] = ["production", "staging", "development", "test"];
pub(super) const TEAMS: usize = 50;
pub(super) const PRODUCTS: usize = 25;
pub(super) const VERSIONS: usize = 17;
pub(super) const TRACKS: [&str; 2] = ["stable", "canary"];

/// What part of its app a label set is.
#[must_use]
pub fn component(label_set: usize) -> &'static str {
    COMPONENTS[label_set % COMPONENTS.len()]
}

pub(super) fn app(label_set: usize) -> String {
    app_name(label_set / COMPONENTS.len())
}

pub(super) fn app_name(number: usize) -> String {
    format!("app-{number}")
}

pub(super) fn product_name(number: usize) -> String {
    format!("product-{number}")
}

/// The labels of pods. Numbers beyond those of the world give label sets that the world has not.
#[must_use]
pub fn label_set(number: usize) -> Value {
    json!({
        "app": app(number),
        "component": component(number),
        "part-of": product_name(number / COMPONENTS.len() % PRODUCTS),
        "track": TRACKS[usize::from(number % 10 == 9)],
        "version": format!("v{}", number % VERSIONS),
        "pod-template-hash": format!("{:x}", 0x5f3b_9a41_u64 + 7_919 * number as u64),
    })
}

#[must_use]
pub fn namespace_name(number: usize) -> String {
    format!("ns-{number}")
}

#[must_use]
pub fn namespace_labels(size: &Size, number: usize) -> Value {
    let quarter = number * ENVIRONMENTS.len() / size.namespaces;
    json!({
        "kubernetes.io/metadata.name": namespace_name(number),
        "environment": ENVIRONMENTS[quarter % ENVIRONMENTS.len()],
        "team": format!("team-{}", number % TEAMS),
        "pod-security.kubernetes.io/enforce": "baseline",
    })
}

pub(super) fn namespace(number: usize, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": namespace_name(number), "labels": labels},
    })
}

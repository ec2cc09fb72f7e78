//! This host's Node object.

use std::net::IpAddr;

use anyhow::Context;
use ocicat_api::Kind;
use ocicat_client::{Client, Error, Name};
use serde_json::{Value, json};

/// Registers the node if it is not there, and gives it our addresses if it has none.
///
/// # Errors
/// If the API cannot be asked or refuses.
pub async fn register(client: &Client, node: &str, addresses: &[IpAddr]) -> anyhow::Result<()> {
    let name = || Name::cluster(node);
    let found = match client.get(Kind::Node, name()).await {
        Ok(found) => found,
        Err(error) if error.is_not_found() => {
            let object = json!({
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": { "name": node, "labels": { "kubernetes.io/hostname": node } },
            });
            match client.create(Kind::Node, &object).await {
                Err(Error::AlreadyExists { .. }) => client.get(Kind::Node, name()).await,
                created => created,
            }
            .with_context(|| format!("registering node {node}"))?
        }
        Err(error) => return Err(error).with_context(|| format!("reading node {node}")),
    };
    let has_address = |address: &IpAddr| internal_addresses(&found).any(|known| known == *address);
    if addresses.iter().all(has_address) {
        return Ok(());
    }
    let others = found["status"]["addresses"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let others = others
        .into_iter()
        .filter(|entry| entry["type"] != "InternalIP");
    let ours = addresses
        .iter()
        .map(|a| json!({ "type": "InternalIP", "address": a.to_string() }));
    let all: Vec<Value> = ours.chain(others).collect();
    let patch = json!({ "status": { "addresses": all } });
    let patched = client.patch_status(Kind::Node, name(), &patch).await;
    patched.with_context(|| format!("writing the addresses of node {node}"))?;
    Ok(())
}

/// The annotation of a Node that names the newest resource version of a policy object in force.
const REVISION: &str = "ocicat.io/policy-revision";

/// Says on the Node which revision is in force.
///
/// # Errors
/// If the API cannot be asked or refuses.
pub async fn annotate_revision(client: &Client, node: &str, revision: u64) -> Result<(), Error> {
    let patch = json!({ "metadata": { "annotations": { REVISION: revision.to_string() } } });
    client
        .merge_patch(Kind::Node, Name::cluster(node), &patch)
        .await
        .map(drop)
}

fn internal_addresses(node: &Value) -> impl Iterator<Item = IpAddr> + '_ {
    let entries = node["status"]["addresses"].as_array();
    entries
        .into_iter()
        .flatten()
        .filter(|entry| entry["type"] == "InternalIP")
        .filter_map(|entry| entry["address"].as_str()?.parse().ok())
}

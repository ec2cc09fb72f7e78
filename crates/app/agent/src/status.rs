//! How policies fare, written to the API: one PolicyStatus for each policy, with an entry for each
//! node.
//!
//! Each agent writes only its own entry, by merge patch, so that agents do not disturb each other. A
//! host has an entry where a policy selects one of its endpoints or has problems; that all others are
//! in force too is said once, by the annotation of its Node that names the newest revision in force.
//! Changes within [`SETTLE`] become one write. A write that fails is tried again with the next
//! change, and every [`RETRY`].

use std::collections::BTreeMap;
use std::time::Duration;

use ocicat_api::{ObjectKey, Severity};
use ocicat_client::{Client, Error, Name, Resource};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::core::Report;
use crate::node;

const SETTLE: Duration = Duration::from_millis(200);
const RETRY: Duration = Duration::from_secs(10);

/// Follows the reports until the core is gone.
pub async fn follow(client: Client, node: String, mut reports: watch::Receiver<Report>) {
    let mut written: BTreeMap<ObjectKey, Value> = BTreeMap::new();
    let mut revision = 0;
    let mut first = true;
    loop {
        let report = reports.borrow_and_update().clone();
        let mut complete = write(&client, &node, &report, &mut written).await;
        if complete && report.ready && report.revision != revision {
            match node::annotate_revision(&client, &node, report.revision).await {
                Ok(()) => revision = report.revision,
                Err(error) => {
                    tracing::warn!(%error, "cannot write the node's revision");
                    complete = false;
                }
            }
        }
        if first && complete && report.ready {
            forget_gone(&client, &node, &written).await;
            first = false;
        }
        let changed = match complete && !first {
            true => reports.changed().await.is_ok(),
            false => !matches!(
                tokio::time::timeout(RETRY, reports.changed()).await,
                Ok(Err(_))
            ),
        };
        if !changed {
            return;
        }
        tokio::time::sleep(SETTLE).await;
    }
}

/// Writes the entries that differ from those written last. Returns whether all were written.
async fn write(
    client: &Client,
    node: &str,
    report: &Report,
    written: &mut BTreeMap<ObjectKey, Value>,
) -> bool {
    let mut complete = true;
    for (key, policy) in &report.policies {
        let problems: Vec<Value> = policy
            .problems
            .iter()
            .map(|problem| {
                let severity = match problem.severity {
                    Severity::Warning => "Warning",
                    Severity::Error => "Error",
                };
                json!({ "severity": severity, "field": problem.field, "message": problem.message })
            })
            .collect();
        let failed = policy
            .problems
            .iter()
            .any(|p| p.severity == Severity::Error);
        let entry = json!({
            "state": if failed { "Failed" } else { "InForce" },
            "resourceVersion": policy.resource_version,
            "endpoints": policy.endpoints,
            "problems": problems,
        });
        if written.get(key) == Some(&entry) {
            continue;
        }
        match write_entry(client, node, key, &policy.tier, entry.clone()).await {
            Ok(()) => {
                written.insert(key.clone(), entry);
            }
            Err(error) => {
                tracing::warn!(policy = %key, %error, "cannot write the policy's status");
                complete = false;
            }
        }
    }
    let gone: Vec<ObjectKey> = written
        .keys()
        .filter(|key| !report.policies.contains_key(*key))
        .cloned()
        .collect();
    for key in gone {
        match remove_entry(client, node, &object_name(&key)).await {
            Ok(()) => {
                written.remove(&key);
            }
            Err(error) => {
                tracing::warn!(policy = %key, %error, "cannot remove the policy's status");
                complete = false;
            }
        }
    }
    complete
}

async fn write_entry(
    client: &Client,
    node: &str,
    key: &ObjectKey,
    tier: &str,
    entry: Value,
) -> Result<(), Error> {
    let name = object_name(key);
    let patch = json!({ "status": { "nodes": { node: entry } } });
    for _ in 0..2 {
        let patched = client
            .merge_patch(
                Resource::POLICY_STATUS,
                Name::cluster(name.as_str()),
                &patch,
            )
            .await;
        match patched {
            Err(error) if error.is_not_found() => {}
            other => return other.map(drop),
        }
        let object = json!({
            "apiVersion": "ocicat.io/v1alpha1",
            "kind": "PolicyStatus",
            "metadata": { "name": name },
            "spec": { "policy": {
                "kind": short(key),
                "namespace": key.namespace,
                "name": key.name,
                "tier": tier,
            } },
            "status": patch["status"],
        });
        match client.create(Resource::POLICY_STATUS, &object).await {
            Err(Error::AlreadyExists { .. }) => {}
            other => return other.map(drop),
        }
    }
    Ok(())
}

/// Takes our entry away, and the object if no entry is left.
async fn remove_entry(client: &Client, node: &str, name: &str) -> Result<(), Error> {
    let patch = json!({ "status": { "nodes": { node: null } } });
    match client
        .merge_patch(Resource::POLICY_STATUS, Name::cluster(name), &patch)
        .await
    {
        Ok(left) => {
            let nodes = left["status"]["nodes"].as_object();
            if nodes.is_none_or(serde_json::Map::is_empty) {
                return match client
                    .delete(Resource::POLICY_STATUS, Name::cluster(name))
                    .await
                {
                    Err(error) if !error.is_not_found() => Err(error),
                    _ => Ok(()),
                };
            }
            Ok(())
        }
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Entries that an earlier run of this agent left about policies that are gone.
async fn forget_gone(client: &Client, node: &str, written: &BTreeMap<ObjectKey, Value>) {
    let names: Vec<String> = written.keys().map(object_name).collect();
    let selection = ocicat_client::Selection::all();
    let Ok(list) = client.list(Resource::POLICY_STATUS, &selection).await else {
        return;
    };
    for item in &list.items {
        let Ok(object) = serde_json::from_slice::<Value>(item) else {
            continue;
        };
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let ours = !object["status"]["nodes"][node].is_null();
        if ours
            && !names.iter().any(|known| known == name)
            && let Err(error) = remove_entry(client, node, name).await
        {
            tracing::warn!(name, %error, "cannot remove a status that is out of date");
        }
    }
}

fn short(key: &ObjectKey) -> &'static str {
    key.kind.short()
}

/// `netpol.shop.web`, `gnp.deny-all`.
fn object_name(key: &ObjectKey) -> String {
    match &key.namespace {
        Some(namespace) => format!("{}.{namespace}.{}", short(key), key.name),
        None => format!("{}.{}", short(key), key.name),
    }
}

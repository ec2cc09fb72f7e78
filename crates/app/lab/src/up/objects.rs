//! Puts the plan's objects into the API, in an order in which each finds what it needs.

use std::collections::BTreeMap;

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use ocicat_api::Kind;
use ocicat_client::{Client, Error, LAST_APPLIED, Name, Resource};
use serde_json::{Value, json};

use super::plan::{Entry, Plan, Planned};

/// How many requests are under way at once.
const REQUESTS: usize = 16;

/// Objects as the server stored them.
pub type Stored = BTreeMap<(Kind, Name), Value>;

/// All objects but the workloads' own. An agent that starts afterwards finds all of policy in its first
/// lists: when it is ready, policy is in force.
///
/// # Errors
/// If the API server refuses one of them.
pub async fn create_policy(client: &Client, plan: &Plan) -> anyhow::Result<Stored> {
    let (first, rest): (Vec<&Entry>, Vec<&Entry>) = plan
        .objects
        .iter()
        .partition(|entry| entry.kind == Kind::Namespace);
    let mut stored = create_all(client, first.into_iter()).await?;
    stored.extend(create_all(client, rest.into_iter()).await?);
    Ok(stored)
}

/// The workloads' own objects: pods, on their hosts, and workload endpoints. Returns how many.
///
/// # Errors
/// If the API server refuses one of them.
pub async fn create_workloads(
    client: &Client,
    plan: &Plan,
    stored: &Stored,
) -> anyhow::Result<usize> {
    let owned = |planned: &Planned| {
        let mut entry = planned.entry.clone();
        let controller = planned
            .controller
            .as_ref()
            .filter(|_| !entry.is_written_by_hand);
        let controller = controller.and_then(|key| stored.get(&(key.kind, Name::from(key))));
        if let Some(controller) = controller {
            entry.value["metadata"]["ownerReferences"] = json!([owner_reference(controller)]);
        }
        entry
    };
    let entries: Vec<Entry> = plan.workloads.iter().map(owned).collect();
    Ok(create_all(client, entries.iter()).await?.len())
}

/// Says of each controller that all its pods run.
///
/// # Errors
/// If the API server refuses.
pub async fn report_controllers(client: &Client, plan: &Plan) -> anyhow::Result<()> {
    let mut pods: BTreeMap<(Kind, Name), usize> = BTreeMap::new();
    for key in plan
        .workloads
        .iter()
        .filter_map(|planned| planned.controller.as_ref())
    {
        *pods.entry((key.kind, Name::from(key))).or_default() += 1;
    }
    let patches = pods.into_iter().map(|((kind, name), count)| async move {
        let status = controller_status(kind, count);
        client
            .patch_status(kind, name, &json!({ "status": status }))
            .await
            .map(drop)
    });
    Ok(stream::iter(patches)
        .buffer_unordered(REQUESTS)
        .try_collect()
        .await?)
}

fn controller_status(kind: Kind, pods: usize) -> Value {
    match kind {
        Kind::DaemonSet => json!({
            "desiredNumberScheduled": pods, "currentNumberScheduled": pods,
            "updatedNumberScheduled": pods, "numberAvailable": pods, "numberReady": pods,
        }),
        Kind::Job => json!({ "active": pods, "ready": pods }),
        Kind::ReplicaSet => json!({
            "replicas": pods, "readyReplicas": pods, "availableReplicas": pods,
        }),
        _ => json!({
            "replicas": pods, "updatedReplicas": pods,
            "readyReplicas": pods, "availableReplicas": pods,
        }),
    }
}

async fn create_all<'a>(
    client: &Client,
    entries: impl Iterator<Item = &'a Entry>,
) -> anyhow::Result<Stored> {
    let requests = entries.map(|entry| async move {
        let stored = create(client, entry).await;
        let name = Name::of(&entry.value).context("an object of the plan has a name")?;
        let stored = stored.with_context(|| format!("{} {name}", entry.kind.info().name))?;
        anyhow::Ok(((entry.kind, name), stored))
    });
    stream::iter(requests)
        .buffer_unordered(REQUESTS)
        .try_collect()
        .await
}

/// Makes one object as `ocicat apply` would; one that the server has from the start is changed.
async fn create(client: &Client, entry: &Entry) -> Result<Value, Error> {
    let resource = Resource::from(entry.kind);
    let mut object = entry.value.clone();
    if entry.is_written_by_hand {
        object["metadata"]["annotations"][LAST_APPLIED] = json!(entry.value.to_string());
    }
    let stored = match client.create(resource, &object).await {
        Err(Error::AlreadyExists { .. }) => {
            let name = Name::of(&object).unwrap_or_else(|| Name::cluster(""));
            client.merge_patch(resource, name, &object).await?
        }
        other => other?,
    };
    if let Some(status) = &entry.status {
        let name = Name::of(&stored).unwrap_or_else(|| Name::cluster(""));
        client
            .patch_status(resource, name, &json!({ "status": status }))
            .await?;
    }
    Ok(stored)
}

fn owner_reference(controller: &Value) -> Value {
    json!({
        "apiVersion": controller["apiVersion"],
        "kind": controller["kind"],
        "name": controller["metadata"]["name"],
        "uid": controller["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

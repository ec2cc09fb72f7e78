//! Puts the plan's objects into the API, in an order in which each finds what it needs.

use std::collections::BTreeMap;

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use ocicat_api::Kind;
use ocicat_client::{Client, Error, LAST_APPLIED, Name, Resource};
use serde_json::{Value, json};

use super::plan::{Entry, Plan};

/// How many requests are under way at once.
const REQUESTS: usize = 16;

/// What agents need to begin: namespaces, pools and nodes. Returns how many objects there are now.
///
/// # Errors
/// If the API server refuses one of them.
pub async fn create_first(client: &Client, plan: &Plan) -> anyhow::Result<usize> {
    let wave = |wanted: fn(Kind) -> bool| plan.objects.iter().filter(move |x| wanted(x.kind));
    let namespaces = create_all(client, wave(|kind| kind == Kind::Namespace)).await?;
    let others = create_all(client, wave(|kind| is_first(kind) && kind != Kind::Namespace)).await?;
    Ok(namespaces.len() + others.len())
}

/// Everything else; pods last, so that policy is there before whom it is about. Returns how many.
///
/// # Errors
/// If the API server refuses one of them.
pub async fn create_rest(client: &Client, plan: &Plan) -> anyhow::Result<usize> {
    let made = create_all(client, plan.objects.iter().filter(|x| !is_first(x.kind))).await?;
    let pods: Vec<Entry> = plan
        .workloads
        .iter()
        .map(|planned| {
            let mut entry = planned.entry.clone();
            let owner = planned.controller.as_ref().and_then(|key| {
                made.get(&(key.kind, Name::from(key))).map(owner_reference)
            });
            if let (Some(owner), false) = (owner, entry.is_written_by_hand) {
                entry.value["metadata"]["ownerReferences"] = json!([owner]);
            }
            entry
        })
        .collect();
    let pods = create_all(client, pods.iter()).await?;
    Ok(made.len() + pods.len())
}

/// Says of each controller that all its pods run.
///
/// # Errors
/// If the API server refuses.
pub async fn report_controllers(client: &Client, plan: &Plan) -> anyhow::Result<()> {
    let mut pods: BTreeMap<(Kind, Name), usize> = BTreeMap::new();
    for key in plan.workloads.iter().filter_map(|planned| planned.controller.as_ref()) {
        *pods.entry((key.kind, Name::from(key))).or_default() += 1;
    }
    let patches = pods.into_iter().map(|((kind, name), count)| async move {
        let status = controller_status(kind, count);
        client.patch_status(kind, name, &json!({ "status": status })).await.map(drop)
    });
    Ok(stream::iter(patches).buffer_unordered(REQUESTS).try_collect().await?)
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

fn is_first(kind: Kind) -> bool {
    matches!(kind, Kind::Namespace | Kind::IpPool | Kind::Node)
}

type Stored = BTreeMap<(Kind, Name), Value>;

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
    stream::iter(requests).buffer_unordered(REQUESTS).try_collect().await
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
        client.patch_status(resource, name, &json!({ "status": status })).await?;
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

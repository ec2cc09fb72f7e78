//! From the API to the core: one watch for each kind, decoded.
//!
//! ```text
//!   watch ──► bytes ──► decode ──► Message::Upsert, Remove, Listed ──► core
//! ```
//!
//! After a watch lists again, what the list did not name is removed; until the list is complete,
//! everything known stays. Each kind reports once when its first list is complete.

use std::collections::HashSet;

use ocicat_api::{Kind, ObjectKey};
use ocicat_client::{Client, Event, Selection};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::core::Message;

/// The kinds that an agent follows.
pub const KINDS: [Kind; 22] = [
    Kind::Namespace,
    Kind::ServiceAccount,
    Kind::Node,
    Kind::Pod,
    Kind::NetworkPolicy,
    Kind::CalicoNetworkPolicy,
    Kind::GlobalNetworkPolicy,
    Kind::Tier,
    Kind::NetworkSet,
    Kind::GlobalNetworkSet,
    Kind::Profile,
    Kind::WorkloadEndpoint,
    Kind::IpPool,
    Kind::IpamBlock,
    Kind::HostEndpoint,
    Kind::EndpointSlice,
    Kind::ClusterNetworkPolicy,
    Kind::StagedNetworkPolicy,
    Kind::StagedGlobalNetworkPolicy,
    Kind::StagedKubernetesNetworkPolicy,
    Kind::FelixConfiguration,
    Kind::KubeControllersConfiguration,
];

/// Kinds that a cluster need not have: a server that does not know them has none of them.
const OPTIONAL: [Kind; 9] = [
    Kind::HostEndpoint,
    Kind::EndpointSlice,
    Kind::ClusterNetworkPolicy,
    Kind::StagedNetworkPolicy,
    Kind::StagedGlobalNetworkPolicy,
    Kind::StagedKubernetesNetworkPolicy,
    Kind::FelixConfiguration,
    Kind::KubeControllersConfiguration,
    Kind::WorkloadEndpoint,
];

/// Starts a task for each kind. They end when the core does.
pub fn start(client: &Client, core: &mpsc::Sender<Message>) -> Vec<JoinHandle<()>> {
    KINDS
        .map(|kind| tokio::spawn(follow(client.clone(), kind, core.clone())))
        .into()
}

async fn follow(client: Client, kind: Kind, core: mpsc::Sender<Message>) {
    let mut watch = client.watch(kind, Selection::all());
    let mut known: HashSet<ObjectKey> = HashSet::new();
    let mut listed: Option<HashSet<ObjectKey>> = None;
    let mut told_absent = false;
    loop {
        let mut messages = Vec::new();
        match watch.next().await {
            Event::Restarted => listed = Some(HashSet::new()),
            Event::Upsert(bytes) => {
                let decoded = ocicat_api::decode::decode_json(&bytes);
                let Some(object) = decoded.object else {
                    for problem in decoded.problems {
                        tracing::error!(%kind, field = problem.field, "{}", problem.message);
                    }
                    continue;
                };
                let key = object.key();
                if let Some(listed) = &mut listed {
                    listed.insert(key.clone());
                }
                known.insert(key);
                messages.push(Message::Upsert(Box::new(object), decoded.problems));
            }
            Event::Deleted { name, .. } => {
                let key = name.key(kind);
                known.remove(&key);
                messages.push(Message::Remove(key));
            }
            Event::Synced => {
                if let Some(listed) = listed.take() {
                    messages.extend(known.difference(&listed).cloned().map(Message::Remove));
                    known = listed;
                }
                messages.push(Message::Listed(kind));
            }
            Event::Interrupted(error) if error.is_not_found() && OPTIONAL.contains(&kind) => {
                // The watch goes on asking, for the kind may be installed later.
                listed = None;
                messages.extend(known.drain().map(Message::Remove));
                messages.push(Message::Listed(kind));
                if !told_absent {
                    tracing::info!(%kind, "the API server does not have this kind");
                    told_absent = true;
                }
            }
            Event::Interrupted(error) => {
                tracing::warn!(%kind, %error, "the API server does not answer; trying again");
            }
        }
        for message in messages {
            if core.send(message).await.is_err() {
                return;
            }
        }
    }
}

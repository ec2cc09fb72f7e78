//! From the API to the core: one watch for each kind, decoded.
//!
//! ```text
//!   watch ──► bytes ──► decode ──► Message::Upsert, Remove, Listed ──► core
//! ```
//!
//! After a watch lists again, what the list did not name is removed; until the list is complete,
//! everything known stays. Each kind reports once when its first list is complete.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

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

/// What keeps the watches from the API server, so that one cause is told once and not by each of them at
/// each attempt.
#[derive(Debug, Default)]
struct Outage(Mutex<HashSet<String>>);

impl Outage {
    /// Whether this is the first to meet the cause since a watch had an answer.
    fn is_news(&self, cause: String) -> bool {
        self.causes().insert(cause)
    }

    fn is_over(&self) -> bool {
        !std::mem::take(&mut *self.causes()).is_empty()
    }

    fn causes(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a task for each kind. They end when the core does.
pub fn start(client: &Client, core: &mpsc::Sender<Message>) -> Vec<JoinHandle<()>> {
    let outage = Arc::new(Outage::default());
    let follow = |kind| follow(client.clone(), kind, core.clone(), Arc::clone(&outage));
    KINDS.map(|kind| tokio::spawn(follow(kind))).into()
}

async fn follow(client: Client, kind: Kind, core: mpsc::Sender<Message>, outage: Arc<Outage>) {
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
                if outage.is_over() {
                    tracing::info!("the API server answers again");
                }
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
                if outage.is_news(error.to_string()) {
                    tracing::warn!(%kind, %error, "the API server does not answer; trying again");
                } else {
                    tracing::debug!(%kind, %error, "the API server does not answer");
                }
            }
        }
        for message in messages {
            if core.send(message).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once_until_somebody_answers() {
        let outage = Outage::default();
        let refused = || "connection refused".to_owned();
        assert!(!outage.is_over());
        assert!(outage.is_news(refused()));
        assert!(!outage.is_news(refused()));
        assert!(outage.is_news("403 for pods".to_owned()));
        assert!(outage.is_over());
        assert!(outage.is_news(refused()));
    }
}

//! Attaches workloads to the network: what a kubelet does with the CNI plugin, many at once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context;
use ocicat_api::Kind;
use ocicat_client::{Client, Name};
use ocicat_kernel::netns::Namespace;
use ocicat_kernel::sysctl;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::plan::{Plan, Planned};
use crate::cni::{self, Operation};
use crate::gate::Gate;
use crate::probe::UNLIMITED_ICMP;
use crate::progress::Step;
use crate::state::{Folder, Host, Lab, Workload, WorkloadKind};

/// Settings of a workload before it is attached.
const SETTINGS: [(&str, &str); 3] = [
    UNLIMITED_ICMP[0],
    UNLIMITED_ICMP[1],
    ("net/ipv6/conf/default/accept_dad", "0"),
];

/// Makes the namespace of a workload.
///
/// # Errors
/// If the kernel refuses.
pub fn make_namespace(workload: &Workload) -> anyhow::Result<()> {
    let make = || -> anyhow::Result<()> {
        let namespace = Namespace::create(&workload.netns)?;
        namespace.run(|| sysctl::write_all(SETTINGS))??;
        Ok(())
    };
    make().with_context(|| workload.full_name())
}

/// Attaches all workloads and tells the API of it. Those with addresses of their own come first, so
/// that no other is given one of these.
///
/// # Errors
/// The first failure, if any workload cannot be attached.
pub async fn all(
    folder: &Folder,
    client: &Client,
    plan: &Plan,
    lab: &mut Lab,
    gate: &Arc<Gate>,
    step: Step,
) -> anyhow::Result<()> {
    let mut hosts: BTreeMap<&str, (Arc<Host>, Namespace)> = BTreeMap::new();
    for host in &plan.hosts {
        let namespace = Namespace::open_named(&host.netns)?;
        hosts.insert(&host.name, (Arc::new(host.clone()), namespace));
    }
    let step = Arc::new(step);
    let plugins = Arc::new(Semaphore::new(cni::AT_ONCE));
    for wanted in [true, false] {
        let mut tasks = JoinSet::new();
        let turn = plan
            .workloads
            .iter()
            .enumerate()
            .filter(|(_, x)| x.has_own_addresses == wanted);
        for (index, planned) in turn {
            let (host, namespace) = hosts
                .get(planned.workload.host.as_str())
                .cloned()
                .context("a workload is on a host of the plan")?;
            let attaching = Attaching {
                folder: folder.clone(),
                client: client.clone(),
                host,
                namespace,
                planned: planned.clone(),
                plugins: Arc::clone(&plugins),
                gate: Arc::clone(gate),
            };
            let step = Arc::clone(&step);
            tasks.spawn(async move {
                let name = attaching.planned.workload.full_name();
                let addresses = attaching.run().await.with_context(|| name)?;
                step.advance();
                anyhow::Ok((index, addresses))
            });
        }
        while let Some(done) = tasks.join_next().await {
            let (index, addresses) = done??;
            lab.workloads[index].addresses = addresses;
        }
    }
    if let Some(step) = Arc::into_inner(step) {
        step.finish(&format!("{} attached", lab.workloads.len()));
    }
    Ok(())
}

/// One workload on its way.
struct Attaching {
    folder: Folder,
    client: Client,
    host: Arc<Host>,
    namespace: Namespace,
    planned: Planned,
    plugins: Arc<Semaphore>,
    gate: Arc<Gate>,
}

impl Attaching {
    async fn run(self) -> anyhow::Result<Vec<IpAddr>> {
        let permit = self.plugins.acquire_owned().await?;
        let (folder, namespace, gate) = (self.folder, self.namespace, self.gate);
        let workload = self.planned.workload.clone();
        let added = tokio::task::spawn_blocking(move || {
            let added = gate.pass(|| cni::run(&folder, &namespace, &workload, Operation::Add));
            drop(permit);
            added
        });
        let addresses = added.await??;
        anyhow::ensure!(!addresses.is_empty(), "the CNI plugin gave it no address");
        let workload = &self.planned.workload;
        if workload.kind == WorkloadKind::Pod {
            let name = Name::namespaced(workload.namespace.as_str(), workload.name.as_str());
            let status = pod_status(&self.planned, &self.host, &addresses);
            self.client
                .patch_status(Kind::Pod, name, &json!({ "status": status }))
                .await?;
        }
        Ok(addresses)
    }
}

/// What a kubelet says of a pod that runs.
fn pod_status(planned: &Planned, host: &Host, addresses: &[IpAddr]) -> Value {
    let listed = |addresses: &[IpAddr]| -> Vec<Value> {
        addresses
            .iter()
            .map(|address| json!({ "ip": address }))
            .collect()
    };
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"]
        .map(|kind| json!({ "type": kind, "status": "True" }));
    let containers: Vec<Value> = planned
        .containers
        .iter()
        .map(|(name, image)| {
            json!({
                "name": name,
                "image": image,
                "imageID": "",
                "ready": true,
                "started": true,
                "restartCount": 0,
                "state": {"running": {}},
            })
        })
        .collect();
    json!({
        "phase": "Running",
        "hostIP": host.addresses.first(),
        "hostIPs": listed(&host.addresses),
        "podIP": addresses.first(),
        "podIPs": listed(addresses),
        "conditions": conditions,
        "containerStatuses": containers,
    })
}

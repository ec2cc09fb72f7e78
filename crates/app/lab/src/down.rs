//! Takes a lab down, whole or in ruins.
//!
//! ```text
//!   DEL for each workload ──► processes ──► namespaces ──► folder
//!   (if its agent runs)       recorded, marked, inside       last: it says that a lab is there
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use ocicat_kernel::netns::{self, Namespace};
use tokio::task::JoinSet;

use crate::cni::{self, Operation};
use crate::process;
use crate::progress::Step;
use crate::state::{Folder, Lab, Lock};

/// Removes everything that belongs to the lab, also what its record does not name. What the lab's own
/// agents would have done but cannot, because they are gone, is done for them. Returns what went
/// wrong with a DEL; nothing of it stays.
///
/// # Errors
/// If something cannot be removed; everything else is removed all the same.
pub async fn remove(folder: &Folder, _lock: &Lock) -> anyhow::Result<Vec<String>> {
    // A record that cannot be read is no reason to keep the ruins.
    let lab = Lab::load(folder).ok().flatten();
    let complaints = match lab.as_ref().filter(|lab| !lab.workloads.is_empty()) {
        Some(lab) => detach(folder, lab).await,
        None => Vec::new(),
    };
    let step = Step::begin("processes", 0);
    let namespaces = folder.namespaces()?;
    let recorded = lab
        .iter()
        .flat_map(|lab| &lab.daemons)
        .map(|daemon| daemon.process);
    let mut all = process::inside(&namespaces);
    all.extend(process::marked(folder.name()));
    all.extend(recorded.filter(process::Process::runs));
    let count = all.len();
    process::end(all).await;
    // Whoever was starting a process while we looked has ended by now: what it started is here.
    let mut late = process::inside(&namespaces);
    late.extend(process::marked(folder.name()));
    process::end(late).await;
    step.finish(&format!("{count} ended"));

    let step = Step::begin("namespaces", namespaces.len());
    let mut failed = None;
    for name in &namespaces {
        if let Err(error) = netns::delete(name) {
            failed = Some(error);
        }
        step.advance();
    }
    if let Some(error) = failed {
        return Err(error).context("not everything could be removed; try again");
    }
    step.finish(&format!("{} removed", namespaces.len()));
    folder.remove()?;
    Ok(complaints)
}

/// Runs DEL for each workload whose agent still runs.
async fn detach(folder: &Folder, lab: &Lab) -> Vec<String> {
    let step = Arc::new(Step::begin("workloads", lab.workloads.len()));
    let mut hosts: BTreeMap<&str, Namespace> = BTreeMap::new();
    for host in &lab.hosts {
        let role = format!("agent {}", host.name);
        let runs = lab
            .daemons
            .iter()
            .any(|x| x.role == role && x.process.runs());
        let open = Namespace::open_named(&host.netns);
        if let (true, Ok(namespace)) = (runs, open) {
            hosts.insert(&host.name, namespace);
        }
    }
    let mut tasks = JoinSet::new();
    let mut complaints = Vec::new();
    for workload in &lab.workloads {
        let Some(host) = hosts.get(workload.host.as_str()) else {
            continue;
        };
        if tasks.len() >= cni::AT_ONCE {
            complaints.extend(tasks.join_next().await.and_then(Result::ok).flatten());
        }
        let (folder, host, workload) = (folder.clone(), host.clone(), workload.clone());
        let step = Arc::clone(&step);
        tasks.spawn_blocking(move || {
            let done = cni::run(&folder, &host, &workload, Operation::Del);
            step.advance();
            done.err()
                .map(|error| format!("{}: {error:#}", workload.full_name()))
        });
    }
    complaints.extend(tasks.join_all().await.into_iter().flatten());
    let summary = format!("{} detached", step.count());
    if let Some(step) = Arc::into_inner(step) {
        step.finish(&summary);
    }
    complaints
}

//! Builds a lab.
//!
//! ```text
//!   manifests ──► plan ──► lab.json
//!                            │
//!     wire, hosts, workload namespaces      API server
//!                            │                 │
//!                            │        everything but pods
//!                          agents ◄────────────┤
//!                            │         pods, scheduled
//!                        CNI ADD each ──► status of the pod
//!                            │
//!                        responder ──► every host knows every address ──► up
//! ```

mod attach;
mod objects;
mod plan;
mod settle;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use ocicat_kernel::netns::Namespace;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::command::UpArgs;
use crate::gate::Gate;
use crate::process::{self, Process};
use crate::progress::{Step, say};
use crate::state::{Daemon, Folder, Host, Lab, Lock, Phase, write_whole};
use crate::{Failure, catalog, down, failure, limits, manifests, responder, wire};

pub use plan::Plan;

/// How long the API server, an agent or the responder may take to be ready.
const PATIENCE: Duration = Duration::from_secs(20);

/// The exit code of a command that was interrupted, as shells have it.
const INTERRUPTED: u8 = 130;

/// Builds the lab that `arguments` describe. What an earlier, killed lab of that name left is removed
/// first; what a failed or interrupted build has made is removed at the end.
///
/// # Errors
/// With exit code 2 if the manifests cannot be used or the lab is up already, and nothing was made;
/// else if a part of it cannot be made.
pub async fn run(arguments: &UpArgs) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let manifests = manifests::load(&arguments.files)?;
    let folder = Folder::of(&arguments.name);
    let plan = plan::make(&folder, manifests, usize::from(arguments.hosts))?;
    if !rustix::process::geteuid().is_root() {
        return Err(failure(
            3,
            "building a lab needs root, for its network namespaces",
        ));
    }
    limits::raise_open_files();
    let mut signals = Signals::take()?;
    let lock = claim(&folder).await?;
    say(format_args!("Building lab {}", folder.name()));
    for note in &plan.notes {
        say(format_args!("  note: {note}"));
    }
    let gate = Arc::new(Gate::default());
    let built = tokio::select! {
        built = build(&folder, plan, &gate) => built,
        signal = signals.any() => Err(failure(INTERRUPTED, signal)),
    };
    match built {
        Ok(lab) => {
            let (hosts, workloads) = (lab.hosts.len(), lab.workloads.len());
            let seconds = begun.elapsed().as_secs_f64();
            // Without a reader the lab is up all the same.
            let _ = writeln!(
                std::io::stdout(),
                "Lab {} is up: {} on {}, policy in force ({seconds:.1} s)",
                lab.name,
                count(workloads, "workload"),
                count(hosts, "host"),
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            say(format_args!("Taking down what was built"));
            // Other threads may still be at it.
            tokio::task::spawn_blocking(move || gate.close()).await?;
            if let Err(left) = down::remove(&folder, &lock).await {
                say(format_args!("warning: {left:#}"));
            }
            Err(error)
        }
    }
}

/// Takes the name for this process and removes the ruins of an earlier lab.
async fn claim(folder: &Folder) -> anyhow::Result<Lock> {
    let lock = folder.lock()?;
    let name = folder.name();
    let earlier = Lab::load(folder).ok().flatten();
    if let Some(lab) = &earlier
        && lab.phase == Phase::Up
        && lab.daemons.iter().all(|daemon| daemon.process.runs())
    {
        return Err(Failure::input(format!(
            "lab {name} is up already; `ocicat lab down --name {name}` takes it down"
        )));
    }
    if earlier.is_none() && folder.namespaces()?.is_empty() && process::marked(name).is_empty() {
        return Ok(lock);
    }
    say(format_args!("Removing what an earlier lab {name} left"));
    down::remove(folder, &lock).await?;
    // Its folder is gone, and our lock with it.
    drop(lock);
    folder.lock()
}

/// The signals that mean: stop, and clean up.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// From here on they are kept for [`Signals::any`] and do nothing by themselves.
    fn take() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for Ctrl-C, a request to end, or the end of the terminal.
    async fn any(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "interrupted",
            _ = self.terminate.recv() => "asked to end",
            _ = self.hangup.recv() => "the terminal is gone",
        }
    }
}

async fn build(folder: &Folder, plan: Plan, gate: &Arc<Gate>) -> anyhow::Result<Lab> {
    let mut lab = Lab::new(folder.name());
    lab.hosts.clone_from(&plan.hosts);
    lab.workloads = plan
        .workloads
        .iter()
        .map(|planned| planned.workload.clone())
        .collect();
    lab.save(folder)?;

    let step = Step::begin("wire", 0);
    let (at, of, through) = (folder.clone(), lab.clone(), Arc::clone(gate));
    let namespaces = tokio::task::spawn_blocking(move || make_namespaces(&at, &of, &through));
    let server = start_api_server(folder, &mut lab)?;
    namespaces.await??;
    step.finish(&format!("{} on one wire", count(lab.hosts.len(), "host")));

    let step = Step::begin("API", 0);
    let url = process::wait_for_line(
        &server,
        &folder.log("apiserver"),
        "listening on http",
        PATIENCE,
    )
    .await
    .context("the API server")?;
    lab.api_url = Some(format!("http{url}"));
    write_kubeconfig(folder, &lab)?;
    let client = catalog::connect(folder).await?;
    let stored = objects::create_policy(&client, &plan).await?;
    start_agents(folder, &mut lab)?;
    let workloads = objects::create_workloads(&client, &plan, &stored).await?;
    step.finish(&format!("{} objects", stored.len() + workloads));

    let step = Step::begin("agents", lab.hosts.len());
    for host in &lab.hosts {
        step.note(&host.name);
        settle::agent_is_ready(folder, &lab, host, PATIENCE).await?;
        step.advance();
    }
    step.finish(&format!("{} ready", lab.hosts.len()));

    let step = Step::begin("workloads", lab.workloads.len());
    attach::all(folder, &client, &plan, &mut lab, gate, step).await?;
    lab.save(folder)?;

    let step = Step::begin("policy", 0);
    start_responder(folder, &mut lab).await?;
    objects::report_controllers(&client, &plan).await?;
    settle::everyone_knows_everyone(folder, &lab, PATIENCE).await?;
    settle::host_endpoints(folder, &lab, &client, PATIENCE).await?;
    step.finish("in force on every host");
    lab.phase = Phase::Up;
    lab.save(folder)?;
    Ok(lab)
}

/// The wire, the hosts, and an empty namespace for each workload.
fn make_namespaces(folder: &Folder, lab: &Lab, gate: &Gate) -> anyhow::Result<()> {
    gate.pass(|| wire::build(folder, &lab.hosts))?;
    lab.workloads
        .iter()
        .try_for_each(|x| gate.pass(|| attach::make_namespace(x)))
}

fn start_api_server(folder: &Folder, lab: &mut Lab) -> anyhow::Result<Process> {
    let mut command = process::ourselves(folder.name())?;
    command
        .args(["apiserver", "--listen", "127.0.0.1:0", "--listen"])
        .arg(format!("unix:{}", folder.api_socket().display()))
        .args(["--data", "memory"]);
    let server = process::start(command, None, &folder.log("apiserver"))?;
    record(folder, lab, "apiserver".to_owned(), server)?;
    Ok(server)
}

fn start_agents(folder: &Folder, lab: &mut Lab) -> anyhow::Result<()> {
    write_whole(&folder.agent_config(), b"{}\n")?;
    for host in lab.hosts.clone() {
        let role = agent_role(&host);
        let namespace = Namespace::open_named(&host.netns)?;
        let mut command = process::ourselves(folder.name())?;
        command.args(["agent", "--node", &host.name]);
        for address in &host.addresses {
            command.args(["--node-ip", &address.to_string()]);
        }
        command
            .arg("--api")
            .arg(format!("unix:{}", folder.api_socket().display()));
        // What is configured for this machine is not for its labs.
        command.arg("--config").arg(folder.agent_config());
        command.arg("--run-dir").arg(folder.run_dir(&host.name));
        command.arg("--state-dir").arg(folder.state_dir(&host.name));
        std::fs::create_dir_all(folder.state_dir(&host.name))?;
        let agent = process::start(command, Some(&namespace), &folder.log(&role))?;
        record(folder, lab, role, agent)?;
    }
    Ok(())
}

/// The name under which the record holds the agent of a host.
fn agent_role(host: &Host) -> String {
    format!("agent {}", host.name)
}

async fn start_responder(folder: &Folder, lab: &mut Lab) -> anyhow::Result<()> {
    let mut command = process::ourselves(folder.name())?;
    command.args(["lab", "responder", "--name", folder.name().as_str()]);
    let log = folder.log("responder");
    let process = process::start(command, None, &log)?;
    record(folder, lab, "responder".to_owned(), process)?;
    process::wait_for_line(&process, &log, responder::READY, PATIENCE)
        .await
        .context("the responder")?;
    Ok(())
}

fn record(folder: &Folder, lab: &mut Lab, role: String, process: Process) -> anyhow::Result<()> {
    lab.daemons.push(Daemon { role, process });
    lab.save(folder)
}

/// So that `kubectl --kubeconfig` works against the lab. JSON is YAML.
fn write_kubeconfig(folder: &Folder, lab: &Lab) -> anyhow::Result<()> {
    let name = format!("ocicat-lab-{}", lab.name);
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": lab.api_url}}],
        "users": [{"name": name, "user": {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    });
    write_whole(&folder.kubeconfig(), &serde_json::to_vec_pretty(&config)?)
}

/// `1 host`, `2 hosts`.
fn count(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

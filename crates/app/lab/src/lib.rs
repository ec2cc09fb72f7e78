//! A whole multi-node network on one machine, from namespaces.
//!
//! ```text
//!   manifests ──► plan: hosts, workloads ──┐
//!                                          ▼
//!   up     wire + hosts ──► API server, agents ──► objects ──► CNI ADD each ──► policy in force
//!   probe  every pair, port, protocol and family, with real packets; the oracle says what is right
//!   exec   a command inside a workload
//!   down   CNI DEL each, processes, namespaces, folder
//! ```
//!
//! Hosts and workloads are network namespaces joined by veth pairs. On each host runs the real agent;
//! each workload is attached by the real CNI plugin; all objects are in a real API server. The lab
//! plays what a cluster would have besides: the controllers that make pods, the scheduler, the
//! kubelet, and the wire between the hosts. It decides nothing about policy, writes no table and no
//! route, and does not know how either is made.
//!
//! Everything a lab makes is in its own namespaces and in [`state::ROOT`]`/NAME`, and is written down
//! there before it is made; what a killed lab leaves is removed by `lab down` and by the next `lab up`
//! of that name. Labs of different names do not meet.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<std::process::ExitCode> {
//! use clap::Parser;
//!
//! #[derive(Parser)]
//! struct Cli {
//!     #[command(subcommand)]
//!     command: ocicat_lab::Command,
//! }
//!
//! let cli = Cli::parse_from(["lab", "up", "-f", "examples/shop"]);
//! ocicat_lab::run(cli.command).await
//! # }
//! ```

mod catalog;
mod cni;
mod command;
mod down;
mod exec;
mod gate;
mod limits;
mod list;
mod manifests;
mod name;
mod probe;
mod process;
mod progress;
mod responder;
pub mod state;
mod up;
mod wire;

pub use command::{Command, DownArgs, ExecArgs, ListArgs, ProbeArgs, ResponderArgs, UpArgs, run};
pub use name::LabName;

/// The hosts of a lab and the sockets of their agents.
///
/// # Errors
/// If there is no such lab, or its record cannot be read.
pub fn agents(name: &LabName) -> anyhow::Result<Vec<(String, std::path::PathBuf)>> {
    let folder = state::Folder::of(name);
    let lab = state::Lab::load(&folder)?
        .ok_or_else(|| Failure::input(format!("there is no lab {}", name.as_str())))?;
    let socket = |host: &state::Host| (host.name.clone(), folder.agent_socket(&host.name));
    Ok(lab.hosts.iter().map(socket).collect())
}

/// A failure that decides the exit code of the command.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// What the user gave cannot be used: exit code 2.
    fn input(message: impl Into<String>) -> anyhow::Error {
        failure(2, message)
    }
}

fn failure(code: u8, message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Failure {
        code,
        message: message.into(),
    })
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

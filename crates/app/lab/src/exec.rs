//! Runs a command inside a workload or a host.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::Context;
use ocicat_kernel::netns::Namespace;

use crate::probe::find;
use crate::state::Lab;
use crate::{Failure, failure};

/// Becomes `command` inside the network namespace of a workload, or of a host as `host/NAME`. Does not
/// return if that works, so that the command's exit code and signals are its own. Of several workloads
/// that `target` means, it is the first.
///
/// # Errors
/// If there is no such workload or host, its namespace is gone, or the command cannot be started.
pub fn run(lab: &Lab, target: &str, command: &[OsString]) -> anyhow::Result<ExitCode> {
    let netns = if let Some(name) = target.strip_prefix("host/") {
        let host = lab.host(name).ok_or_else(|| {
            let names: Vec<&str> = lab.hosts.iter().map(|host| host.name.as_str()).collect();
            Failure::input(format!("no host {name:?}: there are {}", names.join(", ")))
        })?;
        &host.netns
    } else {
        let found = find(&lab.workloads, target).map_err(Failure::input)?;
        let first = found.first().context("a workload that was found")?;
        &lab.workloads[*first].netns
    };
    let namespace = Namespace::open_named(netns)?;
    let (program, arguments) = command.split_first().context("a command")?;
    let error = namespace.run(|| Command::new(program).args(arguments).exec())?;
    // As a shell: 127 if there is no such program, 126 if it cannot be run.
    let code = if error.kind() == std::io::ErrorKind::NotFound {
        127
    } else {
        126
    };
    Err(failure(
        code,
        format!("{}: {error}", program.to_string_lossy()),
    ))
}

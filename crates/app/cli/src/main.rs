//! The `ocicat` command: every subcommand, and the CNI plugin when started as one.
//!
//! ```text
//!   argv[0] = ocicat-cni, or CNI_COMMAND ──► ocicat_cni
//!   agent, apiserver, lab                ──► their crates
//!   get, apply, delete, status           ──► ocicat_client ──► API server
//!   why ──► manifests or API server ──► ocicat_analysis ──► words
//!   verify ──► agents, or manifests and kernel ──► ocicat_agent ──► words
//! ```
//!
//! What is asked for goes to stdout, everything else to stderr. Exit codes: 0 yes, 1 no, 2 bad
//! input, 3 could not ask.

mod apiserver;
mod apply;
mod args;
mod delete;
mod failure;
mod get;
mod kinds;
mod logs;
mod out;
mod status;
mod table;
mod verify;
mod why;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    if started_as_plugin() {
        return ocicat_cni::main();
    }
    let cli = Cli::parse();
    // What runs for long tells what it does; what answers at once only warns.
    let level = match cli.command {
        Command::Agent(_) | Command::Apiserver(_) => "info",
        _ => "warn",
    };
    logs::start(cli.log_format, cli.log_level.as_deref().unwrap_or(level));
    match run(cli.command) {
        Ok(code) => code,
        Err(failure) => failure.print(),
    }
}

/// A container runtime starts the plugin without arguments and says what to do by environment
/// (CNI 1.1, section 2).
fn started_as_plugin() -> bool {
    let mut args = std::env::args_os();
    let program = args.next().unwrap_or_default();
    let name = std::path::Path::new(&program).file_name();
    name.is_some_and(|name| name == "ocicat-cni")
        || args.next().is_none() && std::env::var_os("CNI_COMMAND").is_some()
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    if let Command::Completion { shell } = command {
        args::completion(shell);
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Failure::Unasked(format!("tokio: {error}")))?;
    runtime.block_on(dispatch(command))
}

async fn dispatch(command: Command) -> Result<ExitCode, Failure> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Why(args) => why::run(args).await,
        Command::Get(args) => get::run(args).await.map(done),
        Command::Status(args) => status::run(args).await,
        Command::Verify(args) => verify::run(args).await,
        Command::Apply(args) => apply::run(args).await.map(done),
        Command::Delete(args) => delete::run(args).await,
        Command::Lab(command) => Ok(ocicat_lab::run(command).await?),
        Command::Agent(args) => {
            let wrong = |error: anyhow::Error| Failure::Input(format!("{error:#}"));
            args.clone().complete().map_err(wrong)?;
            Ok(ocicat_agent::run(args).await.map(done)?)
        }
        Command::Apiserver(args) => apiserver::run(args).await.map(done),
        Command::Version => {
            out::print(&format!("ocicat {}\n", env!("CARGO_PKG_VERSION")));
            Ok(ExitCode::SUCCESS)
        }
        // Handled above, without a runtime.
        Command::Completion { .. } => Ok(ExitCode::SUCCESS),
    }
}

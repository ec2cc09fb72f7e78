//! The subcommands of `ocicat lab`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Subcommand, ValueEnum};

use crate::probe::{self, Filter};
use crate::progress::say;
use crate::state::{Folder, Lab};
use crate::{Failure, LabName, catalog, down, exec, list, responder, up};

/// What can be done with labs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a lab from manifests; when it returns, policy is in force
    Up(UpArgs),
    /// Send real packets between all workloads and compare with what policy says
    Probe(ProbeArgs),
    /// Run a command inside a workload (or host/NAME)
    Exec(ExecArgs),
    /// Show labs, their hosts and workloads
    List(ListArgs),
    /// Take a lab down, whole or in ruins
    Down(DownArgs),
    /// Answer probes; started by `up`
    #[command(hide = true)]
    Responder(ResponderArgs),
}

/// Arguments of `lab up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// File or folder of Kubernetes and Calico manifests (repeatable)
    #[arg(short, long = "filename", value_name = "DIR|FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// How many hosts the cluster has, besides those that manifests name
    #[arg(long, default_value_t = 3, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=200))]
    pub hosts: u16,
    /// The name of the lab
    #[arg(long, default_value = "lab")]
    pub name: LabName,
}

/// Arguments of `lab probe`.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// The name of the lab
    #[arg(long, default_value = "lab")]
    pub name: LabName,
    /// Only from these: namespace/name, name, or deploy/name of a workload, or host/NAME (repeatable)
    #[arg(long, value_name = "WORKLOAD")]
    pub from: Vec<String>,
    /// Only to these (repeatable)
    #[arg(long, value_name = "WORKLOAD")]
    pub to: Vec<String>,
    /// Only these ports, instead of all that a workload or rule names (repeatable)
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Vec<u16>,
    /// How to print what was found
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Arguments of `lab exec`.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// The name of the lab
    #[arg(long, default_value = "lab")]
    pub name: LabName,
    /// namespace/name, name, deploy/name, or host/NAME
    pub workload: String,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// Arguments of `lab list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Arguments of `lab down`.
#[derive(Debug, Args)]
pub struct DownArgs {
    /// The name of the lab
    #[arg(long, default_value = "lab", conflicts_with = "all")]
    pub name: LabName,
    /// All labs of this machine
    #[arg(long)]
    pub all: bool,
}

/// Arguments of the responder.
#[derive(Debug, Args)]
pub struct ResponderArgs {
    /// The name of the lab
    #[arg(long)]
    pub name: LabName,
}

/// How to print results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Text,
    Json,
}

/// Carries out a command inside a tokio runtime and returns its exit code: 0 done or all as expected,
/// 1 not as expected, 2 bad input, 3 it could not be done. Errors have been printed by then.
///
/// # Errors
/// Only if stdout cannot be written.
pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let done = match command {
        Command::Up(arguments) => up::run(&arguments).await,
        Command::Probe(arguments) => run_probe(&arguments).await,
        Command::Exec(arguments) => run_exec(&arguments),
        Command::List(arguments) => run_list(&arguments),
        Command::Down(arguments) => run_down(&arguments).await,
        Command::Responder(arguments) => responder::run(&arguments.name)
            .await
            .map(|()| ExitCode::SUCCESS),
    };
    Ok(done.unwrap_or_else(|error| {
        say(format_args!("error: {error:#}"));
        ExitCode::from(
            error
                .downcast_ref::<Failure>()
                .map_or(3, |failure| failure.code),
        )
    }))
}

fn load(name: &LabName) -> anyhow::Result<(Folder, Lab)> {
    let folder = Folder::of(name);
    match Lab::load(&folder)? {
        Some(lab) => Ok((folder, lab)),
        None => Err(Failure::input(format!(
            "there is no lab {name}; `ocicat lab up --name {name} -f DIR` makes it"
        ))),
    }
}

async fn run_probe(arguments: &ProbeArgs) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let (folder, lab) = load(&arguments.name)?;
    let mut filter = Filter {
        ports: arguments.port.iter().copied().collect(),
        ..Filter::default()
    };
    let client = catalog::connect(&folder).await?;
    let objects = catalog::objects(&client).await?;
    let mut texts = arguments.from.iter().chain(&arguments.to);
    let names_host = texts.any(|text| text.starts_with("host/"));
    let places = probe::places(&lab, &objects, names_host);
    for (texts, set) in [
        (&arguments.from, &mut filter.from),
        (&arguments.to, &mut filter.to),
    ] {
        for text in texts {
            set.extend(probe::find(&places, text).map_err(Failure::input)?);
        }
    }
    let report = probe::run(&lab, &places, objects, &filter).await?;
    match arguments.output {
        Output::Json => println!("{}", report.json()?),
        Output::Text => print!("{}", report.text(begun.elapsed().as_secs_f64())),
    }
    if report.findings.is_empty() {
        say(format_args!(
            "error: nothing can be probed: no two of them have addresses of one family"
        ));
        return Ok(ExitCode::from(1));
    }
    let failures = report.failures().count();
    if report.mismatches().count() > 0 {
        return Ok(ExitCode::from(1));
    }
    if let Some(first) = report.failures().next() {
        anyhow::bail!("{failures} probes could not be sent or delivered, such as {first:?}");
    }
    Ok(ExitCode::SUCCESS)
}

fn run_exec(arguments: &ExecArgs) -> anyhow::Result<ExitCode> {
    let (_, lab) = load(&arguments.name)?;
    exec::run(&lab, &arguments.workload, &arguments.command)
}

fn run_list(arguments: &ListArgs) -> anyhow::Result<ExitCode> {
    let labs = list::all()?;
    match arguments.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&labs)?),
        Output::Text => print!("{}", list::text(&labs)),
    }
    Ok(ExitCode::SUCCESS)
}

async fn run_down(arguments: &DownArgs) -> anyhow::Result<ExitCode> {
    let folders = if arguments.all {
        Folder::all()?
    } else {
        vec![Folder::of(&arguments.name)]
    };
    let mut code = ExitCode::SUCCESS;
    for folder in folders {
        let name = folder.name();
        if !folder.exists() && folder.namespaces()?.is_empty() {
            say(format_args!("There is no lab {name}."));
            continue;
        }
        let lock = folder.lock()?;
        for complaint in down::remove(&folder, &lock).await? {
            say(format_args!("warning: {complaint}"));
            code = ExitCode::from(1);
        }
        say(format_args!("Lab {name} is gone."));
    }
    Ok(code)
}

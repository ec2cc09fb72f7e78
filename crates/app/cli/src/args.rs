//! What can be typed.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use ocicat_client::{Client, Endpoint, Retry};

use crate::failure::Failure;
use crate::logs::{self, LogFormat};

const EXAMPLES: &str = "\
Examples:
  A policed network on this machine       ocicat lab up -f examples/shop
  Real packets, compared with policy      ocicat lab probe
  Why, from manifests alone               ocicat why -f examples/shop shop/web shop/api:8080
  Why, from a running API                 ocicat why -n shop deploy/web deploy/api:8080/TCP
  A policy put in force                   ocicat apply -f policy.yaml
  Whether it is in force everywhere       ocicat status

Exit codes: 0 yes, 1 no, 2 bad input, 3 could not ask.";

/// The commands, as `--help` groups them. Clap has no groups of subcommands.
const TEMPLATE: &str = "\
{about-with-newline}
{usage-heading} {usage}

Ask:
  why         Say which rule lets traffic pass or stops it, and where it stands
  status      Say whether policies are in force on every host, and why not
  verify      Say whether the program in the kernel decides what policy says
  get         Show objects

Change:
  apply       Create or change objects from manifests
  delete      Delete objects

Try:
  lab         Build a whole multi-node network on this machine: up, probe, exec, list, down

Run:
  agent       Enforce policy and route workloads on this host
  apiserver   Serve the API where there is no Kubernetes

Other:
  completion  Print a completion script for a shell
  version     Print the version
  help        Print this, or the help of a command

Options:
{options}
{after-help}";

/// Connect workloads with plain IP routing and decide, on every host, which of them may talk.
#[derive(Debug, Parser)]
#[command(name = "ocicat", version, max_term_width = 100, help_template = TEMPLATE,
          after_help = EXAMPLES, disable_help_subcommand = false)]
pub struct Cli {
    /// How log lines on stderr look
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Plain,
          env = "OCICAT_LOG_FORMAT", hide_env = true, value_name = "FORMAT",
          help_heading = "Logs")]
    pub log_format: LogFormat,
    /// Least level of log lines: error, warn, info, debug, trace, off; or part=level,…
    #[arg(long, global = true, value_parser = logs::level,
          env = "OCICAT_LOG_LEVEL", hide_env = true, value_name = "LEVEL",
          help_heading = "Logs")]
    pub log_level: Option<String>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say which rule lets traffic pass or stops it, and where it stands
    Why(WhyArgs),
    /// Say whether policies are in force on every host, and why not
    Status(StatusArgs),
    /// Say whether the program in the kernel decides what policy says
    Verify(VerifyArgs),
    /// Show objects
    Get(GetArgs),
    /// Create or change objects from manifests
    Apply(ApplyArgs),
    /// Delete objects
    Delete(DeleteArgs),
    /// Build a whole multi-node network on this machine
    #[command(subcommand)]
    Lab(ocicat_lab::Command),
    /// Enforce policy and route workloads on this host
    Agent(ocicat_agent::Args),
    /// Serve the API where there is no Kubernetes
    Apiserver(ApiserverArgs),
    /// Print a completion script for a shell
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Print the version
    Version,
}

/// Where the API is.
#[derive(Debug, Args)]
pub struct ApiArgs {
    /// The API: unix:/path, http://host:port or https://host:port; without it, what the
    /// kubeconfig says
    #[arg(
        short = 's',
        long,
        env = "OCICAT_API",
        hide_env_values = true,
        value_name = "ENDPOINT"
    )]
    pub api: Option<Endpoint>,
}

impl ApiArgs {
    /// A client that asks each question once: a person can repeat it.
    pub async fn connect(&self) -> Result<Client, Failure> {
        let endpoint = self.api.clone().unwrap_or_default();
        let client = Client::connect(&endpoint).await?;
        Ok(client.with_retry(Retry::NONE))
    }
}

/// Which namespace.
#[derive(Debug, Args)]
pub struct NamespaceArgs {
    /// The namespace of names without one
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
}

/// How to print objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// More columns
    Wide,
    Yaml,
    Json,
    /// kind/name, one a line
    Name,
}

/// How to print an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Answer {
    Text,
    Json,
}

const WHY_HELP: &str = "\
SRC and DST:
  namespace/name            a pod or workload endpoint
  name                      the same, in the namespace of -n
  deploy/name, sts/name     a pod of a controller, in the namespace of -n (or NS/deploy/name)
  host/NODE, hep/NAME       a host itself; by the interface of a host endpoint
  10.0.0.1, fd00::1         an address; with a port [fd00::1]:443
Where policies are staged, the answer is given twice: as enforced, and as it would be with them.
Exit codes: 0 allowed, 1 denied (or it depends), 2 bad input, 3 could not ask.

Examples:
  ocicat why -f examples/shop shop/web shop/api:8080
  ocicat why -n shop deploy/web '[2001:db8::10]:443/TCP'
  echo '{\"from\":\"shop/web\",\"to\":\"shop/api\",\"protocol\":\"TCP\",\"port\":80}' |
    ocicat why -f examples/shop --batch -";

#[derive(Debug, Args)]
#[command(after_help = WHY_HELP)]
pub struct WhyArgs {
    /// Who sends
    #[arg(value_name = "SRC", required_unless_present = "batch")]
    pub source: Option<String>,
    /// Who receives, at which port and protocol; TCP without one. Ports may be names. For ICMP:
    /// TYPE[.CODE]/ICMP. For protocols without ports: DST/PROTO
    #[arg(value_name = "DST[:PORT[/PROTO]]", required_unless_present = "batch")]
    pub destination: Option<String>,
    /// Ask these manifests instead of a running API; - is stdin (repeatable)
    #[arg(short, long = "filename", value_name = "DIR|FILE")]
    pub files: Vec<PathBuf>,
    /// Answer many questions: one a line, {"from","to","protocol","port"}; - is stdin
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["source", "destination", "output"])]
    pub batch: Option<PathBuf>,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t = Answer::Text)]
    pub output: Answer,
    #[command(flatten)]
    pub namespace: NamespaceArgs,
    #[command(flatten)]
    pub api: ApiArgs,
}

const GET_HELP: &str = "\
Examples:
  ocicat get pods -A -o wide
  ocicat get netpol,cnp,gnp -A
  ocicat get gnp baseline -o yaml
  ocicat get pods -n shop -l app=web -w";

#[derive(Debug, Args)]
#[command(after_help = GET_HELP)]
pub struct GetArgs {
    /// Kind, or several with commas: pods, netpol, cnp, gnp, tier, …; or KIND/NAME
    #[arg(value_name = "KIND[,KIND]")]
    pub kinds: String,
    /// Names; all without
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Objects of all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// How to print; a table without it
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
    /// Only objects with these labels: app=web,tier in (a,b)
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Go on and print what changes
    #[arg(short, long)]
    pub watch: bool,
    #[command(flatten)]
    pub namespace: NamespaceArgs,
    #[command(flatten)]
    pub api: ApiArgs,
}

#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// File or folder of manifests; - is stdin (repeatable)
    #[arg(short, long = "filename", value_name = "DIR|FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Let the API check everything and store nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub namespace: NamespaceArgs,
    #[command(flatten)]
    pub api: ApiArgs,
}

#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Kind, or KIND/NAME
    #[arg(value_name = "KIND", required_unless_present = "files")]
    pub kind: Option<String>,
    /// Names
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Delete what these manifests name; - is stdin (repeatable)
    #[arg(
        short,
        long = "filename",
        value_name = "DIR|FILE",
        conflicts_with = "kind"
    )]
    pub files: Vec<PathBuf>,
    /// What is not there is as good as deleted
    #[arg(long)]
    pub ignore_not_found: bool,
    #[command(flatten)]
    pub namespace: NamespaceArgs,
    #[command(flatten)]
    pub api: ApiArgs,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Answer::Text)]
    pub output: Answer,
    #[command(flatten)]
    pub api: ApiArgs,
}

const VERIFY_HELP: &str = "\
The kernel's table is read back and interpreted: chains, rules and maps, for every address, protocol,
port and ICMP type of every workload. Exit codes: 0 it decides what policy says, 1 it does not, 2 bad
input, 3 could not ask.

Examples:
  ocicat verify
  ocicat verify --lab lab
  ocicat lab exec host/host-1 -- ocicat verify --node host-1 -s unix:/run/ocicat/lab/lab/api.sock
Manifests must say which addresses workloads have; those without one are not told from others.";

#[derive(Debug, Args)]
#[command(after_help = VERIFY_HELP)]
pub struct VerifyArgs {
    /// Every host of this lab, instead of the agent of this host
    #[arg(long, value_name = "NAME", conflicts_with_all = ["files", "node", "socket"])]
    pub lab: Option<ocicat_lab::LabName>,
    /// Compare with these manifests the table of the current network namespace, without an agent; -
    /// is stdin (repeatable)
    #[arg(short, long = "filename", value_name = "DIR|FILE", requires = "node")]
    pub files: Vec<PathBuf>,
    /// Read the manifests, or what the API holds, for this node, and compare with them the table of the
    /// current network namespace, without an agent
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// The agent's socket
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/run/ocicat/agent.sock",
        conflicts_with_all = ["files", "node"]
    )]
    pub socket: PathBuf,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t = Answer::Text)]
    pub output: Answer,
    #[command(flatten)]
    pub api: ApiArgs,
}

const APISERVER_HELP: &str = "\
Without authentication it serves loopback addresses and unix sockets only.

Examples:
  ocicat apiserver --listen 127.0.0.1:8080 --data /var/lib/ocicat/api.redb
  kubectl --server=http://127.0.0.1:8080 apply -f policy.yaml";

#[derive(Debug, Args)]
#[command(after_help = APISERVER_HELP)]
pub struct ApiserverArgs {
    /// 127.0.0.1:PORT, [::1]:PORT or unix:/path; port 0 picks one (repeatable)
    #[arg(long, value_name = "ADDRESS", required = true)]
    pub listen: Vec<String>,
    /// The file that keeps the objects, or `memory`
    #[arg(long, value_name = "FILE|memory")]
    pub data: String,
    /// Store policies that nobody can read, as a cluster does whose resource definitions check
    /// little
    #[arg(long)]
    pub no_validation: bool,
}

/// Prints a completion script.
pub fn completion(shell: Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "ocicat", &mut std::io::stdout());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    /// The groups of the help are written by hand: each command must be in one of them.
    #[test]
    fn the_help_names_every_command_with_its_line() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            let about = command.get_about().unwrap().to_string();
            let line = TEMPLATE
                .lines()
                .find(|x| x.trim_start().starts_with(&format!("{name} ")));
            let line = line.unwrap_or_else(|| panic!("{name} is missing"));
            assert!(line.contains(about.split(':').next().unwrap()), "{line}");
        }
    }
}

//! Runs the CNI plugin as a container runtime does: a process, inside the host's namespace, with its
//! parameters in the environment and the network's configuration on stdin (CNI specification 1.1).

use std::io::Write;
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use anyhow::Context;
use ipnet::IpNet;
use ocicat_kernel::netns::{DIRECTORY, Namespace};
use serde::Deserialize;
use serde_json::json;

use crate::process;
use crate::state::{Folder, Workload, WorkloadKind};

/// The interface inside a workload.
pub const INTERFACE: &str = "eth0";
const VERSION: &str = "1.1.0";
const PLUGIN: &str = "ocicat-cni";

/// How many plugins run at once. They mostly wait, and agents take together what comes together.
pub const AT_ONCE: usize = 32;

/// What the plugin is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Add,
    Del,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
        }
    }
}

/// The part of an ADD result that we read.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    ips: Vec<AnswerIp>,
}

#[derive(Deserialize)]
struct AnswerIp {
    address: IpNet,
}

/// An error as the specification has it.
#[derive(Deserialize)]
struct Refusal {
    code: u32,
    msg: String,
    #[serde(default)]
    details: String,
}

/// Runs the plugin for a workload and waits for it. Blocks; returns the workload's addresses, IPv4
/// first, which are none after DEL.
///
/// # Errors
/// If the plugin cannot be run or refuses.
pub fn run(
    folder: &Folder,
    host: &Namespace,
    workload: &Workload,
    operation: Operation,
) -> anyhow::Result<Vec<IpAddr>> {
    let mut command = process::ourselves(folder.name())?;
    command
        .arg0(PLUGIN)
        .env("CNI_COMMAND", operation.name())
        .env("CNI_CONTAINERID", &workload.container_id)
        .env("CNI_NETNS", Path::new(DIRECTORY).join(&workload.netns))
        .env("CNI_IFNAME", INTERFACE)
        .env("CNI_ARGS", arguments(workload))
        .env("CNI_PATH", "/opt/cni/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let config = json!({
        "cniVersion": VERSION,
        "name": "ocicat",
        "type": PLUGIN,
        "agentSocket": folder.agent_socket(&workload.host),
    });
    let mut child = host.run(|| command.spawn())?.context("the CNI plugin")?;
    if let Some(mut stdin) = child.stdin.take() {
        // A plugin that ends without reading says why on stdout.
        let _ = stdin.write_all(config.to_string().as_bytes());
    }
    let output = child.wait_with_output().context("the CNI plugin")?;
    if output.status.success() {
        return match operation {
            Operation::Add => addresses(&output.stdout),
            Operation::Del => Ok(Vec::new()),
        };
    }
    let reason = match serde_json::from_slice::<Refusal>(&output.stdout) {
        Ok(Refusal { code, msg, details }) if details.is_empty() => format!("{msg} (code {code})"),
        Ok(Refusal { code, msg, details }) => format!("{msg}: {details} (code {code})"),
        Err(_) => {
            let stderr = String::from_utf8_lossy(&output.stderr);
            format!("{}\n{}", output.status, process::tail(&stderr))
        }
    };
    anyhow::bail!("CNI {} refused: {reason}", operation.name())
}

fn arguments(workload: &Workload) -> String {
    let Workload {
        kind,
        namespace,
        name,
        container_id,
        ..
    } = workload;
    match kind {
        WorkloadKind::Pod => format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};\
             K8S_POD_INFRA_CONTAINER_ID={container_id}"
        ),
        WorkloadKind::WorkloadEndpoint => {
            format!("IgnoreUnknown=1;OCICAT_WORKLOAD_ENDPOINT={namespace}/{name}")
        }
    }
}

fn addresses(result: &[u8]) -> anyhow::Result<Vec<IpAddr>> {
    let answer: Answer = serde_json::from_slice(result).context("the CNI plugin's result")?;
    let mut addresses: Vec<IpAddr> = answer.ips.iter().map(|ip| ip.address.addr()).collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_from_the_result() {
        let result = br#"{"cniVersion":"1.1.0","interfaces":[{"name":"eth0"}],
            "ips":[{"address":"fd00::1/128","interface":0},{"address":"10.0.0.1/32"}]}"#;
        let expected: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        assert_eq!(addresses(result).unwrap(), expected);
        assert!(addresses(b"no").is_err());
    }
}

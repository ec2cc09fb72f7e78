//! What an agent is told: flags over environment over file over defaults.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Parser;
use serde::Deserialize;

/// The configuration file that is read if it exists.
pub const CONFIG_FILE: &str = "/etc/ocicat/config.yaml";

/// Run the agent of this host.
#[derive(Debug, Clone, Default, Parser)]
pub struct Args {
    /// Name of this node [default: the host's name]
    #[arg(long, env = "OCICAT_NODE", value_name = "NAME")]
    pub node: Option<String>,
    /// Address of this node on the wire between hosts; once for each family
    /// [default: the InternalIP addresses of the Node object]
    #[arg(
        long = "node-ip",
        env = "OCICAT_NODE_IP",
        value_name = "IP",
        value_delimiter = ','
    )]
    pub node_ip: Vec<IpAddr>,
    /// API server: unix:/PATH, http://HOST:PORT or https://HOST:PORT
    /// [default: kubeconfig, or the cluster the agent runs in]
    #[arg(long, env = "OCICAT_API", value_name = "ENDPOINT", value_parser = parse_api)]
    pub api: Option<String>,
    /// Directory of the agent's socket [default: /run/ocicat]
    #[arg(long, env = "OCICAT_RUN_DIR", value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Directory of what the agent must remember [default: /var/lib/ocicat]
    #[arg(long, env = "OCICAT_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Where /livez, /readyz and /metrics are served [default: 127.0.0.1:9099]
    #[arg(long, env = "OCICAT_HEALTH", value_name = "ADDR")]
    pub health: Option<SocketAddr>,
    /// Largest packet of workloads, in bytes, 1280 to 65535 [default: 1500]
    #[arg(long, env = "OCICAT_MTU", value_name = "BYTES",
          value_parser = clap::value_parser!(u32).range(1280..=65535))]
    pub mtu: Option<u32>,
    /// What happens to packets of a workload to its own host: Drop or Accept, which is also called Return
    /// [default: Drop]
    #[arg(long, env = "OCICAT_ENDPOINT_TO_HOST", value_name = "ACTION",
          value_parser = parse_endpoint_to_host)]
    pub endpoint_to_host: Option<String>,
    /// Bits of the conntrack mark and the packet mark that the agent may use, three or more [default: 0xe0000000]
    #[arg(long, env = "OCICAT_MARK_MASK", value_name = "MASK", value_parser = parse_mask)]
    pub mark_mask: Option<u32>,
    /// Configuration file [default: /etc/ocicat/config.yaml, if it exists]
    #[arg(long, env = "OCICAT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The same, from a file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct File {
    node: Option<String>,
    node_ip: Vec<IpAddr>,
    api: Option<String>,
    run_dir: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    health: Option<SocketAddr>,
    mtu: Option<u32>,
    endpoint_to_host: Option<String>,
    mark_mask: Option<u32>,
}

/// What the agent works with.
#[derive(Debug, Clone)]
pub struct Config {
    pub node: String,
    pub node_ip: Vec<IpAddr>,
    pub api: Option<String>,
    pub run_dir: PathBuf,
    pub state_dir: PathBuf,
    pub health: SocketAddr,
    pub mtu: u32,
    pub program: ocicat_compile::Config,
    pub fixed: Fixed,
}

/// What the flags, the environment or the file say of what a FelixConfiguration may say too: they win.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fixed {
    pub endpoint_to_host: bool,
    pub mark_mask: bool,
}

impl Args {
    /// Completes the flags from the configuration file and the defaults.
    ///
    /// # Errors
    /// If the file cannot be read or holds an unknown key, or a value is out of range.
    pub fn complete(self) -> anyhow::Result<Config> {
        let file = read(self.config.as_deref())?;
        let node = match self.node.or(file.node) {
            Some(node) => node,
            None => host_name()?,
        };
        let mtu = self.mtu.or(file.mtu).unwrap_or(1500);
        if !(1280..=65535).contains(&mtu) {
            bail!("mtu: {mtu}: expected 1280 to 65535");
        }
        let node_ip = if self.node_ip.is_empty() {
            file.node_ip
        } else {
            self.node_ip
        };
        let mut program = crate::felix::unconfigured();
        let mark_mask = self.mark_mask.or(file.mark_mask);
        let endpoint_to_host = self.endpoint_to_host.or(file.endpoint_to_host);
        let fixed = Fixed {
            endpoint_to_host: endpoint_to_host.is_some(),
            mark_mask: mark_mask.is_some(),
        };
        let wrong = |field: &str, error: String| anyhow!("{field}: {error}");
        if let Some(mask) = mark_mask {
            program.mark_mask = wide(mask).map_err(|error| wrong("mark-mask", error))?;
        }
        program.endpoint_to_host = match endpoint_to_host {
            None => ocicat_compile::EndpointToHost::Drop,
            Some(text) => {
                endpoint_to_host_of(&text).map_err(|error| wrong("endpoint-to-host", error))?
            }
        };
        let api = self.api.or(file.api);
        if let Some(api) = api.clone() {
            parse_api(&api).map_err(|error| wrong("api", error))?;
        }
        Ok(Config {
            node,
            node_ip,
            api,
            run_dir: self
                .run_dir
                .or(file.run_dir)
                .unwrap_or_else(|| "/run/ocicat".into()),
            state_dir: self
                .state_dir
                .or(file.state_dir)
                .unwrap_or_else(|| "/var/lib/ocicat".into()),
            health: self
                .health
                .or(file.health)
                .unwrap_or(([127, 0, 0, 1], 9099).into()),
            mtu,
            program,
            fixed,
        })
    }
}

fn read(path: Option<&Path>) -> anyhow::Result<File> {
    let (path, required) = path.map_or((Path::new(CONFIG_FILE), false), |path| (path, true));
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Ok(File::default()),
        Ok(text) => serde_saphyr::from_str(&text).map_err(|error| misread(path, &error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => {
            Ok(File::default())
        }
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// `config.yaml:2:1: what is wrong`, once.
fn misread(path: &Path, error: &serde_saphyr::Error) -> anyhow::Error {
    let what = error.without_snippet().to_string();
    let Some(place) = error.location() else {
        return anyhow!("{}: {what}", path.display());
    };
    let (line, column) = (place.line(), place.column());
    let said = format!(" at line {line}, column {column}");
    let what = what.strip_suffix(&said).unwrap_or(&what);
    anyhow!("{}:{line}:{column}: {what}", path.display())
}

fn host_name() -> anyhow::Result<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").context("host name")?;
    Ok(name.trim().to_ascii_lowercase())
}

fn parse_api(text: &str) -> Result<String, String> {
    let parsed = text.parse::<ocicat_client::Endpoint>();
    parsed
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

fn parse_endpoint_to_host(text: &str) -> Result<String, String> {
    endpoint_to_host_of(text).map(|_| text.to_owned())
}

fn endpoint_to_host_of(text: &str) -> Result<ocicat_compile::EndpointToHost, String> {
    match text {
        "Drop" => Ok(ocicat_compile::EndpointToHost::Drop),
        "Accept" | "Return" => Ok(ocicat_compile::EndpointToHost::Accept),
        other => Err(format!("{other:?}: expected Drop, Accept or Return")),
    }
}

fn wide(mask: u32) -> Result<u32, String> {
    if mask.count_ones() < 3 {
        return Err(format!("{mask:#x}: expected at least three bits"));
    }
    Ok(mask)
}

fn parse_mask(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    let mask = parsed.map_err(|error| format!("{error}; expected a number such as 0xe0000000"))?;
    wide(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> PathBuf {
        let name = format!(
            "ocicat-config-{}-{:p}.yaml",
            std::process::id(),
            text.as_ptr()
        );
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn flags_win_over_the_file() {
        let path = file("node: from-file\nmtu: 1400\n");
        let args = Args {
            node: Some("flag".into()),
            config: Some(path.clone()),
            ..Args::default()
        };
        let config = args.complete().unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!((config.node.as_str(), config.mtu), ("flag", 1400));
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        let path = file("nodes: x\n");
        let args = Args {
            config: Some(path.clone()),
            ..Args::default()
        };
        let error = format!("{:#}", args.complete().unwrap_err());
        std::fs::remove_file(path).unwrap();
        assert!(error.contains(".yaml:1:1: "), "{error}");
        assert_eq!(error.matches("nodes").count(), 1, "{error}");
        let args = Args {
            mark_mask: Some(1),
            node: Some("n".into()),
            ..Args::default()
        };
        assert!(
            args.complete()
                .unwrap_err()
                .to_string()
                .contains("three bits")
        );
    }

    #[test]
    fn bad_flags_are_refused_before_anything_is_begun() {
        for (flag, value, expected) in [
            ("--mtu", "100", "1280"),
            (
                "--endpoint-to-host",
                "foo",
                "expected Drop, Accept or Return",
            ),
            ("--mark-mask", "0x1", "three bits"),
            ("--api", "foo://x", "expected unix:/path"),
        ] {
            let error = Args::try_parse_from(["agent", flag, value]).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn return_is_accept() {
        let args = Args::try_parse_from(["agent", "--node=n", "--endpoint-to-host=Return"]);
        let config = args.unwrap().complete().unwrap();
        assert_eq!(
            config.program.endpoint_to_host,
            ocicat_compile::EndpointToHost::Accept
        );
        assert!(config.fixed.endpoint_to_host);
    }
}

//! What a lab remembers of itself, on disk, so that any later command can find and remove all of it.
//!
//! Everything is written down before it is made. A lab that is killed at any moment has therefore a
//! record of at least what it had made, and [`crate::down`] removes what the record names.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::LabName;
use crate::process::Process;

/// Where labs live, a folder each.
pub const ROOT: &str = "/run/ocicat/lab";

/// The longest part of a namespace's name that is taken over as it is; a file's name has 255 bytes.
pub const LONGEST_NAME: usize = 160;
/// The longest name of a host's folder.
const LONGEST_HOST: usize = 48;

/// The version of the record that this program writes and reads.
const VERSION: u32 = 1;

/// A lab, as `lab.json` in its folder holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lab {
    pub version: u32,
    pub name: String,
    pub phase: Phase,
    /// `http://127.0.0.1:PORT`, once the API server listens.
    pub api_url: Option<String>,
    pub hosts: Vec<Host>,
    pub workloads: Vec<Workload>,
    pub daemons: Vec<Daemon>,
}

/// How far a lab has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Being built, or its building was interrupted.
    Building,
    /// Built: policy is in force on all hosts.
    Up,
}

/// A machine of the lab: a namespace on the wire with an agent in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// The name of its Node.
    pub name: String,
    /// The name of its network namespace.
    pub netns: String,
    /// On the wire: one of IPv4, one of IPv6.
    pub addresses: Vec<IpAddr>,
    /// Not a node of the cluster: pods are not scheduled here.
    pub outside: bool,
    /// The numbers it serves itself, if there are host endpoints; each is answered over TCP and UDP.
    #[serde(default)]
    pub ports: Vec<u16>,
}

/// What plays one pod or one machine without a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    pub kind: WorkloadKind,
    pub namespace: String,
    pub name: String,
    /// The controller it comes from, as `deploy/web`.
    pub owner: Option<String>,
    /// The name of a [`Host`].
    pub host: String,
    /// The name of its network namespace.
    pub netns: String,
    /// What the CNI plugin knows it by.
    pub container_id: String,
    /// Empty until the CNI plugin has answered.
    pub addresses: Vec<IpAddr>,
    /// The numbers it serves; each is answered over TCP and UDP.
    pub ports: Vec<u16>,
}

/// The kind of object that a workload plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WorkloadKind {
    Pod,
    WorkloadEndpoint,
}

/// A process that runs as long as the lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    /// `apiserver`, `responder` or `agent HOST`.
    pub role: String,
    pub process: Process,
}

impl Lab {
    /// A lab with nothing in it yet.
    #[must_use]
    pub fn new(name: &LabName) -> Self {
        Self {
            version: VERSION,
            name: name.to_string(),
            phase: Phase::Building,
            api_url: None,
            hosts: Vec::new(),
            workloads: Vec::new(),
            daemons: Vec::new(),
        }
    }

    /// Reads the record of a lab; `None` if there is none.
    ///
    /// # Errors
    /// If the record cannot be read or is of another version.
    pub fn load(folder: &Folder) -> anyhow::Result<Option<Self>> {
        let path = folder.record();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let lab: Self =
            serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
        anyhow::ensure!(
            lab.version == VERSION,
            "{}: version {} of the record; this program knows {VERSION}",
            path.display(),
            lab.version
        );
        Ok(Some(lab))
    }

    /// Writes the record, all or nothing.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn save(&self, folder: &Folder) -> anyhow::Result<()> {
        write_whole(&folder.record(), &serde_json::to_vec_pretty(self)?)
    }

    /// The host of that name.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }
}

impl Host {
    /// The host as something that asks and is asked: `host/NAME`.
    #[must_use]
    pub fn place(&self) -> Workload {
        Workload {
            kind: WorkloadKind::Pod,
            namespace: "host".to_owned(),
            name: self.name.clone(),
            owner: None,
            host: self.name.clone(),
            netns: self.netns.clone(),
            container_id: String::new(),
            addresses: self.addresses.clone(),
            ports: self.ports.clone(),
        }
    }
}

impl Workload {
    /// `namespace/name`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// The folder of one lab and the names of what lies in it.
#[derive(Debug, Clone)]
pub struct Folder {
    name: LabName,
    path: PathBuf,
}

impl Folder {
    #[must_use]
    pub fn of(name: &LabName) -> Self {
        Self {
            name: name.clone(),
            path: Path::new(ROOT).join(name.as_str()),
        }
    }

    /// All labs that have a folder, by name.
    ///
    /// # Errors
    /// If the folder of all labs exists and cannot be read.
    pub fn all() -> anyhow::Result<Vec<Self>> {
        let entries = match fs::read_dir(ROOT) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context(ROOT),
        };
        let mut names: Vec<LabName> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        names.sort();
        Ok(names.iter().map(Self::of).collect())
    }

    #[must_use]
    pub fn name(&self) -> &LabName {
        &self.name
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// The API server's socket.
    #[must_use]
    pub fn api_socket(&self) -> PathBuf {
        self.path.join("api.sock")
    }

    /// For `kubectl --kubeconfig`.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.path.join("kubeconfig")
    }

    /// The configuration of all agents.
    #[must_use]
    pub fn agent_config(&self) -> PathBuf {
        self.path.join("agent.yaml")
    }

    /// What the agent of `host` keeps while it runs. The path of a unix socket has at most 107 bytes,
    /// so that a long name is cut.
    #[must_use]
    pub fn run_dir(&self, host: &str) -> PathBuf {
        self.path.join(short(host, LONGEST_HOST))
    }

    /// What the agent of `host` keeps.
    #[must_use]
    pub fn state_dir(&self, host: &str) -> PathBuf {
        self.run_dir(host).join("state")
    }

    #[must_use]
    pub fn agent_socket(&self, host: &str) -> PathBuf {
        self.run_dir(host).join("agent.sock")
    }

    /// What a process of the lab prints.
    #[must_use]
    pub fn log(&self, role: &str) -> PathBuf {
        self.path.join(format!("{}.log", role.replace(' ', "-")))
    }

    fn record(&self) -> PathBuf {
        self.path.join("lab.json")
    }

    /// The wire's network namespace.
    #[must_use]
    pub fn wire_netns(&self) -> String {
        format!("oci-{}-wire", self.name)
    }

    #[must_use]
    pub fn host_netns(&self, host: &str) -> String {
        format!("oci-{}-h-{}", self.name, short(host, LONGEST_NAME))
    }

    /// Of a workload, by a name that no other workload of the lab has.
    #[must_use]
    pub fn workload_netns(&self, workload: &str) -> String {
        format!("oci-{}-w-{}", self.name, short(workload, LONGEST_NAME))
    }

    /// All namespaces of this lab, whether the record knows them or not.
    ///
    /// # Errors
    /// If the folder of namespaces cannot be read.
    pub fn namespaces(&self) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        for kind in ["h-", "w-", "wire"] {
            let prefix = format!("oci-{}-{kind}", self.name);
            let found = ocicat_kernel::netns::list(&prefix)?;
            names.extend(
                found
                    .into_iter()
                    .filter(|name| kind != "wire" || *name == prefix),
            );
        }
        Ok(names)
    }

    /// Takes the lab for this process alone, making its folder if need be. Freed when the lock is
    /// dropped or the process ends.
    ///
    /// # Errors
    /// If another command is changing the lab, or the folder cannot be made.
    pub fn lock(&self) -> anyhow::Result<Lock> {
        loop {
            fs::create_dir_all(&self.path).with_context(|| format!("{}", self.path.display()))?;
            let Ok(folder) = File::open(&self.path) else {
                continue;
            };
            match folder.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => {
                    anyhow::bail!("another command is at work on lab {}", self.name)
                }
                Err(fs::TryLockError::Error(error)) => return Err(error.into()),
            }
            // Who removed the folder meanwhile has left us the lock of a folder without a name.
            let ours = folder.metadata()?.ino();
            if fs::metadata(&self.path).is_ok_and(|there| there.ino() == ours) {
                return Ok(Lock { _folder: folder });
            }
        }
    }

    /// Whether a command is changing the lab right now.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        File::open(&self.path)
            .is_ok_and(|folder| matches!(folder.try_lock(), Err(fs::TryLockError::WouldBlock)))
    }

    /// Removes the folder, and those above it if they are empty.
    ///
    /// # Errors
    /// If something in it cannot be removed.
    pub fn remove(&self) -> anyhow::Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| self.path.display().to_string());
            }
            _ => {}
        }
        for parent in [ROOT, "/run/ocicat"] {
            if fs::remove_dir(parent).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// A name of at most `longest` bytes that is still the only one of its kind.
#[must_use]
pub fn short(name: &str, longest: usize) -> String {
    if name.len() <= longest {
        return name.to_owned();
    }
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    // Names of objects are ASCII.
    let kept: String = name.chars().take(longest - 17).collect();
    format!("{kept}-{:016x}", hasher.finish())
}

/// Held while a command changes a lab.
#[derive(Debug)]
pub struct Lock {
    _folder: File,
}

/// Writes a file under another name first, so that readers see the old text or the new.
///
/// # Errors
/// If the file cannot be written.
pub fn write_whole(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    let draft = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&draft)?;
        file.write_all(text)?;
        fs::rename(&draft, path)
    };
    write().with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_and_stays_unique() {
        let (a, b) = ("a".repeat(200), "a".repeat(201));
        assert_eq!(short(&a, 160).len(), 160);
        assert_ne!(short(&a, 160), short(&b, 160));
        assert_eq!(short("shop.web", 160), "shop.web");
        let folder = Folder::of(&"l".repeat(30).parse().unwrap());
        assert!(folder.agent_socket(&a).as_os_str().len() <= 107);
    }
}

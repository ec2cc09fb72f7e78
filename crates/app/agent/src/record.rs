//! What the agent remembers of each attached workload: one small file for each interface.
//!
//! A file is written whole before the workload's link carries packets, and removed after the link is
//! gone. A restarted agent finds here which interface belongs to which workload.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// One attached workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Host-side interface; names the record.
    pub interface: String,
    pub container_id: String,
    /// Interface inside the workload.
    pub ifname: String,
    /// Path of the workload's network namespace.
    pub netns: PathBuf,
    pub workload: Workload,
    /// MAC of the workload's side.
    pub mac: [u8; 6],
    pub addresses: Vec<IpAddr>,
    pub mtu: u32,
    /// The network that the runtime attached it to.
    #[serde(default)]
    pub network: String,
}

/// Which object the workload is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Workload {
    Pod { namespace: String, name: String },
    WorkloadEndpoint { namespace: String, name: String },
}

impl Workload {
    #[must_use]
    pub fn key(&self) -> ocicat_api::ObjectKey {
        let (kind, namespace, name) = match self {
            Self::Pod { namespace, name } => (ocicat_api::Kind::Pod, namespace, name),
            Self::WorkloadEndpoint { namespace, name } => {
                (ocicat_api::Kind::WorkloadEndpoint, namespace, name)
            }
        };
        ocicat_api::ObjectKey {
            kind,
            namespace: Some(namespace.as_str().into()),
            name: name.as_str().into(),
        }
    }
}

/// The directory of records.
#[derive(Debug)]
pub struct Records {
    directory: PathBuf,
    by_interface: BTreeMap<String, Record>,
}

impl Records {
    /// Reads all records. A file that cannot be read is reported and left alone: its interface
    /// has no policy then and stays closed.
    ///
    /// # Errors
    /// If the directory cannot be made or listed.
    pub fn open(state_dir: &Path) -> anyhow::Result<Self> {
        let directory = state_dir.join("attachments");
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        let mut by_interface = BTreeMap::new();
        for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
            let path = entry?.path();
            // A write that was cut short: the workload was never switched on by it.
            if path.extension().is_some_and(|extension| extension == "new") {
                let _ = fs::remove_file(&path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let record = fs::read(&path).map_err(anyhow::Error::from);
            match record.and_then(|bytes| Ok(serde_json::from_slice::<Record>(&bytes)?)) {
                Ok(record) => {
                    by_interface.insert(record.interface.clone(), record);
                }
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "unreadable attachment record");
                }
            }
        }
        Ok(Self {
            directory,
            by_interface,
        })
    }

    pub fn all(&self) -> impl Iterator<Item = &Record> {
        self.by_interface.values()
    }

    #[must_use]
    pub fn get(&self, interface: &str) -> Option<&Record> {
        self.by_interface.get(interface)
    }

    /// Writes a record so that a crash leaves the old one or the new one.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn put(&mut self, record: Record) -> anyhow::Result<()> {
        let path = self.path(&record.interface);
        let new = path.with_extension("new");
        let write = || -> anyhow::Result<()> {
            let mut file = fs::File::create(&new)?;
            file.write_all(&serde_json::to_vec_pretty(&record)?)?;
            file.sync_data()?;
            Ok(fs::rename(&new, &path)?)
        };
        write().with_context(|| path.display().to_string())?;
        self.by_interface.insert(record.interface.clone(), record);
        Ok(())
    }

    /// # Errors
    /// If the file is there and cannot be removed.
    pub fn remove(&mut self, interface: &str) -> anyhow::Result<()> {
        let path = self.path(interface);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| path.display().to_string());
            }
            _ => {}
        }
        self.by_interface.remove(interface);
        Ok(())
    }

    fn path(&self, interface: &str) -> PathBuf {
        self.directory.join(format!("{interface}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_a_restart_and_bad_files_do_not_stop_it() {
        let directory = std::env::temp_dir().join(format!("ocicat-records-{}", std::process::id()));
        let record = Record {
            interface: "ocwabc".into(),
            container_id: "c".into(),
            ifname: "eth0".into(),
            netns: "/run/netns/x".into(),
            workload: Workload::Pod {
                namespace: "shop".into(),
                name: "web".into(),
            },
            mac: [2; 6],
            addresses: vec!["10.0.0.1".parse().unwrap()],
            mtu: 1500,
            network: "ocicat".into(),
        };
        let mut records = Records::open(&directory).unwrap();
        records.put(record.clone()).unwrap();
        fs::write(directory.join("attachments/broken.json"), "{").unwrap();
        let cut_short = directory.join("attachments/ocwdef.new");
        fs::write(&cut_short, "{").unwrap();
        let mut again = Records::open(&directory).unwrap();
        assert_eq!(again.all().collect::<Vec<_>>(), [&record]);
        assert!(!cut_short.exists());
        again.remove("ocwabc").unwrap();
        again.remove("ocwabc").unwrap();
        assert_eq!(Records::open(&directory).unwrap().all().count(), 0);
        fs::remove_dir_all(directory).unwrap();
    }
}

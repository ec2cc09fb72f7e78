//! What the numbers were measured on.

use std::process::Command;

use serde::{Deserialize, Serialize};

/// The machine, as far as it matters for speed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub kernel: String,
    pub rustc: String,
    pub date: String,
    /// Load average of the last minute.
    pub load: String,
}

impl Machine {
    /// The machine that this runs on. What cannot be learned is `unknown`.
    #[must_use]
    pub fn here() -> Self {
        let memory_kb = field("/proc/meminfo", "MemTotal")
            .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        Self {
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_gib: memory_kb.unwrap_or(0).div_ceil(1 << 20),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| unknown(), |text| text.trim().to_owned()),
            rustc: output("rustc", &["--version"]).unwrap_or_else(unknown),
            date: output("date", &["+%F"]).unwrap_or_else(unknown),
            load: std::fs::read_to_string("/proc/loadavg")
                .ok()
                .and_then(|text| text.split_whitespace().next().map(str::to_owned))
                .unwrap_or_else(unknown),
        }
    }

    /// A name for files: `amd-epyc-2-cores`.
    #[must_use]
    pub fn slug(&self) -> String {
        let words = self.processor.split(|c: char| !c.is_ascii_alphanumeric());
        let words: Vec<String> = words
            .filter(|word| !word.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        format!("{}-{}-cores", words.join("-"), self.cores)
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let (_, value) = text
        .lines()
        .find(|line| line.starts_with(name))?
        .split_once(':')?;
    Some(value.trim().to_owned())
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// Keeps the calling thread, and the threads and processes that it starts, on the last core.
///
/// # Errors
/// Those of `sched_setaffinity(2)`.
pub fn stay_on_one_core() -> std::io::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut set = rustix::thread::CpuSet::new();
    set.set(cores - 1);
    rustix::thread::sched_setaffinity(None, &set)?;
    Ok(())
}

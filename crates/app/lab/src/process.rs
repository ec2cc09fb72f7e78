//! Processes that outlive the command that starts them, and how to find and end them.
//!
//! A process is named by its number and the time it started, so that another process that was given
//! the same number later is never mistaken for it. Besides, every process of a lab carries a mark in
//! its environment: one that was started but not yet written down is found by it.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use ocicat_kernel::netns::Namespace;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::LabName;

/// Marks the processes of a lab; its value is the lab's name.
const MARK: &str = "OCICAT_LAB_PROCESS";

/// What processes of a lab inherit of the environment.
const INHERITED: [&str; 5] = ["PATH", "HOME", "LANG", "RUST_BACKTRACE", "RUST_LOG"];

/// How long a process may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(2);

/// A process that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    pub pid: u32,
    /// In clock ticks since boot (field 22 of `/proc/PID/stat`, see proc_pid_stat(5)).
    pub start_time: u64,
}

impl Process {
    /// The process of that number, if there is one that has not ended.
    #[must_use]
    pub fn find(pid: u32) -> Option<Self> {
        Stat::read(pid).filter(Stat::runs).map(|stat| Self {
            pid,
            start_time: stat.start_time,
        })
    }

    /// Whether this very process still runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        Self::find(self.pid) == Some(*self)
    }

    fn signal(self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            // It may have ended meanwhile, which is what is wanted.
            let _ = kill_process(pid, signal);
        }
    }
}

/// This program again, with `arguments`, with the lab's mark and little else in its environment.
///
/// # Errors
/// If the path of this program cannot be found out.
pub fn ourselves(lab: &LabName) -> anyhow::Result<Command> {
    let mut command = Command::new(program()?);
    command.env_clear().env(MARK, lab.as_str());
    for name in INHERITED {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    Ok(command)
}

/// The path of this program. A program that was replaced while it runs is still found.
fn program() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe().context("the path of this program")?;
    Ok(if path.exists() {
        path
    } else {
        PathBuf::from("/proc/self/exe")
    })
}

/// Starts a process that stays when this one ends, in `namespace` if one is given, printing to `log`.
///
/// # Errors
/// If the log cannot be written, or the process cannot be started.
pub fn start(
    mut command: Command,
    namespace: Option<&Namespace>,
    log: &Path,
) -> anyhow::Result<Process> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| log.display().to_string())?;
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        // Ctrl-C at the terminal is meant for the command in the foreground.
        .process_group(0);
    let child = match namespace {
        Some(namespace) => namespace.run(|| command.spawn())?,
        None => command.spawn(),
    };
    let child = child.with_context(|| command.get_program().display().to_string())?;
    // One that ended at once is a zombie of ours: its start time can still be read.
    let start_time = Stat::read(child.id()).map_or(0, |stat| stat.start_time);
    Ok(Process {
        pid: child.id(),
        start_time,
    })
}

/// Waits until `log` has a line that starts with `prefix` and returns the rest of that line.
///
/// # Errors
/// If the process ends first, or the time is up; the log's last lines are part of the error.
pub async fn wait_for_line(
    process: &Process,
    log: &Path,
    prefix: &str,
    patience: Duration,
) -> anyhow::Result<String> {
    let deadline = Instant::now() + patience;
    loop {
        let ended = !process.runs();
        let text = fs::read_to_string(log).unwrap_or_default();
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        if let Some(rest) = complete.lines().find_map(|line| line.strip_prefix(prefix)) {
            return Ok(rest.trim().to_owned());
        }
        if ended || Instant::now() > deadline {
            let what = if ended {
                "ended"
            } else {
                "is not ready in time"
            };
            anyhow::bail!("it {what}; the end of {}:\n{}", log.display(), tail(&text));
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// The last lines of a log, indented.
#[must_use]
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(12);
    let indented: Vec<String> = lines[from..]
        .iter()
        .map(|line| format!("    {line}"))
        .collect();
    indented.join("\n")
}

/// All processes that carry the mark of the lab, except this one and those it comes from.
#[must_use]
pub fn marked(lab: &LabName) -> BTreeSet<Process> {
    let wanted = format!("{MARK}={lab}");
    others(|process| {
        let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == wanted.as_bytes())
    })
}

/// All processes that are in one of these network namespaces, except this one and those it comes from.
#[must_use]
pub fn inside(namespaces: &[String]) -> BTreeSet<Process> {
    let identity = |path: &Path| fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    let wanted: BTreeSet<(u64, u64)> = namespaces
        .iter()
        .filter_map(|name| identity(&Path::new(ocicat_kernel::netns::DIRECTORY).join(name)))
        .collect();
    if wanted.is_empty() {
        return BTreeSet::new();
    }
    others(|process| {
        identity(Path::new(&format!("/proc/{}/ns/net", process.pid)))
            .is_some_and(|found| wanted.contains(&found))
    })
}

/// Asks the processes to end, and kills those that have not after a while.
pub async fn end(processes: impl IntoIterator<Item = Process>) {
    let mut left: Vec<Process> = processes.into_iter().filter(Process::runs).collect();
    for (signal, patience) in [(Signal::TERM, PATIENCE), (Signal::KILL, PATIENCE)] {
        for process in &left {
            process.signal(signal);
        }
        let deadline = Instant::now() + patience;
        while !left.is_empty() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
            left.retain(Process::runs);
        }
    }
}

fn others(wanted: impl Fn(&Process) -> bool) -> BTreeSet<Process> {
    let mut own = BTreeSet::new();
    let mut ancestor = Some(std::process::id());
    while let Some(pid) = ancestor.filter(|pid| *pid > 1 && own.insert(*pid)) {
        ancestor = Stat::read(pid).map(|stat| stat.parent);
    }
    let Ok(entries) = fs::read_dir("/proc") else {
        return BTreeSet::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| !own.contains(pid))
        .filter_map(Process::find)
        .filter(wanted)
        .collect()
}

/// What `/proc/PID/stat` says.
struct Stat {
    state: char,
    parent: u32,
    start_time: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The second field is the program's name in parentheses and may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let start_time = fields.nth(17)?.parse().ok()?;
        Some(Self {
            state,
            parent,
            start_time,
        })
    }

    fn runs(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let text = "7 (a) S 1) R 3 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.state, stat.parent, stat.start_time), ('R', 3, 4242));
        assert!(Stat::parse("7 (a").is_none());
    }

    #[test]
    fn a_process_is_its_number_and_its_start() {
        let own = Process::find(std::process::id()).unwrap();
        assert!(own.runs());
        assert!(
            !Process {
                start_time: own.start_time + 1,
                ..own
            }
            .runs()
        );
    }
}

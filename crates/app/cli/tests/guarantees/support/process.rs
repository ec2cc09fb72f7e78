//! Processes that end with the test.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ocicat_kernel::netns::Namespace;
use rustix::process::{Pid, Signal, kill_process};

use super::OCICAT;

/// A process of ours, killed when dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// `ocicat` with `arguments` and nothing of our environment but the path.
pub fn ocicat(arguments: &[&str]) -> Command {
    let mut command = Command::new(OCICAT);
    command.env_clear().args(arguments);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

impl Process {
    /// Starts `command` in `namespace`; what it prints is added to `log`.
    pub fn start(mut command: Command, namespace: &Namespace, log: &Path) -> Self {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        // Ctrl-C at the terminal ends the test, and the test ends this.
        command.process_group(0);
        let child = namespace.run(|| command.spawn()).unwrap().unwrap();
        Self {
            child,
            log: log.to_owned(),
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends the signal and waits for the end.
    pub fn end(mut self, signal: Signal) {
        self.signal(signal);
        self.child.wait().unwrap();
    }

    /// What it printed so far, and what those before it printed into the same file.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already is waited for all the same.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

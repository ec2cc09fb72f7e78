//! A network namespace for the length of a test.
#![allow(
    unsafe_code,
    reason = "a test's thread leaves the network namespace of the process"
)]

use std::cell::Cell;
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs a test in a new network namespace, which ends with it. Without the right to make one the test
/// is skipped and says so.
pub fn inside(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: takes no memory, changes only this thread, which ends with the test.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                println!(
                    "skipped: no new network namespace: {}",
                    std::io::Error::last_os_error()
                );
                return;
            }
            test();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Whether the `nft` program is there. If not, says so once in each test.
pub fn has_nft() -> bool {
    thread_local!(static SAID: Cell<bool> = const { Cell::new(false) });
    let found = Command::new("nft")
        .arg("--version")
        .output()
        .is_ok_and(|o| o.status.success());
    if !found && !SAID.replace(true) {
        println!("skipped: no nft program");
    }
    found
}

/// Runs `nft` in the thread's namespace; what it printed, or its error.
pub fn nft(arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    // Dropped at once, so that nft meets the end of its input.
    child
        .stdin
        .take()
        .expect("stdin is piped")
        .write_all(input.as_bytes())
        .map_err(|e| e.to_string())?;
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

/// `nft list ruleset`
pub fn list() -> String {
    nft(&["list", "ruleset"], "").expect("the ruleset is listed")
}

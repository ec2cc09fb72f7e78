//! What all tests share.

pub mod api;
pub mod cluster;
pub mod flow;
pub mod frame;
pub mod packet;
pub mod process;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The program under test.
pub const OCICAT: &str = env!("CARGO_BIN_EXE_ocicat");

/// Taken by each test for as long as it runs.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed has left nothing that the next could stumble over.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this user may make namespaces; says so if not.
pub fn may_run() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: network namespaces need root");
    }
    root
}

/// Asks every few milliseconds until the answer is yes or the time is up.
pub fn within(limit: Duration, mut question: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if question() {
            return true;
        }
        if start.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

//! How many files this process may have open: a lab has thousands of sockets.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asked of the kernel if the hard limit allows.
const WANTED: u64 = 262_144;

/// Raises the limit of open files as far as allowed, and returns what it is now.
pub fn raise_open_files() -> u64 {
    let now = getrlimit(Resource::Nofile);
    let ceiling = now.maximum.unwrap_or(WANTED).min(WANTED);
    let current = now.current.unwrap_or(WANTED);
    if current >= ceiling {
        return current;
    }
    let raised = Rlimit {
        current: Some(ceiling),
        maximum: now.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => ceiling,
        Err(_) => current,
    }
}

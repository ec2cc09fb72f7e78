//! Waiting until no packet is inside an old generation of a ruleset.
//!
//! The network stack runs each packet through a hook under `rcu_read_lock`, and each look-up of an
//! nftables chain reads the current generation anew: a packet that was inside a chain when a commit
//! happened may still use what the commit took away from others. After an RCU grace period that began
//! later than the commit, every such packet has left. Only then may numbers change their meaning.

use std::thread;
use std::time::Duration;

use crate::sys;

/// How long [`wait`] sleeps where the kernel cannot be asked.
pub const FALLBACK: Duration = Duration::from_millis(20);

/// How a grace period was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// The kernel confirmed it (`MEMBARRIER_CMD_GLOBAL` of `linux/membarrier.h`).
    Confirmed,
    /// The kernel refused or could not be trusted to wait; [`FALLBACK`] passed instead. A packet takes
    /// microseconds, so this is ample, but it is not a proof.
    Slept,
}

/// Returns when no packet is still inside a generation of a ruleset that was replaced before the call.
/// A packet that is queued between two hooks (in a backlog, or by `nft queue`) starts its next hook in
/// the new generation.
///
/// `MEMBARRIER_CMD_GLOBAL` is `synchronize_rcu` in the kernel, except with one processor online, where
/// it returns at once although a preempted system call may still be sending: there we sleep. It is
/// refused under `nohz_full` and by some seccomp profiles: there we sleep, too. It takes 4 to 16
/// milliseconds at 250 ticks a second; call it where blocking is allowed, once for many changes.
pub fn wait() -> Waited {
    let several = sys::processors_online().is_some_and(|count| count > 1);
    if several && sys::membarrier_global().is_ok() {
        return Waited::Confirmed;
    }
    thread::sleep(FALLBACK);
    Waited::Slept
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn either_asks_the_kernel_or_sleeps() {
        let start = Instant::now();
        let waited = wait();
        if waited == Waited::Slept {
            assert!(start.elapsed() >= FALLBACK);
        }
    }
}

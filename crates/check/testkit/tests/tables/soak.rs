//! Random worlds and histories until it is stopped, or for `OCICAT_MINUTES`.
//!
//! `OCICAT_SEED` is the first seed; without it the clock chooses. The first failure is printed with
//! its seed and as a scenario file, and ends the run with status 1.

mod compare;
mod engine;
mod failure;
mod histories;
mod hosts;
mod reading;
mod worlds;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use histories::try_history;
use worlds::try_world;

/// Lines of progress are so far apart.
const PROGRESS: Duration = Duration::from_secs(10);

type Trial = fn(u64) -> Result<(), String>;

/// What each seed is tried with.
const TRIALS: [(&str, Trial); 2] = [("world", try_world), ("history", try_history)];

fn main() -> ExitCode {
    let number = |name: &str| match std::env::var(name) {
        Err(_) => None,
        Ok(text) => match text.parse::<u64>() {
            Ok(number) => Some(number),
            Err(error) => panic!("{name}: {error}"),
        },
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let clock = now.map_or(1, |time| time.as_secs() << 20);
    let first = number("OCICAT_SEED").unwrap_or(clock);
    let length = number("OCICAT_MINUTES").map(|minutes| Duration::from_secs(minutes * 60));
    println!("OCICAT_SEED={first}");
    match soak(first, length) {
        None => ExitCode::SUCCESS,
        Some(message) => {
            println!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the first failure.
fn soak(first: u64, length: Option<Duration>) -> Option<String> {
    let start = Instant::now();
    let (next, done) = (AtomicU64::new(first), AtomicU64::new(0));
    let found = Mutex::new(None);
    let is_over = || {
        let failed = found.lock().is_ok_and(|found| found.is_some());
        failed || length.is_some_and(|length| start.elapsed() >= length)
    };
    let worker = || {
        while !is_over() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            for (name, trial) in TRIALS {
                if let Err(message) = trial(seed) {
                    let message = format!("FAILED: {name} of OCICAT_SEED={seed}: {message}");
                    if let Ok(mut found) = found.lock() {
                        found.get_or_insert(message);
                    }
                    return;
                }
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let mut told = start;
        while !workers
            .iter()
            .all(std::thread::ScopedJoinHandle::is_finished)
        {
            std::thread::sleep(Duration::from_millis(100));
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                let (done, seconds) = (done.load(Ordering::Relaxed), start.elapsed().as_secs());
                println!("{done} worlds and histories in {seconds} s");
            }
        }
    });
    let done = done.into_inner();
    println!("{done} worlds and histories without a failure");
    found.into_inner().ok().flatten()
}

//! The nftables program follows random histories: seldom by being replaced, and so that a packet that
//! meets a part of it before and a part after a commit gets the verdict of the state before or of the
//! state after.
//!
//! `OCICAT_SEED` and `OCICAT_HISTORIES` choose the histories.

mod flight;
mod host;
mod kernel;
mod walk;

use std::collections::BTreeMap;
use std::sync::Mutex;

use flight::Flight;
use host::Host;
use ocicat_testkit::Random;

const HISTORIES: u64 = 60;
/// Commits of a history.
const STEPS: usize = 30;
/// Failures that are shown.
const SHOWN: usize = 5;

/// What some histories came to.
#[derive(Default)]
struct Sum {
    updates: usize,
    /// By what changed.
    replaced: BTreeMap<String, usize>,
    /// Ways of packets through commits.
    walks: usize,
    /// Of packets whose verdict the commit changes.
    turned: usize,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.updates += other.updates;
        for (what, count) in other.replaced {
            *self.replaced.entry(what).or_insert(0) += count;
        }
        self.walks += other.walks;
        self.turned += other.turned;
    }
}

fn try_history(seed: u64) -> Result<Sum, String> {
    let mut random = Random::new(seed);
    let mut host = Host::new(&mut random)?;
    let mut sum = Sum::default();
    for step in 0..STEPS {
        let change = host.change(&mut random)?;
        let context = |error: String| format!("step {step}, {}: {error}", change.what);
        sum.updates += usize::from(!change.is_empty);
        if change.is_replaced {
            let kinds = sum.replaced.entry(change.what.clone());
            *kinds.or_insert(0) += 1;
        }
        let mut flight = Flight::new(&host, &change);
        flight.check(&mut random).map_err(context)?;
        sum.walks += flight.walks;
        sum.turned += flight.turned;
    }
    Ok(sum)
}

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Err(_) => default,
        Ok(text) => text.parse().unwrap_or_else(|e| panic!("{name}: {e}")),
    }
}

#[test]
fn a_packet_meets_the_old_state_or_the_new_and_most_changes_need_no_replacement() {
    let (first, count) = (
        number("OCICAT_SEED", 0),
        number("OCICAT_HISTORIES", HISTORIES),
    );
    println!("OCICAT_SEED={first} OCICAT_HISTORIES={count}");
    let next = std::sync::atomic::AtomicU64::new(0);
    let sum = Mutex::new(Sum::default());
    let failures = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        loop {
            let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if index >= count {
                return;
            }
            let seed = first.wrapping_add(index);
            match try_history(seed) {
                Ok(of_history) => sum.lock().expect("nobody panicked").add(of_history),
                Err(error) => {
                    let failure = format!("OCICAT_SEED={seed} OCICAT_HISTORIES=1: {error}");
                    failures.lock().expect("nobody panicked").push(failure);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    let failures = failures.into_inner().expect("nobody panicked");
    let shown = &failures[..failures.len().min(SHOWN)];
    assert!(
        failures.is_empty(),
        "{} failures: {shown:#?}",
        failures.len()
    );
    let sum = sum.into_inner().expect("nobody panicked");
    let replaced: usize = sum.replaced.values().sum();
    println!(
        "{replaced} of {} updates were replacements: {:?}; {} walks, {} of them of packets whose \
         verdict changed",
        sum.updates, sum.replaced, sum.walks, sum.turned
    );
    if count >= HISTORIES {
        assert!(sum.updates > 500, "the histories change too little to tell");
        assert!(sum.turned * 100 > sum.walks, "too few verdicts change");
        let of = sum.updates;
        assert!(replaced * 10 < of, "{replaced} of {of}");
    }
}

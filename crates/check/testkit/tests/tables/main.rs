//! Decision tables against the oracle: on random worlds, on random histories, and with a rule
//! planted wrong on purpose, which must be noticed.
//!
//! `OCICAT_SEED` overrides the seed, `OCICAT_WORLDS` and `OCICAT_HISTORIES` how many are tried.
//! Each world and each history has a seed of its own, which a failure prints; to see that one
//! alone, give its seed and a number of 1. `OCICAT_SCENARIO` names a scenario file to follow, such
//! as one that a failure printed.

mod compare;
mod engine;
mod failure;
mod gate;
mod histories;
mod hosts;
mod reading;
mod scenarios;
mod transitions;
mod worlds;

/// Where the seeds of a test begin, and how many there are of them.
struct Trials {
    seed: u64,
    count: u64,
}

impl Trials {
    /// As many as usual, or as the environment says. Prints which.
    fn new(count_variable: &str, count: u64) -> Self {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>());
        let number = |name: &str, default: u64| match number(name) {
            None => default,
            Some(Ok(number)) => number,
            Some(Err(error)) => panic!("{name}: {error}"),
        };
        let trials = Self {
            seed: number("OCICAT_SEED", 1),
            count: number(count_variable, count),
        };
        println!(
            "OCICAT_SEED={} {count_variable}={}",
            trials.seed, trials.count
        );
        trials
    }

    /// Spread over the threads of this machine, each of which stops at its first failure.
    fn run(&self, trial: impl Fn(u64) -> Result<(), String> + Sync) {
        let next = std::sync::atomic::AtomicU64::new(0);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        if index >= self.count {
                            return;
                        }
                        let seed = self.seed.wrapping_add(index);
                        if let Err(message) = trial(seed) {
                            panic!(
                                "OCICAT_SEED={seed} OCICAT_WORLDS=1 OCICAT_HISTORIES=1\n{message}"
                            );
                        }
                    }
                });
            }
        });
    }
}

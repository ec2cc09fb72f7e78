//! Many seeds, over all threads.

/// Where the seeds of a test begin, and how many there are of them.
pub struct Trials {
    pub seed: u64,
    pub count: u64,
}

impl Trials {
    /// As many as usual, or as the environment says. Prints which.
    pub fn new(count_variable: &str, count: u64) -> Self {
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
    pub fn run(&self, trial: impl Fn(u64) -> Result<(), String> + Sync) {
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

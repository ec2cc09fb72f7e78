//! Times and instruction counts of one piece of work.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// One measured piece of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// What was done.
    pub work: String,
    /// Which part of it.
    pub step: String,
    /// Pieces of work of one name are numbered from 0.
    pub index: usize,
    pub wall_ns: u64,
    /// Of the measuring thread, what the kernel did for it included.
    pub cpu_ns: u64,
    /// User space only; if the run was counted.
    #[serde(default)]
    pub instructions: Option<u64>,
}

/// Collects samples.
#[derive(Debug, Default)]
pub struct Meter {
    pub samples: Vec<Sample>,
}

impl Meter {
    /// Does the work once and keeps what it took.
    pub fn measure<T>(
        &mut self,
        work: &str,
        step: &str,
        index: usize,
        run: impl FnOnce() -> T,
    ) -> T {
        let (mut run, mut result) = (Some(run), None);
        let (wall, cpu) = (Instant::now(), cpu_time());
        ocicat_bench_count_from(&mut || result = run.take().map(|run| run()));
        let (cpu, wall) = (cpu_time().saturating_sub(cpu), wall.elapsed());
        self.samples.push(Sample {
            work: work.to_owned(),
            step: step.to_owned(),
            index,
            wall_ns: nanoseconds(wall),
            cpu_ns: nanoseconds(cpu),
            instructions: None,
        });
        // Invariant: the functions above call what they are given once.
        result.unwrap_or_else(|| unreachable!("the work was not done"))
    }
}

/// The count of instructions begins when this is entered.
#[inline(never)]
fn ocicat_bench_count_from(work: &mut dyn FnMut()) {
    ocicat_bench_count_until(work);
    // Not a tail call.
    std::hint::black_box(());
}

/// It is written down when this is left. Two functions, for callgrind takes one order for each.
#[inline(never)]
fn ocicat_bench_count_until(work: &mut dyn FnMut()) {
    work();
    std::hint::black_box(());
}

/// Options of `valgrind` that count what [`Meter::measure`] does, into a file for each sample.
#[must_use]
pub fn counter_options(directory: &Path) -> Vec<String> {
    vec![
        "--tool=callgrind".to_owned(),
        "--quiet".to_owned(),
        "--zero-before=*ocicat_bench_count_from*".to_owned(),
        "--dump-after=*ocicat_bench_count_until*".to_owned(),
        format!(
            "--callgrind-out-file={}",
            directory.join("counts").display()
        ),
    ]
}

/// The counts that a run with [`counter_options`] left, in the order of the samples.
///
/// # Errors
/// Those of reading the directory.
pub fn counts(directory: &Path) -> std::io::Result<Vec<u64>> {
    let mut numbered = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let Some(number) = name
            .strip_prefix("counts.")
            .and_then(|n| n.parse::<u32>().ok())
        else {
            continue;
        };
        let text = std::fs::read_to_string(&path)?;
        let total = text
            .lines()
            .find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
        numbered.push((number, total.unwrap_or(0)));
    }
    numbered.sort_unstable();
    Ok(numbered.into_iter().map(|(_, total)| total).collect())
}

/// Processor time of this thread, what the kernel did for it included.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_hold_what_passed() {
        let mut meter = Meter::default();
        let sum: u64 = meter.measure("sum", "", 3, || {
            (0..1_000_000_u64).map(std::hint::black_box).sum()
        });
        assert_eq!(sum, 499_999_500_000);
        let sample = &meter.samples[0];
        assert_eq!((sample.work.as_str(), sample.index), ("sum", 3));
        assert!(sample.cpu_ns > 10_000, "{sample:?}");
    }

    #[test]
    fn counts_come_in_order() {
        let directory = std::env::temp_dir().join(format!("ocicat-bench-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        for (number, total) in [(1, 11), (2, 22), (10, 33)] {
            let text = format!("version: 1\ntotals: {total}\n");
            std::fs::write(directory.join(format!("counts.{number}")), text).unwrap();
        }
        std::fs::write(directory.join("counts"), "totals: 9\n").unwrap();
        assert_eq!(counts(&directory).unwrap(), [11, 22, 33]);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}

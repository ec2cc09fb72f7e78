//! Random tests that run until they are stopped.
//!
//! Each part is a program that takes `OCICAT_MINUTES` and `OCICAT_SEED`, prints its seed and its
//! progress, and at a failure prints a scenario file and exits with 1. The parts take turns.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// A part: what cargo is told.
struct Part {
    about: &'static str,
    command: &'static str,
    arguments: &'static [&'static str],
}

const PARTS: [Part; 2] = [
    Part {
        about: "decision tables against the oracle",
        command: "test",
        arguments: &["--package", "ocicat-testkit", "--test", "soak"],
    },
    Part {
        about: "the kernel against the oracle (needs root)",
        command: "run",
        arguments: &["--package", "ocicat-proof", "--", "soak"],
    },
];

/// So long is the turn of a part, unless less is left.
const TURN_MINUTES: u64 = 10;

/// Runs all parts for `minutes`, or until one fails.
pub fn run(root: &Path, minutes: Option<u64>) -> ExitCode {
    let start = Instant::now();
    for part in PARTS.iter().cycle() {
        let spent = start.elapsed();
        let Some(turn) = turn(minutes, spent, PARTS.len() as u64) else {
            println!("nothing found in {} minutes", spent.as_secs() / 60);
            return ExitCode::SUCCESS;
        };
        println!("{}: {turn} minutes", part.about);
        let status = Command::new(env!("CARGO"))
            .args([part.command, "--release", "--locked"])
            .args(part.arguments)
            .env("OCICAT_MINUTES", turn.to_string())
            .current_dir(root)
            .status();
        match status {
            Ok(status) if status.success() => {}
            Ok(_) => return ExitCode::FAILURE,
            Err(error) => {
                eprintln!("cargo test: {error}");
                return ExitCode::from(3);
            }
        }
    }
    ExitCode::SUCCESS
}

/// How long the next turn is, in minutes; `None` when the time is over.
fn turn(minutes: Option<u64>, spent: Duration, parts: u64) -> Option<u64> {
    let Some(minutes) = minutes else {
        return Some(TURN_MINUTES);
    };
    let left = minutes.saturating_sub(spent.as_secs() / 60);
    let share = minutes.div_ceil(parts).clamp(1, TURN_MINUTES);
    (left > 0).then_some(share.min(left))
}

/// What stands after `soak`.
pub fn minutes(words: &[&str]) -> Option<Option<u64>> {
    match words {
        [] => Some(None),
        ["--minutes", number] => number.parse().ok().map(Some),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_end_with_the_time() {
        let at = |seconds| Duration::from_secs(seconds);
        assert_eq!(turn(None, at(100_000), 2), Some(TURN_MINUTES));
        assert_eq!(turn(Some(6), at(0), 2), Some(3));
        assert_eq!(turn(Some(6), at(190), 2), Some(3));
        assert_eq!(turn(Some(6), at(300), 2), Some(1));
        assert_eq!(turn(Some(6), at(360), 2), None);
        assert_eq!(turn(Some(60), at(0), 1), Some(TURN_MINUTES));
    }

    #[test]
    fn minutes_are_a_number() {
        assert_eq!(minutes(&[]), Some(None));
        assert_eq!(minutes(&["--minutes", "5"]), Some(Some(5)));
        assert_eq!(minutes(&["--minutes", "soon"]), None);
        assert_eq!(minutes(&["5"]), None);
    }
}

//! All checks and all tests, with one line at the end that counts them.
//!
//! A test that cannot run here prints a line that begins with `skipped:`. The test harness calls it
//! passed; here it is counted as skipped.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// What ran, and how it ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// Runs everything. `checks` is the outcome of the checks of the house.
pub fn run(root: &Path, checks: (usize, usize)) -> ExitCode {
    let mut count = Count {
        passed: checks.0,
        failed: checks.1,
        skipped: 0,
    };
    let child = Command::new(env!("CARGO"))
        .args([
            "test",
            "--workspace",
            "--release",
            "--locked",
            "--no-fail-fast",
        ])
        .args(["--", "--show-output"])
        .current_dir(root)
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            eprintln!("cargo test: {error}");
            return ExitCode::from(3);
        }
    };
    let lines = child
        .stdout
        .take()
        .map(BufReader::new)
        .into_iter()
        .flat_map(BufRead::lines);
    for line in lines.map_while(Result::ok) {
        println!("{line}");
        count.take(&line);
    }
    let ended_well = child.wait().is_ok_and(|status| status.success());
    if !ended_well && count.failed == 0 {
        // It did not compile, or a test ended the process.
        count.failed += 1;
    }
    println!(
        "{} passed, {} failed, {} skipped",
        count.passed, count.failed, count.skipped
    );
    if count.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

impl Count {
    fn take(&mut self, line: &str) {
        if line.starts_with("skipped: ") {
            self.skipped += 1;
            self.passed = self.passed.saturating_sub(1);
        }
        let Some(counts) = line.strip_prefix("test result: ") else {
            return;
        };
        let number = |word: &str| {
            let before = counts.split(word).next()?;
            before
                .rsplit([' ', ';'])
                .find(|part| !part.is_empty())?
                .parse::<usize>()
                .ok()
        };
        self.passed += number(" passed").unwrap_or(0);
        self.failed += number(" failed").unwrap_or(0);
        self.skipped += number(" ignored").unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_tests_are_not_passed_tests() {
        let mut count = Count::default();
        let lines = [
            "test result: ok. 7 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out",
            "skipped: kubectl is not installed",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
        ];
        for line in lines {
            count.take(line);
        }
        assert_eq!(
            count,
            Count {
                passed: 9,
                failed: 2,
                skipped: 2
            }
        );
    }
}

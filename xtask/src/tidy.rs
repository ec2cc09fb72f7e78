//! Words and left-overs that do not belong in the project.

use std::path::Path;

use crate::{Findings, rust_files};

/// What must not stand in source, and why. Written in halves, so that this file does not find
/// itself.
const FORBIDDEN: [([&str; 2], &str); 9] = [
    (["todo", "!("], "finish it, or make it an explicit error"),
    (
        ["unimplemented", "!("],
        "finish it, or make it an explicit error",
    ),
    (["dbg", "!("], "use tracing"),
    (["#[ign", "ore"], "a test that is not run proves nothing"),
    (
        ["TO", "DO"],
        "finish it, or say in the documentation what is missing",
    ),
    (
        ["FIX", "ME"],
        "finish it, or say in the documentation what is missing",
    ),
    (
        ["XX", "X"],
        "finish it, or say in the documentation what is missing",
    ),
    (["/wo", "rk/"], "no paths of a machine"),
    (["../sha", "red"], "users do not have it"),
];

pub fn check(root: &Path) -> Findings {
    let mut findings = Findings::new();
    for path in rust_files(root) {
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        let name = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .display()
            .to_string();
        findings.extend(of_file(&name, &text));
        let is_crate = name.ends_with("src/lib.rs") || name.ends_with("src/main.rs");
        if is_crate && !text.starts_with("//!") {
            findings.push(format!("{name}: a crate opens with what it is for"));
        }
    }
    findings
}

fn of_file(name: &str, text: &str) -> Findings {
    let mut findings = Findings::new();
    for (number, line) in text.lines().enumerate() {
        for (halves, reason) in FORBIDDEN {
            let word = halves.concat();
            if line.contains(&word) {
                findings.push(format!("{name}:{}: {word}: {reason}", number + 1));
            }
        }
        if line.ends_with([' ', '\t']) {
            findings.push(format!("{name}:{}: white space at the end", number + 1));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_overs_are_found() {
        let line = format!("    {}", ["todo", "!()"].concat());
        assert_eq!(of_file("a.rs", &line).len(), 1);
        assert_eq!(of_file("a.rs", "fine \n").len(), 1);
        assert_eq!(of_file("a.rs", "fine\n").len(), 0);
    }
}

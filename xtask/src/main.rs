//! The checks of the house.
//!
//! `cargo xtask check` runs them all and ends with a line that counts them; `cargo xtask check NAME`
//! runs one. `cargo xtask test` runs the checks and all tests. `cargo xtask soak` tries random worlds
//! until it is stopped, or for some minutes with `--minutes N`. `cargo xtask crds` writes the custom
//! resource definitions. A check prints what it found, with file and line, and what to do about it.

mod crds;
mod directions;
mod lengths;
mod soak;
mod suite;
mod tidy;
mod tool;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a check found wrong; empty if nothing.
type Findings = Vec<String>;

/// A check: its name, what it is for, and how it is done.
struct Check {
    name: &'static str,
    about: &'static str,
    run: fn(&Path) -> Findings,
}

const CHECKS: [Check; 7] = [
    Check {
        name: "format",
        about: "cargo fmt",
        run: tool::format,
    },
    Check {
        name: "directions",
        about: "who may depend on whom",
        run: directions::check,
    },
    Check {
        name: "lengths",
        about: "files and functions",
        run: lengths::check,
    },
    Check {
        name: "tidy",
        about: "words and left-overs",
        run: tidy::check,
    },
    Check {
        name: "crds",
        about: "deploy/crds is as the schemas say",
        run: crds::check,
    },
    Check {
        name: "licences",
        about: "cargo deny",
        run: tool::licences,
    },
    Check {
        name: "clippy",
        about: "cargo clippy",
        run: tool::clippy,
    },
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let ["soak", rest @ ..] = &words[..]
        && let Some(minutes) = soak::minutes(rest)
    {
        return soak::run(&root(), minutes);
    }
    let chosen: Vec<&Check> = match words[..] {
        ["check" | "test"] => CHECKS.iter().collect(),
        ["check", name] => CHECKS.iter().filter(|check| check.name == name).collect(),
        _ => Vec::new(),
    };
    if words == ["crds"] {
        return match crds::write(&root()) {
            Ok(count) => {
                println!("{count} definitions in deploy/crds");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("deploy/crds: {error}");
                ExitCode::from(3)
            }
        };
    }
    if chosen.is_empty() {
        eprintln!(
            "usage: cargo xtask check [NAME]\n       cargo xtask test\n       cargo xtask soak [--minutes N]\n       cargo xtask crds\n"
        );
        for check in &CHECKS {
            eprintln!("  {:<12} {}", check.name, check.about);
        }
        return ExitCode::from(2);
    }
    let root = root();
    let (mut passed, mut failed) = (0, 0);
    for check in chosen {
        let findings = (check.run)(&root);
        let verdict = if findings.is_empty() { "ok" } else { "FAILED" };
        println!("check {} ... {verdict}", check.name);
        for finding in &findings {
            println!("  {finding}");
        }
        if findings.is_empty() {
            passed += 1
        } else {
            failed += 1
        }
    }
    if words == ["test"] {
        return suite::run(&root, (passed, failed));
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The root of the workspace: the folder above this crate's.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .map_or_else(|| here.to_owned(), Path::to_owned)
}

/// The files of the project below `folder` that end in `.rs`, sorted, without build output.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

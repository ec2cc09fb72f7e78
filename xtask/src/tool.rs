//! Checks that other programs do.

use std::path::Path;
use std::process::Command;

use crate::Findings;

pub fn format(root: &Path) -> Findings {
    run(root, &["fmt", "--all", "--check"], "run `cargo fmt --all`")
}

/// The lint table is `[workspace.lints]` of Cargo.toml; each entry has its reason there.
pub fn clippy(root: &Path) -> Findings {
    let words = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ];
    run(root, &words, "mend what clippy names")
}

/// `deny.toml` lists the licences that go together with Apache-2.0.
pub fn licences(root: &Path) -> Findings {
    let words = ["deny", "--offline", "check", "licenses", "bans", "sources"];
    run(
        root,
        &words,
        "see deny.toml; `make tools` installs cargo-deny",
    )
}

fn run(root: &Path, words: &[&str], remedy: &str) -> Findings {
    match Command::new(env!("CARGO"))
        .args(words)
        .current_dir(root)
        .output()
    {
        Ok(output) if output.status.success() => Findings::new(),
        Ok(output) => {
            let both = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&both);
            let mut findings: Findings = text.lines().take(200).map(str::to_owned).collect();
            findings.push(format!("cargo {}: {remedy}", words.join(" ")));
            findings
        }
        Err(error) => vec![format!("cargo {}: {error}", words.join(" "))],
    }
}

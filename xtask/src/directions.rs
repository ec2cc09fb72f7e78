//! Who may depend on whom: the rules of direction in ARCHITECTURE.md.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::Findings;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<String>,
}

/// Layer and folder of a crate: `crates/LAYER/FOLDER`.
type Place<'a> = (&'a str, &'a str);

/// Crates of others that bring I/O, clocks, threads or chance into the pure layers.
const IMPURE: [&str; 16] = [
    "tokio",
    "kube",
    "netlink-sys",
    "netlink-packet-core",
    "netlink-packet-route",
    "aya",
    "libc",
    "rustix",
    "nix",
    "axum",
    "hyper",
    "reqwest",
    "redb",
    "rand",
    "getrandom",
    "socket2",
];

pub fn check(root: &Path) -> Findings {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root)
        .output();
    let metadata: Metadata = match output {
        Ok(output) => match serde_json::from_slice(&output.stdout) {
            Ok(metadata) => metadata,
            Err(error) => return vec![format!("cargo metadata: {error}")],
        },
        Err(error) => return vec![format!("cargo metadata: {error}")],
    };
    findings(&metadata, root)
}

fn findings(metadata: &Metadata, root: &Path) -> Findings {
    let mut findings = Findings::new();
    for package in &metadata.packages {
        let Some(from) = place(&package.manifest_path, root) else {
            continue;
        };
        let expected = format!("ocicat-{}", from.1);
        if package.name != expected {
            findings.push(format!(
                "{}: the package's name shall be {expected}",
                package.manifest_path
            ));
        }
        // Tests may look at anything.
        let used = package
            .dependencies
            .iter()
            .filter(|d| d.kind.as_deref() != Some("dev"));
        for dependency in used {
            if let Some(reason) = fault(from, dependency, root) {
                findings.push(format!(
                    "{} depends on {}: {reason}",
                    package.name, dependency.name
                ));
            }
        }
    }
    let names: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    for name in ["ocicat-common", "ocicat-utils", "ocicat-util"] {
        if names.contains(name) {
            findings.push(format!(
                "{name}: say what it is for; there is no common crate"
            ));
        }
    }
    findings
}

fn fault(from: Place<'_>, dependency: &Dependency, root: &Path) -> Option<&'static str> {
    let Some(path) = &dependency.path else {
        let pure = matches!(from.0, "model" | "engine") || from.1 == "oracle";
        let impure = pure && IMPURE.contains(&dependency.name.as_str());
        return impure.then_some("pure layers know no I/O, clock, threads or chance");
    };
    let manifest = format!("{path}/Cargo.toml");
    let to = place(&manifest, root)?;
    match (from, to) {
        (_, ("model", _)) | (("engine", _), ("engine", _)) | (("app", _), _) => {
            let direct = (from.1 == "compile" && to.1 == "policy")
                || (from.1 == "policy" && matches!(to.1, "compile" | "program"));
            if direct {
                return Some("policy and compilers meet in node");
            }
            if from.0 == "model" && to.0 != "model" {
                return Some("model depends on model only");
            }
            if from.1 == "oracle" && !matches!(to.1, "api" | "selector") {
                return Some("the oracle shares only api and selector with policy");
            }
            None
        }
        (("model", _), _) => Some("model depends on model only"),
        (("engine", _), _) => Some("engine depends on model and engine only"),
        (("edge", _), ("edge", _) | ("engine", "program")) => None,
        (("edge", _), _) => Some("edge depends on model, edge and engine/program only"),
        (("check", "oracle"), _) => Some("the oracle shares only api and selector with policy"),
        (("check", _), ("engine" | "check", _)) => None,
        (("check", _), _) => Some("check depends on the pure layers"),
        _ => None,
    }
}

fn place<'a>(manifest: &'a str, root: &Path) -> Option<Place<'a>> {
    let inside = Path::new(manifest).strip_prefix(root).ok()?.to_str()?;
    let mut parts = inside.strip_prefix("crates/")?.split('/');
    Some((parts.next()?, parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dependency(name: &str, path: Option<&str>) -> Dependency {
        Dependency {
            name: name.into(),
            kind: None,
            path: path.map(Into::into),
        }
    }

    #[test]
    fn wrong_directions_are_found() {
        let root = Path::new("/r");
        let bad = |from, name, path| fault(from, &dependency(name, path), root).is_some();
        assert!(bad(
            ("model", "node"),
            "ocicat-policy",
            Some("/r/crates/engine/policy")
        ));
        assert!(bad(("engine", "policy"), "tokio", None));
        assert!(bad(
            ("engine", "policy"),
            "ocicat-compile",
            Some("/r/crates/engine/compile")
        ));
        assert!(bad(
            ("engine", "compile"),
            "ocicat-policy",
            Some("/r/crates/engine/policy")
        ));
        assert!(bad(
            ("edge", "nft"),
            "ocicat-compile",
            Some("/r/crates/engine/compile")
        ));
        assert!(bad(
            ("check", "oracle"),
            "ocicat-node",
            Some("/r/crates/model/node")
        ));
        assert!(bad(
            ("edge", "nft"),
            "ocicat-agent",
            Some("/r/crates/app/agent")
        ));
    }

    #[test]
    fn right_directions_are_not() {
        let root = Path::new("/r");
        let good = |from, name, path| fault(from, &dependency(name, path), root).is_none();
        assert!(good(
            ("edge", "nft"),
            "ocicat-program",
            Some("/r/crates/engine/program")
        ));
        assert!(good(
            ("app", "agent"),
            "ocicat-nft",
            Some("/r/crates/edge/nft")
        ));
        assert!(good(
            ("check", "oracle"),
            "ocicat-api",
            Some("/r/crates/model/api")
        ));
        assert!(good(("edge", "store"), "tokio", None));
    }
}

//! All scenario files of this crate.

use std::path::{Path, PathBuf};

use crate::Scenario;

/// A file of the folder `scenarios`.
#[derive(Debug, Clone, PartialEq)]
pub struct ScenarioFile {
    pub path: PathBuf,
    /// Within the folder, with `/`: `kubernetes-e2e/default-deny-ingress.txt`.
    pub name: String,
    pub text: String,
}

/// All files, by name; only that of the environment variable `OCICAT_SCENARIO` if there is one.
///
/// # Panics
///
/// If the folder or a file cannot be read.
#[must_use]
pub fn scenario_files() -> Vec<ScenarioFile> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut paths = Vec::new();
    match std::env::var_os("OCICAT_SCENARIO") {
        Some(path) => paths.push(path.into()),
        None => collect(&folder, &mut paths),
    }
    paths.sort();
    let file = |path: PathBuf| {
        let text = std::fs::read_to_string(&path);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.strip_prefix(&folder).unwrap_or(&path);
        ScenarioFile {
            name: name.display().to_string(),
            text,
            path,
        }
    };
    paths.into_iter().map(file).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("an entry of a folder").path();
        if path.is_dir() {
            collect(&path, paths);
        } else {
            paths.push(path);
        }
    }
}

impl ScenarioFile {
    /// What it says.
    ///
    /// # Errors
    ///
    /// What is wrong with it, with name and line.
    pub fn scenario(&self) -> Result<Scenario, String> {
        Scenario::parse(&self.text).map_err(|error| format!("{}: {error}", self.name))
    }
}

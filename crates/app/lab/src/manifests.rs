//! Reads files of manifests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ocicat_api::world::World;
use ocicat_api::{ObjectKey, Severity, decode, document};
use serde_json::Value;

use crate::Failure;

/// Endings of files that hold manifests.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// What files say.
#[derive(Debug)]
pub struct Manifests {
    pub world: World,
    /// Each object of the world that was written in a file, as it was written.
    pub values: BTreeMap<ObjectKey, Value>,
    /// What is worth saying of them.
    pub notes: Vec<String>,
}

/// Reads all manifests of these files and folders, a folder's own files in the order of their names.
///
/// # Errors
/// With exit code 2 if there is nothing to read or any error in it; each error has been printed with
/// its file, line and column.
pub fn load(paths: &[PathBuf]) -> anyhow::Result<Manifests> {
    let mut sources = Vec::new();
    for path in paths {
        read(path, &mut sources).map_err(|error| Failure::input(format!("{error:#}")))?;
    }
    if sources.is_empty() {
        return Err(Failure::input("no .yaml, .yml or .json file there"));
    }
    let loaded = World::load(sources.iter().map(|(name, text)| (name, text)));
    let (errors, warnings): (Vec<_>, Vec<_>) = loaded
        .problems
        .iter()
        .partition(|problem| problem.severity == Severity::Error);
    if !errors.is_empty() {
        for error in &errors {
            eprintln!("{error}");
        }
        let count = errors.len();
        let noun = if count == 1 { "error" } else { "errors" };
        return Err(Failure::input(format!(
            "{count} {noun} in the manifests; nothing was built"
        )));
    }
    let mut notes: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    if !loaded.skipped.is_empty() {
        let kinds: Vec<String> = loaded
            .skipped
            .iter()
            .map(|(kind, count)| format!("{count} × {kind}"))
            .collect();
        notes.push(format!("skipped, of no use here: {}", kinds.join(", ")));
    }
    Ok(Manifests {
        values: values(&sources),
        world: loaded.world,
        notes,
    })
}

fn read(path: &Path, sources: &mut Vec<(String, String)>) -> anyhow::Result<()> {
    let name = path.display().to_string();
    if fs::metadata(path).with_context(|| name.clone())?.is_file() {
        let text = fs::read_to_string(path).with_context(|| name.clone())?;
        sources.push((name, text));
        return Ok(());
    }
    let mut entries: Vec<PathBuf> = fs::read_dir(path)
        .with_context(|| name.clone())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .context(name)?;
    entries.sort();
    for entry in entries {
        let ending = entry.extension().and_then(|ending| ending.to_str());
        if entry.is_file() && ending.is_some_and(|ending| ENDINGS.contains(&ending)) {
            read(&entry, sources)?;
        }
    }
    Ok(())
}

/// The objects as they were written; of two with one key the later, as in the world.
fn values(sources: &[(String, String)]) -> BTreeMap<ObjectKey, Value> {
    let documents = sources
        .iter()
        .flat_map(|(_, text)| document::parse(text).unwrap_or_default());
    documents
        .filter_map(|document| {
            let key = decode::decode(&document.value).object?.key();
            Some((key, document.value))
        })
        .collect()
}

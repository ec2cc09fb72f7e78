//! Reads files of manifests.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ocicat_api::world::World;
use ocicat_api::{ObjectKey, decode, document};
use ocicat_input::{Source, problems};
use serde_json::Value;

use crate::Failure;

mod claim;

/// What files say.
#[derive(Debug)]
pub struct Manifests {
    pub world: World,
    /// Each object of the world that was written in a file, as it was written.
    pub values: BTreeMap<ObjectKey, Value>,
    /// What is worth saying of them.
    pub notes: Vec<String>,
}

/// Reads all manifests of these files and folders; `-` is stdin.
///
/// # Errors
/// With exit code 2 if there is nothing to read or any error in it; each error has been printed with
/// its file, line and column.
pub fn load(paths: &[PathBuf]) -> anyhow::Result<Manifests> {
    let sources = ocicat_input::read(paths).map_err(|error| Failure::input(error.to_string()))?;
    let texts = sources.iter().map(|source| (&source.name, &source.text));
    let loaded = World::load(texts);
    let values = values(&sources);
    let mut found = loaded.problems;
    found.extend(claim::collisions(&loaded.world, &values));
    refuse(problems::print(&sources, &found))?;
    let mut notes = Vec::new();
    if !loaded.skipped.is_empty() {
        let kinds: Vec<String> = loaded
            .skipped
            .iter()
            .map(|(kind, count)| format!("{count} × {kind}"))
            .collect();
        notes.push(format!("skipped, of no use here: {}", kinds.join(", ")));
    }
    Ok(Manifests {
        values,
        world: loaded.world,
        notes,
    })
}

/// Nothing is built where there are errors, which have been printed.
fn refuse(errors: usize) -> anyhow::Result<()> {
    if errors == 0 {
        return Ok(());
    }
    let noun = if errors == 1 { "error" } else { "errors" };
    Err(Failure::input(format!(
        "{errors} {noun} in the manifests; nothing was built"
    )))
}

/// The objects as they were written; of two with one key the later, as in the world.
fn values(sources: &[Source]) -> BTreeMap<ObjectKey, Value> {
    let documents = sources
        .iter()
        .flat_map(|source| document::parse(&source.text).unwrap_or_default());
    documents
        .filter_map(|document| {
            let key = decode::decode(&document.value).object?.key();
            Some((key, document.value))
        })
        .collect()
}

//! `deploy/crds`: custom resource definitions, written from the schemas of `model/api`.

use std::collections::BTreeMap;
use std::path::Path;

use ocicat_api::schema;

use crate::Findings;

const FOLDER: &str = "deploy/crds";

const HEADING: &str = "# Written by `cargo xtask crds` from crates/model/api/src/schema.\n";

/// Writes the files, and removes those of kinds that are gone.
pub fn write(root: &Path) -> std::io::Result<usize> {
    let folder = root.join(FOLDER);
    std::fs::create_dir_all(&folder)?;
    let files = files();
    for name in present(&folder) {
        if !files.contains_key(&name) {
            std::fs::remove_file(folder.join(name))?;
        }
    }
    for (name, text) in &files {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(files.len())
}

/// The files that are not as they would be written.
pub fn check(root: &Path) -> Findings {
    let folder = root.join(FOLDER);
    let files = files();
    let extra = present(&folder)
        .into_iter()
        .filter(|name| !files.contains_key(name))
        .map(|name| format!("{FOLDER}/{name}: of no kind; run cargo xtask crds"));
    let stale = files.iter().filter_map(|(name, text)| {
        let same = std::fs::read_to_string(folder.join(name)).is_ok_and(|found| found == *text);
        (!same).then(|| format!("{FOLDER}/{name}: not as the schemas say; run cargo xtask crds"))
    });
    extra.chain(stale).collect()
}

/// Text by file name.
fn files() -> BTreeMap<String, String> {
    let all = schema::definitions().into_iter().map(|definition| {
        let text =
            serde_saphyr::to_string(&definition.value).unwrap_or_else(|error| format!("# {error}"));
        (
            format!("{}.yaml", definition.name),
            format!("{HEADING}{text}"),
        )
    });
    all.collect()
}

fn present(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_missing_and_extra_files_are_found() {
        let root = std::env::temp_dir().join(format!("ocicat-crds-{}", std::process::id()));
        assert_eq!(check(&root).len(), files().len());
        let written = write(&root).unwrap();
        assert_eq!((check(&root), written), (Findings::new(), files().len()));
        let folder = root.join(FOLDER);
        std::fs::write(folder.join("tiers.projectcalico.org.yaml"), "x").unwrap();
        std::fs::write(folder.join("other.yaml"), "x").unwrap();
        assert_eq!(check(&root).len(), 2);
        write(&root).unwrap();
        assert!(check(&root).is_empty());
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn files_read_back_as_the_schemas() {
        for definition in schema::definitions() {
            let text = &files()[&format!("{}.yaml", definition.name)];
            let read = ocicat_api::document::parse(text).unwrap();
            assert_eq!(read[0].value, definition.value, "{}", definition.name);
        }
    }
}

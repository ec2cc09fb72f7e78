//! Manifests from files, folders and stdin.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// One file.
#[derive(Debug, Clone)]
pub struct Source {
    /// As the user named it; `<stdin>` for `-`.
    pub name: String,
    pub text: String,
}

/// Reads all files that the paths name, folders' in the order of their names. Folders are not
/// searched for folders, as with kubectl.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            sources.push(stdin()?);
        } else if path.is_dir() {
            let files = files_of(path)?;
            if files.is_empty() {
                return Err(Failure::Input(format!(
                    "{}: no manifests in this folder; expected files *.yaml, *.yml or *.json",
                    path.display()
                )));
            }
            for file in files {
                sources.push(file_text(&file)?);
            }
        } else {
            sources.push(file_text(path)?);
        }
    }
    Ok(sources)
}

fn stdin() -> Result<Source, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    read.map_err(|error| Failure::Input(format!("<stdin>: {error}")))?;
    Ok(Source {
        name: "<stdin>".into(),
        text,
    })
}

fn file_text(path: &Path) -> Result<Source, Failure> {
    let fail =
        |error: &dyn std::fmt::Display| Failure::Input(format!("{}: {error}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| fail(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.split(|byte| *byte == b'\n').count();
        let column = valid
            .iter()
            .rev()
            .take_while(|byte| **byte != b'\n')
            .count()
            + 1;
        fail(&format!(
            "{line}:{column}: not UTF-8; expected YAML or JSON text"
        ))
    })?;
    Ok(Source {
        name: path.display().to_string(),
        text,
    })
}

fn files_of(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let fail = |error: std::io::Error| Failure::Input(format!("{}: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let manifest = path
            .extension()
            .is_some_and(|x| x == "yaml" || x == "yml" || x == "json");
        if manifest && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

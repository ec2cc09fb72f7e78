//! Manifests from files, folders and stdin.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Endings of files that hold manifests.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// One file.
#[derive(Debug, Clone)]
pub struct Source {
    /// As the user named it; `<stdin>` for `-`.
    pub name: String,
    pub text: String,
}

/// Something named by a person cannot be read: where, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable(String);

/// Reads all files that the paths name: of a folder those that end in `.yaml`, `.yml` or `.json`, and
/// those of its folders at any depth, in the order of their names. Hidden folders are left out, and a
/// folder that is met again through a link is read once.
///
/// # Errors
/// The first file or folder that cannot be read, or is no text; or a folder without manifests.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Source>, Unreadable> {
    let mut sources = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            sources.push(stdin()?);
        } else if path.is_dir() {
            let mut files = Vec::new();
            collect(path, &mut BTreeSet::new(), &mut files)?;
            if files.is_empty() {
                let message = "no manifests in this folder; expected files *.yaml, *.yml or *.json";
                return Err(Unreadable::at(path, &message));
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

impl Unreadable {
    fn at(path: &Path, error: &dyn fmt::Display) -> Self {
        Self(format!("{}: {error}", path.display()))
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

fn stdin() -> Result<Source, Unreadable> {
    let path = Path::new("<stdin>");
    let mut bytes = Vec::new();
    let read = std::io::stdin().read_to_end(&mut bytes);
    read.map_err(|error| Unreadable::at(path, &error))?;
    source(path, bytes)
}

fn file_text(path: &Path) -> Result<Source, Unreadable> {
    let bytes = std::fs::read(path).map_err(|error| Unreadable::at(path, &error))?;
    source(path, bytes)
}

fn source(path: &Path, bytes: Vec<u8>) -> Result<Source, Unreadable> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        // What comes before is text, and columns count its characters.
        let valid = String::from_utf8_lossy(valid);
        let line = valid.split('\n').count();
        let column = valid.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let message = format!("{line}:{column}: not UTF-8; expected YAML or JSON text");
        Unreadable(format!("{}:{message}", path.display()))
    })?;
    let name = path.display().to_string();
    Ok(Source { name, text })
}

fn collect(
    folder: &Path,
    seen: &mut BTreeSet<PathBuf>,
    files: &mut Vec<PathBuf>,
) -> Result<(), Unreadable> {
    let fail = |error: std::io::Error| Unreadable::at(folder, &error);
    if !seen.insert(folder.canonicalize().map_err(fail)?) {
        return Ok(());
    }
    let entries = std::fs::read_dir(folder).map_err(fail)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>().map_err(fail)?;
    paths.sort();
    for path in paths {
        let hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
        let ending = path.extension().and_then(|ending| ending.to_str());
        if path.is_dir() {
            if !path.file_name().is_some_and(hidden) {
                collect(&path, seen, files)?;
            }
        } else if path.is_file() && ending.is_some_and(|ending| ENDINGS.contains(&ending)) {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(root: &Path, name: &str, text: impl AsRef<[u8]>) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn names(root: &Path) -> Vec<String> {
        let sources = read(&[root.to_owned()]).unwrap();
        let name = |source: Source| {
            let path = PathBuf::from(source.name);
            let path = path.strip_prefix(root).unwrap();
            path.to_str().unwrap().to_owned()
        };
        sources.into_iter().map(name).collect()
    }

    #[test]
    fn folders_are_read_at_any_depth_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in [
            "b.yaml",
            "a/z.json",
            "a/deep/er/x.yml",
            "c/x.yaml",
            "a/notes.txt",
            ".git/config.yaml",
            "c/.hidden/x.yaml",
        ] {
            write(root, name, "");
        }
        let expected = ["a/deep/er/x.yml", "a/z.json", "b.yaml", "c/x.yaml"];
        assert_eq!(names(root), expected);
    }

    #[test]
    fn links_are_followed_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, "a/x.yaml", "");
        symlink("..", root.join("a/loop")).unwrap();
        symlink("a", root.join("b")).unwrap();
        symlink("a/x.yaml", root.join("c.yaml")).unwrap();
        symlink("nowhere", root.join("d.yaml")).unwrap();
        assert_eq!(names(root), ["a/x.yaml", "c.yaml"]);
    }

    #[test]
    fn what_is_no_text_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "deep/x.yaml", b"a: 1\n\xc3\xa4: \xff\n");
        let error = read(&[folder.path().to_owned()]).unwrap_err().to_string();
        let end = "deep/x.yaml:2:4: not UTF-8; expected YAML or JSON text";
        assert!(error.ends_with(end), "{error}");
    }

    #[test]
    fn folders_without_manifests_are_mistakes() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(&[folder.path().to_owned()]).unwrap_err().to_string();
        assert!(error.contains("no manifests in this folder"), "{error}");
    }
}

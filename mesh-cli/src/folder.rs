//! The files of a folder, as the library's directory source reads them: `*.yaml`, `*.yml`, `*.json`, recursively, symbolic
//! links followed; hidden files and what editors leave behind are passed over. Sorted by path, which is the age order
//! of objects without a timestamp.
//!
//! A file that cannot be read is data (the caller reports it); only the folder itself can fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file beyond this is no configuration.
const MAX_BYTES: u64 = 64 << 20;
/// Directories nest no deeper.
const MAX_DEPTH: usize = 16;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    /// Texts by path.
    pub(crate) files: BTreeMap<String, String>,
    /// Files and folders below that cannot be read, and why.
    pub(crate) unreadable: BTreeMap<String, String>,
}

/// Reads a folder, or a single file of any name.
///
/// # Errors
/// It cannot be read at all, or there is no configuration in it.
pub(crate) fn read(path: &Path) -> Result<Folder, String> {
    let mut walk = Walk { folder: Folder::default(), seen: BTreeSet::new() };
    let metadata = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if metadata.is_dir() {
        walk.directory(path, 0).map_err(|error| format!("{}: {error}", path.display()))?;
    } else {
        walk.file(path, &metadata);
    }
    let Folder { files, unreadable } = &walk.folder;
    if files.is_empty() && unreadable.is_empty() {
        // A folder without any is more often a wrong path than an empty mesh.
        return Err(format!("{}: there is no *.yaml, *.yml or *.json in it", path.display()));
    }
    Ok(walk.folder)
}

struct Walk {
    folder: Folder,
    /// Directories entered, by their real path: a link may lead back.
    seen: BTreeSet<PathBuf>,
}

impl Walk {
    fn directory(&mut self, path: &Path, depth: usize) -> io::Result<()> {
        if !self.seen.insert(fs::canonicalize(path)?) {
            return Ok(());
        }
        if depth > MAX_DEPTH {
            return Err(io::Error::other(format!("more than {MAX_DEPTH} directories deep")));
        }
        let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with(['.', '#']) || name.ends_with('~') {
                continue;
            }
            let path = entry.path();
            // A link that leads nowhere is a file that is not there.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if metadata.is_dir() {
                if let Err(error) = self.directory(&path, depth + 1) {
                    self.lose(&path, format!("the directory cannot be read: {error}"));
                }
            } else if metadata.is_file() && is_configuration(&path) {
                self.file(&path, &metadata);
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, metadata: &fs::Metadata) {
        if metadata.len() > MAX_BYTES {
            self.lose(path, format!("{} bytes are more than the {MAX_BYTES} that are read", metadata.len()));
            return;
        }
        match fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => {
                self.folder.files.insert(path.display().to_string(), text);
            }
            Ok(Err(error)) => self.lose(path, format!("the file is not UTF-8: {}", error.utf8_error())),
            Err(error) => self.lose(path, format!("the file cannot be read: {error}")),
        }
    }

    fn lose(&mut self, path: &Path, why: String) {
        self.folder.unreadable.insert(path.display().to_string(), why);
    }
}

fn is_configuration(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_is_found_recursively_and_leftovers_are_passed_over() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("deep/er")).unwrap();
        for name in ["b.yaml", "a.yml", "c.json", "deep/er/d.YAML", ".hidden.yaml", "b.yaml~", "#b.yaml#", "notes.txt"]
        {
            fs::write(root.path().join(name), "").unwrap();
        }
        fs::write(root.path().join("e.yaml"), [0xff]).unwrap();
        let folder = read(root.path()).unwrap();
        let names = |paths: Vec<&String>| -> Vec<String> {
            let relative = |path: &&String| Path::new(path).strip_prefix(root.path()).unwrap().display().to_string();
            paths.iter().map(relative).collect()
        };
        assert_eq!(names(folder.files.keys().collect()), ["a.yml", "b.yaml", "c.json", "deep/er/d.YAML"]);
        assert_eq!(names(folder.unreadable.keys().collect()), ["e.yaml"]);
    }

    #[test]
    fn a_folder_without_configuration_is_an_error_and_a_single_file_needs_no_extension() {
        let root = tempfile::tempdir().unwrap();
        assert!(read(root.path()).unwrap_err().contains("no *.yaml"));
        assert!(read(&root.path().join("missing")).is_err());
        let file = root.path().join("objects");
        fs::write(&file, "x").unwrap();
        assert_eq!(read(&file).unwrap().files.len(), 1);
    }
}

//! One look at a directory: `*.yaml`, `*.yml` and `*.json`, recursively, symbolic links followed.
//!
//! Hidden entries (a ConfigMap's `..data` among them) and what editors leave behind are passed over. Blocking:
//! runs on a thread of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::super::Content;

/// A file beyond this is no configuration.
const MAX_BYTES: u64 = 64 << 20;
/// Directories nest no deeper.
const MAX_DEPTH: usize = 16;
/// A file written this recently may change again without its stamp showing it.
const RECENT: Duration = Duration::from_secs(2);

/// What a file's stamp was, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps(BTreeMap<PathBuf, Stamp>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
    identity: u64,
    /// The stamp was taken so shortly after the file was written that it proves nothing.
    recent: bool,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Listing {
    /// Contents by path.
    pub(super) files: BTreeMap<String, Content>,
    /// Directories below that cannot be listed, and why.
    pub(super) unreadable: Vec<(String, String)>,
    pub(super) stamps: Stamps,
}

/// Reads everything; with `before`, only if some stamp differs.
pub(super) fn read(root: &Path, before: Option<&Stamps>) -> io::Result<Option<Listing>> {
    let mut walk =
        Walk { stamps: BTreeMap::new(), unreadable: Vec::new(), seen: BTreeSet::new(), now: SystemTime::now() };
    walk.directory(root, 0)?;
    let stamps = Stamps(walk.stamps);
    if walk.unreadable.is_empty()
        && before.is_some_and(|before| *before == stamps && stamps.0.values().all(|stamp| !stamp.recent))
    {
        return Ok(None);
    }
    let files =
        stamps.0.iter().filter_map(|(path, stamp)| Some((path.display().to_string(), content(path, stamp)?))).collect();
    Ok(Some(Listing { files, unreadable: walk.unreadable, stamps }))
}

/// A file's text; `None` if it vanished meanwhile.
fn content(path: &Path, stamp: &Stamp) -> Option<Content> {
    if stamp.bytes > MAX_BYTES {
        return Some(Content::Unreadable(format!("{} bytes are more than the {MAX_BYTES} that are read", stamp.bytes)));
    }
    match fs::read(path) {
        Ok(bytes) => Some(match String::from_utf8(bytes) {
            Ok(text) => Content::Text(text),
            Err(error) => Content::Unreadable(format!("the file is not UTF-8: {}", error.utf8_error())),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Content::Unreadable(format!("the file cannot be read: {error}"))),
    }
}

struct Walk {
    stamps: BTreeMap<PathBuf, Stamp>,
    unreadable: Vec<(String, String)>,
    /// Directories entered, by their real path: a link may lead back.
    seen: BTreeSet<PathBuf>,
    now: SystemTime,
}

impl Walk {
    fn directory(&mut self, path: &Path, depth: usize) -> io::Result<()> {
        if !self.seen.insert(fs::canonicalize(path)?) {
            return Ok(());
        }
        if depth > MAX_DEPTH {
            return Err(io::Error::other(format!("more than {MAX_DEPTH} directories deep")));
        }
        for entry in fs::read_dir(path)? {
            let entry = entry?;
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
                    self.unreadable
                        .push((path.display().to_string(), format!("the directory cannot be read: {error}")));
                }
            } else if metadata.is_file() && is_configuration(&path) {
                let stamp = self.stamp(&metadata);
                self.stamps.insert(path, stamp);
            }
        }
        Ok(())
    }

    fn stamp(&self, metadata: &fs::Metadata) -> Stamp {
        let modified = metadata.modified().ok();
        let age = modified.map(|modified| self.now.duration_since(modified).unwrap_or_default());
        Stamp {
            bytes: metadata.len(),
            modified,
            identity: identity(metadata),
            recent: age.is_none_or(|age| age < RECENT),
        }
    }
}

#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> u64 {
    0
}

fn is_configuration(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(listing: &Listing, root: &Path) -> Vec<String> {
        let root = format!("{}/", root.display());
        listing.files.keys().map(|name| name.strip_prefix(&root).unwrap_or(name).to_owned()).collect()
    }

    #[test]
    fn configuration_is_found_recursively_and_leftovers_are_passed_over() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("deep/er")).unwrap();
        for name in [
            "b.yaml",
            "a.yml",
            "c.json",
            "deep/er/d.YAML",
            ".hidden.yaml",
            "b.yaml~",
            "#b.yaml#",
            ".b.yaml.swp",
            "notes.txt",
        ] {
            fs::write(root.path().join(name), "x").unwrap();
        }
        let listing = read(root.path(), None).unwrap().unwrap();
        assert_eq!(names(&listing, root.path()), ["a.yml", "b.yaml", "c.json", "deep/er/d.YAML"]);
        assert_eq!(listing.unreadable, []);
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error_and_a_file_that_is_not_text_is_not() {
        let root = tempfile::tempdir().unwrap();
        assert!(read(&root.path().join("missing"), None).is_err());
        fs::write(root.path().join("a.yaml"), [0xff, 0xfe]).unwrap();
        let listing = read(root.path(), None).unwrap().unwrap();
        assert!(matches!(listing.files.values().next(), Some(Content::Unreadable(why)) if why.contains("UTF-8")));
    }

    #[cfg(unix)]
    #[test]
    fn a_swapped_data_link_is_seen_and_a_link_that_leads_back_ends() {
        use std::os::unix::fs::symlink;
        let root = tempfile::tempdir().unwrap();
        for version in ["..1", "..2"] {
            fs::create_dir(root.path().join(version)).unwrap();
            fs::write(root.path().join(version).join("a.yaml"), version).unwrap();
        }
        symlink("..1", root.path().join("..data")).unwrap();
        symlink("..data/a.yaml", root.path().join("a.yaml")).unwrap();
        symlink(".", root.path().join("loop")).unwrap();
        let first = read(root.path(), None).unwrap().unwrap();
        symlink("..2", root.path().join("..tmp")).unwrap();
        fs::rename(root.path().join("..tmp"), root.path().join("..data")).unwrap();
        let second = read(root.path(), Some(&first.stamps)).unwrap().unwrap();
        let text = |listing: &Listing| match listing.files.values().next() {
            Some(Content::Text(text)) => text.clone(),
            other => format!("{other:?}"),
        };
        assert_eq!((text(&first), text(&second)), ("..1".to_owned(), "..2".to_owned()));
        assert_eq!(names(&second, root.path()), ["a.yaml"]);
    }

    #[test]
    fn unchanged_stamps_of_settled_files_spare_the_reading() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.yaml");
        fs::write(&path, "x").unwrap();
        let old = SystemTime::now() - Duration::from_secs(60);
        fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        let first = read(root.path(), None).unwrap().unwrap();
        assert!(read(root.path(), Some(&first.stamps)).unwrap().is_none());
        fs::write(&path, "y").unwrap();
        assert!(read(root.path(), Some(&first.stamps)).unwrap().is_some());
    }
}

//! What is known of each file: its objects, and the last good version of those that are broken now.
//!
//! Pure: contents and the time come in. A file that breaks costs nobody anything: objects refused in the new
//! text keep their last good version, all of them when the text is no YAML. A file that vanishes takes its
//! objects along.

use std::collections::{BTreeMap, BTreeSet};
use std::panic;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_istio::{Finding, LoadOptions, Loaded, Object, ObjectId, Severity, load_text};

use super::Reading;

/// What was found in one file.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Its text.
    Text(String),
    /// It is there and cannot be read, and why.
    Unreadable(String),
}

/// The files of one source, by the name that findings show.
#[derive(Debug)]
pub(crate) struct Files {
    options: LoadOptions,
    files: BTreeMap<Arc<str>, File>,
    /// Remarks about directories.
    remarks: Vec<Finding>,
}

#[derive(Debug, Default)]
struct File {
    /// The text in force; `None` while only unreadable.
    text: Option<String>,
    fresh: Vec<Arc<Object>>,
    kept: Vec<Arc<Object>>,
    findings: Vec<Finding>,
    /// Since when it has been empty although it had objects.
    emptied: Option<Instant>,
}

/// An empty file may be one that its writer has only begun: it must stay empty this long to count.
const EMPTY_FOR: Duration = Duration::from_secs(1);

impl Files {
    pub(crate) fn new(options: LoadOptions) -> Self {
        Self { options, files: BTreeMap::new(), remarks: Vec::new() }
    }

    /// Takes in what is there now; `unreadable` names directories (or files' parents) that could not be listed,
    /// whose files stay as they are. Tells whether anything changed.
    pub(crate) fn update(
        &mut self,
        seen: BTreeMap<String, Content>,
        unreadable: &[(String, String)],
        now: Instant,
    ) -> bool {
        let remarks: Vec<_> = unreadable.iter().map(|(path, why)| finding(path.as_str().into(), why.clone())).collect();
        let mut changed = remarks != self.remarks;
        self.remarks = remarks;
        let hidden = |name: &str| unreadable.iter().any(|(path, _)| below(name, path));
        let before = self.files.len();
        self.files.retain(|name, _| seen.contains_key(&**name) || hidden(name));
        changed |= self.files.len() != before;
        for (name, content) in seen {
            let name: Arc<str> = name.into();
            let file = self.files.entry(Arc::clone(&name)).or_default();
            changed |= match content {
                Content::Text(text) => file.read(&name, text, &self.options, now),
                Content::Unreadable(why) => file.lose(name, why),
            };
        }
        changed
    }

    /// Whether a file waits to be looked at again.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.files.values().any(|file| file.emptied.is_some())
    }

    /// Everything that is good, and what there is to say.
    pub(crate) fn reading(&self) -> Reading {
        let mut objects: Vec<_> = self.files.values().flat_map(|file| &file.fresh).cloned().collect();
        let fresh = objects.len();
        // An object that moved to another file is the one there, not the last good one here.
        let known: BTreeSet<ObjectId> = objects.iter().map(|object| object.id.clone()).collect();
        let kept = self.files.values().flat_map(|file| &file.kept).filter(|object| !known.contains(&object.id));
        objects.extend(kept.cloned());
        let findings = self.files.values().flat_map(|file| &file.findings).chain(&self.remarks).cloned().collect();
        Reading { objects, fresh, findings, resources: None }
    }
}

impl File {
    fn read(&mut self, name: &str, text: String, options: &LoadOptions, now: Instant) -> bool {
        if text.trim().is_empty() && self.objects().next().is_some() {
            let since = *self.emptied.get_or_insert(now);
            if now.duration_since(since) < EMPTY_FOR {
                return false;
            }
        }
        self.emptied = None;
        if self.text.as_ref() == Some(&text) {
            return false;
        }
        let previous: Vec<_> = self.objects().cloned().collect();
        // No text is known to make the reader panic. Should one exist, it costs this file's news and nothing else.
        let loaded = panic::catch_unwind(|| load_text(name, &text, options)).unwrap_or_else(|_| Loaded {
            findings: vec![finding(
                name.into(),
                "the file could not be read: this is a defect of the reader".to_owned(),
            )],
            unreadable: 1,
            ..Loaded::default()
        });
        let fresh = loaded.objects.len();
        let mut loaded = loaded.keep_last_good(&previous);
        self.kept = loaded.objects.split_off(fresh.min(loaded.objects.len()));
        self.fresh = loaded.objects;
        self.findings = loaded.findings;
        self.text = Some(text);
        true
    }

    /// The file cannot be read: everything it gave stays.
    fn lose(&mut self, name: Arc<str>, why: String) -> bool {
        let findings = vec![finding(name, why)];
        if self.text.is_none() && self.findings == findings {
            return false;
        }
        self.kept.append(&mut self.fresh);
        self.text = None;
        self.findings = findings;
        true
    }

    fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.fresh.iter().chain(&self.kept)
    }
}

/// Whether a file is within a directory, both as findings name them.
fn below(file: &str, directory: &str) -> bool {
    file.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '\\']))
}

fn finding(file: Arc<str>, reason: String) -> Finding {
    Finding {
        file,
        line: 0,
        severity: Severity::Refused,
        code: "FILE_UNREADABLE",
        object: None,
        field: String::new(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, port: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{name: http, port: {port}}}]}}\n"
        )
    }

    fn files(contents: &[(&str, String)]) -> BTreeMap<String, Content> {
        contents.iter().map(|(name, text)| ((*name).to_owned(), Content::Text(text.clone()))).collect()
    }

    fn names(reading: &Reading) -> Vec<String> {
        reading.objects.iter().map(|object| object.id.name.clone()).collect()
    }

    #[test]
    fn a_broken_text_keeps_what_the_file_gave_and_a_mended_one_takes_over() {
        let (now, mut known) = (Instant::now(), Files::new(LoadOptions::default()));
        let good = format!("{}---\n{}", service("a", "80"), service("b", "81"));
        assert!(known.update(files(&[("f.yaml", good.clone())]), &[], now));
        assert!(!known.update(files(&[("f.yaml", good)]), &[], now), "the same text is no change");
        assert!(known.update(files(&[("f.yaml", "kind: [".to_owned())]), &[], now));
        let reading = known.reading();
        assert_eq!((names(&reading), reading.fresh), (vec!["a".to_owned(), "b".to_owned()], 0));
        assert!(reading.findings.iter().any(|finding| finding.severity == Severity::Refused));
        assert!(known.update(files(&[("f.yaml", service("b", "82"))]), &[], now));
        let reading = known.reading();
        assert_eq!((names(&reading), reading.findings.len()), (vec!["b".to_owned()], 0));
    }

    #[test]
    fn one_refused_object_keeps_its_last_good_version_and_its_sibling_changes() {
        let (now, mut known) = (Instant::now(), Files::new(LoadOptions::default()));
        known.update(files(&[("f.yaml", format!("{}---\n{}", service("a", "80"), service("b", "81")))]), &[], now);
        known.update(files(&[("f.yaml", format!("{}---\n{}", service("a", "x"), service("c", "81")))]), &[], now);
        let reading = known.reading();
        assert_eq!((names(&reading), reading.fresh), (vec!["c".to_owned(), "a".to_owned()], 1));
    }

    #[test]
    fn a_file_that_vanished_takes_its_objects_along_but_not_if_its_directory_cannot_be_listed() {
        let (now, mut known) = (Instant::now(), Files::new(LoadOptions::default()));
        known.update(files(&[("d/sub/f.yaml", service("a", "80"))]), &[], now);
        assert!(known.update(files(&[]), &[("d/sub".to_owned(), "permission denied".to_owned())], now));
        assert_eq!(names(&known.reading()), ["a"]);
        assert!(known.update(files(&[]), &[("d/su".to_owned(), "x".to_owned())], now));
        assert!(known.reading().objects.is_empty());
    }

    #[test]
    fn an_unreadable_file_keeps_its_objects_and_says_why_once() {
        let (now, mut known) = (Instant::now(), Files::new(LoadOptions::default()));
        known.update(files(&[("f.yaml", service("a", "80"))]), &[], now);
        let lost = || BTreeMap::from([("f.yaml".to_owned(), Content::Unreadable("not UTF-8".to_owned()))]);
        assert!(known.update(lost(), &[], now));
        assert!(!known.update(lost(), &[], now));
        assert_eq!(names(&known.reading()), ["a"]);
        assert_eq!(known.reading().findings[0].to_string(), "f.yaml:0: not UTF-8");
    }

    #[test]
    fn a_file_must_stay_empty_for_a_while_before_its_objects_go() {
        let (now, mut known) = (Instant::now(), Files::new(LoadOptions::default()));
        known.update(files(&[("f.yaml", service("a", "80"))]), &[], now);
        assert!(!known.update(files(&[("f.yaml", String::new())]), &[], now));
        assert!(known.is_unsettled());
        assert_eq!(names(&known.reading()), ["a"]);
        assert!(known.update(files(&[("f.yaml", String::new())]), &[], now + EMPTY_FOR));
        assert!(known.reading().objects.is_empty() && !known.is_unsettled());
    }

    #[test]
    fn an_object_that_moved_to_another_file_is_the_one_there() {
        let (now, mut known) = (Instant::now(), Files::new(LoadOptions::default()));
        known.update(files(&[("a.yaml", service("x", "80"))]), &[], now);
        known.update(files(&[("a.yaml", "kind: [".to_owned()), ("b.yaml", service("x", "81"))]), &[], now);
        let reading = known.reading();
        assert_eq!((reading.objects.len(), reading.fresh), (1, 1));
        assert_eq!(&*reading.objects[0].file, "b.yaml");
    }
}

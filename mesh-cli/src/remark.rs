//! Everything there is to say of a folder as one kind of line: remarks about Istio objects and about the resources they
//! become. A refused resource or a field without effect is traced back to the object that asked for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_istio::{Finding, MeshConfig, Object, ObjectId, Severity, World};

use crate::folder::Folder;
use crate::judged::Judged;

/// One thing to say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Remark {
    pub(crate) finding: Finding,
    /// The Envoy resources it was found in, when it was found there.
    pub(crate) resources: Vec<String>,
}

/// A refused resource.
const RESOURCE_REFUSED: &str = "RESOURCE_REFUSED";
/// A field of a resource that has no effect.
const RESOURCE_FIELD_NOT_IN_FORCE: &str = "RESOURCE_FIELD_NOT_IN_FORCE";
/// A file that cannot be read.
const FILE_UNREADABLE: &str = "FILE_UNREADABLE";

/// All remarks, by file and line; those without a file last.
pub(crate) fn all(folder: &Folder, world: &World, mesh: &MeshConfig, judged: &[Judged]) -> Vec<Remark> {
    let unreadable = folder.unreadable.iter().map(|(path, why)| Finding {
        file: path.as_str().into(),
        line: 0,
        severity: Severity::Refused,
        code: FILE_UNREADABLE,
        object: None,
        field: String::new(),
        reason: why.clone(),
    });
    let across = mesh_istio::check(world, mesh);
    let mut findings: Vec<_> = unreadable.chain(world.findings().iter().cloned()).chain(across).collect();
    findings.sort();
    findings.dedup();
    let objects = findings.into_iter().map(|finding| Remark { finding, resources: Vec::new() });
    let mut remarks: Vec<_> = objects.chain(of_resources(world, judged)).collect();
    remarks.sort_by(|a, b| {
        let place =
            |remark: &Remark| (remark.finding.file.is_empty(), Arc::clone(&remark.finding.file), remark.finding.line);
        place(a).cmp(&place(b)).then_with(|| a.cmp(b))
    });
    remarks
}

/// What is said only once: how bad it is, whose it is, what it is.
type Thing = (Severity, Option<ObjectId>, String);

/// What was found in resources: one remark for each object and thing, however many resources it shows in.
fn of_resources(world: &World, judged: &[Judged]) -> Vec<Remark> {
    let paths: BTreeMap<String, &Arc<Object>> = world.objects().iter().map(|one| (one.config_path(), one)).collect();
    let mut remarks: BTreeMap<Thing, (Finding, Vec<String>)> = BTreeMap::new();
    let mut say = |severity, code, origin: Option<&str>, resource: String, field: &str, what: String| {
        let object = origin.and_then(|path| paths.get(path));
        let finding = || Finding {
            file: object.map_or_else(|| "".into(), |object| object.file.clone()),
            line: object.map_or(0, |object| object.line),
            severity,
            code,
            object: object.map(|object| object.id.clone()),
            field: field.to_owned(),
            reason: what.clone(),
        };
        let key = (severity, object.map(|object| object.id.clone()), what.clone());
        let (_, resources) = remarks.entry(key).or_insert_with(|| (finding(), Vec::new()));
        if !resources.contains(&resource) {
            resources.push(resource);
        }
    };
    for judged in judged {
        for invalid in &judged.refused {
            let field = invalid.field.as_str();
            let origin = judged.origins.find(&invalid.resource, field);
            let what = invalid.problem.to_string();
            say(Severity::Refused, RESOURCE_REFUSED, origin, invalid.resource.to_string(), field, what);
        }
        for unused in &judged.not_in_force {
            let origin = judged.origins.find(&unused.resource, &unused.field);
            let resource = unused.resource.to_string();
            let (field, what) = (unused.field.as_str(), unused.what.clone());
            say(Severity::NotInForce, RESOURCE_FIELD_NOT_IN_FORCE, origin, resource, field, what);
        }
    }
    remarks.into_values().map(|(finding, resources)| Remark { finding, resources }).collect()
}

impl Remark {
    /// `file:line`, as far as known.
    pub(crate) fn place(&self) -> String {
        match (&*self.finding.file, self.finding.line) {
            ("", _) => String::new(),
            (file, 0) => file.to_owned(),
            (file, line) => format!("{file}:{line}"),
        }
    }

    /// The object, else the resource.
    pub(crate) fn subject(&self) -> String {
        match (&self.finding.object, self.resources.first()) {
            (Some(object), _) => object.to_string(),
            (None, Some(resource)) => resource.clone(),
            (None, None) => String::new(),
        }
    }

    /// Field and reason, on one line.
    pub(crate) fn text(&self) -> String {
        let lines = self.finding.reason.lines().map(str::trim).filter(|line| !line.is_empty());
        let reason = lines.collect::<Vec<_>>().join("; ");
        let field = &self.finding.field;
        let Some(resource) = self.resources.first() else {
            return if field.is_empty() { reason } else { format!("{field}: {reason}") };
        };
        // The field is one of the resource, not of the object.
        let mut text = reason;
        if self.finding.object.is_some() {
            text.push_str(&format!(" (in {resource}"));
            if self.resources.len() > 1 {
                text.push_str(&format!(" and {} more", self.resources.len() - 1));
            }
            text.push(')');
        } else if !field.is_empty() {
            text = format!("{field}: {text}");
        }
        text
    }
}

//! From the text of a file to objects: documents, lists, kinds, metadata, decoding, and the rules of a single object.
//!
//! Whatever is wrong costs the one object it is wrong in. The findings are complete: an object that is refused shows all its
//! reasons at once. Follows Istio's admission (strict) or its lenient decoding, as [`UnknownFields`] says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::decode::{Cursor, Decode};
use super::node::{self, Document, Node, Value};
use super::pod::Pod;
use super::{Force, Handler, Instance, InstanceParams, Kind, Object, ObjectId, QuotaParams, Spec};
use crate::finding::{Finding, Severity, code};
use crate::mixer::is_quota_adapter;
use crate::validate;

/// What an unknown field does to its object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownFields {
    /// The object is used, the field is reported.
    #[default]
    Warn,
    /// The object is refused, as the Kubernetes API server does.
    Refuse,
}

/// How strictly objects are read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadOptions {
    /// What an unknown field does. Default [`UnknownFields::Warn`].
    pub unknown_fields: UnknownFields,
    /// Namespace of objects that name none. Default `default`.
    pub namespace: String,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { unknown_fields: UnknownFields::Warn, namespace: "default".to_owned() }
    }
}

impl LoadOptions {
    /// Unknown fields refuse the object.
    #[must_use]
    pub fn strict() -> Self {
        Self { unknown_fields: UnknownFields::Refuse, ..Self::default() }
    }
}

/// What one file gave.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Valid objects, in the file's order.
    pub objects: Vec<Arc<Object>>,
    /// Remarks, in the file's order.
    pub findings: Vec<Finding>,
    /// Objects that are in the file and were refused.
    pub refused: BTreeSet<ObjectId>,
    /// Documents of which not even kind and name could be read.
    pub unreadable: usize,
}

impl Loaded {
    /// Keeps the last good version of what this reading refused: objects of `previous` (the last result for the same file) that are
    /// refused now, and, when a document could not be read at all, those that are missing now.
    #[must_use]
    pub fn keep_last_good(mut self, previous: &[Arc<Object>]) -> Self {
        let present: BTreeSet<&ObjectId> = self.objects.iter().map(|object| &object.id).collect();
        let kept: Vec<_> = previous
            .iter()
            .filter(|old| !present.contains(&old.id) && (self.unreadable > 0 || self.refused.contains(&old.id)))
            .cloned()
            .collect();
        self.objects.extend(kept);
        self
    }
}

/// Reads one file: YAML with any number of documents, or JSON; lists of objects are opened.
#[must_use]
pub fn load_text(file: &str, text: &str, options: &LoadOptions) -> Loaded {
    let mut reader = Reader { file: Arc::from(file), options, loaded: Loaded::default() };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for document in node::documents(text) {
        reader.document(&document);
    }
    reader.loaded
}

struct Reader<'a> {
    file: Arc<str>,
    options: &'a LoadOptions,
    loaded: Loaded,
}

/// Who an object says it is.
struct Identity {
    group: String,
    version: String,
    kind: String,
    line: u32,
}

impl Reader<'_> {
    fn say(
        &mut self,
        severity: Severity,
        code: &'static str,
        line: u32,
        object: Option<&ObjectId>,
        field: &str,
        reason: String,
    ) {
        self.loaded.findings.push(Finding {
            file: self.file.clone(),
            line,
            severity,
            code,
            object: object.cloned(),
            field: field.to_owned(),
            reason,
        });
    }

    fn unreadable(&mut self, code: &'static str, line: u32, reason: String) {
        self.loaded.unreadable += 1;
        self.say(Severity::Refused, code, line, None, "", reason);
    }

    fn document(&mut self, document: &Document<'_>) {
        match node::parse(document) {
            Ok(node) if node.value == Value::Null => {}
            Ok(node) => self.object(node, document.first_line()),
            Err(error) => self.unreadable(code::YAML_SYNTAX, error.line, format!("not YAML: {}", error.reason)),
        }
    }

    fn object(&mut self, node: Node, line: u32) {
        let text = |key: &str| node.field(key).and_then(Node::as_str);
        let (Some(api_version), Some(kind)) = (text("apiVersion"), text("kind")) else {
            self.unreadable(
                code::NOT_AN_OBJECT,
                line,
                "no Kubernetes object: apiVersion and kind are required".to_owned(),
            );
            return;
        };
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let identity = Identity { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned(), line };
        let is_list =
            kind == "List" || (kind.ends_with("List") && Kind::find(group, kind.trim_end_matches("List")).is_some());
        if is_list {
            self.list(node, line);
            return;
        }
        let Some(known) = Kind::find(&identity.group, &identity.kind) else {
            self.unknown_kind(&node, &identity);
            return;
        };
        self.known(node, known, &identity);
    }

    fn list(&mut self, mut node: Node, line: u32) {
        let Value::Map(entries) = &mut node.value else {
            return;
        };
        let items = entries.iter_mut().find(|(key, _)| key == "items").map(|(_, value)| value);
        match items.map(|items| std::mem::replace(&mut items.value, Value::Null)) {
            Some(Value::List(items)) => {
                for item in items {
                    let line = item.line;
                    self.object(item, line);
                }
            }
            None | Some(Value::Null) => {}
            Some(_) => self.unreadable(code::NOT_AN_OBJECT, line, "items of a List is not a list".to_owned()),
        }
    }

    fn unknown_kind(&mut self, node: &Node, identity: &Identity) {
        let Identity { group, version, kind, line } = identity;
        let name =
            node.field("metadata").and_then(|metadata| metadata.field("name")).and_then(Node::as_str).unwrap_or("?");
        if Kind::is_istio_group(group) {
            self.unreadable(
                code::UNKNOWN_KIND,
                *line,
                format!("unknown kind {kind} in {group}/{version} (object {name})"),
            );
        } else {
            let api_version = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
            self.say(
                Severity::Note,
                code::KIND_IGNORED,
                *line,
                None,
                "",
                format!("{kind} {name} of {api_version} is not the mesh's business"),
            );
        }
    }

    fn known(&mut self, node: Node, kind: Kind, identity: &Identity) {
        let line = identity.line;
        let Some((id, labels, annotations, created)) = self.metadata(&node, kind, line) else {
            return;
        };
        if !kind.versions().contains(&identity.version.as_str()) {
            let reason = format!("{kind} has no version {} (known: {})", identity.version, kind.versions().join(", "));
            self.say(Severity::Refused, code::UNKNOWN_VERSION, line, Some(&id), "apiVersion", reason);
            self.loaded.refused.insert(id);
            return;
        }
        let node = Arc::new(node);
        let file = self.file.clone();
        let object = |spec| Object {
            id: id.clone(),
            file,
            line,
            labels,
            annotations,
            creation_timestamp: created,
            spec,
            node: Some(node.clone()),
        };
        match force_of(kind, &node) {
            Force::Now => {}
            Force::Ignored => {
                self.say(Severity::Note, code::KIND_IGNORED, line, Some(&id), "", format!("{kind} is read by nobody"));
                return;
            }
            force @ (Force::NotYet | Force::NotYetSecurity) => {
                let code = if force == Force::NotYet { code::KIND_NOT_IN_FORCE } else { code::SECURITY_NOT_IN_FORCE };
                let spec = match kind {
                    Kind::PeerAuthentication => self.peer_authentication(&node, &id),
                    _ => Some(Spec::NotInForce),
                };
                let Some(spec) = spec else {
                    self.loaded.refused.insert(id);
                    return;
                };
                let object = object(spec);
                let findings = validate::object(&object);
                let refused = findings.iter().any(|finding| finding.severity == Severity::Refused);
                self.loaded.findings.extend(findings);
                if refused {
                    self.loaded.refused.insert(id);
                    return;
                }
                let object = Object { node: None, ..object };
                self.say(
                    Severity::NotInForce,
                    code,
                    line,
                    Some(&id),
                    "",
                    format!("{kind} is known and has no effect yet"),
                );
                self.loaded.objects.push(Arc::new(object));
                return;
            }
        }
        let mut cursor = Cursor::default();
        let spec = decode_spec(kind, &node, &mut cursor);
        let object = spec.map(object);
        let mut refused = object.is_none();
        for problem in cursor.problems {
            let unknown = problem.code == code::UNKNOWN_FIELD && self.options.unknown_fields == UnknownFields::Warn;
            refused |= !unknown;
            let severity = if unknown { Severity::Warning } else { Severity::Refused };
            self.say(severity, problem.code, problem.line, Some(&id), &problem.field, problem.reason);
        }
        if let Some(mut object) = object {
            // A value that did not decode would only draw errors about its absence.
            if !refused {
                let findings = validate::object(&object);
                refused = findings.iter().any(|finding| finding.severity == Severity::Refused);
                self.loaded.findings.extend(findings);
            }
            if !refused {
                // Findings about other objects point into Istio's kinds only; the many slices and pods keep no lines.
                if !matches!(kind.group(), "networking.istio.io" | "config.istio.io") {
                    object.node = None;
                }
                self.loaded.objects.push(Arc::new(object));
            }
        }
        if refused {
            self.loaded.refused.insert(id);
        }
    }

    /// Which chains a port has, of a policy whose TLS itself is not there yet. `None`: refused.
    fn peer_authentication(&mut self, node: &Node, id: &ObjectId) -> Option<Spec> {
        let mut cursor = Cursor::default();
        let spec = match node.field("spec").filter(|spec| spec.value != Value::Null) {
            Some(spec) => cursor.enter("spec", spec).map(Spec::PeerAuthentication),
            None => Some(Spec::PeerAuthentication(Box::default())),
        };
        let mut refused = spec.is_none();
        for problem in cursor.problems {
            let unknown = problem.code == code::UNKNOWN_FIELD && self.options.unknown_fields == UnknownFields::Warn;
            refused |= !unknown;
            let severity = if unknown { Severity::Warning } else { Severity::Refused };
            self.say(severity, problem.code, problem.line, Some(id), &problem.field, problem.reason);
        }
        spec.filter(|_| !refused)
    }

    #[allow(clippy::type_complexity, reason = "four parts of metadata, taken apart by the only caller")]
    fn metadata(
        &mut self,
        node: &Node,
        kind: Kind,
        line: u32,
    ) -> Option<(ObjectId, BTreeMap<String, String>, BTreeMap<String, String>, Option<String>)> {
        let empty = Node { line, value: Value::Map(Vec::new()) };
        let metadata = node.field("metadata").unwrap_or(&empty);
        let text = |key: &str| metadata.field(key).and_then(Node::as_str).filter(|text| !text.is_empty());
        let Some(name) = text("name") else {
            let generated = text("generateName").is_some();
            let reason =
                if generated { "generateName needs an API server: give it a name" } else { "a name is required" };
            self.loaded.unreadable += 1;
            self.say(
                Severity::Refused,
                code::METADATA,
                metadata.line,
                None,
                "metadata.name",
                format!("{kind}: {reason}"),
            );
            return None;
        };
        let namespace = text("namespace").unwrap_or(&self.options.namespace).to_owned();
        let id = ObjectId { kind, namespace, name: name.to_owned() };
        let created = text("creationTimestamp").filter(|text| is_utc_timestamp(text)).map(str::to_owned);
        let mut cursor = Cursor::default();
        let mut map = |key: &str| {
            let node = metadata.field(key).filter(|node| node.value != Value::Null);
            node.and_then(|node| cursor.enter::<BTreeMap<String, String>>(&format!("metadata.{key}"), node))
                .unwrap_or_default()
        };
        let labels = map("labels");
        let annotations = map("annotations");
        if cursor.problems.is_empty() {
            return Some((id, labels, annotations, created));
        }
        for problem in cursor.problems {
            self.say(Severity::Refused, problem.code, problem.line, Some(&id), &problem.field, problem.reason);
        }
        self.loaded.refused.insert(id);
        None
    }
}

/// Of Mixer's many adapters and templates only those of quotas are in force.
fn force_of(kind: Kind, node: &Node) -> Force {
    let says = |keys: [&str; 2]| {
        let spec = node.field("spec");
        keys.into_iter().find_map(|key| spec?.field(key)?.as_str())
    };
    match kind {
        Kind::Handler if says(["compiledAdapter", "adapter"]).is_some_and(|adapter| !is_quota_adapter(adapter)) => {
            Force::NotYet
        }
        Kind::Instance
            if says(["compiledTemplate", "template"]).is_some_and(|one| !one.eq_ignore_ascii_case("quota")) =>
        {
            Force::NotYet
        }
        _ => kind.force(),
    }
}

/// `2026-01-02T03:04:05Z`, perhaps with a fraction: what Kubernetes writes. These compare as text.
fn is_utc_timestamp(text: &str) -> bool {
    let shape = b"dddd-dd-ddTdd:dd:dd";
    text.len() > shape.len()
        && text.ends_with('Z')
        && shape.iter().zip(text.bytes()).all(
            |(want, have)| {
                if *want == b'd' { have.is_ascii_digit() } else { *want == have }
            },
        )
}

fn decode_spec(kind: Kind, node: &Node, cursor: &mut Cursor) -> Option<Spec> {
    fn boxed<T: Decode>(node: &Node, cursor: &mut Cursor) -> Option<Box<T>> {
        match node.field("spec") {
            Some(spec) if spec.value != Value::Null => cursor.enter("spec", spec),
            _ => {
                cursor.report(node, code::REQUIRED, "spec is required");
                None
            }
        }
    }
    // Kinds of the API server that are no custom resources have other top-level fields too; custom resources do not.
    if kind.group() == "networking.istio.io"
        && let Value::Map(entries) = &node.value
    {
        for (key, value) in entries {
            if !matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "spec" | "status") {
                cursor.unknown(key, value);
            }
        }
    }
    match kind {
        Kind::VirtualService => boxed(node, cursor).map(Spec::VirtualService),
        Kind::DestinationRule => boxed(node, cursor).map(Spec::DestinationRule),
        Kind::ServiceEntry => boxed(node, cursor).map(Spec::ServiceEntry),
        Kind::WorkloadEntry => boxed(node, cursor).map(Spec::WorkloadEntry),
        Kind::Sidecar => boxed(node, cursor).map(Spec::Sidecar),
        Kind::Gateway => boxed(node, cursor).map(Spec::Gateway),
        Kind::Handler => boxed(node, cursor).map(Spec::Handler),
        Kind::Memquota => boxed::<QuotaParams>(node, cursor).map(|params| {
            Spec::Handler(Box::new(Handler { compiled_adapter: "memquota".to_owned(), params: *params }))
        }),
        Kind::Instance => boxed(node, cursor).map(Spec::Instance),
        Kind::Quota => boxed::<InstanceParams>(node, cursor).map(|params| {
            Spec::Instance(Box::new(Instance { compiled_template: "quota".to_owned(), params: *params }))
        }),
        Kind::Rule => boxed(node, cursor).map(Spec::Rule),
        Kind::QuotaSpec => boxed(node, cursor).map(Spec::QuotaSpec),
        Kind::QuotaSpecBinding => boxed(node, cursor).map(Spec::QuotaSpecBinding),
        Kind::Service => boxed(node, cursor).map(Spec::Service),
        Kind::EndpointSlice => {
            let mut body = node.clone();
            if let Value::Map(entries) = &mut body.value {
                entries.retain(|(key, _)| !matches!(key.as_str(), "apiVersion" | "kind" | "metadata"));
            }
            Box::decode(&body, cursor).map(Spec::EndpointSlice)
        }
        Kind::Pod => Some(Spec::Pod(Box::new(Pod::read(node)))),
        _ => Some(Spec::NotInForce),
    }
}

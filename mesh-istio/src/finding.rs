//! What we have to say about a user's object: one line each, with file, line, object, field and reason.
//!
//! A finding is data: the CLI prints it, the SDK keeps the last good object because of it, tests compare its code. Nothing
//! here decides anything. The model is that of Istio's validation (errors refuse, warnings do not).

use std::fmt;
use std::sync::Arc;

use crate::object::ObjectId;

/// How much a [`Finding`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// The object (or document) is not used at all.
    Refused,
    /// The object is used, and probably does not do what its author meant.
    Warning,
    /// The object is valid, but this field or kind has no effect yet.
    NotInForce,
    /// Something that is none of our business was passed over.
    Note,
}

impl Severity {
    /// The word that reports print: `refused`, `warning`, `not in force`, `note`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Warning => "warning",
            Self::NotInForce => "not in force",
            Self::Note => "note",
        }
    }
}

/// One remark about one field of one object.
///
/// Displays as one line: `file:line: Kind/namespace/name: field: reason`; what is unknown is left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Finding {
    /// File as the caller named it.
    pub file: Arc<str>,
    /// Line in the file, counted from 1: the field's where known, else the document's first. 0: unknown.
    pub line: u32,
    /// How much it matters.
    pub severity: Severity,
    /// Stable name of the rule, such as `VS_SPLIT_ACROSS_ROUTES`.
    pub code: &'static str,
    /// The object, where its kind and name could be read.
    pub object: Option<ObjectId>,
    /// Path from the document's root, such as `spec.http[0].route[1].weight`; empty: the whole object.
    pub field: String,
    /// Why, in one sentence on one line.
    pub reason: String,
}

impl Finding {
    /// Whether the finding tells that something which would narrow access or protect traffic has no effect.
    ///
    /// A caller that must fail closed looks at this: the object asks for protection that it does not get.
    #[must_use]
    pub fn weakens_security(&self) -> bool {
        self.severity == Severity::NotInForce && self.code == code::SECURITY_NOT_IN_FORCE
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        // One finding is one line, whatever the parser or the user's text put into the reason.
        for (n, line) in self.reason.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
            if n > 0 {
                f.write_str("; ")?;
            }
            f.write_str(line)?;
        }
        Ok(())
    }
}

/// Stable codes of findings. Renaming one is a breaking change.
pub(crate) mod code {
    pub(crate) const YAML_SYNTAX: &str = "YAML_SYNTAX";
    pub(crate) const NOT_AN_OBJECT: &str = "NOT_AN_OBJECT";
    pub(crate) const UNKNOWN_KIND: &str = "UNKNOWN_KIND";
    pub(crate) const UNKNOWN_VERSION: &str = "UNKNOWN_VERSION";
    pub(crate) const KIND_IGNORED: &str = "KIND_IGNORED";
    pub(crate) const KIND_NOT_IN_FORCE: &str = "KIND_NOT_IN_FORCE";
    pub(crate) const FIELD_NOT_IN_FORCE: &str = "FIELD_NOT_IN_FORCE";
    pub(crate) const SECURITY_NOT_IN_FORCE: &str = "SECURITY_NOT_IN_FORCE";
    pub(crate) const METADATA: &str = "METADATA";
    pub(crate) const UNKNOWN_FIELD: &str = "UNKNOWN_FIELD";
    pub(crate) const WRONG_TYPE: &str = "WRONG_TYPE";
    pub(crate) const INVALID_VALUE: &str = "INVALID_VALUE";
    pub(crate) const REQUIRED: &str = "REQUIRED";
    pub(crate) const EXCLUSIVE: &str = "EXCLUSIVE_FIELDS";
    pub(crate) const DUPLICATE_VALUE: &str = "DUPLICATE_VALUE";
    pub(crate) const DUPLICATE_OBJECT: &str = "DUPLICATE_OBJECT";
    pub(crate) const BAD_REGEX: &str = "BAD_REGEX";
    pub(crate) const BAD_WEIGHT: &str = "BAD_WEIGHT";
    pub(crate) const BAD_DURATION: &str = "BAD_DURATION";
    pub(crate) const BAD_HOST: &str = "BAD_HOST";
    pub(crate) const BAD_EXPORT_TO: &str = "BAD_EXPORT_TO";
    pub(crate) const BAD_SELECTOR: &str = "BAD_SELECTOR";
    pub(crate) const DEPRECATED_FIELD: &str = "DEPRECATED_FIELD";
    pub(crate) const INEFFECTIVE: &str = "INEFFECTIVE";
    pub(crate) const VS_SPLIT_ACROSS_ROUTES: &str = "VS_SPLIT_ACROSS_ROUTES";
    pub(crate) const VS_UNREACHABLE_RULE: &str = "VS_UNREACHABLE_RULE";
    pub(crate) const VS_INEFFECTIVE_MATCH: &str = "VS_INEFFECTIVE_MATCH";
    pub(crate) const VS_NOT_FOR_MESH: &str = "VS_NOT_FOR_MESH";
    pub(crate) const VS_UNKNOWN_GATEWAY: &str = "VS_UNKNOWN_GATEWAY";
    pub(crate) const VS_HOST_NOT_ON_GATEWAY: &str = "VS_HOST_NOT_ON_GATEWAY";
    pub(crate) const VS_DELEGATE_NOT_FOUND: &str = "VS_DELEGATE_NOT_FOUND";
    pub(crate) const VS_DELEGATE_CONFLICT: &str = "VS_DELEGATE_CONFLICT";
    pub(crate) const VS_DUPLICATE_HOST: &str = "VS_DUPLICATE_HOST";
    pub(crate) const VS_UNKNOWN_HOST: &str = "VS_UNKNOWN_HOST";
    pub(crate) const DANGLING_HOST: &str = "DANGLING_HOST";
    pub(crate) const DANGLING_SUBSET: &str = "DANGLING_SUBSET";
    pub(crate) const DANGLING_PORT: &str = "DANGLING_PORT";
    pub(crate) const DR_UNKNOWN_HOST: &str = "DR_UNKNOWN_HOST";
    pub(crate) const DR_DUPLICATE_SUBSET: &str = "DR_DUPLICATE_SUBSET";
    pub(crate) const DR_POLICY_DROPPED: &str = "DR_POLICY_DROPPED";
    pub(crate) const DR_EMPTY_SUBSET: &str = "DR_EMPTY_SUBSET";
    pub(crate) const SE_DUPLICATE_HOST: &str = "SE_DUPLICATE_HOST";
    pub(crate) const SIDECAR_CONFLICT: &str = "SIDECAR_CONFLICT";
    pub(crate) const QUOTA_COMPAT: &str = "QUOTA_COMPAT";
    pub(crate) const QUOTA_UNKNOWN_SPEC: &str = "QUOTA_UNKNOWN_SPEC";
    pub(crate) const QUOTA_WITHOUT_LIMIT: &str = "QUOTA_WITHOUT_LIMIT";
    pub(crate) const SLICE_WITHOUT_SERVICE: &str = "SLICE_WITHOUT_SERVICE";
}

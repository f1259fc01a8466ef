//! A refusal on its way up: where in the message and why; whoever knows the resource's name completes it.

use mesh_core::resource::{Invalid, Problem, ResourceName};

/// Where in the message a decoder is. Links on the stack; text only where something is reported.
pub(super) use mesh_proto::path::FieldPath as At;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The field, as in `virtual_hosts[0].routes[1].route.timeout`; empty for the resource itself.
    pub(super) field: String,
    /// What is wrong there.
    pub(super) problem: Problem,
}

impl Refused {
    /// The refusal of a named resource.
    pub(super) fn of(self, resource: ResourceName) -> Invalid {
        Invalid::new(resource, self.field, self.problem)
    }
}

/// Refuses a field.
pub(super) fn refuse(at: &At<'_>, problem: impl Into<Problem>) -> Refused {
    Refused { field: at.to_string(), problem: problem.into() }
}

/// Refuses a field that asks for something valid which cannot be done here and must not be ignored.
pub(super) fn unsupported(at: &At<'_>, what: impl Into<String>) -> Refused {
    refuse(at, Problem::Unsupported(what.into()))
}

/// Refuses a field that another one contradicts.
pub(super) fn conflict(at: &At<'_>, why: impl Into<String>) -> Refused {
    refuse(at, Problem::Conflict(why.into()))
}

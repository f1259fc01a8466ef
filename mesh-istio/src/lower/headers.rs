//! Header operations: `set` before `add`, each sorted by name; the authority is not a header but a rewrite.

use std::collections::BTreeMap;

use mesh_proto::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use mesh_proto::envoy::config::core::v3::{HeaderValue, HeaderValueOption};

use crate::object::{HeaderOperations, Headers};

/// Operations of one level, ready to be put into a route or a weighted cluster.
#[derive(Debug, Default)]
pub(super) struct Operations {
    pub(super) request_add: Vec<HeaderValueOption>,
    pub(super) request_remove: Vec<String>,
    pub(super) response_add: Vec<HeaderValueOption>,
    pub(super) response_remove: Vec<String>,
    /// New authority, from a `Host` or `:authority` among the request's headers; `set` before `add`.
    pub(super) authority: Option<String>,
}

pub(super) fn lower(headers: Option<&Headers>) -> Operations {
    let empty = HeaderOperations::default();
    let request = headers.and_then(|headers| headers.request.as_ref()).unwrap_or(&empty);
    let response = headers.and_then(|headers| headers.response.as_ref()).unwrap_or(&empty);
    let authority = |values: &BTreeMap<String, String>| {
        values.iter().find(|(name, _)| is_authority(name)).map(|(_, value)| value.clone())
    };
    Operations {
        request_add: additions(request),
        request_remove: request.remove.clone(),
        response_add: additions(response),
        response_remove: response.remove.clone(),
        authority: authority(&request.set).or_else(|| authority(&request.add)),
    }
}

fn additions(operations: &HeaderOperations) -> Vec<HeaderValueOption> {
    let option = |name: &str, value: &str, action: HeaderAppendAction| HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value: value.to_owned(), ..HeaderValue::default() }),
        append_action: action.into(),
        ..HeaderValueOption::default()
    };
    let set = operations.set.iter().map(|pair| (pair, HeaderAppendAction::OverwriteIfExistsOrAdd));
    let add = operations.add.iter().map(|pair| (pair, HeaderAppendAction::AppendIfExistsOrAdd));
    set.chain(add)
        .filter(|((name, _), _)| !is_authority(name))
        .map(|((name, value), action)| option(name, value, action))
        .collect()
}

fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name == ":authority"
}

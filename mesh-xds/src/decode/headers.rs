//! `HeaderValueOption` and the four `*_headers_to_*` lists of each level of a route configuration.
//!
//! Which headers may be changed and which format strings are valid the engine says when it compiles them.

use mesh_core::resource::Problem;
use mesh_core::resource::header_mutation::{AppendAction, HeaderMutations, HeaderValueOption};
use mesh_proto::envoy::config::common::mutation_rules::v3::HeaderMutation;
use mesh_proto::envoy::config::common::mutation_rules::v3::header_mutation::Action;
use mesh_proto::envoy::config::core::v3 as core;

use super::matcher::string;
use super::refused::{At, Refused, conflict, refuse};
use super::scalar::known;

/// One direction of one level; `at` is the message that has both lists, `direction` is `request` or `response`.
pub(super) fn mutations(
    at: &At<'_>,
    direction: &str,
    add: &[core::HeaderValueOption],
    remove: &[String],
) -> Result<HeaderMutations, Refused> {
    let name = format!("{direction}_headers_to_add");
    let added = additions(&at.field(&name), add)?;
    Ok(HeaderMutations { remove: remove.to_vec(), ..added })
}

/// A list of additions; `at` is the list.
pub(super) fn additions(at: &At<'_>, add: &[core::HeaderValueOption]) -> Result<HeaderMutations, Refused> {
    let add = add.iter().enumerate().map(|(index, one)| option(&at.index(index), one));
    Ok(HeaderMutations { add: add.collect::<Result<_, _>>()?, ..HeaderMutations::default() })
}

/// `HeaderMutation`s, in order: one step each.
pub(super) fn steps(at: &At<'_>, list: &[HeaderMutation]) -> Result<Vec<HeaderMutations>, Refused> {
    let mut steps = Vec::with_capacity(list.len());
    for (index, one) in list.iter().enumerate() {
        let at = at.index(index);
        match &one.action {
            None => return Err(refuse(&at.field("action"), Problem::Missing)),
            Some(Action::Remove(name)) => {
                steps.push(HeaderMutations { remove: vec![name.clone()], ..HeaderMutations::default() });
            }
            Some(Action::Append(append)) => {
                let add = vec![option(&at.field("append"), append)?];
                steps.push(HeaderMutations { add, ..HeaderMutations::default() });
            }
            Some(Action::RemoveOnMatch(one)) => {
                let at = at.field("remove_on_match");
                let at = at.field("key_matcher");
                let Some(matcher) = &one.key_matcher else { return Err(refuse(&at, Problem::Missing)) };
                let remove_matching = vec![string(&at, matcher)?];
                steps.push(HeaderMutations { remove_matching, ..HeaderMutations::default() });
            }
        }
    }
    Ok(steps)
}

fn option(at: &At<'_>, option: &core::HeaderValueOption) -> Result<HeaderValueOption, Refused> {
    use core::header_value_option::HeaderAppendAction;
    let at_header = at.field("header");
    let Some(header) = &option.header else {
        return Err(refuse(&at_header, Problem::Missing));
    };
    let append_action = match (option.append, known(&at.field("append_action"), option.append_action)?) {
        (None, HeaderAppendAction::AppendIfExistsOrAdd) => AppendAction::AppendIfExistsOrAdd,
        (None, HeaderAppendAction::AddIfAbsent) => AppendAction::AddIfAbsent,
        (None, HeaderAppendAction::OverwriteIfExistsOrAdd) => AppendAction::OverwriteIfExistsOrAdd,
        (None, HeaderAppendAction::OverwriteIfExists) => AppendAction::OverwriteIfExists,
        // The older field, which has no other two meanings.
        (Some(append), HeaderAppendAction::AppendIfExistsOrAdd) => {
            if append.value {
                AppendAction::AppendIfExistsOrAdd
            } else {
                AppendAction::OverwriteIfExistsOrAdd
            }
        }
        (Some(_), _) => return Err(conflict(at, "append and append_action are both set")),
    };
    let value = match (header.value.is_empty(), header.raw_value.is_empty()) {
        (false, false) => return Err(conflict(&at_header, "value and raw_value are both set")),
        (_, true) => header.value.clone(),
        (true, false) => String::from_utf8(header.raw_value.clone())
            .map_err(|_| refuse(&at_header.field("raw_value"), "is not UTF-8"))?,
    };
    Ok(HeaderValueOption { key: header.key.clone(), value, append_action, keep_empty_value: option.keep_empty_value })
}

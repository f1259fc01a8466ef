//! `envoy.extensions.filters.http.header_mutation.v3`.

use mesh_core::resource::Problem;
use mesh_core::resource::filter::{HeaderMutation, Mutations, QueryMutation};
use mesh_core::resource::header_mutation::AppendAction;
use mesh_proto::envoy::config::core::v3::{KeyValueMutation, key_value_append::KeyValueAppendAction};
use mesh_proto::envoy::extensions::filters::http::header_mutation::v3 as pb;
use mesh_proto::google::protobuf::value::Kind;

use super::super::extension::Extension;
use super::super::headers::steps;
use super::super::refused::{At, Refused, refuse};
use super::super::scalar::known;

pub(super) fn config(at: &At<'_>, config: &Extension<'_>) -> Result<HeaderMutation, Refused> {
    let message: pb::HeaderMutation = config.message(at)?;
    Ok(HeaderMutation {
        mutations: mutations(&at.field("mutations"), message.mutations.unwrap_or_default())?,
        most_specific_wins: message.most_specific_header_mutations_wins,
    })
}

pub(super) fn per_route(at: &At<'_>, config: &Extension<'_>) -> Result<Mutations, Refused> {
    let message: pb::HeaderMutationPerRoute = config.message(at)?;
    mutations(&at.field("mutations"), message.mutations.unwrap_or_default())
}

fn mutations(at: &At<'_>, message: pb::Mutations) -> Result<Mutations, Refused> {
    let query_at = at.field("query_parameter_mutations");
    let query = message.query_parameter_mutations.into_iter().enumerate();
    Ok(Mutations {
        request: steps(&at.field("request_mutations"), &message.request_mutations)?,
        query: query.map(|(index, one)| parameter(&query_at.index(index), one)).collect::<Result<_, _>>()?,
        response: steps(&at.field("response_mutations"), &message.response_mutations)?,
        response_trailers: steps(&at.field("response_trailers_mutations"), &message.response_trailers_mutations)?,
    })
}

fn parameter(at: &At<'_>, message: KeyValueMutation) -> Result<QueryMutation, Refused> {
    let Some(append) = message.append else { return Ok(QueryMutation::Remove(message.remove)) };
    let at = at.field("append");
    let action = match known(&at.field("action"), append.action)? {
        KeyValueAppendAction::AppendIfExistsOrAdd => AppendAction::AppendIfExistsOrAdd,
        KeyValueAppendAction::AddIfAbsent => AppendAction::AddIfAbsent,
        KeyValueAppendAction::OverwriteIfExistsOrAdd => AppendAction::OverwriteIfExistsOrAdd,
        KeyValueAppendAction::OverwriteIfExists => AppendAction::OverwriteIfExists,
    };
    let at = at.field("record");
    let Some(record) = append.record else { return Err(refuse(&at, Problem::Missing)) };
    match record.value.and_then(|value| value.kind) {
        Some(Kind::StringValue(value)) => Ok(QueryMutation::Set { key: record.key, value, action }),
        _ => Err(refuse(&at.field("value"), "must be a string")),
    }
}

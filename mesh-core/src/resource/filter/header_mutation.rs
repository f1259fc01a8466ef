//! `envoy.extensions.filters.http.header_mutation.v3`.

use crate::resource::header_mutation::{AppendAction, HeaderMutations};

/// The filter: its own changes, and in which order those of routes follow.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HeaderMutation {
    /// `mutations`: before those of any route.
    pub mutations: Mutations,
    /// `most_specific_header_mutations_wins`: the most specific level comes last; by default it comes first.
    pub most_specific_wins: bool,
}

/// What one level changes. Of header lists each entry is a step of its own.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Mutations {
    /// `request_mutations`.
    pub request: Vec<HeaderMutations>,
    /// `query_parameter_mutations`.
    pub query: Vec<QueryMutation>,
    /// `response_mutations`.
    pub response: Vec<HeaderMutations>,
    /// `response_trailers_mutations`.
    pub response_trailers: Vec<HeaderMutations>,
}

/// `envoy.config.core.v3.KeyValueMutation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryMutation {
    /// `append`.
    Set {
        /// The parameter.
        key: String,
        /// Its value, which may contain format operators.
        value: String,
        /// What happens when it is there already, or is not.
        action: AppendAction,
    },
    /// `remove`: the parameter, however often it is there.
    Remove(String),
}

//! Changes headers, query parameters and trailers on the way in and out, by the filter itself and by each level of a route.
//!
//! Envoy's `envoy.filters.http.header_mutation`. The filter's own list comes first; of the levels the most specific one,
//! unless it is to win: then it comes last. Each entry sees what the one before left. Pseudo headers and the host are
//! not changed here: who asks for it is refused.

mod query;
#[cfg(test)]
mod tests;

use http::{HeaderMap, Request, request};

use self::query::QueryChange;
use super::facts::RequestFacts;
use super::filter::{FilterStep, HttpFilter, RequestCx, ResponseCx, RouteConfig, RouteConfigs, TrailersCx};
use super::headers::{Change, FormatContext, HeaderChanges, ResponseFacts};
use crate::resource::filter::{HeaderMutation as Config, Mutations as MutationsConfig};
use crate::resource::header_mutation::HeaderMutations;
use crate::resource::{FieldPath, Problem};

/// What one level changes, compiled.
#[derive(Debug, Default)]
pub struct Mutations {
    request: Box<[HeaderChanges]>,
    query: Box<[QueryChange]>,
    response: Box<[HeaderChanges]>,
    response_trailers: Box<[HeaderChanges]>,
}

impl Mutations {
    /// Compiles a level; `at` is its `mutations`.
    ///
    /// # Errors
    /// Where and what: no header name, the host or a pseudo header, a format string that does not compile.
    pub fn compile(config: &MutationsConfig, at: &FieldPath) -> Result<Self, (FieldPath, Problem)> {
        let query = config
            .query
            .iter()
            .enumerate()
            .map(|(number, one)| QueryChange::compile(one, &at.field("query_parameter_mutations").index(number)));
        Ok(Self {
            request: steps(&config.request, &at.field("request_mutations"))?,
            query: query.collect::<Result<_, _>>()?,
            response: steps(&config.response, &at.field("response_mutations"))?,
            response_trailers: steps(&config.response_trailers, &at.field("response_trailers_mutations"))?,
        })
    }

    fn is_empty(&self) -> bool {
        self.request.is_empty()
            && self.query.is_empty()
            && self.response.is_empty()
            && self.response_trailers.is_empty()
    }
}

/// Compiles a list of `HeaderMutation`s: one step each; `list` is its path.
///
/// # Errors
/// As [`HeaderChanges::compile`].
pub fn steps(steps: &[HeaderMutations], list: &FieldPath) -> Result<Box<[HeaderChanges]>, (FieldPath, Problem)> {
    steps.iter().enumerate().map(|(number, step)| HeaderChanges::compile_entry(step, &list.index(number))).collect()
}

/// The filter.
#[derive(Debug)]
pub struct HeaderMutation {
    mutations: Mutations,
    most_specific_wins: bool,
}

/// A request's head, for response headers that print something of it.
#[derive(Debug)]
struct Kept(Request<()>);

impl HeaderMutation {
    /// As configured; `at` is the configuration's place.
    ///
    /// # Errors
    /// As [`Mutations::compile`].
    pub fn compile(config: &Config, at: &FieldPath) -> Result<Self, (FieldPath, Problem)> {
        let mutations = Mutations::compile(&config.mutations, &at.field("mutations"))?;
        Ok(Self { mutations, most_specific_wins: config.most_specific_wins })
    }

    /// Everything that changes something, in order.
    fn each<'a>(&'a self, levels: RouteConfigs<'a>, mut apply: impl FnMut(&'a Mutations)) {
        apply(&self.mutations);
        let mutations = |level: &'a RouteConfig| match level {
            RouteConfig::HeaderMutation(mutations) => Some(&**mutations),
            _ => None,
        };
        if self.most_specific_wins {
            levels.levels().rev().filter_map(mutations).for_each(apply);
        } else {
            levels.levels().filter_map(mutations).for_each(apply);
        }
    }
}

impl HttpFilter for HeaderMutation {
    fn waits_for_route(&self) -> bool {
        self.mutations.is_empty()
    }

    fn on_request(&self, cx: &mut RequestCx<'_>) -> FilterStep {
        let mut prints_request = false;
        let (head, connection, route) = (&mut *cx.head, cx.connection, cx.route);
        let metadata = cx.dynamic_metadata.all();
        self.each(cx.route_configs, |level| {
            prints_request |= level.response.iter().any(HeaderChanges::reads_request);
            let context = FormatContext {
                route_name: route.map_or("", |route| route.name()),
                ..FormatContext::for_request(connection, metadata)
            };
            for change in &level.request {
                change_head(change, head, &context);
            }
            if !level.query.is_empty() {
                let facts = RequestFacts::of_head(head, connection, metadata);
                let changed =
                    query::change(&head.uri, &level.query, &FormatContext { request: Some(facts), ..context });
                if let Some(uri) = changed {
                    head.uri = uri;
                }
            }
        });
        if prints_request {
            let mut kept = Request::new(());
            *kept.method_mut() = cx.head.method.clone();
            *kept.uri_mut() = cx.head.uri.clone();
            *kept.version_mut() = cx.head.version;
            *kept.headers_mut() = cx.head.headers.clone();
            cx.notes.put(Kept(kept));
        }
        FilterStep::Continue
    }

    fn on_response(&self, cx: &mut ResponseCx<'_>) {
        let kept = cx.notes.take::<Kept>();
        let metadata = cx.dynamic_metadata.all();
        let request = kept.as_ref().map(|kept| RequestFacts::of(&kept.0, cx.connection, metadata));
        let context = FormatContext {
            request,
            upstream: cx.upstream,
            route_name: cx.route.map_or("", |route| route.name()),
            ..FormatContext::for_request(cx.connection, metadata)
        };
        let (head, body) = (&mut *cx.head, &mut *cx.body);
        self.each(cx.route_configs, |level| {
            body.trailers |= !level.response_trailers.is_empty();
            for change in &level.response {
                change.remove_from(&mut head.headers);
                let response = Some(ResponseFacts { status: head.status, headers: &head.headers });
                let computed = change.evaluate(&head.headers, &FormatContext { response, ..context });
                Change::put(computed, &mut head.headers);
            }
        });
    }

    fn on_response_trailers(&self, cx: &mut TrailersCx<'_>) {
        let context = FormatContext {
            route_name: cx.route.map_or("", |route| route.name()),
            ..FormatContext::for_request(cx.connection, cx.dynamic_metadata.all())
        };
        let trailers = &mut *cx.trailers;
        self.each(cx.route_configs, |level| change_trailers(&level.response_trailers, trailers, &context));
    }
}

fn change_head(change: &HeaderChanges, head: &mut request::Parts, cx: &FormatContext<'_>) {
    change.remove_from(&mut head.headers);
    let computed = {
        let facts = RequestFacts::of_head(head, cx.connection, cx.dynamic_metadata);
        change.evaluate(&head.headers, &FormatContext { request: Some(facts), ..*cx })
    };
    Change::put(computed, &mut head.headers);
}

fn change_trailers(changes: &[HeaderChanges], trailers: &mut HeaderMap, cx: &FormatContext<'_>) {
    for change in changes {
        change.remove_from(trailers);
        let computed = change.evaluate(trailers, cx);
        Change::put(computed, trailers);
    }
}

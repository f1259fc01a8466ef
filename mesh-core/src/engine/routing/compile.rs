//! From a route configuration to a table, or to the first thing that is wrong with it.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::ClusterId;
use super::condition::Condition;
use super::hash_policy::CompiledHashPolicy;
use super::hosts::{Hosts, Taken};
use super::mirror::Mirror;
use super::overrides::{FilterOverrides, Words};
use super::redirect::CompiledRedirect;
use super::rewrite::{self, CompiledHostRewrite, CompiledPathRewrite};
use super::route::{Action, ClusterRef, CompiledRoute, Effects, Entry, Forwarding, Targets};
use super::scan::Index;
use super::table::{self, RouteTable};
use super::weighted::{BadTotal, Weights};
use crate::engine::header_mutation::steps;
use crate::engine::headers::HeaderChanges;
use crate::engine::matcher::{HeaderKey, HeaderMatch};
use crate::engine::rate_limit::{RateLimits, RouteRateLimits};
use crate::engine::retry::Retry;
use crate::engine::timeout::RouteTimeouts;
use crate::resource::header_mutation::HeaderMutations;
use crate::resource::metadata::{Metadata, Value};
use crate::resource::retry::RetryPolicy;
use crate::resource::route::{
    ClusterSpecifier, DirectResponse, Forward, MirrorPolicy, PerFilterConfig, Route, RouteAction, RouteConfiguration,
    VirtualHost, WeightedClusters,
};
use crate::resource::{FieldPath, Invalid, Name, Problem, ResourceKind, ResourceName};

/// Envoy's limit for the body of a direct response when the configuration gives none.
const MAX_DIRECT_RESPONSE_BODY: u32 = 4096;

type Located<T> = Result<T, (FieldPath, Problem)>;

/// Compiles a configuration.
pub(super) fn compile(
    config: &RouteConfiguration,
    before: Option<&RouteTable>,
    resolve: &mut dyn FnMut(&str) -> ClusterId,
) -> Result<RouteTable, Invalid> {
    let resource = ResourceName::new(ResourceKind::RouteConfiguration, Arc::clone(&config.name));
    let before = before.map(|table| table.words.clone()).unwrap_or_default();
    let words = (before, Words::default());
    let compiler = Compiler { config, resource: resource.clone(), resolve, overrides: Vec::new(), words };
    compiler.table().map_err(|(field, problem)| Invalid::new(resource, field, problem))
}

struct Compiler<'c> {
    config: &'c RouteConfiguration,
    resource: ResourceName,
    resolve: &'c mut dyn FnMut(&str) -> ClusterId,
    overrides: Vec<FilterOverrides>,
    /// What earlier routes said to filters, as far as it has not been said again; and what these say.
    words: (Words, Words),
}

/// Changes of one level to both directions; `None` where it changes nothing.
struct Level {
    request: Option<Arc<HeaderChanges>>,
    response: Option<Arc<HeaderChanges>>,
}

/// What a virtual host's routes share.
struct Host<'c> {
    config: &'c VirtualHost,
    at: FieldPath,
    retry: Option<Arc<Retry>>,
    changes: Level,
    overrides: usize,
    rate_limits: RateLimits,
}

impl<'c> Compiler<'c> {
    fn table(mut self) -> Located<RouteTable> {
        let root = FieldPath::root();
        let config = self.config;
        let changes = level(&config.request_headers, &config.response_headers, &root)?;
        let shared = self.override_set(None, &Name::default(), &config.per_filter_config, &root)?;
        let mut hosts = Hosts::default();
        hosts.ignore_port = config.ignore_port_in_host_matching;
        let (mut virtual_hosts, mut conditions, mut routes) = (Vec::new(), Vec::new(), Vec::new());
        for (number, host) in config.virtual_hosts.iter().enumerate() {
            let at = root.field("virtual_hosts").index(number);
            self.domains(&mut hosts, host, number, &at)?;
            let first = conditions.len();
            let compiled = Host {
                config: host,
                retry: host
                    .retry_policy
                    .as_ref()
                    .map(|policy| self.retry(policy, &at.field("retry_policy")))
                    .transpose()?,
                changes: level(&host.request_headers, &host.response_headers, &at)?,
                overrides: self.override_set(Some(shared), &host.name, &host.per_filter_config, &at)?,
                rate_limits: RateLimits::compile(&host.rate_limits, &at.field("rate_limits"))?,
                at: at.clone(),
            };
            for (number, route) in host.routes.iter().enumerate() {
                let at = at.field("routes").index(number);
                let condition = Condition::compile(&route.matches, &at.field("match"))?;
                routes.push(self.route(route, &condition, &compiled, &changes, &at)?);
                conditions.push(condition);
            }
            virtual_hosts.push(table::VirtualHost {
                name: Arc::clone(&host.name),
                require_tls: host.require_tls,
                routes: first..conditions.len(),
                index: Index::new(conditions[first..].iter().map(Condition::hint).collect()),
                virtual_clusters: virtual_clusters(host, &at)?,
                include_request_attempt_count: host.include_request_attempt_count,
                include_attempt_count_in_response: host.include_attempt_count_in_response,
                include_is_timeout_retry_header: host.include_is_timeout_retry_header,
            });
        }
        if u32::try_from(conditions.len()).is_err() {
            return Err((root.field("virtual_hosts"), Problem::from("too many routes")));
        }
        routes.push(own(Action::RequireTls, shared));
        routes.push(own(Action::NoRoute, usize::MAX));
        let internal = config.internal_only_headers.iter().enumerate().map(|(number, name)| {
            let wrong = |_| {
                (
                    root.field("internal_only_headers").index(number),
                    Problem::Value(format!("{name:?} is no header name")),
                )
            };
            HeaderName::from_bytes(name.as_bytes()).map_err(wrong)
        });
        Ok(RouteTable {
            hosts,
            virtual_hosts: virtual_hosts.into(),
            conditions: conditions.into(),
            routes: routes.into(),
            internal_only_headers: internal.collect::<Result<_, _>>()?,
            ignore_path_parameters: config.ignore_path_parameters_in_path_matching,
            overrides: self.overrides.into(),
            words: self.words.1,
        })
    }

    fn domains(&self, hosts: &mut Hosts, host: &VirtualHost, number: usize, at: &FieldPath) -> Located<()> {
        if host.name.is_empty() {
            return Err((at.field("name"), Problem::Missing));
        }
        if host.domains.is_empty() {
            return Err((at.field("domains"), Problem::Missing));
        }
        for (index, domain) in host.domains.iter().enumerate() {
            let at = at.field("domains").index(index);
            if domain.is_empty() {
                return Err((at, Problem::Missing));
            }
            hosts.add(domain, table::number(number)).map_err(|taken| {
                let why = match taken {
                    Taken::Duplicate => format!("{domain:?} is a domain of this route configuration already"),
                    Taken::SecondAny => "\"*\" may be a domain of one virtual host only".to_owned(),
                };
                (at, Problem::Conflict(why))
            })?;
        }
        Ok(())
    }

    fn retry(&self, policy: &RetryPolicy, at: &FieldPath) -> Located<Arc<Retry>> {
        let invalid = |field: &str, problem: String| Invalid::new(self.resource.clone(), at.field(field), problem);
        Retry::compile(policy, invalid).map(Arc::new).map_err(|invalid| (invalid.field, invalid.problem))
    }

    /// The number of the set that a level makes of the set of the level above.
    fn override_set(
        &mut self,
        above: Option<usize>,
        virtual_host: &Name,
        level: &PerFilterConfig,
        at: &FieldPath,
    ) -> Located<usize> {
        let above = match above {
            Some(above) if level.is_empty() => return Ok(above),
            above => above.and_then(|above| self.overrides.get(above)).cloned().unwrap_or_default(),
        };
        let (before, words) = &mut self.words;
        self.overrides.push(above.with(&words.level(before, virtual_host, level, at)?));
        Ok(self.overrides.len() - 1)
    }

    fn route(
        &mut self,
        route: &Route,
        condition: &Condition,
        host: &Host<'_>,
        shared: &Level,
        at: &FieldPath,
    ) -> Located<CompiledRoute> {
        let changes = level(&route.request_headers, &route.response_headers, at)?;
        let overrides = self.override_set(Some(host.overrides), &host.config.name, &route.per_filter_config, at)?;
        let action = match &route.action {
            RouteAction::Forward(forward) => {
                Action::Forward(Box::new(self.forward(forward, condition, host, overrides, &at.field("route"))?))
            }
            RouteAction::Redirect(redirect) => {
                let located = |(field, problem)| (at.field("redirect").field(field), problem);
                Action::Redirect(Box::new(CompiledRedirect::compile(redirect).map_err(located)?))
            }
            RouteAction::DirectResponse(direct) => self.direct_response(direct, &at.field("direct_response"))?,
            RouteAction::NonForwarding => Action::NonForwarding,
        };
        let order = |pick: fn(&Level) -> &Option<Arc<HeaderChanges>>| -> Box<[_]> {
            let levels = if self.config.most_specific_header_mutations_wins {
                [shared, &host.changes, &changes]
            } else {
                [&changes, &host.changes, shared]
            };
            levels.into_iter().filter_map(|level| pick(level).clone()).collect()
        };
        let (request_changes, response_changes) = (order(|level| &level.request), order(|level| &level.response));
        Ok(CompiledRoute {
            effects: Effects::of(&action, &request_changes, &response_changes),
            name: Arc::clone(&route.name),
            virtual_host: Arc::clone(&host.config.name),
            action,
            metadata: route.metadata.clone(),
            request_changes,
            response_changes,
            overrides,
            request_body_buffer_limit: route.request_body_buffer_limit.or(host.config.request_body_buffer_limit),
        })
    }

    fn direct_response(&self, direct: &DirectResponse, at: &FieldPath) -> Located<Action> {
        if !(200..600).contains(&direct.status.as_u16()) {
            return Err((
                at.field("status"),
                Problem::Value(format!("{} is not within 200..600", direct.status.as_u16())),
            ));
        }
        let most = self.config.max_direct_response_body_size_bytes.unwrap_or(MAX_DIRECT_RESPONSE_BODY);
        if direct.body.len() as u64 > u64::from(most) {
            return Err((
                at.field("body"),
                Problem::Value(format!("{} bytes are over the limit of {most}", direct.body.len())),
            ));
        }
        Ok(Action::DirectResponse { status: direct.status, body: direct.body.clone() })
    }

    fn forward(
        &mut self,
        forward: &Forward,
        condition: &Condition,
        host: &Host<'_>,
        overrides: usize,
        at: &FieldPath,
    ) -> Located<Forwarding> {
        let located = |(field, problem): (&str, Problem)| (at.field(field), problem);
        let status = forward.cluster_not_found_response_code;
        if !matches!(status.as_u16(), 404 | 500 | 503) {
            let why = format!("{} is none of 503, 404 and 500", status.as_u16());
            return Err((at.field("cluster_not_found_response_code"), Problem::Value(why)));
        }
        let targets = match &forward.cluster {
            ClusterSpecifier::WeightedClusters(weighted) => {
                self.weighted(weighted, forward, host, overrides, &at.field("weighted_clusters"))?
            }
            one => Targets::One(self.cluster(one, at, ("cluster", "cluster_header"))?),
        };
        let path_rewrite =
            forward.path_rewrite.as_ref().map(|config| CompiledPathRewrite::compile(config, &condition.path));
        let host_rewrite = forward.host_rewrite.as_ref().map(CompiledHostRewrite::compile);
        let retry = match &forward.retry_policy {
            Some(policy) => Some(self.retry(policy, &at.field("retry_policy"))?),
            None => host.retry.clone(),
        };
        let hash_policy = forward.hash_policy.iter().enumerate().map(|(number, policy)| {
            CompiledHashPolicy::compile(policy).map_err(|problem| (at.field("hash_policy").index(number), problem))
        });
        let hash_policy = hash_policy.collect::<Result<_, _>>()?;
        Ok(Forwarding {
            targets,
            cluster_not_found: status,
            path_rewrite: path_rewrite.transpose().map_err(located)?.flatten(),
            host_rewrite: host_rewrite.transpose().map_err(located)?.flatten(),
            append_x_forwarded_host: forward.append_x_forwarded_host,
            timeouts: timeouts(forward),
            retry,
            retry_policy: forward.retry_policy.as_ref().or(host.config.retry_policy.as_ref()).cloned(),
            hedge_policy: forward.hedge_policy.or(host.config.hedge_policy),
            hash_policy,
            mirrors: self.mirrors(&forward.mirror_policies, host, at)?,
            priority: forward.priority,
            upgrades: forward.upgrade_configs.clone().into(),
            rate_limits: rate_limits(forward, host, at)?,
            metadata_match: forward.metadata_match.clone(),
        })
    }

    fn cluster(
        &mut self,
        cluster: &ClusterSpecifier,
        at: &FieldPath,
        (by_name, by_header): (&str, &str),
    ) -> Located<ClusterRef> {
        match cluster {
            ClusterSpecifier::Cluster(name) if name.is_empty() => Err((at.field(by_name), Problem::Missing)),
            ClusterSpecifier::Cluster(name) => Ok(ClusterRef::Cluster((self.resolve)(name), Name::clone(name))),
            ClusterSpecifier::ClusterHeader(header) => {
                HeaderKey::parse(header).map(ClusterRef::Header).map_err(|problem| (at.field(by_header), problem))
            }
            ClusterSpecifier::WeightedClusters(_) => {
                Err((at.clone(), Problem::Conflict("weighted clusters may not be nested, nor mirrored to".to_owned())))
            }
        }
    }

    fn weighted(
        &mut self,
        weighted: &WeightedClusters,
        forward: &Forward,
        host: &Host<'_>,
        above: usize,
        at: &FieldPath,
    ) -> Located<Targets> {
        let list = at.field("clusters");
        if weighted.clusters.is_empty() {
            return Err((list, Problem::Missing));
        }
        let mut entries = Vec::with_capacity(weighted.clusters.len());
        for (number, entry) in weighted.clusters.iter().enumerate() {
            let at = list.index(number);
            let changes = |config: &HeaderMutations, which: &str| compiled_changes(config, &at, which);
            let host_rewrite =
                entry.host_rewrite_literal.as_deref().filter(|host| !host.is_empty()).map(rewrite::authority);
            entries.push(Entry {
                cluster: self.cluster(&entry.cluster, &at, ("name", "cluster_header"))?,
                request_changes: changes(&entry.request_headers, "request")?,
                response_changes: changes(&entry.response_headers, "response")?,
                host_rewrite: host_rewrite
                    .transpose()
                    .map_err(|problem| (at.field("host_rewrite_literal"), problem))?,
                metadata_match: merged(&forward.metadata_match, &entry.metadata_match),
                overrides: self.override_set(Some(above), &host.config.name, &entry.per_filter_config, &at)?,
            });
        }
        let weights = Weights::new(weighted.clusters.iter().map(|entry| entry.weight)).map_err(|bad| {
            let why = match bad {
                BadTotal::Zero => "the sum of the weights must be greater than 0",
                BadTotal::TooLarge => "the sum of the weights must be at most 4294967295",
            };
            (list, Problem::from(why))
        })?;
        let header = weighted.random_value_header.as_deref().filter(|name| !name.is_empty()).map(HeaderKey::parse);
        let random_value_header = header.transpose().map_err(|problem| (at.field("header_name"), problem))?;
        Ok(Targets::Weighted { entries: entries.into(), weights, random_value_header })
    }

    /// The mirrors of the most specific level that has any.
    fn mirrors(&mut self, of_route: &[MirrorPolicy], host: &Host<'_>, route: &FieldPath) -> Located<Box<[Mirror]>> {
        let (policies, at) = if !of_route.is_empty() {
            (of_route, route.clone())
        } else if !host.config.mirror_policies.is_empty() {
            (&*host.config.mirror_policies, host.at.clone())
        } else {
            (&*self.config.mirror_policies, FieldPath::root())
        };
        let mut mirrors = Vec::with_capacity(policies.len());
        for (number, policy) in policies.iter().enumerate() {
            let at = at.field("request_mirror_policies").index(number);
            if let Some(fraction) = policy.runtime_fraction {
                fraction.judge().map_err(|problem| (at.field("runtime_fraction.default_value"), problem))?;
            }
            mirrors.push(Mirror {
                cluster: self.cluster(&policy.cluster, &at, ("cluster", "cluster_header"))?,
                runtime_fraction: policy.runtime_fraction,
                trace_sampled: policy.trace_sampled,
                append_shadow_suffix: !policy.disable_shadow_host_suffix_append,
                changes: steps(&policy.request_headers, &at.field("request_headers_mutations"))?,
                host: policy
                    .host_rewrite_literal
                    .as_deref()
                    .filter(|host| !host.is_empty())
                    .map(rewrite::authority)
                    .transpose()
                    .map_err(|problem| (at.field("host_rewrite_literal"), problem))?,
            });
        }
        Ok(mirrors.into())
    }
}

/// A route that every table has: for callers who are sent to `https`, for requests that no route takes. It changes no
/// headers, as in Envoy.
fn own(action: Action, overrides: usize) -> CompiledRoute {
    CompiledRoute {
        name: Name::default(),
        virtual_host: Name::default(),
        action,
        metadata: Metadata::new(),
        request_changes: Box::default(),
        response_changes: Box::default(),
        overrides,
        request_body_buffer_limit: None,
        effects: Effects::default(),
    }
}

fn level(request: &HeaderMutations, response: &HeaderMutations, at: &FieldPath) -> Located<Level> {
    Ok(Level {
        request: compiled_changes(request, at, "request")?.map(Arc::new),
        response: compiled_changes(response, at, "response")?.map(Arc::new),
    })
}

fn compiled_changes(config: &HeaderMutations, at: &FieldPath, which: &str) -> Located<Option<HeaderChanges>> {
    if config.is_empty() {
        return Ok(None);
    }
    let field = |what: &str| at.field(&format!("{which}_headers_to_{what}"));
    HeaderChanges::compile(config, &field("add"), &field("remove")).map(Some)
}

fn virtual_clusters(host: &VirtualHost, at: &FieldPath) -> Located<Box<[table::VirtualCluster]>> {
    let clusters = host.virtual_clusters.iter().enumerate().map(|(number, cluster)| {
        let at = at.field("virtual_clusters").index(number);
        if cluster.name.is_empty() {
            return Err((at.field("name"), Problem::Missing));
        }
        let headers = cluster.headers.iter().enumerate().map(|(number, one)| {
            HeaderMatch::compile(one).map_err(|problem| (at.field("headers").index(number), problem))
        });
        Ok(table::VirtualCluster { name: Name::clone(&cluster.name), headers: headers.collect::<Result<_, _>>()? })
    });
    clusters.collect()
}

/// `None` when there is nothing to say.
fn rate_limits(forward: &Forward, host: &Host<'_>, at: &FieldPath) -> Located<Option<Box<RouteRateLimits>>> {
    if forward.rate_limits.is_empty() && host.rate_limits.is_empty() {
        return Ok(None);
    }
    Ok(Some(Box::new(RouteRateLimits {
        route: RateLimits::compile(&forward.rate_limits, &at.field("rate_limits"))?,
        virtual_host: host.rate_limits.clone(),
        include_virtual_host: forward.include_virtual_host_rate_limits,
    })))
}

/// With `max_stream_duration` the route's other limits do not count, as in Envoy.
const fn timeouts(forward: &Forward) -> RouteTimeouts {
    match forward.max_stream_duration {
        None => RouteTimeouts {
            timeout: forward.timeout,
            idle_timeout: forward.idle_timeout,
            max_grpc_timeout: forward.max_grpc_timeout,
            grpc_timeout_offset: forward.grpc_timeout_offset,
            ..RouteTimeouts::UNSET
        },
        Some(stream) => RouteTimeouts {
            timeout: Some(Duration::ZERO),
            idle_timeout: forward.idle_timeout,
            max_stream_duration: stream.max_stream_duration,
            grpc_timeout_header_max: stream.grpc_timeout_header_max,
            grpc_timeout_header_offset: stream.grpc_timeout_header_offset,
            ..RouteTimeouts::UNSET
        },
    }
}

/// The subset criteria of a weighted cluster on top of its route's: key by key within a namespace.
fn merged(route: &Metadata, entry: &Metadata) -> Metadata {
    let mut merged = route.clone();
    for (namespace, value) in entry {
        match (merged.get_mut(namespace), value) {
            (Some(Value::Struct(below)), Value::Struct(above)) => below.extend(above.clone()),
            _ => {
                merged.insert(namespace.clone(), value.clone());
            }
        }
    }
    merged
}

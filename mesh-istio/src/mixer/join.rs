//! How objects of Mixer's quotas join: binding → spec → charge → rule → instance and handler → limit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mesh_proto::mixer as out;

use super::expression::parse;
use crate::mesh_config::MeshConfig;
use crate::object::{
    BoundService, Handler, HandlerQuota, Instance, Object, QuotaSpec, QuotaSpecBinding, QuotaSpecReference,
    RateLimitAlgorithm, Rule, Spec, StringMatch,
};
use crate::world::World;

/// `minDeduplicationDuration` where there is none, as the stock sample has it.
const DEDUPLICATION: Duration = Duration::from_secs(1);

/// All objects of Mixer's quotas, oldest first.
pub(crate) struct Joined<'a> {
    handlers: Vec<(&'a Arc<Object>, &'a Handler)>,
    instances: Vec<(&'a Arc<Object>, &'a Instance)>,
    rules: Vec<(&'a Arc<Object>, &'a Rule)>,
    specs: Vec<(&'a Arc<Object>, &'a QuotaSpec)>,
    pub(crate) bindings: Vec<(&'a Arc<Object>, &'a QuotaSpecBinding)>,
    root: &'a str,
    strict: bool,
}

/// The service that is called, and the workload that serves it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Called<'a> {
    /// Host name, name and namespace of the service.
    pub(crate) host: &'a str,
    pub(crate) name: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) labels: &'a std::collections::BTreeMap<String, String>,
    pub(crate) workload_namespace: &'a str,
}

impl<'a> Joined<'a> {
    pub(crate) fn of(world: &'a World, mesh: &'a MeshConfig) -> Self {
        let mut joined = Self {
            handlers: Vec::new(),
            instances: Vec::new(),
            rules: Vec::new(),
            specs: Vec::new(),
            bindings: Vec::new(),
            root: &mesh.root_namespace,
            strict: mesh.compat.strict_quotas,
        };
        for object in world.objects() {
            match &object.spec {
                Spec::Handler(spec) => joined.handlers.push((object, spec)),
                Spec::Instance(spec) => joined.instances.push((object, spec)),
                Spec::Rule(spec) => joined.rules.push((object, spec)),
                Spec::QuotaSpec(spec) => joined.specs.push((object, spec)),
                Spec::QuotaSpecBinding(spec) => joined.bindings.push((object, spec)),
                _ => {}
            }
        }
        joined
    }

    /// What requests for a service are charged. Every spec that is bound counts once.
    pub(crate) fn charges(&self, services: &[Called<'_>], mesh: &MeshConfig) -> Vec<out::Charge> {
        let mut seen = BTreeSet::new();
        let mut charges = Vec::new();
        for (binding, spec) in &self.bindings {
            let called = services
                .iter()
                .find(|called| spec.services.iter().any(|service| applies(service, binding, called, mesh)));
            let Some(called) = called else { continue };
            for reference in &spec.quota_specs {
                let Some((object, quotas)) = self.spec(binding, reference) else { continue };
                if seen.insert(&object.id) {
                    charges.extend(self.of_spec(quotas, called, &[&binding.id.namespace, &object.id.namespace]));
                }
            }
        }
        charges
    }

    fn of_spec(&self, spec: &QuotaSpec, called: &Called<'_>, namespaces: &[&str]) -> Vec<out::Charge> {
        let mut charges = Vec::new();
        for rule in &spec.rules {
            let matches: Vec<_> = rule.r#match.iter().map(|one| one.clause.iter().map(clause).collect()).collect();
            for quota in &rule.quotas {
                let amount = u32::try_from(quota.charge.unwrap_or(1)).unwrap_or(0);
                if amount == 0 {
                    continue;
                }
                let mut of = namespaces.to_vec();
                of.push(called.namespace);
                charges.push(out::Charge {
                    quota: quota.quota.clone(),
                    amount,
                    matches: matches.clone(),
                    routes: self.routes(&quota.quota, &of, Some(called)),
                });
            }
        }
        charges
    }

    /// The limits that may take a charge, in the order in which they are asked.
    pub(crate) fn routes(&self, quota: &str, namespaces: &[&str], called: Option<&Called<'_>>) -> Vec<out::Route> {
        let mut routes = Vec::new();
        let here = |object: &Object| namespaces.contains(&&*object.id.namespace) || object.id.namespace == self.root;
        for (object, rule) in self.rules.iter().filter(|(object, _)| here(object)) {
            for action in &rule.actions {
                let Some((handler_object, handler)) = self.handler(&action.handler, &object.id.namespace) else {
                    continue;
                };
                for name in action.instances.iter().filter(|name| same_quota(name, quota, self.strict)) {
                    let Some((_, instance)) = self.instance(name, &object.id.namespace) else { continue };
                    let Some(limit) = self.limit(handler, name) else { continue };
                    let dimensions = instance.params.dimensions.iter().map(|(key, text)| {
                        let tokens = parse(text).map(|(tokens, _)| tokens).unwrap_or_default();
                        (key.clone(), resolved(tokens, called))
                    });
                    routes.push(out::Route {
                        matches: match rule.r#match.trim() {
                            "" => Vec::new(),
                            text => resolved(parse(text).map(|(tokens, _)| tokens).unwrap_or_default(), called),
                        },
                        dimensions: dimensions.collect(),
                        limit: lowered(handler_object, handler, limit),
                    });
                }
            }
        }
        for (object, handler) in self.unruled().filter(|(object, _)| here(object)) {
            let limits = handler.params.quotas.iter().filter(|limit| same_quota(&limit.name, quota, self.strict));
            routes.extend(limits.map(|limit| out::Route {
                matches: Vec::new(),
                dimensions: std::collections::BTreeMap::new(),
                limit: lowered(object, handler, limit),
            }));
        }
        routes
    }

    /// Handlers that no rule names: taken as if one did, always and without dimensions.
    pub(crate) fn unruled(&self) -> impl Iterator<Item = (&'a Arc<Object>, &'a Handler)> {
        let named = |object: &Object| {
            self.rules.iter().any(|(rule, spec)| {
                spec.actions.iter().any(|action| refers(&action.handler, &rule.id.namespace, object))
            })
        };
        self.handlers.iter().copied().filter(move |(object, _)| !self.strict && !named(object))
    }

    /// QuotaSpecs that no binding names.
    pub(crate) fn unbound(&self) -> impl Iterator<Item = &'a Arc<Object>> {
        let bound = |object: &Object| {
            self.bindings.iter().any(|(binding, spec)| {
                spec.quota_specs
                    .iter()
                    .any(|one| self.spec(binding, one).is_some_and(|(found, _)| found.id == object.id))
            })
        };
        self.specs.iter().map(|(object, _)| *object).filter(move |object| !bound(object))
    }

    pub(crate) fn spec(
        &self,
        binding: &Object,
        reference: &QuotaSpecReference,
    ) -> Option<(&'a Arc<Object>, &'a QuotaSpec)> {
        let namespace = if reference.namespace.is_empty() { &binding.id.namespace } else { &reference.namespace };
        self.specs
            .iter()
            .copied()
            .find(|(object, _)| object.id.name == reference.name && object.id.namespace == *namespace)
    }

    fn handler(&self, reference: &str, namespace: &str) -> Option<(&'a Arc<Object>, &'a Handler)> {
        self.handlers.iter().copied().find(|(object, _)| refers(reference, namespace, object))
    }

    fn instance(&self, reference: &str, namespace: &str) -> Option<(&'a Arc<Object>, &'a Instance)> {
        self.instances.iter().copied().find(|(object, _)| refers(reference, namespace, object))
    }

    fn limit(&self, handler: &'a Handler, instance: &str) -> Option<&'a HandlerQuota> {
        handler.params.quotas.iter().find(|limit| same_quota(&limit.name, instance, self.strict))
    }
}

/// Whether an adapter counts quotas.
pub(crate) fn is_quota_adapter(adapter: &str) -> bool {
    ["memquota", "redisquota"].iter().any(|known| adapter.eq_ignore_ascii_case(known))
}

/// Whether a binding's service is the one that is called.
fn applies(service: &BoundService, binding: &Object, called: &Called<'_>, mesh: &MeshConfig) -> bool {
    match service.service.as_str() {
        "*" => true,
        "" => {
            let namespace = if service.namespace.is_empty() { &binding.id.namespace } else { &service.namespace };
            let domain =
                if service.domain.is_empty() { format!("svc.{}", mesh.cluster_domain) } else { service.domain.clone() };
            called.host.eq_ignore_ascii_case(&format!("{}.{namespace}.{domain}", service.name))
        }
        host => called.host.eq_ignore_ascii_case(host),
    }
}

/// Whether two texts name the same quota. Mixer compares short names without case; unless it is to be strict, `-` and `_` and
/// the suffixes of older spellings do not count either.
pub(crate) fn same_quota(a: &str, b: &str, strict: bool) -> bool {
    let short = |text: &str| {
        let name = text.split('.').next().unwrap_or_default().to_ascii_lowercase();
        if strict { name } else { name.replace(['-', '_'], "") }
    };
    short(a) == short(b)
}

/// Whether `name`, `name.namespace` or `name.kind.namespace`, written in `namespace`, means an object.
fn refers(reference: &str, namespace: &str, object: &Object) -> bool {
    let mut parts = reference.split('.');
    let name = parts.next().unwrap_or_default();
    let last = parts.next_back().filter(|last| !KINDS.contains(last));
    object.id.name == name && object.id.namespace == last.unwrap_or(namespace)
}

/// What may stand for a kind in a name.
const KINDS: &[&str] = &["handler", "instance", "memquota", "redisquota", "quota"];

fn lowered(object: &Object, handler: &Handler, limit: &HandlerQuota) -> out::Limit {
    let amount = |amount: i64| u64::try_from(amount).unwrap_or(0);
    let redis = handler.compiled_adapter.eq_ignore_ascii_case("redisquota");
    out::Limit {
        name: format!("{}/{}/{}", object.id.namespace, object.id.name, limit.name),
        max_amount: amount(limit.max_amount),
        valid_duration: limit.valid_duration.unwrap_or_default(),
        fixed_window: match limit.rate_limit_algorithm {
            Some(algorithm) => algorithm == RateLimitAlgorithm::FixedWindow,
            None => redis,
        },
        overrides: limit
            .overrides
            .iter()
            .map(|one| out::Override {
                dimensions: one.dimensions.clone(),
                max_amount: amount(one.max_amount),
                valid_duration: one.valid_duration.unwrap_or_default(),
            })
            .collect(),
        min_deduplication: handler.params.min_deduplication_duration.unwrap_or(DEDUPLICATION),
    }
}

fn clause((attribute, matcher): (&String, &StringMatch)) -> out::Clause {
    let (name, key) = attribute.split_once('[').unwrap_or((attribute, ""));
    let (attribute, key) = of_request(name, key.trim_end_matches(']').trim_matches('"'));
    let matcher = match matcher {
        StringMatch::Exact(text) => out::Matcher::Exact(text.clone()),
        StringMatch::Prefix(text) => out::Matcher::Prefix(text.clone()),
        StringMatch::Regex(text) => out::Matcher::Regex(text.clone()),
        StringMatch::Present => out::Matcher::Prefix(String::new()),
    };
    out::Clause { attribute: attribute.to_owned(), key: key.to_owned(), matcher }
}

/// Attributes that are other names for something of the request.
fn of_request<'n>(name: &'n str, key: &'n str) -> (&'n str, &'n str) {
    match name {
        "request.useragent" => ("request.headers", "user-agent"),
        "request.referer" => ("request.headers", "referer"),
        "request.id" => ("request.headers", "x-request-id"),
        "request.http_method" => ("request.method", key),
        "connection.requested_server_name" => ("connection.sni", key),
        _ => (name, key),
    }
}

/// Puts in what is known without a request.
fn resolved(tokens: Vec<out::Token>, called: Option<&Called<'_>>) -> Vec<out::Token> {
    let one = |token| match token {
        out::Token::Attribute(name, key) => match called.and_then(|called| known(called, &name, &key)) {
            Some(text) => out::Token::Text(text.to_owned()),
            None => {
                let (name, key) = of_request(&name, &key);
                out::Token::Attribute(name.to_owned(), key.to_owned())
            }
        },
        other => other,
    };
    tokens.into_iter().map(one).collect()
}

fn known<'c>(called: &Called<'c>, name: &str, key: &str) -> Option<&'c str> {
    Some(match name {
        "destination.labels" => called.labels.get(key)?,
        "destination.service" | "destination.service.host" => called.host,
        "destination.service.name" => called.name,
        "destination.service.namespace" => called.namespace,
        "destination.namespace" | "destination.workload.namespace" => called.workload_namespace,
        "context.reporter.kind" => "inbound",
        _ => return None,
    })
}

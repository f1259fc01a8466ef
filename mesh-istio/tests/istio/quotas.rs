//! Mixer's quotas: what objects refuse, and what a workload that is called is told to count.

use mesh_istio::{MeshConfig, ProxyContext, Severity};
use serde_json::{Value, json};

use crate::support::{listener, lowered_for, of, world};

/// An object of `config.istio.io` with that flow-style `spec`.
fn object(kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: config.istio.io/v1alpha2\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n")
}

/// A service whose only endpoint is 127.0.0.1:9080.
const SHOP: &str = "\
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: shop-1}
spec: {address: 127.0.0.1, ports: {http: 9080}, labels: {app: shop, version: v1}}
---
";

/// The filter of the served port, and whatever is said as a warning.
fn quotas(objects: &str, mesh: &MeshConfig) -> (Value, Vec<String>) {
    let proxy =
        ProxyContext::new("default").ip("127.0.0.1".parse().unwrap()).label("app", "shop").label("version", "v1");
    let text = format!("{SHOP}{objects}");
    let lowered = lowered_for(&text, &proxy, mesh);
    let inbound = listener(&lowered, "virtualInbound");
    let chains = inbound["filterChains"].as_array().unwrap();
    let chain = chains.iter().find(|chain| chain["filterChainMatch"]["destinationPort"] == 9080).unwrap();
    let filters = chain["filters"][0]["typedConfig"]["httpFilters"].as_array().unwrap();
    let quota = filters.iter().find(|filter| filter["name"] == "mesh.mixer.quota");
    assert!(quota.is_none() || filters[0]["name"] == "mesh.mixer.quota", "before all others");
    let all: Vec<_> = world(&text).findings().iter().chain(&lowered.findings).cloned().collect();
    (quota.map_or(Value::Null, |quota| quota["typedConfig"]["value"].clone()), of(&all, Severity::Warning))
}

const BINDING: &str = "{quotaSpecs: [{name: request-count}], services: [{service: '*'}]}";
const SPEC: &str = "{rules: [{quotas: [{charge: 1, quota: request-count}]}]}";

fn limit(name: &str, max: &str, seconds: &str) -> Value {
    json!({ "name": name, "maxAmount": max, "validDuration": seconds, "fixedWindow": false, "minDeduplication": "1.000000000s" })
}

#[test]
fn fragments_without_instance_and_rule_limit_all_charges_of_their_name_and_are_warned_about() {
    let handler = "{compiledAdapter: memQuota, params: {quotas: [{name: requestcount.quota, maxAmount: 500, validDuration: 1s}]}}";
    let objects = object("handler", "quota-handler", handler)
        + &object("QuotaSpec", "request-count", SPEC)
        + &object("QuotaSpecBinding", "bind", BINDING);
    let (found, warned) = quotas(&objects, &MeshConfig::default());
    let route = json!({ "limit": limit("default/quota-handler/requestcount.quota", "500", "1.000000000s") });
    assert_eq!(found, json!({ "charges": [{ "quota": "request-count", "amount": 1, "routes": [route] }] }));
    for expected in [
        "spec.compiledAdapter: \"memQuota\" is taken as memquota",
        "spec.params.minDeduplicationDuration: is missing and taken as 1s",
        "no rule names this handler",
        "request-count is taken for requestcount.quota",
    ] {
        assert!(
            warned.iter().any(|line| line.starts_with("QUOTA_COMPAT") && line.contains(expected)),
            "{expected}: {warned:#?}"
        );
    }
    let mut strict = MeshConfig::default();
    strict.compat.strict_quotas = true;
    let (found, warned) = quotas(&objects, &strict);
    assert_eq!(found, json!({ "charges": [{ "quota": "request-count", "amount": 1, "routes": [] }] }));
    assert!(warned.iter().any(|line| line.starts_with("QUOTA_WITHOUT_LIMIT")), "{warned:#?}");
}

#[test]
fn a_whole_set_of_objects_joins_and_what_is_known_of_the_workload_is_put_in() {
    let handler = "{compiledAdapter: memquota, params: {minDeduplicationDuration: 2s, quotas: [{name: requestcountquota.instance.default, \
                   maxAmount: 500, validDuration: 1s, overrides: [{dimensions: {destination: reviews}, maxAmount: 1, validDuration: 5s}]}]}}";
    let instance = "{compiledTemplate: quota, params: {dimensions: {source: 'request.headers[\"x-forwarded-for\"] | \"unknown\"', \
                    destination: 'destination.labels[\"app\"] | destination.service.name | \"unknown\"', \
                    destinationVersion: 'destination.labels[\"none\"] | \"unknown\"', agent: 'request.useragent | \"\"'}}}";
    let rule = "{match: 'match(request.url_path, \"/api/*\")', actions: [{handler: quotahandler.handler.default, instances: [requestcountquota.instance]}]}";
    let spec = "{rules: [{match: [{clause: {request.path: {prefix: /api}, 'request.headers[\"x-a\"]': {exact: b}}}], quotas: [{quota: RequestCountQuota, charge: 2}]}]}";
    let binding =
        "{quotaSpecs: [{name: request-count, namespace: default}], services: [{name: shop, namespace: default}]}";
    let objects = object("handler", "quotahandler", handler)
        + &object("instance", "requestcountquota", instance)
        + &object("rule", "quota", rule)
        + &object("QuotaSpec", "request-count", spec)
        + &object("QuotaSpecBinding", "request-count", binding);
    let (found, warned) = quotas(&objects, &MeshConfig::default());
    assert!(warned.is_empty(), "{warned:#?}");
    let charge = &found["charges"][0];
    assert_eq!((&charge["quota"], &charge["amount"]), (&json!("RequestCountQuota"), &json!(2)));
    let clause = |attribute: &str, key: &str, is: Value| {
        if key.is_empty() {
            json!({ "attribute": attribute, "is": is })
        } else {
            json!({ "attribute": attribute, "key": key, "is": is })
        }
    };
    assert_eq!(
        charge["match"],
        json!([[
            clause("request.headers", "x-a", json!({ "exact": "b" })),
            clause("request.path", "", json!({ "prefix": "/api" }))
        ]])
    );
    let route = &charge["routes"][0];
    let attribute = |name: &str, key: &str| json!({ "attribute": [name, key] });
    let (text, call) = (|text: &str| json!({ "text": text }), |name: &str, count: u8| json!({ "call": [name, count] }));
    assert_eq!(route["match"], json!([attribute("request.url_path", ""), text("/api/*"), call("match", 2)]));
    assert_eq!(
        route["dimensions"],
        json!({
            "source": [attribute("request.headers", "x-forwarded-for"), text("unknown"), call("|", 2)],
            "destination": [text("shop"), text("shop"), call("|", 2), text("unknown"), call("|", 2)],
            "destinationVersion": [attribute("destination.labels", "none"), text("unknown"), call("|", 2)],
            "agent": [attribute("request.headers", "user-agent"), text(""), call("|", 2)],
        })
    );
    let mut expected = limit("default/quotahandler/requestcountquota.instance.default", "500", "1.000000000s");
    expected["minDeduplication"] = json!("2.000000000s");
    expected["overrides"] =
        json!([{ "dimensions": { "destination": "reviews" }, "maxAmount": "1", "validDuration": "5.000000000s" }]);
    assert_eq!(route["limit"], expected);
}

#[test]
fn older_kinds_and_redisquota_mean_the_same_and_redis_counts_in_fixed_windows() {
    let memquota = "{quotas: [{name: q, maxAmount: 5, validDuration: 1s}], minDeduplicationDuration: 1s}";
    let rule = "{actions: [{handler: h.memquota, instances: [q.quota]}]}";
    let bound = object("QuotaSpec", "request-count", "{rules: [{quotas: [{quota: q}]}]}")
        + &object("QuotaSpecBinding", "b", BINDING);
    let old = object("memquota", "h", memquota)
        + &object("quota", "q", "{dimensions: {}}")
        + &object("rule", "r", rule)
        + &bound;
    let (found, warned) = quotas(&old, &MeshConfig::default());
    assert_eq!(
        found["charges"][0]["routes"],
        json!([{ "limit": limit("default/h/q", "5", "1.000000000s") }]),
        "{warned:#?}"
    );
    let redis = "{compiledAdapter: redisquota, params: {redisServerUrl: 'redis:6379', connectionPoolSize: 10, quotas: [{name: q, maxAmount: 5, validDuration: 1s}]}}";
    let rule = "{actions: [{handler: h, instances: [q]}]}";
    let instance = object("instance", "q", "{compiledTemplate: quota, params: {dimensions: {}}}");
    let (found, _) = quotas(
        &(object("handler", "h", redis) + &instance + &object("rule", "r", rule) + &bound),
        &MeshConfig::default(),
    );
    assert_eq!(found["charges"][0]["routes"][0]["limit"]["fixedWindow"], true);
}

#[test]
fn only_bound_services_are_charged_and_a_charge_of_nothing_is_none() {
    let charge = |binding: &str, spec: &str| {
        let objects = object("QuotaSpec", "request-count", spec) + &object("QuotaSpecBinding", "b", binding);
        let (found, _) = quotas(&objects, &MeshConfig::default());
        found["charges"].as_array().map_or(0, Vec::len)
    };
    let to = |service: &str| format!("{{quotaSpecs: [{{name: request-count}}], services: [{service}]}}");
    assert_eq!(charge(&to("{service: '*'}"), SPEC), 1);
    assert_eq!(charge(&to("{name: shop}"), SPEC), 1);
    assert_eq!(charge(&to("{name: shop, namespace: default, domain: svc.cluster.local}"), SPEC), 1);
    assert_eq!(charge(&to("{service: shop.default.svc.cluster.local}"), SPEC), 1);
    assert_eq!(charge(&to("{name: shop, namespace: other}"), SPEC), 0);
    assert_eq!(charge(&to("{name: other}, {name: shop}"), SPEC), 1);
    assert_eq!(charge("{quotaSpecs: [{name: none}], services: [{service: '*'}]}", SPEC), 0);
    assert_eq!(
        charge("{quotaSpecs: [{name: request-count}, {name: request-count}], services: [{service: '*'}]}", SPEC),
        1
    );
    assert_eq!(charge(BINDING, "{rules: [{quotas: [{quota: q, charge: 0}]}]}"), 0);
    assert_eq!(charge(BINDING, "{rules: [{quotas: [{quota: q}, {quota: p}]}]}"), 2);
}

#[test]
fn bad_settings_are_refused_with_their_path() {
    let params = |adapter: &str, params: &str| format!("{{compiledAdapter: {adapter}, params: {{{params}}}}}");
    for (kind, spec, expected) in [
        (
            "handler",
            params("memquota", "minDeduplicationDuration: 0s"),
            "BAD_DURATION spec.params.minDeduplicationDuration",
        ),
        ("handler", params("memquota", "quotas: [{maxAmount: 1}]"), "REQUIRED spec.params.quotas[0].name"),
        (
            "handler",
            params("memquota", "quotas: [{name: q, maxAmount: -1}]"),
            "INVALID_VALUE spec.params.quotas[0].maxAmount",
        ),
        (
            "handler",
            params("memquota", "quotas: [{name: q, maxAmount: 99999999999999999999}]"),
            "WRONG_TYPE spec.params.quotas[0].maxAmount",
        ),
        ("handler", params("memquota", "quotas: [{name: q}, {name: q}]"), "DUPLICATE_VALUE spec.params.quotas[1].name"),
        (
            "handler",
            params("memquota", "quotas: [{name: q, overrides: [{maxAmount: 1}]}]"),
            "REQUIRED spec.params.quotas[0].overrides[0].dimensions",
        ),
        (
            "handler",
            params("redisquota", "quotas: [{name: q, maxAmount: 0, validDuration: 1s}]"),
            "INVALID_VALUE spec.params.quotas[0].maxAmount",
        ),
        (
            "handler",
            params("redisquota", "quotas: [{name: q, maxAmount: 1}]"),
            "BAD_DURATION spec.params.quotas[0].validDuration",
        ),
        (
            "handler",
            params(
                "redisquota",
                "quotas: [{name: q, maxAmount: 1, validDuration: 1s, rateLimitAlgorithm: ROLLING_WINDOW, bucketDuration: 1s}]",
            ),
            "BAD_DURATION spec.params.quotas[0].bucketDuration",
        ),
        ("handler", params("redisquota", "connectionPoolSize: -1"), "INVALID_VALUE spec.params.connectionPoolSize"),
        (
            "instance",
            "{compiledTemplate: quota, params: {dimensions: {a: 'source.nothing'}}}".into(),
            "INVALID_VALUE spec.params.dimensions[a]",
        ),
        (
            "instance",
            "{compiledTemplate: quota, params: {dimensions: {a: '\"x'}}}".into(),
            "INVALID_VALUE spec.params.dimensions[a]",
        ),
        ("rule", "{match: 'request.path'}".into(), "INVALID_VALUE spec.match"),
        ("rule", "{match: 'request.path == 1'}".into(), "INVALID_VALUE spec.match"),
        ("rule", "{actions: [{instances: [a]}]}".into(), "REQUIRED spec.actions[0].handler"),
        ("QuotaSpec", "{rules: [{quotas: [{charge: 1}]}]}".into(), "REQUIRED spec.rules[0].quotas[0].quota"),
        (
            "QuotaSpec",
            "{rules: [{quotas: [{quota: q, charge: -1}]}]}".into(),
            "INVALID_VALUE spec.rules[0].quotas[0].charge",
        ),
        (
            "QuotaSpec",
            "{rules: [{match: [{clause: {what.ever: {exact: a}}}]}]}".into(),
            "INVALID_VALUE spec.rules[0].match[0].clause[what.ever]",
        ),
        (
            "QuotaSpec",
            "{rules: [{match: [{clause: {request.path: {regex: '('}}}]}]}".into(),
            "BAD_REGEX spec.rules[0].match[0].clause[request.path]",
        ),
        ("QuotaSpecBinding", "{services: [{namespace: a}]}".into(), "REQUIRED spec.services[0].name"),
        ("QuotaSpecBinding", "{quotaSpecs: [{}]}".into(), "REQUIRED spec.quotaSpecs[0].name"),
    ] {
        let world = world(&object(kind, "o", &spec));
        let said: Vec<_> = world
            .findings()
            .iter()
            .filter(|one| one.severity == Severity::Refused)
            .map(|one| format!("{} {}", one.code, one.field))
            .collect();
        assert_eq!(said, [expected], "{spec}");
        assert!(world.objects().is_empty());
    }
}

#[test]
fn other_adapters_and_templates_have_no_effect_and_say_so() {
    for (kind, spec) in [
        ("handler", "{compiledAdapter: prometheus, params: {metrics: [{name: a, anything: {goes: here}}]}}"),
        ("instance", "{compiledTemplate: metric, params: {value: '1', dimensions: {a: request.what}}}"),
    ] {
        let world = world(&object(kind, "o", spec));
        assert_eq!(of(world.findings(), Severity::NotInForce).len(), 1);
        assert!(of(world.findings(), Severity::Refused).is_empty());
    }
    let text = object("QuotaSpecBinding", "b", "{services: [{name: a, labels: {x: z}}]}")
        + &object("QuotaSpec", "s", "{rules: [{match: [{clause: {source.namespace: {exact: a}}}]}]}");
    assert_eq!(of(world(&text).findings(), Severity::NotInForce).len(), 2);
}

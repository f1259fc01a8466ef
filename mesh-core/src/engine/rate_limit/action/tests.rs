//! Tables: each action on a request that has what it looks for, and on one that has not.

use std::collections::BTreeMap;

use http::{Request, Uri};

use super::*;
use crate::engine::facts::ConnectionFacts;
use crate::resource::matcher::{HeaderMatcher, HeaderSpecifier, StringMatcher, StringPattern};

fn request(path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::get(Uri::builder().path_and_query(path).build().unwrap());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn from(ip: &str) -> ConnectionFacts {
    ConnectionFacts { remote: Some((ip.parse::<IpAddr>().unwrap(), 1234).into()), ..ConnectionFacts::default() }
}

fn texts(namespace: &str, fields: &[(&str, &str)]) -> Metadata {
    let fields = fields.iter().map(|(key, text)| ((*key).to_owned(), Value::Text((*text).to_owned())));
    Metadata::from([(namespace.to_owned(), Value::Struct(fields.collect::<BTreeMap<_, _>>()))])
}

/// `key=value` of each entry, or `None` without a descriptor.
fn described(action: RateLimitAction, request: &Request<()>, connection: &ConnectionFacts) -> Option<String> {
    let (dynamic, route) = (texts("auth", &[("user", "ann"), ("empty", "")]), texts("plan", &[("name", "gold")]));
    let limits = RateLimits::compile(&[RateLimit::by(vec![action])], &"l".into()).unwrap();
    let facts = RequestFacts::of(request, connection, &dynamic);
    let cx = ActionCx { facts: &facts, cluster: Some("up"), route_metadata: &route, service_cluster: "shop" };
    let mut out = Descriptors::new();
    limits.describe(Some(0), &cx, &mut out);
    let one = out.first()?;
    let text = |entry: &Entry<'_>| format!("{}={}", entry.key, String::from_utf8_lossy(entry.value.bytes()));
    Some(one.entries.iter().map(text).collect::<Vec<_>>().join(";"))
}

fn header(name: &str, skip_if_absent: bool) -> RateLimitAction {
    RateLimitAction::RequestHeader { name: name.into(), key: "k".into(), skip_if_absent }
}

fn query(name: &str, skip_if_absent: bool) -> RateLimitAction {
    RateLimitAction::QueryParameter { name: name.into(), key: "k".into(), skip_if_absent }
}

fn metadata(source: MetadataSource, namespace: &str, path: &[&str], default: &str, skip: bool) -> RateLimitAction {
    RateLimitAction::Metadata {
        key: "k".into(),
        source,
        namespace: namespace.into(),
        path: path.iter().map(|&step| step.to_owned()).collect(),
        default_value: default.into(),
        skip_if_absent: skip,
    }
}

#[test]
fn each_action_makes_its_entry_or_drops_the_descriptor() {
    use MetadataSource::{Dynamic, Route};
    let get = request("/p?a=1&a=2&b=%41%2&c=&%64=x", &[("x-user", "bob"), ("x-user", "eve")]);
    let masked = |v4_prefix_len, v6_prefix_len| RateLimitAction::MaskedRemoteAddress { v4_prefix_len, v6_prefix_len };
    let among = |range: &str, bits, invert| RateLimitAction::RemoteAddressMatch {
        key: "k".into(),
        value: "v".into(),
        ranges: vec![(range.parse().unwrap(), bits)],
        invert,
    };
    let exact = |text: &str| StringMatcher::new(StringPattern::Exact(text.into()));
    let matching = |value: &str, expect_match| RateLimitAction::HeaderValueMatch {
        key: "k".into(),
        value: "v".into(),
        expect_match,
        headers: vec![HeaderMatcher {
            name: "x-user".into(),
            specifier: HeaderSpecifier::String(exact(value)),
            invert_match: false,
            treat_missing_header_as_empty: false,
        }],
    };
    let asking = |name: &str, specifier, expect_match| RateLimitAction::QueryParameterValueMatch {
        key: "k".into(),
        value: "v".into(),
        expect_match,
        query_parameters: vec![QueryParameterMatcher { name: name.into(), specifier }],
    };
    let is = |text: &str| QuerySpecifier::String(exact(text));
    let here = from("10.1.2.3");
    for (action, expected) in [
        (RateLimitAction::SourceCluster, Some("source_cluster=shop")),
        (RateLimitAction::DestinationCluster, Some("destination_cluster=up")),
        (RateLimitAction::GenericKey { key: "k".into(), value: "v".into() }, Some("k=v")),
        (header("x-user", false), Some("k=bob")),
        (header("x-none", false), None),
        (header("x-none", true), Some("")),
        (header(":path", false), Some("k=/p?a=1&a=2&b=%41%2&c=&%64=x")),
        (query("a", false), Some("k=1")),
        (query("b", false), Some("k=A%2")),
        (query("c", false), Some("k=")),
        (query("d", false), Some("k=x")),
        (query("z", false), None),
        (query("z", true), Some("")),
        (RateLimitAction::RemoteAddress, Some("remote_address=10.1.2.3")),
        (masked(32, 128), Some("masked_remote_address=10.1.2.3/32")),
        (masked(24, 128), Some("masked_remote_address=10.1.2.0/24")),
        (masked(0, 128), Some("masked_remote_address=0.0.0.0/0")),
        (among("10.0.0.0", 8, false), Some("k=v")),
        (among("10.0.0.0", 8, true), None),
        (among("11.0.0.0", 8, true), Some("k=v")),
        (among("::", 0, false), None),
        (matching("bob", true), Some("k=v")),
        (matching("bob", false), None),
        (matching("ann", false), Some("k=v")),
        (asking("a", is("1"), true), Some("k=v")),
        (asking("b", is("A%2"), true), Some("k=v")),
        (asking("a", is("2"), true), None),
        (asking("a", is("2"), false), Some("k=v")),
        (asking("z", QuerySpecifier::Present(false), true), Some("k=v")),
        (metadata(Dynamic, "auth", &["user"], "", false), Some("k=ann")),
        (metadata(Dynamic, "auth", &["none"], "", false), None),
        (metadata(Dynamic, "auth", &["none"], "", true), Some("")),
        (metadata(Dynamic, "auth", &["empty"], "d", false), Some("k=d")),
        (metadata(Dynamic, "plan", &["name"], "", false), None),
        (metadata(Route, "plan", &["name"], "", false), Some("k=gold")),
    ] {
        let text = format!("{action:?}");
        assert_eq!(described(action, &get, &here).as_deref(), expected, "{text}");
    }
}

#[test]
fn an_ipv6_caller_has_a_network_of_its_own_and_a_mapped_one_is_ipv4() {
    let get = request("/", &[]);
    let masked = || RateLimitAction::MaskedRemoteAddress { v4_prefix_len: 8, v6_prefix_len: 64 };
    assert_eq!(
        described(masked(), &get, &from("2001:abcd:ef01:2345:6789:abcd:ef01:234")).as_deref(),
        Some("masked_remote_address=2001:abcd:ef01:2345::/64")
    );
    assert_eq!(
        described(masked(), &get, &from("::ffff:10.1.2.3")).as_deref(),
        Some("masked_remote_address=10.0.0.0/8")
    );
}

#[test]
fn a_caller_in_this_process_has_no_address() {
    let (get, nobody) = (request("/", &[]), ConnectionFacts::default());
    let inverted = RateLimitAction::RemoteAddressMatch {
        key: "k".into(),
        value: "v".into(),
        ranges: vec![([10, 0, 0, 0].into(), 8)],
        invert: true,
    };
    for action in [
        RateLimitAction::RemoteAddress,
        RateLimitAction::MaskedRemoteAddress { v4_prefix_len: 32, v6_prefix_len: 128 },
        inverted,
    ] {
        assert_eq!(described(action, &get, &nobody), None);
    }
}

#[test]
fn only_limits_of_the_stage_that_are_not_disabled_describe() {
    let key = |value: &str| RateLimitAction::GenericKey { key: "k".into(), value: value.into() };
    let limit = |stage, disabled, value| RateLimit { stage, disabled, ..RateLimit::by(vec![key(value)]) };
    let list = [limit(0, false, "a"), limit(1, false, "b"), limit(0, true, "c"), limit(0, false, "d")];
    let limits = RateLimits::compile(&list, &"l".into()).unwrap();
    let (get, nobody, none) = (request("/", &[]), ConnectionFacts::default(), Metadata::new());
    let facts = RequestFacts::of(&get, &nobody, &none);
    let cx = ActionCx { facts: &facts, cluster: None, route_metadata: &none, service_cluster: "" };
    let values = |stage| {
        let mut out = Descriptors::new();
        limits.describe(stage, &cx, &mut out);
        out.iter().map(|one| String::from_utf8(one.entries[0].value.bytes().to_vec()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(
        (values(Some(0)), values(Some(1)), values(Some(2))),
        (vec!["a".into(), "d".into()], vec!["b".into()], vec![])
    );
    assert_eq!(values(None), ["a", "b", "d"]);
}

#[test]
fn each_bad_setting_is_refused_with_its_path() {
    let key = |key: &str, value: &str| RateLimitAction::GenericKey { key: key.into(), value: value.into() };
    let table = [
        (RateLimit::by(vec![]), "l[0].actions: is required"),
        (RateLimit { stage: 11, ..RateLimit::by(vec![key("k", "v")]) }, "l[0].stage: 11 is above 10"),
        (RateLimit::by(vec![key("k", "")]), "l[0].actions[0].generic_key.descriptor_value: is required"),
        (RateLimit::by(vec![key("", "v")]), "l[0].actions[0].generic_key.descriptor_key: is required"),
        (RateLimit::by(vec![query("", false)]), "l[0].actions[0].query_parameters.query_parameter_name: is required"),
        (
            RateLimit::by(vec![RateLimitAction::MaskedRemoteAddress { v4_prefix_len: 33, v6_prefix_len: 0 }]),
            "l[0].actions[0].masked_remote_address.v4_prefix_mask_len: 33 is above 32",
        ),
        (
            RateLimit::by(vec![metadata(MetadataSource::Dynamic, "", &[], "", false)]),
            "l[0].actions[0].metadata.metadata_key.key: is required",
        ),
        (
            RateLimit::by(vec![metadata(MetadataSource::Dynamic, "n", &["a", ""], "", false)]),
            "l[0].actions[0].metadata.metadata_key.path[1].key: is required",
        ),
        (
            RateLimit::by(vec![RateLimitAction::HeaderValueMatch {
                key: "k".into(),
                value: "v".into(),
                expect_match: true,
                headers: vec![],
            }]),
            "l[0].actions[0].header_value_match.headers: is required",
        ),
    ];
    for (limit, expected) in table {
        let (field, problem) = RateLimits::compile(&[limit], &"l".into()).unwrap_err();
        assert_eq!(format!("{field}: {problem}"), expected);
    }
    let bad = RateLimits::compile(&[RateLimit::by(vec![header("no name", false)])], &"l".into()).unwrap_err();
    assert_eq!(bad.0.as_str(), "l[0].actions[0].request_headers.header_name");
}

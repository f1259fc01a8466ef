//! What a mirror makes of a copy's head, and which requests it copies.
//!
//! `envoy.config.route.v3.RouteAction.RequestMirrorPolicy` as Envoy's router applies it: to the head that the route has
//! finished, so that a copy has the rewritten path and host. Where the copy goes and what becomes of its body are
//! other rooms' affairs.

use http::uri::Authority;
use http::{HeaderName, HeaderValue, Request};

use super::finalize::{change_request, set_host};
use super::route::ClusterRef;
use crate::engine::headers::{FormatContext, HeaderChanges};
use crate::resource::route::FractionalPercent;

/// `x-envoy-internal: true`: the copy is the mesh's own request.
const INTERNAL: HeaderName = HeaderName::from_static("x-envoy-internal");

/// Where copies of requests go.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// The cluster.
    pub cluster: ClusterRef,
    /// The share of requests copied; each mirror is drawn for on its own. `None` is all.
    pub runtime_fraction: Option<FractionalPercent>,
    /// Whether the copy's trace is sampled; `None` is as the original.
    pub trace_sampled: Option<bool>,
    /// Whether `-shadow` is appended to the copy's host.
    pub append_shadow_suffix: bool,
    pub(super) changes: Box<[HeaderChanges]>,
    pub(super) host: Option<Authority>,
}

impl Mirror {
    /// Whether a request with this random number is copied.
    #[must_use]
    pub fn takes(&self, random: u64) -> bool {
        self.runtime_fraction.is_none_or(|share| share.takes(random))
    }

    /// Makes the copy's head out of a copy of the finished request's.
    pub fn apply<B>(&self, copy: &mut Request<B>, cx: &FormatContext<'_>) {
        for step in &self.changes {
            change_request(step, copy, cx);
        }
        let host = match &self.host {
            Some(host) => Some(host.clone()),
            None if self.append_shadow_suffix => shadowed(copy),
            None => None,
        };
        if let Some(host) = host {
            // A host that does not fit into the URI leaves the copy as it was.
            let _ = set_host(copy, &host);
        }
        copy.headers_mut().insert(INTERNAL, HeaderValue::from_static("true"));
    }
}

/// The request's host with `-shadow` behind it and before its port.
fn shadowed<B>(request: &Request<B>) -> Option<Authority> {
    let host = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => request.headers().get(http::header::HOST)?.to_str().ok()?,
    };
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (name, port) = match host.rfind(':') {
        Some(at) if is_port(&host[at + 1..]) => host.split_at(at),
        _ => (host, ""),
    };
    [name, "-shadow", port].concat().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::facts::ConnectionFacts;
    use crate::resource::FieldPath;
    use crate::resource::header_mutation::{AppendAction, HeaderMutations, HeaderValueOption};
    use crate::resource::metadata::Metadata;

    fn mirror() -> Mirror {
        Mirror {
            cluster: ClusterRef::Cluster(super::super::ClusterId(0), "m".into()),
            runtime_fraction: None,
            trace_sampled: None,
            append_shadow_suffix: true,
            changes: Box::default(),
            host: None,
        }
    }

    fn applied(mirror: &Mirror, mut request: Request<()>) -> Request<()> {
        let (connection, metadata) = (ConnectionFacts::default(), Metadata::new());
        mirror.apply(&mut request, &FormatContext::for_request(&connection, &metadata));
        request
    }

    #[test]
    fn the_suffix_stands_before_the_port_wherever_the_host_is() {
        for (host, expected) in [
            ("a.test", "a.test-shadow"),
            ("a.test:8080", "a.test-shadow:8080"),
            ("10.0.0.1:80", "10.0.0.1-shadow:80"),
            ("[::1]:80", "[::1]-shadow:80"),
        ] {
            let absolute = applied(&mirror(), Request::get(format!("http://{host}/x")).body(()).unwrap());
            assert_eq!(absolute.uri().authority().unwrap(), expected);
            let origin = applied(&mirror(), Request::get("/x").header("host", host).body(()).unwrap());
            assert_eq!(origin.headers()["host"], expected);
            assert_eq!(origin.headers()["x-envoy-internal"], "true");
        }
    }

    #[test]
    fn a_literal_host_has_no_suffix_and_steps_change_headers_one_after_the_other() {
        let add = |value: &str| HeaderMutations {
            add: vec![HeaderValueOption::new("x-a", value, AppendAction::AppendIfExistsOrAdd)],
            ..HeaderMutations::default()
        };
        let remove = HeaderMutations { remove: vec!["x-a".to_owned()], ..HeaderMutations::default() };
        let steps = [add("1"), remove, add("%REQ(x-b)%")];
        let root = FieldPath::root();
        let changes = steps.iter().map(|step| HeaderChanges::compile(step, &root, &root).unwrap()).collect();
        let mirror = Mirror { changes, host: Some("m.test".parse().unwrap()), ..mirror() };
        let copy = applied(&mirror, Request::get("http://a.test/").header("x-b", "2").body(()).unwrap());
        assert_eq!(copy.uri().host(), Some("m.test"));
        assert_eq!(copy.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["2"]);
    }

    #[test]
    fn a_share_of_nothing_copies_nothing_and_none_copies_all() {
        let share = |numerator| Mirror {
            runtime_fraction: Some(FractionalPercent { numerator, denominator: 100 }),
            ..mirror()
        };
        assert!(mirror().takes(u64::MAX));
        let taken = |numerator| (0..1_000).filter(|random| share(numerator).takes(*random)).count();
        assert_eq!([taken(0), taken(50), taken(100)], [0, 500, 1_000]);
    }
}

//! Upgrades: whether a request asks to leave HTTP behind, and whether configuration lets it.
//!
//! `HttpConnectionManager.upgrade_configs` with `RouteAction.upgrade_configs` on top, by Envoy's rules: a route
//! may allow or refuse what its connection manager does not say, and what nobody allows is answered 403
//! (`upgrade_failed`) before any filter runs. CONNECT tunnels are never made, whatever is configured.

use http::{HeaderMap, Method, Request, Version, header};

use crate::resource::route::UpgradeConfig;

/// Whether a head asks for an HTTP/1.1 upgrade: an `upgrade` header that `connection` names. `h2c` is not one,
/// since Envoy ignores it and goes on in HTTP/1.1.
#[must_use]
pub fn is_upgrade(version: Version, headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|wanted| {
        version != Version::HTTP_2
            && !wanted.as_bytes().eq_ignore_ascii_case(b"h2c")
            && headers.get_all(header::CONNECTION).iter().any(|value| {
                value
                    .as_bytes()
                    .split(|byte| *byte == b',')
                    .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
            })
    })
}

/// Whether a request is subject to this room's rules at all; nearly none is.
pub(super) fn is_asked<B>(request: &Request<B>) -> bool {
    request.method() == Method::CONNECT || is_upgrade(request.version(), request.headers())
}

/// Whether a request that asks may go on: by its route, else by the connection manager's list.
pub(super) fn is_allowed<B>(request: &Request<B>, manager: &[String], route: &[UpgradeConfig]) -> bool {
    if request.method() == Method::CONNECT {
        return false;
    }
    let Some(wanted) = request.headers().get(header::UPGRADE) else { return true };
    let is_wanted = |name: &str| wanted.as_bytes().eq_ignore_ascii_case(name.as_bytes());
    match route.iter().find(|one| is_wanted(&one.upgrade_type)) {
        Some(of_route) => of_route.enabled,
        None => manager.iter().any(|name| is_wanted(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(upgrade: &str, connection: &str) -> Request<()> {
        Request::get("http://a.test/").header("upgrade", upgrade).header("connection", connection).body(()).unwrap()
    }

    #[test]
    fn an_upgrade_is_one_that_the_connection_header_names() {
        assert!(is_asked(&asking("websocket", "keep-alive, Upgrade")));
        assert!(!is_asked(&asking("websocket", "keep-alive")));
        assert!(!is_asked(&asking("h2c", "upgrade")), "goes on in HTTP/1.1");
        let mut http2 = asking("websocket", "upgrade");
        *http2.version_mut() = Version::HTTP_2;
        assert!(!is_asked(&http2), "HTTP/2 has no such headers");
    }

    #[test]
    fn the_route_overrides_the_connection_manager_and_silence_refuses() {
        let request = asking("WebSocket", "upgrade");
        let manager = ["websocket".to_owned()];
        let route = |enabled| [UpgradeConfig { upgrade_type: "websocket".to_owned(), enabled }];
        assert!(!is_allowed(&request, &[], &[]));
        assert!(is_allowed(&request, &manager, &[]));
        assert!(is_allowed(&request, &[], &route(true)));
        assert!(!is_allowed(&request, &manager, &route(false)));
        assert!(!is_allowed(&asking("other", "upgrade"), &manager, &route(true)));
    }

    #[test]
    fn connect_is_refused_whatever_is_configured() {
        let request = Request::connect("a.test:443").body(()).unwrap();
        assert!(is_asked(&request));
        assert!(!is_allowed(&request, &["connect".to_owned()], &[]));
    }
}

//! Pages that tell what the mesh knows, over plain HTTP on loopback, on the control thread.
//!
//! Paths and forms are Envoy's where Envoy has them. Read-only: nothing here changes anything, and browsers that
//! were led here by a foreign name are turned away ([`guard`](self::guard)).

mod clusters;
mod config_dump;
mod coverage;
mod guard;
mod query;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::query::Query;
use crate::view::{Readiness, View};

/// Connections at once; more wait.
const CONNECTIONS: usize = 32;
/// A connection that sends no request for this long is closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// A page as it is sent.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    status: StatusCode,
    json: bool,
    text: String,
}

impl Page {
    fn text(text: impl Into<String>) -> Self {
        Self { status: StatusCode::OK, json: false, text: text.into() }
    }

    fn json(value: &serde_json::Value) -> Self {
        Self { status: StatusCode::OK, json: true, text: format!("{value:#}\n") }
    }

    fn error(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, json: false, text: text.into() }
    }
}

/// Listens on `address` and serves the pages until the runtime ends. Returns the bound address.
pub(crate) async fn start(address: SocketAddr, view: Arc<View>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    tracing::info!(address = %bound, "admin pages");
    tokio::spawn(accept(listener, view, bound.ip().is_loopback()));
    Ok(bound)
}

async fn accept(listener: TcpListener, view: Arc<View>, loopback: bool) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "admin accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let view = Arc::clone(&view);
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(move |request| {
                let response = answer(&view, &request, loopback);
                async move { Ok::<_, Infallible>(response) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "admin connection ended");
            }
        });
    }
}

fn answer<B>(view: &View, request: &Request<B>, loopback: bool) -> Response<Full<Bytes>> {
    let page = if !guard::is_local(request, loopback) {
        Page::error(StatusCode::FORBIDDEN, "the Host header must name this machine: 127.0.0.1, [::1] or localhost\n")
    } else if request.method() != Method::GET {
        Page::error(StatusCode::METHOD_NOT_ALLOWED, "these pages are only read: use GET\n")
    } else {
        page(view, request.uri().path(), &Query::of(request.uri()))
    };
    let allow = page.status == StatusCode::METHOD_NOT_ALLOWED;
    let mut response = Response::new(Full::from(page.text));
    *response.status_mut() = page.status;
    let kind = if page.json { "application/json" } else { "text/plain; charset=UTF-8" };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, max-age=0"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if allow {
        headers.insert(ALLOW, HeaderValue::from_static("GET"));
    }
    response
}

const PAGES: &str = "\
/             this list
/clusters     endpoints of every cluster with what is counted of them (?format=json)
/config_dump  every resource in force and why others were refused (?include_eds, ?resource=dynamic_active_clusters)
/coverage     what was received and is not in force, field by field (?format=json)
/ready        LIVE once the first configuration is in force
";

fn page(view: &View, path: &str, query: &Query) -> Page {
    match path {
        "/" => Page::text(format!("mesh of {}\n\n{PAGES}", view.workload)),
        "/ready" => ready(&view.readiness().borrow()),
        "/config_dump" => config_dump::page(view, query),
        "/clusters" => clusters::page(view, query),
        "/coverage" => coverage::page(view, query),
        _ => Page::error(StatusCode::NOT_FOUND, format!("there is no such page; these there are:\n\n{PAGES}")),
    }
}

fn ready(readiness: &Readiness) -> Page {
    match readiness {
        Readiness::Live => Page::text("LIVE\n"),
        Readiness::Draining => Page::error(StatusCode::SERVICE_UNAVAILABLE, "DRAINING\n"),
        Readiness::Waiting(reason) => {
            Page::error(StatusCode::SERVICE_UNAVAILABLE, format!("PRE_INITIALIZING: {reason}\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: Method, path: &str, host: &str) -> StatusCode {
        let request = Request::builder().method(method).uri(path).header("host", host).body(()).unwrap();
        answer(&View::new("test".to_owned()), &request, true).status()
    }

    #[test]
    fn pages_answer_get_from_this_machine_only() {
        for path in [
            "/",
            "/config_dump",
            "/config_dump?include_eds",
            "/clusters",
            "/clusters?format=json",
            "/coverage",
            "/coverage?format=json",
        ] {
            assert_eq!(status(Method::GET, path, "127.0.0.1:15000"), StatusCode::OK, "{path}");
        }
        assert_eq!(status(Method::GET, "/ready", "localhost"), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(Method::GET, "/quitquitquit", "localhost"), StatusCode::NOT_FOUND);
        assert_eq!(status(Method::POST, "/ready", "localhost"), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(status(Method::GET, "/config_dump", "rebound.example:15000"), StatusCode::FORBIDDEN);
    }

    #[test]
    fn readiness_is_said_as_envoy_says_it() {
        assert_eq!(ready(&Readiness::Live), Page::text("LIVE\n"));
        let waiting = ready(&Readiness::Waiting("names".to_owned()));
        assert_eq!(
            (waiting.status, waiting.text.as_str()),
            (StatusCode::SERVICE_UNAVAILABLE, "PRE_INITIALIZING: names\n")
        );
        assert_eq!(ready(&Readiness::Draining).text, "DRAINING\n");
    }
}

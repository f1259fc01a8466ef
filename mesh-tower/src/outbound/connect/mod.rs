//! The end of the stack: sends an attempt over a pooled connection of its endpoint.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::client::conn::TrySendError;
use mesh_core::engine::retry::{Outcome, Reset};
use mesh_core::exchange::{Sendable, Target, upgrade};
use mesh_core::resource::cluster::UpstreamProtocol;
use tower_service::Service;

use super::overdue::is_overdue;
use crate::body::{ReportedBody, UpstreamBody};
use crate::error::{BoxError, Error};
use crate::pool::{Connector, H1Lease, H1Pool, H2Stream, PoolBody, h2_reset};
use crate::response::ResponseInfo;

mod pump;

use self::pump::Pump;

/// Sends attempts over the connections of their endpoints.
#[derive(Clone, Debug)]
pub struct Connect {
    connector: Connector,
}

impl Connect {
    /// Connections are made and driven by `connector`.
    #[must_use]
    pub const fn new(connector: Connector) -> Self {
        Self { connector }
    }
}

impl<B> Service<Sendable<B>> for Connect
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ReportedBody>;
    type Error = Error;
    type Future = ResponseFuture<B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Sendable<B>) -> ResponseFuture<B> {
        let Sendable { request, target } = attempt;
        let state = match self.connector.pool(&target) {
            Err(error) => State::Failed(Some(error)),
            Ok(pool) => {
                let http2 = match pool.protocol {
                    UpstreamProtocol::Http1 => false,
                    UpstreamProtocol::Http2 => true,
                    UpstreamProtocol::UseDownstream => request.version() == Version::HTTP_2,
                };
                if http2 {
                    match pool.h2.try_stream() {
                        Some(stream) => {
                            target.report_connected();
                            send_h2(request, stream, &self.connector)
                        }
                        None => {
                            let (pool, waiting, connector) =
                                (std::sync::Arc::clone(&pool.h2), target.clone(), self.connector.clone());
                            let reached = Reached::of(&target);
                            let connected = reached.clone();
                            let future = Box::pin(async move {
                                let stream = pool.stream(&waiting).await?;
                                connected.note(&waiting);
                                let mut exchange = Exchange { state: send_h2(request, stream, &connector) };
                                std::future::poll_fn(|cx| exchange.poll(&waiting, cx)).await
                            });
                            State::Boxed { future, reached }
                        }
                    }
                } else {
                    start_h1(request, &pool.h1, &target)
                }
            }
        };
        ResponseFuture { exchange: Exchange { state }, target: Some(target) }
    }
}

/// The future of [`Connect`].
#[derive(Debug)]
pub struct ResponseFuture<B> {
    exchange: Exchange<B>,
    /// Goes on with the response.
    target: Option<Target>,
}

struct Exchange<B> {
    state: State<B>,
}

type Boxed = Pin<Box<dyn Future<Output = Result<Response<UpstreamBody>, Error>> + Send>>;

enum State<B> {
    H2 {
        response: h2::client::ResponseFuture,
        pump: Option<Pump<B>>,
        stream: Option<H2Stream>,
        runtime: tokio::runtime::Handle,
    },
    /// On a connection that was idle, and may turn out to be dead.
    H1(Option<H1Lease>),
    /// Waits for a connection first.
    Boxed {
        future: Boxed,
        reached: Reached,
    },
    Failed(Option<Error>),
}

impl<B> Future for ResponseFuture<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<ReportedBody>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(target) = &this.target else { return Poll::Pending };
        let result = std::task::ready!(this.exchange.poll(target, cx));
        let Some(target) = this.target.take() else { return Poll::Pending };
        match result {
            Ok(mut response) => {
                target.report(&Outcome::Response { status: response.status(), headers: response.headers() });
                let (upstream, target) = target.answered();
                response.extensions_mut().insert(ResponseInfo::of_upstream(upstream));
                let (head, body) = response.into_parts();
                let body = ReportedBody::new(body, &head.headers, target);
                Poll::Ready(Ok(Response::from_parts(head, body)))
            }
            Err(error) => {
                if let Some(reset) = error.reset() {
                    target.report(&Outcome::Reset(reset));
                }
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<B> Drop for ResponseFuture<B> {
    fn drop(&mut self) {
        // A try that is given up has no outcome, unless it is given up because its time is over.
        if let Some(target) = self.target.take()
            && is_overdue()
        {
            target.report_timeout(self.exchange.is_on_its_way());
        }
    }
}

/// Whether a try that had to wait for a connection has one now. Known only where somebody judges the host by it.
#[derive(Clone)]
struct Reached(Option<std::sync::Arc<AtomicBool>>);

impl Reached {
    fn of(target: &Target) -> Self {
        Self(target.cluster.monitor().map(|_| std::sync::Arc::default()))
    }

    fn note(&self, target: &Target) {
        target.report_connected();
        if let Some(reached) = &self.0 {
            reached.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it has been noted.
    fn is_noted(&self) -> bool {
        self.0.as_ref().is_none_or(|reached| reached.load(Ordering::Relaxed))
    }
}

impl<B> Exchange<B> {
    /// Whether the host has been reached: a try that waits in our own queue is none of its business.
    fn is_on_its_way(&self) -> bool {
        match &self.state {
            State::H2 { .. } | State::H1(_) => true,
            State::Boxed { reached, .. } => reached.is_noted(),
            State::Failed(_) => false,
        }
    }
}

impl<B> Exchange<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    /// The response's head from `target`.
    fn poll(&mut self, target: &Target, cx: &mut Context<'_>) -> Poll<Result<Response<UpstreamBody>, Error>> {
        match &mut self.state {
            State::Failed(error) => Poll::Ready(Err(error.take().unwrap_or(Error::NoHealthyHost))),
            State::Boxed { future, .. } => future.as_mut().poll(cx),
            State::H1(lease) => {
                let Some(leased) = lease else { return Poll::Ready(Err(Error::NoHealthyHost)) };
                let sent = std::task::ready!(leased.poll_response(cx));
                let (Some(result), Some(lease)) = (sent, lease.take()) else {
                    return Poll::Ready(Err(Error::NoHealthyHost));
                };
                match settle_h1(result.map_err(unsent), lease) {
                    Ok(settled) => Poll::Ready(settled),
                    Err((request, pool)) => {
                        self.state = wait_h1(*request, pool, target.clone());
                        self.poll(target, cx)
                    }
                }
            }
            State::H2 { response, pump, stream, runtime } => {
                if let Some(running) = pump
                    && let Poll::Ready(sent) = running.poll(cx)
                {
                    *pump = None;
                    if let Err(error) = sent {
                        return Poll::Ready(Err(error));
                    }
                }
                let response = match std::task::ready!(Pin::new(response).poll(cx)) {
                    Ok(response) => response,
                    Err(error) => {
                        let reset = h2_reset(&error);
                        if reset == Reset::RemoteRefused
                            && let Some(stream) = stream
                        {
                            if error.is_go_away() { stream.retire() } else { stream.response_started() }
                        }
                        return Poll::Ready(Err(Error::Reset { reset, source: Some(error.into()) }));
                    }
                };
                let Some(mut stream) = stream.take() else { return Poll::Ready(Err(Error::NoHealthyHost)) };
                // The rest of the request goes on while the response is read.
                if let Some(pump) = pump.take() {
                    stream.own_pump(runtime.spawn(pump).abort_handle());
                }
                stream.response_started();
                let length = content_length(response.headers());
                Poll::Ready(Ok(response.map(|body| UpstreamBody::h2(body, stream, length))))
            }
        }
    }
}

impl<B> std::fmt::Debug for Exchange<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.state {
            State::H2 { .. } => "HTTP/2",
            State::H1(_) => "HTTP/1.1",
            State::Boxed { .. } => "boxed",
            State::Failed(_) => "failed",
        })
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn send_h2<B>(request: Request<B>, mut stream: H2Stream, connector: &Connector) -> State<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (mut head, body) = request.into_parts();
    if let Err(error) = into_h2(&mut head) {
        return State::Failed(Some(error));
    }
    head.headers.remove(header::EXPECT);
    let end = body.is_end_stream();
    match stream.sender().send_request(Request::from_parts(head, ()), end) {
        Ok((response, send)) => State::H2 {
            response,
            pump: (!end).then(|| Pump::new(body, send)),
            stream: Some(stream),
            runtime: connector.runtime().clone(),
        },
        Err(error) => {
            // The connection went away between being chosen and being used: nothing was sent.
            stream.retire();
            let reset = match h2_reset(&error) {
                Reset::ConnectionTermination { .. } => Reset::ConnectionTermination { request_sent: false },
                other => other,
            };
            State::Failed(Some(Error::Reset { reset, source: Some(error.into()) }))
        }
    }
}

/// Headers that belong to one HTTP/1.1 connection and mean nothing beyond it.
const CONNECTION_HEADERS: [HeaderName; 5] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Removes what concerns the upstream's connection only.
fn clean_response(headers: &mut HeaderMap) {
    // Mostly there is none, and a pass over a few names costs less than five look-ups.
    if headers.keys().any(|name| CONNECTION_HEADERS.contains(name)) {
        for name in CONNECTION_HEADERS {
            headers.remove(name);
        }
    }
}

/// Brings a head into HTTP/2's form: scheme and authority in the URI, no connection headers.
fn into_h2(head: &mut http::request::Parts) -> Result<(), Error> {
    if head.version != Version::HTTP_2 {
        // An upgrade is a matter of HTTP/1.1; a tunnel through HTTP/2 (extended CONNECT) is not made.
        if upgrade::is_upgrade(head.version, &head.headers) {
            return Err(Error::UpgradeFailed);
        }
        remove_connection_headers(&mut head.headers);
        head.version = Version::HTTP_2;
    }
    if head.uri.authority().is_some() && head.uri.scheme().is_some() {
        head.headers.remove(header::HOST);
        return Ok(());
    }
    let host = head.headers.remove(header::HOST);
    let mut parts = std::mem::take(&mut head.uri).into_parts();
    parts.scheme = Some(parts.scheme.unwrap_or(Scheme::HTTP));
    if parts.authority.is_none() {
        parts.authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    }
    parts.path_and_query = Some(parts.path_and_query.unwrap_or(PathAndQuery::from_static("/")));
    head.uri = Uri::from_parts(parts).map_err(|error| Error::RequestBody(error.into()))?;
    Ok(())
}

/// Removes what concerns the caller's connection only, and what its `connection` header says does.
fn remove_connection_headers(headers: &mut HeaderMap) {
    if let Some(nominated) = headers.remove(header::CONNECTION)
        && let Ok(nominated) = nominated.to_str()
    {
        for name in nominated.split(',').filter_map(|name| name.trim().parse::<HeaderName>().ok()) {
            if name != header::HOST && name != header::TE && !name.as_str().starts_with("x-envoy-") {
                headers.remove(name);
            }
        }
    }
    for name in CONNECTION_HEADERS {
        headers.remove(name);
    }
    if headers.get(header::TE).is_some_and(|te| te != "trailers") {
        headers.remove(header::TE);
    }
}

/// Whether a caller's headers name anything of its own connection. Mostly nothing is, and a pass over a few names
/// costs less than a look-up for each.
fn has_connection_headers(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| *name == header::TE || *name == header::EXPECT || CONNECTION_HEADERS.contains(name))
}

/// Brings a head into HTTP/1.1's form: the path in the URI, the authority in `host`.
fn into_h1(head: &mut http::request::Parts) {
    if has_connection_headers(&head.headers) {
        if !upgrade::is_upgrade(head.version, &head.headers) {
            remove_connection_headers(&mut head.headers);
        }
        // As Envoy does: the continuation is answered on this side, not asked of the upstream.
        head.headers.remove(header::EXPECT);
    }
    if let Some(authority) = head.uri.authority()
        && let Ok(host) = HeaderValue::from_str(without_user(authority.as_str()))
    {
        head.headers.insert(header::HOST, host);
    }
    let path = head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    head.uri = Uri::from(path);
    head.version = Version::HTTP_11;
}

fn without_user(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// Methods whose requests say nothing of a body that they do not have; the others say that it is empty (RFC 9110, 8.6).
fn is_bodiless(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::DELETE | Method::CONNECT | Method::TRACE)
}

/// Sends on an idle connection at once, if there is one; waits for one otherwise.
fn start_h1<B>(request: Request<B>, pool: &std::sync::Arc<H1Pool>, target: &Target) -> State<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (mut head, body) = request.into_parts();
    into_h1(&mut head);
    if body.is_end_stream() && !is_bodiless(&head.method) && !head.headers.contains_key(header::CONTENT_LENGTH) {
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let request = Request::from_parts(head, PoolBody::new(body));
    match pool.try_lease() {
        Some(mut lease) => {
            target.report_connected();
            lease.send(request);
            State::H1(Some(lease))
        }
        None => wait_h1(request, std::sync::Arc::clone(pool), target.clone()),
    }
}

/// Sends when there is a connection.
fn wait_h1<B>(request: Request<PoolBody>, pool: std::sync::Arc<H1Pool>, target: Target) -> State<B> {
    let reached = Reached::of(&target);
    State::Boxed { future: Box::pin(send_h1(request, pool, target, reached.clone())), reached }
}

async fn send_h1(
    mut request: Request<PoolBody>,
    pool: std::sync::Arc<H1Pool>,
    target: Target,
    reached: Reached,
) -> Result<Response<UpstreamBody>, Error> {
    loop {
        let mut lease = match pool.try_lease() {
            Some(lease) => lease,
            None => pool.lease(&target).await?,
        };
        reached.note(&target);
        lease.send(request);
        let sent = std::future::poll_fn(|cx| lease.poll_response(cx)).await;
        let Some(result) = sent else { return Err(Error::NoHealthyHost) };
        match settle_h1(result.map_err(unsent), lease) {
            Ok(settled) => return settled,
            Err((handed_back, _)) => request = *handed_back,
        }
    }
}

/// A request that was not sent, and where it finds another connection.
type HandedBack = (Box<Request<PoolBody>>, std::sync::Arc<H1Pool>);

type Unsent = (hyper::Error, Option<Request<PoolBody>>);

fn unsent(mut error: TrySendError<Request<PoolBody>>) -> Unsent {
    let request = error.take_message();
    (error.into_error(), request)
}

/// What came of sending on one connection: the end of it, or the request to be sent on another.
fn settle_h1(
    result: Result<Response<hyper::body::Incoming>, Unsent>,
    lease: H1Lease,
) -> Result<Result<Response<UpstreamBody>, Error>, HandedBack> {
    match result {
        Ok(mut response) => {
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                clean_response(response.headers_mut());
            }
            Ok(Ok(response.map(|body| UpstreamBody::h1(body, lease))))
        }
        // An idle connection that had died takes nothing with it: hyper hands the request back unsent.
        Err((_, Some(request))) if lease.is_reused() => Err((Box::new(request), lease.into_pool())),
        // The caller's body failed, not the connection.
        Err((error, _)) if error.is_user() => Ok(Err(Error::RequestBody(error.into()))),
        Err((error, request)) => {
            let reset = reset_of_h1(&error, request.is_none());
            Ok(Err(Error::Reset { reset, source: Some(error.into()) }))
        }
    }
}

fn reset_of_h1(error: &hyper::Error, sent: bool) -> Reset {
    // A close before any answer is a lost connection; bytes that are no HTTP are a broken protocol.
    if error.is_parse() {
        return Reset::ProtocolError;
    }
    Reset::ConnectionTermination { request_sent: sent }
}

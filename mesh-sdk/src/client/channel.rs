//! One target through the mesh: what a generated gRPC client takes in place of a connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri};
use http_body::Body;
use mesh_tower::outbound::Outbound;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Response, ResponseFuture};
use crate::{BoxError, Error};

/// A service whose requests all go to one target, such as `reviews:9080`, whatever their own address says.
///
/// The target is a host and port as the mesh knows them, not a connection: routes choose the cluster, balancing
/// the endpoint, for each request anew. Without a port, 80.
///
/// # Cancel safety
/// Dropping a call's future resets the stream.
#[derive(Clone, Debug)]
pub struct Channel {
    outbound: Outbound,
    target: Result<Authority, InvalidTarget>,
}

/// A text that names no target.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{target:?} is no target for a channel: {reason}")]
pub struct InvalidTarget {
    target: Arc<str>,
    reason: &'static str,
}

impl Channel {
    pub(crate) fn new(outbound: Outbound, target: &str) -> Self {
        let invalid = |reason| InvalidTarget { target: target.into(), reason };
        Self { outbound, target: parse(target).map_err(invalid) }
    }

    /// The host and port that requests are sent to.
    ///
    /// # Errors
    /// [`InvalidTarget`]: the text given was no host and port. Every call fails with the same error.
    pub fn target(&self) -> Result<&str, InvalidTarget> {
        self.target.as_ref().map(Authority::as_str).map_err(Clone::clone)
    }
}

fn parse(target: &str) -> Result<Authority, &'static str> {
    let target = match target.split_once("://") {
        None => target,
        Some(("http", target)) => target.strip_suffix('/').unwrap_or(target),
        Some(_) => return Err("only http is spoken here: TLS is the mesh's, not the caller's"),
    };
    let authority: Authority = target.parse().map_err(|_| "a host and a port are required, such as reviews:9080")?;
    if authority.as_str().contains('@') {
        return Err("credentials have no place in it");
    }
    if authority.host().is_empty() {
        return Err("the host is missing");
    }
    let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    if !port.is_empty() && authority.port_u16().is_none() {
        return Err("the port is no number within 1 to 65535");
    }
    Ok(authority)
}

impl<B> Service<Request<B>> for Channel
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Error;
    type Future = ChannelFuture<B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Service::<Request<B>>::poll_ready(&mut self.outbound, cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let authority = match &self.target {
            Ok(authority) => authority.clone(),
            Err(invalid) => return ChannelFuture { state: State::Invalid { invalid: Some(invalid.clone()) } },
        };
        *request.uri_mut() = addressed(std::mem::take(request.uri_mut()), authority);
        ChannelFuture { state: State::Sent { inner: self.outbound.call(request) } }
    }
}

/// The same path at the target.
fn addressed(uri: Uri, authority: Authority) -> Uri {
    let mut parts = uri.into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    // Scheme, authority and path together always make an address.
    Uri::from_parts(parts).unwrap_or_default()
}

pin_project! {
    /// The future of [`Channel`].
    pub struct ChannelFuture<B>
    where
        B: Body<Data = Bytes>,
        B: Send,
        B: 'static,
        B::Error: Into<BoxError>,
    {
        #[pin]
        state: State<B>,
    }
}

pin_project! {
    #[project = Projection]
    enum State<B>
    where
        B: Body<Data = Bytes>,
        B: Send,
        B: 'static,
        B::Error: Into<BoxError>,
    {
        Sent { #[pin] inner: ResponseFuture<B> },
        Invalid { invalid: Option<InvalidTarget> },
    }
}

impl<B> Future for ChannelFuture<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projection::Sent { inner } => inner.poll(cx),
            Projection::Invalid { invalid } => match invalid.take() {
                Some(invalid) => Poll::Ready(Err(Error::Upstream(invalid.into()))),
                None => Poll::Pending,
            },
        }
    }
}

impl<B> std::fmt::Debug for ChannelFuture<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.state {
            State::Sent { .. } => "ChannelFuture::Sent",
            State::Invalid { .. } => "ChannelFuture::Invalid",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_hosts_with_a_port_or_without() {
        for (given, target) in [
            ("reviews:9080", "reviews:9080"),
            ("reviews.prod.svc.cluster.local", "reviews.prod.svc.cluster.local"),
            ("http://reviews:9080/", "reviews:9080"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(parse(given).as_ref().map(Authority::as_str), Ok(target));
        }
        for given in
            ["", ":80", "https://reviews", "user@reviews:80", "reviews:99999", "reviews:x", "reviews/path", "a b"]
        {
            assert!(parse(given).is_err(), "{given}");
        }
    }

    #[test]
    fn requests_keep_their_path_and_get_the_channels_address() {
        let authority = || Authority::from_static("reviews:9080");
        let sent = |uri: &'static str| addressed(Uri::from_static(uri), authority()).to_string();
        assert_eq!(sent("/pkg.Reviews/List?x=1"), "http://reviews:9080/pkg.Reviews/List?x=1");
        assert_eq!(sent("https://elsewhere:1/a"), "http://reviews:9080/a");
        assert_eq!(addressed(Uri::default(), authority()).to_string(), "http://reviews:9080/");
    }
}

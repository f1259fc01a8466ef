//! Fault injection by itself, around any service of `http::Request`. In the stacks the filter does it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, request};
use http_body::Body;
use mesh_core::engine::facts::{ConnectionFacts, RequestFacts, is_grpc};
use mesh_core::engine::fault::{Fault, FaultStats, Injection};
use mesh_core::engine::local_reply::{LocalReply, ResponseFlags};
use mesh_core::engine::random::Random;
use mesh_core::exchange::Answered;
use mesh_core::resource::filter::Fault as Config;
use mesh_core::resource::metadata::Metadata;
use mesh_core::resource::{FieldPath, Invalid, ResourceKind, ResourceName};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_layer::Layer;
use tower_service::Service;

use crate::body::{FilteredBody, LocalOr};
use crate::outbound::route::answer;
use crate::response::ResponseInfo;

/// Delays a share of the requests, answers some with an error, slows responses down.
///
/// ```
/// use mesh_core::resource::filter::{AbortError, Fault, FaultAbort};
/// use mesh_core::resource::route::FractionalPercent;
/// use mesh_tower::FaultLayer;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let abort = FaultAbort {
///     error: AbortError::Http(503),
///     percentage: FractionalPercent::percent(100),
///     response_body: String::new(),
/// };
/// let faults = FaultLayer::new(&Fault { abort: Some(abort), ..Fault::default() }).unwrap();
/// let service = ServiceBuilder::new().layer(faults.clone()).service(service_fn(
///     |_: http::Request<()>| async { Ok::<_, std::convert::Infallible>(http::Response::new(String::from("hello"))) },
/// ));
/// let response = service.oneshot(http::Request::new(())).await.unwrap();
/// assert_eq!(response.status(), 503);
/// assert_eq!(faults.stats().aborts_injected, 1);
/// # }
/// ```
///
/// # Cancel safety
/// A response future that is dropped gives its place among the active faults back; one that is delayed never
/// calls the inner service then.
#[derive(Clone, Debug)]
pub struct FaultLayer {
    fault: Arc<Fault>,
}

impl FaultLayer {
    /// The same faults for everything that passes; `upstream_cluster` matches nothing here.
    ///
    /// # Errors
    /// A status, a delay, a rate or a fraction out of range; a header matcher that does not compile.
    pub fn new(config: &Config) -> Result<Self, Invalid> {
        let fault = Fault::compile(config, &FieldPath::root()).map_err(|(field, problem)| {
            Invalid::new(ResourceName::new(ResourceKind::Listener, "fault"), field, problem)
        })?;
        Ok(Self { fault: Arc::new(fault) })
    }

    /// What was injected by all services of this layer.
    #[must_use]
    pub fn stats(&self) -> FaultStats {
        self.fault.stats()
    }
}

impl<S> Layer<S> for FaultLayer {
    type Service = Faults<S>;

    fn layer(&self, inner: S) -> Faults<S> {
        Faults { inner, fault: Arc::clone(&self.fault) }
    }
}

/// The service of [`FaultLayer`].
#[derive(Clone, Debug)]
pub struct Faults<S> {
    inner: S,
    fault: Arc<Fault>,
}

impl<S, B, RB> Service<Request<B>> for Faults<S>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone,
    RB: Body<Data = Bytes>,
{
    type Response = Response<FilteredBody<LocalOr<RB>>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (head, body) = request.into_parts();
        let mut random = Random::from_seed(fastrand::u64(..));
        let injection = {
            let (connection, metadata) = (ConnectionFacts::default(), Metadata::new());
            let facts = RequestFacts::of_head(&head, &connection, &metadata);
            self.fault.begin(self.fault.settings(), &facts, None, &mut random)
        };
        if let Some(delay) = injection.delay {
            let spare = self.inner.clone();
            let delayed = Delayed {
                service: std::mem::replace(&mut self.inner, spare),
                request: Some(Request::from_parts(head, body)),
                fault: Arc::clone(&self.fault),
                injection,
                random,
                sleep: Box::pin(tokio::time::sleep(delay)),
            };
            return ResponseFuture { state: State::Delayed { delayed: Box::new(delayed) } };
        }
        ResponseFuture { state: State::after(injection, head, body, ResponseFlags::NONE, &mut self.inner) }
    }
}

struct Delayed<S, B> {
    service: S,
    request: Option<Request<B>>,
    fault: Arc<Fault>,
    injection: Injection,
    random: Random,
    sleep: Pin<Box<Sleep>>,
}

pin_project! {
    /// The future of [`Faults`].
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B>,
    }
}

pin_project! {
    #[project = Projection]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        Delayed {
            delayed: Box<Delayed<S, B>>,
        },
        Inner {
            #[pin]
            inner: S::Future,
            injection: Injection,
            flags: ResponseFlags,
        },
        Answered {
            answer: Option<(Response<Bytes>, Injection)>,
        },
    }
}

impl<S: Service<Request<B>>, B> State<S, B> {
    /// Behind any delay.
    fn after(mut injection: Injection, head: request::Parts, body: B, flags: ResponseFlags, service: &mut S) -> Self {
        let Some(reply) = injection.reply.take() else {
            return Self::Inner { inner: service.call(Request::from_parts(head, body)), injection, flags };
        };
        let reply = LocalReply { flags: reply.flags | flags, ..*reply };
        let response = answer(Answered { reply, grpc: is_grpc(&head.headers), responder: None });
        Self::Answered { answer: Some((response, injection)) }
    }
}

impl<S, B, RB> Future for ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<RB>>,
    RB: Body<Data = Bytes>,
{
    type Output = Result<Response<FilteredBody<LocalOr<RB>>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                Projection::Delayed { delayed } => {
                    std::task::ready!(delayed.sleep.as_mut().poll(cx));
                    let Some(request) = delayed.request.take() else { return Poll::Pending };
                    let (head, body) = request.into_parts();
                    let mut injection = std::mem::take(&mut delayed.injection);
                    let fault = &delayed.fault;
                    fault.after_delay(&mut injection, fault.settings(), &head.headers, &mut delayed.random);
                    let next = State::after(injection, head, body, ResponseFlags::DI, &mut delayed.service);
                    this.state.set(next);
                }
                Projection::Inner { inner, injection, flags } => {
                    let mut response = std::task::ready!(inner.poll(cx))?;
                    if let Some(info) = response.extensions_mut().get_mut::<ResponseInfo>() {
                        info.flags |= *flags;
                    }
                    let injection = std::mem::take(injection);
                    let faulty = |body| FilteredBody::faulty(LocalOr::upstream(body), injection);
                    return Poll::Ready(Ok(response.map(faulty)));
                }
                Projection::Answered { answer } => {
                    let (response, injection) = answer.take().unwrap_or_default();
                    let faulty = |body| FilteredBody::faulty(LocalOr::local(body), injection);
                    return Poll::Ready(Ok(response.map(faulty)));
                }
            }
        }
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for ResponseFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

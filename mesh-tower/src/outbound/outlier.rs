//! Leaves a host alone that answers badly: outlier detection for use without a mesh, one layer for all hosts of a pool.
//!
//! In the mesh's own stack attempts report to their cluster and the control thread ejects; here the layer is both. It
//! follows the same rules ([`mesh_core::engine::outlier_detection`]) and needs no task: whoever asks whether a host is
//! ready lets time pass for all of them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response};
use mesh_core::engine::facts;
use mesh_core::engine::outlier_detection::{Bell, Detector, Monitor, Observation};
use mesh_core::engine::random::Random;
use mesh_core::engine::retry::Outcome;
use mesh_core::resource::endpoint::Address;
use mesh_core::resource::outlier_detection::OutlierDetection;
use mesh_core::state::{ClusterState, EjectionCounts, EndpointState, Finding};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tower_layer::Layer;
use tower_service::Service;

use super::overdue::is_overdue;
use crate::error::Error;

/// Ejects hosts that answer badly, by Envoy's rules. Every service that the layer wraps is one host (clones of a service
/// are the same host), and all of them are compared with one another.
///
/// While a host is ejected its service is not ready: a balancer over ready services, such as `tower`'s, passes it over.
/// A host whose services are all gone is forgotten.
///
/// ```
/// use mesh_core::resource::outlier_detection::OutlierDetection;
/// use mesh_tower::{Error, OutlierLayer};
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let layer = OutlierLayer::new(OutlierDetection { consecutive_5xx: 2, ..OutlierDetection::default() });
/// let host = |status| layer.layer(service_fn(move |_: http::Request<()>| async move {
///     Ok::<_, Error>(http::Response::builder().status(status).body(()).unwrap())
/// }));
/// let (mut good, mut bad) = (host(200), host(500));
/// for _ in 0..2 {
///     bad.ready().await.unwrap().call(http::Request::new(())).await.unwrap();
/// }
/// assert_eq!(layer.counts().active, 1);
/// assert!(good.ready().await.is_ok());
/// let began = tokio::time::Instant::now();
/// bad.ready().await.unwrap();
/// assert!(began.elapsed().as_secs() >= 30, "ready again when its ejection is over");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct OutlierLayer {
    pool: Arc<Pool>,
}

/// All hosts of a layer.
#[derive(Debug)]
struct Pool {
    monitor: Monitor,
    cluster: Arc<ClusterState>,
    epoch: Instant,
    /// Whether requests detected something that nobody looked at yet.
    called: Arc<AtomicBool>,
    /// When the next look at all hosts is due, in milliseconds.
    next_sweep: AtomicU64,
    control: Mutex<Control>,
}

/// Who ejects.
#[derive(Debug)]
struct Control {
    detector: Detector,
    hosts: Vec<Weak<Host>>,
    /// Services that wait for the end of an ejection.
    waiting: Vec<Waker>,
    random: Random,
    named: u64,
}

/// A host: what its services share.
#[derive(Debug)]
struct Host {
    pool: Arc<Pool>,
    address: Address,
    state: Arc<EndpointState>,
}

impl OutlierLayer {
    /// Judges hosts by these settings. One host may be ejected however small the share allowed, unless the settings say
    /// otherwise.
    #[must_use]
    pub fn new(settings: OutlierDetection) -> Self {
        let cluster = Arc::new(ClusterState::default());
        let called = Arc::new(AtomicBool::new(false));
        let rung = Arc::clone(&called);
        let monitor = Monitor::new(&settings, Bell::new(move || rung.store(true, Ordering::Release)));
        let control = Control {
            detector: Detector::new(settings, true, Arc::clone(&cluster), Duration::ZERO),
            hosts: Vec::new(),
            waiting: Vec::new(),
            random: Random::from_seed(fastrand::u64(..)),
            named: 0,
        };
        let next_sweep = AtomicU64::new(millis(control.detector.next_sweep()));
        let control = Mutex::new(control);
        Self { pool: Arc::new(Pool { monitor, cluster, epoch: Instant::now(), called, next_sweep, control }) }
    }

    /// What was ejected, and why.
    #[must_use]
    pub fn counts(&self) -> EjectionCounts {
        self.pool.cluster.ejections().counts()
    }
}

impl Pool {
    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Does what is due. When the next is.
    fn run(&self, control: &mut Control) -> Duration {
        let now = self.now();
        if control.hosts.iter().any(|host| host.strong_count() == 0) {
            control.follow();
        }
        let Control { detector, random, .. } = control;
        let mut returned = false;
        if detector.is_called() {
            detector.detected(now, random);
        }
        if detector.next_sweep() <= now {
            returned = detector.sweep(now, random).iter().any(|effect| effect.changes_health());
        }
        if returned {
            control.waiting.drain(..).for_each(Waker::wake);
        }
        let next = control.detector.next_sweep();
        self.next_sweep.store(millis(next), Ordering::Relaxed);
        next
    }

    /// Does what is due, if anything is.
    fn pass(&self) {
        if millis(self.now()) > self.next_sweep.load(Ordering::Relaxed) {
            self.run(&mut self.control());
        }
    }

    /// Counts how a request to a host ended, and ejects the host if it was one too many.
    fn observe(&self, host: &Host, observation: Observation) {
        self.monitor.observe(&self.cluster, &host.state, observation);
        if self.called.load(Ordering::Relaxed) && self.called.swap(false, Ordering::Acquire) {
            self.run(&mut self.control());
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Control {
    fn follow(&mut self) {
        self.hosts.retain(|host| host.strong_count() > 0);
        let hosts: Vec<Arc<Host>> = self.hosts.iter().filter_map(Weak::upgrade).collect();
        self.detector.follow(hosts.iter().map(|host| (&host.address, &host.state)));
    }
}

impl<S> Layer<S> for OutlierLayer {
    type Service = Outlier<S>;

    fn layer(&self, inner: S) -> Outlier<S> {
        let mut control = self.pool.control();
        control.named += 1;
        let host = Arc::new(Host {
            pool: Arc::clone(&self.pool),
            address: Address::Pipe(format!("host-{}", control.named).into()),
            state: Arc::default(),
        });
        control.hosts.push(Arc::downgrade(&host));
        control.follow();
        Outlier { inner, host, waits: None }
    }
}

/// The service of [`OutlierLayer`].
#[derive(Debug)]
pub struct Outlier<S> {
    inner: S,
    host: Arc<Host>,
    /// Until the next look at the hosts, while this one is ejected.
    waits: Option<Pin<Box<Sleep>>>,
}

impl<S: Clone> Clone for Outlier<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), host: Arc::clone(&self.host), waits: None }
    }
}

impl<S> Outlier<S> {
    /// Whether the host is ejected now.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.host.state.is(Finding::Ejected)
    }

    fn poll_return(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let next = {
                let pool = &self.host.pool;
                let mut control = pool.control();
                let next = pool.run(&mut control);
                if !self.host.state.is(Finding::Ejected) {
                    drop(control);
                    self.waits = None;
                    return Poll::Ready(());
                }
                // Another service may be the one that finds it back.
                control.waiting.retain(|waker| !waker.will_wake(cx.waker()));
                control.waiting.push(cx.waker().clone());
                pool.epoch + next
            };
            let waits = self.waits.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
            if waits.deadline() != next {
                waits.as_mut().reset(next);
            }
            std::task::ready!(waits.as_mut().poll(cx));
        }
    }
}

impl<S, B, RB> Service<Request<B>> for Outlier<S>
where
    S: Service<Request<B>, Response = Response<RB>, Error = Error>,
{
    type Response = Response<RB>;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.host.pool.pass();
        if self.host.state.is(Finding::Ejected) {
            std::task::ready!(self.poll_return(cx));
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let grpc = facts::is_grpc(request.headers());
        ResponseFuture { inner: self.inner.call(request), report: Report { host: Some(Arc::clone(&self.host)), grpc } }
    }
}

/// What an error says of the host that it came from.
fn observation(error: &Error) -> Option<Observation> {
    if error.is_timeout() {
        return Some(Observation::TimedOut);
    }
    Observation::of(&Outcome::Reset(error.reset()?), false)
}

pin_project! {
    /// The future of [`Outlier`].
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        report: Report,
    }
}

/// Reports once: with the outcome, or that there was none in time.
#[derive(Debug)]
struct Report {
    host: Option<Arc<Host>>,
    grpc: bool,
}

impl Report {
    fn observe(&mut self, observation: Option<Observation>) {
        if let (Some(host), Some(observation)) = (self.host.take(), observation) {
            if matches!(observation, Observation::Status(_)) {
                host.pool.observe(&host, Observation::Connected);
            }
            host.pool.observe(&host, observation);
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        // A layer outside ended it; a caller who goes away says nothing of the host.
        if self.host.is_some() && is_overdue() {
            self.observe(Some(Observation::TimedOut));
        }
    }
}

impl<F, RB> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<RB>, Error>>,
{
    type Output = Result<Response<RB>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = std::task::ready!(this.inner.poll(cx));
        let observation = match &result {
            Ok(response) => {
                let outcome = Outcome::Response { status: response.status(), headers: response.headers() };
                Observation::of(&outcome, this.report.grpc)
            }
            Err(error) => observation(error),
        };
        this.report.observe(observation);
        Poll::Ready(result)
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

//! HTTP/1.1 connections: one request at a time, the last one used is used first.
//!
//! Over hyper's connection. A connection comes back when its response has been read to the end; one that is
//! given up before is closed. Who drives a connection: see [`wire`].

mod body;
mod wire;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::Request;
use mesh_core::engine::retry::Reset;
use mesh_core::exchange::Target;
use mesh_core::state::Admission;
use tokio::task::AbortHandle;
use tokio::time::Instant;

pub(crate) use self::body::PoolBody;
pub(crate) use self::wire::Sent;
use self::wire::{Parked, Slot, Wire};
use super::Settings;
use super::connect::{ConnectError, connect};
use super::waiters::Waiters;
use crate::error::Error;

/// The HTTP/1.1 connections to one endpoint.
pub(crate) struct H1Pool {
    settings: Arc<Settings>,
    inner: Mutex<Inner>,
    /// Connections that exist, in use or not.
    open: AtomicUsize,
    /// Requests without a connection; each may be handed a new one.
    waiters: Waiters<Option<Box<Wire>>>,
}

#[derive(Default)]
struct Inner {
    #[allow(clippy::vec_box, reason = "a lease takes the box over: moving it costs less than moving the connection")]
    idle: Vec<Box<Wire>>,
    connecting: usize,
    /// The endpoint is gone, or has another pool: nothing is kept for later requests.
    closed: bool,
    /// A task looks for connections that have been idle, or alive, for too long.
    sweeping: bool,
}

/// A connection in use by one request.
pub(crate) struct H1Lease {
    /// The connection, unless a task drives it.
    wire: Option<Box<Wire>>,
    running: Option<AbortHandle>,
    pool: Arc<H1Pool>,
    is_reused: bool,
}

impl H1Pool {
    pub(super) fn new(settings: Arc<Settings>) -> Arc<Self> {
        Arc::new(Self { settings, inner: Mutex::default(), open: AtomicUsize::new(0), waiters: Waiters::default() })
    }

    /// An idle connection, if there is one that still works.
    pub(crate) fn try_lease(self: &Arc<Self>) -> Option<H1Lease> {
        loop {
            let mut wire = self.lock().idle.pop()?;
            let happened = wire.slot.is_taken();
            if self.is_worn(&wire, Instant::now()) || happened && wire.park() != Parked::Ready {
                continue;
            }
            return Some(self.leased(wire, true));
        }
    }

    fn leased(self: &Arc<Self>, wire: Box<Wire>, is_reused: bool) -> H1Lease {
        H1Lease { wire: Some(wire), running: None, pool: Arc::clone(self), is_reused }
    }

    /// A connection, waiting for one if need be.
    pub(crate) async fn lease(self: &Arc<Self>, target: &Target) -> Result<H1Lease, Error> {
        let mut pending = None;
        loop {
            if let Some(lease) = self.try_lease() {
                return Ok(lease);
            }
            if pending.is_none() {
                let breaker = target.cluster.breaker();
                pending = Some(breaker.admit_pending(target.priority, target.lane).ok_or(Error::Overflow)?);
            }
            let woken = self.waiters.join();
            self.connect_if_needed(target);
            if let Some(lease) = self.try_lease() {
                return Ok(lease);
            }
            if let Some(wire) = woken.await? {
                return Ok(self.leased(wire, false));
            }
        }
    }

    /// Starts another connection unless as many are being made as requests wait.
    fn connect_if_needed(self: &Arc<Self>, target: &Target) {
        let admission = {
            let mut inner = self.lock();
            if self.waiters.len() <= inner.connecting {
                return;
            }
            let admission = target.cluster.breaker().admit_connection(target.priority, target.lane);
            // The limit never starves an endpoint: its first connection is made regardless.
            if admission.is_none() && (inner.connecting > 0 || self.open.load(Ordering::SeqCst) > 0) {
                return;
            }
            inner.connecting += 1;
            admission
        };
        let pool = Arc::clone(self);
        self.settings.runtime.spawn(async move { pool.connect(admission).await });
    }

    async fn connect(self: Arc<Self>, admission: Option<Admission>) {
        let made = connect(&self.settings, async |io| {
            let made = Wire::new(io, &self, admission).await;
            made.map_err(|error| ConnectError::new(Reset::ConnectFailure, error))
        })
        .await;
        let is_wanted = {
            let mut inner = self.lock();
            inner.connecting = inner.connecting.saturating_sub(1);
            // In a closed pool a connection serves those who wait for it, or nobody.
            !inner.closed || self.waiters.len() > 0
        };
        match made {
            Ok(wire) if is_wanted => {
                // Straight to whoever waits: one that its server closes at once fails that request, as in Envoy.
                // Were it looked at before, the request would go on making connections without end.
                if let Err(Some(wire)) = self.waiters.hand(Some(Box::new(wire))) {
                    self.take_in(wire);
                }
                self.sweep();
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "HTTP/1.1 connection not made");
                // As Envoy does: a host that does not take connections fails everybody who waits for it, and whoever
                // may go elsewhere does. Trying again in their name would never end.
                self.waiters.fail(&error);
            }
        }
    }

    /// Keeps a connection for the next request: at once if it is ready, else once it is.
    fn take_in(self: &Arc<Self>, mut wire: Box<Wire>) {
        let now = Instant::now();
        wire.idle_since = now;
        if !self.is_worn(&wire, now) {
            self.park(wire);
        }
    }

    fn park(self: &Arc<Self>, mut wire: Box<Wire>) {
        match wire.park() {
            Parked::Closed => {}
            Parked::Busy => drop(self.run(wire)),
            Parked::Ready => {
                let mut inner = self.lock();
                if inner.closed {
                    return;
                }
                let slot = wire.slot.is_parked().then(|| Arc::clone(&wire.slot));
                inner.idle.push(wire);
                drop(inner);
                if let Some(slot) = slot {
                    self.look_at(slot);
                }
                self.waiters.wake(1);
            }
        }
    }

    /// Gives a connection a task until it is ready for the next request, or over.
    fn run(self: &Arc<Self>, mut wire: Box<Wire>) -> AbortHandle {
        let pool = Arc::clone(self);
        let task = self.settings.runtime.spawn(async move {
            if wire.run().await {
                pool.take_in(wire);
            }
        });
        task.abort_handle()
    }

    /// Has somebody look at an idle connection to which something happened: mostly it was closed.
    fn look_at(self: &Arc<Self>, slot: Arc<Slot>) {
        let pool = Arc::clone(self);
        self.settings.runtime.spawn(async move {
            let wire = {
                let mut inner = pool.lock();
                let at = inner.idle.iter().position(|one| Arc::ptr_eq(&one.slot, &slot));
                at.map(|at| inner.idle.remove(at))
            };
            if let Some(wire) = wire {
                wire.slot.is_taken();
                pool.park(wire);
            }
        });
    }

    /// Ends idle connections at once, and the others with their request.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.idle.clear();
    }

    /// Looks after the pool's idle connections for as long as there are any: one timer for all of them.
    fn sweep(self: &Arc<Self>) {
        if std::mem::replace(&mut self.lock().sweeping, true) {
            return;
        }
        let (step, pool) = (self.sweep_step(), Arc::downgrade(self));
        self.settings.runtime.spawn(async move {
            loop {
                tokio::time::sleep(step).await;
                let Some(pool) = pool.upgrade() else { return };
                let now = Instant::now();
                let mut inner = pool.lock();
                inner.idle.retain(|one| !pool.is_worn(one, now));
                if pool.open.load(Ordering::SeqCst) == 0 {
                    inner.sweeping = false;
                    return;
                }
            }
        });
    }

    fn sweep_step(&self) -> std::time::Duration {
        let idle = self.settings.http.idle_timeout.unwrap_or(std::time::Duration::from_secs(240));
        (idle / 4).clamp(std::time::Duration::from_millis(10), std::time::Duration::from_secs(60))
    }

    fn is_worn(&self, wire: &Wire, now: Instant) -> bool {
        let http = &self.settings.http;
        http.idle_timeout.is_some_and(|most| now.duration_since(wire.idle_since) >= most)
            || http.max_connection_duration.is_some_and(|most| now.duration_since(wire.born) >= most)
            || http.max_requests_per_connection.is_some_and(|most| wire.served >= most)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl H1Lease {
    /// Begins a request; [`Self::poll_response`] sends it.
    pub(crate) fn send(&mut self, request: Request<PoolBody>) {
        if let Some(wire) = &mut self.wire {
            wire.send(request);
        }
    }

    /// The head of the response. What is left of the request goes on while it is read.
    pub(crate) fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Option<Sent>> {
        let Some(wire) = &mut self.wire else { return Poll::Ready(None) };
        let sent = std::task::ready!(wire.poll_response(cx));
        if let Some(Ok(response)) = &sent {
            // Whoever reads the response, or leaves HTTP, need not poll it for the request to arrive.
            if wire.is_uploading() || response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
                self.running = self.wire.take().map(|wire| self.pool.run(wire));
            }
        }
        Poll::Ready(sent)
    }

    /// Reads from the response: `poll` asks for what the connection brings.
    pub(crate) fn drive<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        match &mut self.wire {
            Some(wire) => wire.drive(cx, poll),
            None => poll(cx),
        }
    }

    /// Whether the connection was idle before: then it may have died meanwhile.
    pub(crate) const fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// Gives the connection up for another one of its pool.
    pub(crate) fn into_pool(self) -> Arc<H1Pool> {
        Arc::clone(&self.pool)
    }

    /// The response was read to its end: the connection may serve the next request.
    pub(crate) fn give_back(mut self) {
        self.running = None;
        if let Some(wire) = self.wire.take() {
            self.pool.take_in(wire);
        }
    }
}

impl Drop for H1Lease {
    /// Given up in the middle: the connection closes.
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }
}

impl fmt::Debug for H1Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("H1Lease")
    }
}

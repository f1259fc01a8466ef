//! HTTP/1.1 connections: one request at a time, the last one used is used first.
//!
//! Over hyper's connection. A connection comes back when its response has been read to the end; one that is
//! given up before is closed.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use mesh_core::engine::retry::Reset;
use mesh_core::exchange::Target;
use mesh_core::state::Admission;
use tokio::time::Instant;

use super::Settings;
use super::connect::{ConnectError, connect};
use super::waiters::Waiters;
use crate::error::{BoxError, Error};

/// hyper fixes one body type per connection; every request's body becomes this one.
pub(crate) type PoolBody = UnsyncBoxBody<Bytes, BoxError>;

/// The HTTP/1.1 connections to one endpoint.
pub(crate) struct H1Pool {
    settings: Arc<Settings>,
    inner: Mutex<Inner>,
    waiters: Waiters,
}

#[derive(Default)]
struct Inner {
    idle: Vec<Connection>,
    /// Taken in a moment before their own task made them ready.
    settling: Vec<Connection>,
    connecting: usize,
    open: usize,
    /// The endpoint is gone, or has another pool: nothing is kept for later requests.
    closed: bool,
    /// A task looks for connections that have been idle, or alive, for too long.
    sweeping: bool,
}

struct Connection {
    send: SendRequest<PoolBody>,
    born: Instant,
    idle_since: Instant,
    served: u32,
    fresh: bool,
    closed: Arc<AtomicBool>,
}

/// A connection in use by one request.
pub(crate) struct H1Lease {
    connection: Option<Connection>,
    pool: Arc<H1Pool>,
}

/// How often a request lets other tasks run in the hope of a connection that is about to be free.
const MOST_YIELDS: u32 = 2;

impl H1Pool {
    pub(super) fn new(settings: Arc<Settings>) -> Arc<Self> {
        Arc::new(Self { settings, inner: Mutex::default(), waiters: Waiters::default() })
    }

    /// An idle connection, if there is one that still works.
    pub(crate) fn try_lease(self: &Arc<Self>) -> Option<H1Lease> {
        let mut inner = self.lock();
        while let Some(connection) = inner.idle.pop() {
            if connection.send.is_ready() && !self.is_worn(&connection) {
                return Some(H1Lease { connection: Some(connection), pool: Arc::clone(self) });
            }
        }
        while let Some(at) = inner.settling.iter().position(|one| one.send.is_ready() || one.send.is_closed()) {
            let connection = inner.settling.swap_remove(at);
            if connection.send.is_ready() && !self.is_worn(&connection) {
                return Some(H1Lease { connection: Some(connection), pool: Arc::clone(self) });
            }
        }
        None
    }

    fn is_settling(&self) -> bool {
        !self.lock().settling.is_empty()
    }

    /// A connection, waiting for one if need be.
    pub(crate) async fn lease(self: &Arc<Self>, target: &Target) -> Result<H1Lease, Error> {
        let mut pending = None;
        let mut yields = 0;
        loop {
            if let Some(lease) = self.try_lease() {
                return Ok(lease);
            }
            // A connection whose response has just been read needs one turn of its own task, not a rival.
            if yields < MOST_YIELDS && self.is_settling() {
                yields += 1;
                tokio::task::yield_now().await;
                continue;
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
            woken.await?;
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
            if admission.is_none() && (inner.connecting > 0 || inner.open > 0) {
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
            http1::Builder::new()
                .handshake::<_, PoolBody>(TokioIo::new(io))
                .await
                .map_err(|error| ConnectError::new(Reset::ConnectFailure, error))
        })
        .await;
        let (send, connection) = match made {
            Ok(made) => made,
            Err(error) => {
                tracing::debug!(%error, "HTTP/1.1 connection not made");
                return self.not_connected(&error);
            }
        };
        let closed = self.connected(send);
        self.sweep();
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "HTTP/1.1 connection ended");
        }
        self.ended(&closed);
        drop(admission);
        self.waiters.wake(usize::MAX);
    }

    fn not_connected(&self, error: &ConnectError) {
        {
            let mut inner = self.lock();
            inner.connecting = inner.connecting.saturating_sub(1);
        }
        // As Envoy does: a host that does not take connections fails everybody who waits for it, and whoever
        // may go elsewhere does. Trying again in their name would never end.
        self.waiters.fail(error);
    }

    /// Takes a new connection in; returns what it is known by.
    fn connected(self: &Arc<Self>, send: SendRequest<PoolBody>) -> Arc<AtomicBool> {
        let now = Instant::now();
        let closed = Arc::new(AtomicBool::new(false));
        let is_wanted = {
            let mut inner = self.lock();
            inner.connecting = inner.connecting.saturating_sub(1);
            inner.open += 1;
            // In a closed pool a connection serves those who wait for it, or nobody.
            !inner.closed || self.waiters.len() > 0
        };
        if is_wanted {
            let closed = Arc::clone(&closed);
            self.take_in(Connection { send, born: now, idle_since: now, served: 0, fresh: true, closed });
        }
        closed
    }

    /// Keeps a connection for the next request: at once if it is ready, else until its task says so, which has not run
    /// yet (a new one) or has not found out yet that the response ended. It wakes whoever waits then.
    fn take_in(self: &Arc<Self>, mut connection: Connection) {
        connection.idle_since = Instant::now();
        let waker = Waker::from(Arc::clone(self));
        let ready = connection.send.poll_ready(&mut Context::from_waker(&waker));
        if !matches!(ready, Poll::Ready(Err(_))) && !self.is_worn(&connection) {
            let mut inner = self.lock();
            // What a closed pool was waited for is handed on; what comes back to it ends.
            if !inner.closed || connection.fresh {
                if ready.is_ready() { inner.idle.push(connection) } else { inner.settling.push(connection) }
            }
        }
        self.waiters.wake(1);
    }

    fn ended(&self, closed: &Arc<AtomicBool>) {
        closed.store(true, Ordering::Relaxed);
        let mut inner = self.lock();
        inner.open = inner.open.saturating_sub(1);
        inner.idle.retain(|one| !Arc::ptr_eq(&one.closed, closed));
        inner.settling.retain(|one| !Arc::ptr_eq(&one.closed, closed));
    }

    /// Ends idle connections at once, and the others with their request.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.idle.clear();
        inner.settling.clear();
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
                pool.drop_worn();
                let mut inner = pool.lock();
                if inner.open == 0 {
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

    /// Closes idle connections that have been idle, or alive, for too long.
    fn drop_worn(&self) {
        let mut inner = self.lock();
        inner.idle.retain(|one| !self.is_worn(one));
        inner.settling.retain(|one| !self.is_worn(one) && !one.send.is_closed());
    }

    fn is_worn(&self, connection: &Connection) -> bool {
        let http = &self.settings.http;
        http.idle_timeout.is_some_and(|most| connection.idle_since.elapsed() >= most)
            || http.max_connection_duration.is_some_and(|most| connection.born.elapsed() >= most)
            || http.max_requests_per_connection.is_some_and(|most| connection.served >= most)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for H1Pool {
    /// A connection that was given back is ready for its next request.
    fn wake(self: Arc<Self>) {
        self.waiters.wake(1);
    }
}

impl H1Lease {
    /// The connection to send on.
    pub(crate) fn sender(&mut self) -> Option<&mut SendRequest<PoolBody>> {
        let connection = self.connection.as_mut()?;
        connection.served = connection.served.saturating_add(1);
        Some(&mut connection.send)
    }

    /// Whether the connection had served a request before: then it may have died while idle.
    pub(crate) fn is_reused(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| !connection.fresh)
    }

    /// The response was read to its end: the connection may serve the next request.
    pub(crate) fn give_back(mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        connection.fresh = false;
        self.pool.take_in(connection);
    }
}

impl Drop for H1Lease {
    fn drop(&mut self) {
        // Given up in the middle: the connection closes, and whoever waits may make another.
        if self.connection.take().is_some() {
            self.pool.waiters.wake(1);
        }
    }
}

impl fmt::Debug for H1Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("H1Lease")
    }
}

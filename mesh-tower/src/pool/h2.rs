//! HTTP/2 connections: streams are handed out up to what both sides allow, then another connection is made.
//!
//! Over the `h2` crate directly: its request future can be named and its send handle does not fix the body's
//! type. Keep-alive, GOAWAY and reconnecting are therefore ours. A connection that must not take new streams
//! (GOAWAY, its age, its number of requests, idleness) leaves the list; streams on it finish.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use h2::client::{self, SendRequest};
use mesh_core::engine::retry::Reset;
use mesh_core::exchange::Target;
use mesh_core::state::Admission;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Settings;
use super::connect::{ConnectError, connect};
use super::io::Io;
use super::waiters::Waiters;
use crate::error::Error;

/// The HTTP/2 connections to one endpoint.
pub(crate) struct H2Pool {
    settings: Arc<Settings>,
    open: ArcSwap<Vec<Arc<H2Connection>>>,
    /// Serialises changes of `open` and of `connecting`.
    change: Mutex<Connecting>,
    waiters: Waiters,
    /// Streams that the peer allowed on an earlier connection: what the next one starts with.
    learned: AtomicUsize,
    /// The endpoint is gone, or has another pool: nothing is kept for later requests.
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Connecting(usize);

struct H2Connection {
    send: SendRequest<Bytes>,
    active: AtomicUsize,
    limit: AtomicUsize,
    /// Requests that the connection may still take; `u32::MAX` is unlimited.
    left: AtomicU32,
    draining: AtomicBool,
    checked: AtomicBool,
    /// Streams ever taken, wrapping: tells use between two looks.
    served: AtomicU32,
    most: usize,
}

/// A stream's place on a connection, kept until the response has ended.
pub(crate) struct H2Stream {
    connection: Arc<H2Connection>,
    send: SendRequest<Bytes>,
    pool: Arc<H2Pool>,
    /// The task that sends the rest of the request's body, when the response came first.
    pump: Option<AbortHandle>,
}

impl H2Pool {
    pub(super) fn new(settings: Arc<Settings>) -> Arc<Self> {
        Arc::new(Self {
            settings,
            open: ArcSwap::default(),
            change: Mutex::default(),
            waiters: Waiters::default(),
            learned: AtomicUsize::new(ASSUMED_STREAMS),
            closed: AtomicBool::new(false),
        })
    }

    /// A place on an open connection, if one is free.
    pub(crate) fn try_stream(self: &Arc<Self>) -> Option<H2Stream> {
        loop {
            let connection = Arc::clone(self.open.load().iter().find(|one| one.take())?);
            let send = connection.send.clone();
            let mut stream = H2Stream { connection, send, pool: Arc::clone(self), pump: None };
            // A connection that was told to go away still carries its last streams, and takes no new ones.
            if !matches!(stream.send.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_))) {
                return Some(stream);
            }
            stream.retire();
        }
    }

    /// A place on a connection, waiting for one if need be.
    pub(crate) async fn stream(self: &Arc<Self>, target: &Target) -> Result<H2Stream, Error> {
        let mut pending = None;
        loop {
            if let Some(stream) = self.try_stream() {
                return Ok(stream);
            }
            if pending.is_none() {
                let breaker = target.cluster.breaker();
                pending = Some(breaker.admit_pending(target.priority, target.lane).ok_or(Error::Overflow)?);
            }
            let woken = self.waiters.join();
            self.connect_if_needed(target);
            // A stream may have come free between looking and joining.
            if let Some(stream) = self.try_stream() {
                return Ok(stream);
            }
            woken.await?;
        }
    }

    /// Starts another connection when those being made cannot carry everybody who waits.
    fn connect_if_needed(self: &Arc<Self>, target: &Target) {
        let admission = {
            let mut connecting = self.lock();
            let per_connection = self.first_limit();
            if self.waiters.len() <= connecting.0 * per_connection {
                return;
            }
            let admission = target.cluster.breaker().admit_connection(target.priority, target.lane);
            // The limit never starves an endpoint: its first connection is made regardless.
            if admission.is_none() && (connecting.0 > 0 || !self.open.load().is_empty()) {
                return;
            }
            connecting.0 += 1;
            admission
        };
        let pool = Arc::clone(self);
        self.settings.runtime.spawn(async move { pool.connect(admission).await });
    }

    async fn connect(self: Arc<Self>, admission: Option<Admission>) {
        let made = connect(&self.settings, async |io| handshake(&self.settings, io).await).await;
        let (send, connection) = match made {
            Ok(made) => made,
            Err(error) => {
                tracing::debug!(%error, "HTTP/2 connection not made");
                return self.not_connected(&error);
            }
        };
        let entry = self.connected(send);
        drive(&self, entry, connection).await;
        drop(admission);
        // Whoever waits for a stream of a connection that is gone looks again, and connects.
        self.waiters.wake(usize::MAX);
    }

    fn not_connected(&self, error: &ConnectError) {
        {
            let mut connecting = self.lock();
            connecting.0 = connecting.0.saturating_sub(1);
        }
        // As Envoy does: a host that does not take connections fails everybody who waits for it, and whoever
        // may go elsewhere does. Trying again in their name would never end.
        self.waiters.fail(error);
    }

    fn connected(&self, send: SendRequest<Bytes>) -> Arc<H2Connection> {
        let most = self.settings.http2.max_concurrent_streams as usize;
        let entry = Arc::new(H2Connection {
            send,
            active: AtomicUsize::new(0),
            limit: AtomicUsize::new(self.first_limit()),
            left: AtomicU32::new(self.settings.http.max_requests_per_connection.unwrap_or(u32::MAX)),
            draining: AtomicBool::new(false),
            checked: AtomicBool::new(false),
            served: AtomicU32::new(0),
            most,
        });
        {
            let mut connecting = self.lock();
            connecting.0 = connecting.0.saturating_sub(1);
            // In a closed pool a connection serves those who wait for it, or nobody.
            if !self.is_closed() || self.waiters.len() > 0 {
                self.change_open(|open| open.push(Arc::clone(&entry)));
            }
        }
        self.waiters.wake(entry.limit.load(Ordering::Relaxed));
        entry
    }

    /// Streams on a connection whose peer has not said yet how many it allows.
    fn first_limit(&self) -> usize {
        let most = self.settings.http2.max_concurrent_streams as usize;
        most.min(self.learned.load(Ordering::Relaxed)).clamp(1, ASSUMED_STREAMS)
    }

    fn change_open(&self, change: impl FnOnce(&mut Vec<Arc<H2Connection>>)) {
        let mut open = Vec::clone(&self.open.load());
        change(&mut open);
        self.open.store(Arc::new(open));
    }

    /// Ends every connection with its last stream.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let open = Arc::clone(&self.open.load());
        open.iter().for_each(|connection| self.retire(connection));
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn retire(&self, connection: &Arc<H2Connection>) {
        connection.draining.store(true, Ordering::Relaxed);
        let _change = self.lock();
        self.change_open(|open| open.retain(|one| !Arc::ptr_eq(one, connection)));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Connecting> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Streams assumed to be allowed before the peer's SETTINGS arrived, as `h2` assumes itself.
const ASSUMED_STREAMS: usize = 100;

async fn handshake(
    settings: &Settings,
    io: Io,
) -> Result<(SendRequest<Bytes>, client::Connection<Io, Bytes>), ConnectError> {
    client::Builder::new()
        .initial_window_size(settings.http2.initial_stream_window_size)
        .initial_connection_window_size(settings.http2.initial_connection_window_size)
        .initial_max_send_streams(ASSUMED_STREAMS)
        .enable_push(false)
        .handshake(io)
        .await
        .map_err(|error| ConnectError::new(Reset::ConnectFailure, error))
}

/// Runs a connection until it has ended, taking it out of use when its time has come.
async fn drive(pool: &Arc<H2Pool>, entry: Arc<H2Connection>, mut connection: client::Connection<Io, Bytes>) {
    let settings = &pool.settings;
    let mut pings = settings.http2.keepalive.and_then(|keepalive| Some((keepalive, connection.ping_pong()?)));
    let weak = Arc::downgrade(&entry);
    drop(entry);
    let retired = {
        let watch = watch(Weak::clone(&weak), settings.http.idle_timeout, settings.http.max_connection_duration);
        let keepalive = async {
            let Some((keepalive, pings)) = &mut pings else { return std::future::pending::<()>().await };
            loop {
                tokio::time::sleep(keepalive.interval).await;
                if !matches!(tokio::time::timeout(keepalive.timeout, pings.ping(h2::Ping::opaque())).await, Ok(Ok(_))) {
                    return;
                }
            }
        };
        tokio::select! {
            ended = &mut connection => { log_end(ended); None }
            () = keepalive => { tracing::debug!("HTTP/2 keep-alive unanswered"); None }
            () = watch => Some(()),
        }
    };
    if let Some(entry) = weak.upgrade() {
        pool.retire(&entry);
    }
    if retired.is_some() {
        // No new streams come; the last handle that goes with the last stream ends the connection.
        log_end(connection.await);
    }
}

fn log_end(ended: Result<(), h2::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "HTTP/2 connection ended");
    }
}

/// Returns when the connection is to take no more streams: too old, idle for too long, or used up.
async fn watch(entry: Weak<H2Connection>, idle: Option<Duration>, most: Option<Duration>) {
    let born = Instant::now();
    let mut idle_since = born;
    let mut used = 0;
    // Idleness is looked at a few times per period: a timer per request would cost more than it tells.
    let step = idle
        .map_or(Duration::from_secs(60), |idle| (idle / 4).clamp(Duration::from_millis(10), Duration::from_secs(60)));
    loop {
        let next =
            most.map_or(step, |most| step.min(most.saturating_sub(born.elapsed()).max(Duration::from_millis(1))));
        tokio::time::sleep(next).await;
        // Out of use already: the connection ends by itself with its last stream.
        let Some(entry) = entry.upgrade() else { return std::future::pending().await };
        let now = Instant::now();
        let requests = entry.served.load(Ordering::Relaxed);
        if entry.active.load(Ordering::Relaxed) > 0 || requests != used {
            used = requests;
            idle_since = now;
        }
        if entry.draining.load(Ordering::Relaxed)
            || most.is_some_and(|most| now - born >= most)
            || idle.is_some_and(|idle| now - idle_since >= idle)
        {
            return;
        }
    }
}

impl H2Connection {
    /// Takes a stream's place, unless there is none.
    fn take(&self) -> bool {
        if self.draining.load(Ordering::Relaxed) {
            return false;
        }
        let before = self.active.fetch_add(1, Ordering::Relaxed);
        if before >= self.limit.load(Ordering::Relaxed) && !self.allows(before) {
            self.active.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        if self.left.load(Ordering::Relaxed) != u32::MAX {
            match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
                Ok(left) if left > 1 => {}
                Ok(_) => self.draining.store(true, Ordering::Relaxed),
                Err(_) => {
                    self.active.fetch_sub(1, Ordering::Relaxed);
                    return false;
                }
            }
        }
        self.served.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Asks what the peer allows by now.
    fn allows(&self, active: usize) -> bool {
        let peer = self.send.current_max_send_streams();
        // Before its SETTINGS have arrived this is only what was assumed.
        if peer == ASSUMED_STREAMS && !self.checked.load(Ordering::Relaxed) {
            return false;
        }
        let limit = peer.min(self.most);
        self.limit.store(limit, Ordering::Relaxed);
        active < limit
    }
}

impl H2Stream {
    /// What the request is sent with. An error: the connection went away, the request was not sent.
    pub(crate) const fn sender(&mut self) -> &mut SendRequest<Bytes> {
        &mut self.send
    }

    /// The response has begun and `pump` goes on with the request: it ends with the response.
    pub(crate) fn own_pump(&mut self, pump: AbortHandle) {
        self.pump = Some(pump);
    }

    /// The connection refuses new streams (GOAWAY): nobody else is to try it.
    pub(crate) fn retire(&self) {
        self.pool.retire(&self.connection);
    }

    /// The peer's SETTINGS have arrived with its first answer: from now on its own limit holds.
    pub(crate) fn response_started(&self) {
        if !self.connection.checked.swap(true, Ordering::Relaxed) {
            self.connection.allows(0);
            self.pool.learned.store(self.connection.send.current_max_send_streams(), Ordering::Relaxed);
        }
    }
}

impl Drop for H2Stream {
    fn drop(&mut self) {
        if let Some(pump) = self.pump.take() {
            pump.abort();
        }
        self.connection.active.fetch_sub(1, Ordering::Relaxed);
        if self.connection.draining.load(Ordering::Relaxed) || self.pool.is_closed() {
            self.pool.retire(&self.connection);
        }
        self.pool.waiters.wake(1);
    }
}

impl fmt::Debug for H2Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("H2Stream")
    }
}

/// What an error of a stream means for its attempt.
pub(crate) fn reset_of(error: &h2::Error) -> Reset {
    if error.is_go_away() {
        // Only streams that the peer says it never processed end with its GOAWAY.
        return if error.is_remote() { Reset::RemoteRefused } else { Reset::ProtocolError };
    }
    if error.is_reset() && error.is_remote() {
        return if error.reason() == Some(h2::Reason::REFUSED_STREAM) {
            Reset::RemoteRefused
        } else {
            Reset::RemoteReset
        };
    }
    if error.is_io() {
        return Reset::ConnectionTermination { request_sent: true };
    }
    if error.is_library() { Reset::ProtocolError } else { Reset::ConnectionTermination { request_sent: true } }
}

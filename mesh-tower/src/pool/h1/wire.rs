//! One HTTP/1.1 connection, and who drives it.
//!
//! A connection has no task of its own. The request that uses it polls it, so that nothing is handed from task to task
//! on the way to the socket and back. Between requests it is *parked*: its waker has somebody look at it when the
//! peer closes it, or sends what nobody asked for. Only what has to go on while nobody polls gets a task
//! ([`Wire::run`]): an upload that outlives the head of its response, and a connection that left HTTP.
//!
//! ```text
//! connected ─▶ parked ⇄ leased ─▶ running (a task) ─▶ parked
//!                 └────────┴──────────────┴─────────▶ closed
//! ```

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use mesh_core::state::Admission;
use tokio::time::Instant;
use tokio_util::sync::ReusableBoxFuture;

use super::{H1Pool, PoolBody};
use crate::pool::io::Io;

/// What came of a request: the head of its response, or an error with the request if it was not sent.
pub(crate) type Sent = Result<Response<Incoming>, TrySendError<Request<PoolBody>>>;

/// A connection. Dropping it closes it.
pub(super) struct Wire {
    /// Before `driver`: what is being sent ends before the connection does.
    sending: ReusableBoxFuture<'static, Option<Sent>>,
    send: SendRequest<PoolBody>,
    driver: Pin<Box<dyn Future<Output = Result<(), hyper::Error>> + Send>>,
    over: bool,
    pub(super) slot: Arc<Slot>,
    uploading: Arc<AtomicBool>,
    pub(super) born: Instant,
    pub(super) idle_since: Instant,
    pub(super) served: u32,
    _open: Open,
}

/// What a parked connection turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parked {
    /// Ready for a request.
    Ready,
    /// Something of the last request is still under way.
    Busy,
    /// Over.
    Closed,
}

impl Wire {
    /// Takes a connected stream.
    ///
    /// # Errors
    /// hyper's, when the handshake fails.
    pub(super) async fn new(io: Io, pool: &Arc<H1Pool>, admission: Option<Admission>) -> Result<Self, hyper::Error> {
        let (send, connection) = http1::Builder::new().handshake::<_, PoolBody>(TokioIo::new(io)).await?;
        let now = Instant::now();
        Ok(Self {
            sending: ReusableBoxFuture::new(std::future::ready(None)),
            send,
            driver: Box::pin(connection.with_upgrades()),
            over: false,
            slot: Arc::new(Slot {
                pool: Arc::downgrade(pool),
                parked: AtomicBool::new(false),
                woken: AtomicBool::new(false),
            }),
            uploading: Arc::default(),
            born: now,
            idle_since: now,
            served: 0,
            _open: Open::new(pool, admission),
        })
    }

    /// Begins a request. Nothing moves before [`Self::poll_response`].
    pub(super) fn send(&mut self, mut request: Request<PoolBody>) {
        self.served = self.served.saturating_add(1);
        request.body_mut().watch(&self.uploading);
        let sent = self.send.try_send_request(request);
        self.sending.set(async move { Some(sent.await) });
    }

    /// Drives the connection until the head of the response is there.
    pub(super) fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Option<Sent>> {
        let over = self.poll(cx).is_ready();
        // Only the connection can make it ready, which has just been polled: a wake-up from there would be one too many.
        let mut quiet = Context::from_waker(Waker::noop());
        self.sending.poll(if over { cx } else { &mut quiet })
    }

    /// Drives the connection until `poll` has what it waits for from it.
    pub(super) fn drive<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let mut quiet = Context::from_waker(Waker::noop());
        if let Poll::Ready(done) = poll(&mut quiet) {
            return Poll::Ready(done);
        }
        let over = self.poll(cx).is_ready();
        poll(if over { cx } else { &mut quiet })
    }

    /// Whether part of the request's body is yet to be read.
    pub(super) fn is_uploading(&self) -> bool {
        self.uploading.load(Ordering::Relaxed)
    }

    /// Leaves the connection to its waker.
    pub(super) fn park(&mut self) -> Parked {
        self.slot.woken.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self.slot));
        if self.poll(&mut Context::from_waker(&waker)).is_ready() || self.send.is_closed() {
            return Parked::Closed;
        }
        if self.send.is_ready() { Parked::Ready } else { Parked::Busy }
    }

    /// Drives the connection for as long as it is not ready for another request. Whether it is then, or over.
    pub(super) async fn run(&mut self) -> bool {
        poll_fn(|cx| {
            if self.poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            if self.send.is_ready() { Poll::Ready(true) } else { Poll::Pending }
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.over {
            let ended = std::task::ready!(self.driver.as_mut().poll(cx));
            self.over = true;
            if let Err(error) = ended {
                tracing::debug!(%error, "HTTP/1.1 connection ended");
            }
        }
        Poll::Ready(())
    }
}

/// What a parked connection is known by, and what it wakes.
pub(super) struct Slot {
    pool: Weak<H1Pool>,
    parked: AtomicBool,
    woken: AtomicBool,
}

impl Slot {
    /// The connection is among the idle ones. Whether something happened to it since it was polled.
    pub(super) fn is_parked(&self) -> bool {
        self.parked.store(true, Ordering::SeqCst);
        self.woken.load(Ordering::SeqCst)
    }

    /// The connection is no longer among the idle ones. Whether something happened to it meanwhile.
    pub(super) fn is_taken(&self) -> bool {
        self.parked.store(false, Ordering::SeqCst);
        self.woken.load(Ordering::SeqCst)
    }
}

impl Wake for Slot {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Either this sees that the connection is parked, or whoever parks it sees this.
        if !self.woken.swap(true, Ordering::SeqCst)
            && self.parked.load(Ordering::SeqCst)
            && let Some(pool) = self.pool.upgrade()
        {
            pool.look_at(Arc::clone(self));
        }
    }
}

/// Counts a connection as open.
struct Open {
    pool: Weak<H1Pool>,
    admission: Option<Admission>,
}

impl Open {
    fn new(pool: &Arc<H1Pool>, admission: Option<Admission>) -> Self {
        pool.open.fetch_add(1, Ordering::SeqCst);
        Self { pool: Arc::downgrade(pool), admission }
    }
}

impl Drop for Open {
    /// May run under the pool's lock: it takes none.
    fn drop(&mut self) {
        drop(self.admission.take());
        if let Some(pool) = self.pool.upgrade() {
            pool.open.fetch_sub(1, Ordering::SeqCst);
            pool.waiters.wake(usize::MAX);
        }
    }
}

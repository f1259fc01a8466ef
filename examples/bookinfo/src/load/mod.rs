//! The readers: a closed loop of a few clients that open the product page, at most so many times a second.
//!
//! They are a workload of the mesh like any other, without a server. Every tenth page is opened by the reader `jason`.

mod pace;
mod visit;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use http::HeaderValue;
use mesh_sdk::{HttpClient, Mesh};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tower_layer::Layer;

use self::pace::Pace;
pub(crate) use self::visit::ratio;
pub use self::visit::{Reader, Visit, Visits};
use crate::instance::join;
use crate::observe::{Caller, Observe};
use crate::services::{Page, fetch};
use crate::{Bookinfo, BoxError};

/// How much traffic.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Pages a second, over all clients; 0 is as many as come back. Default 300.
    pub rate: u32,
    /// Clients, each with one page under way at a time. Default 16.
    pub clients: u32,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { rate: 300, clients: 16 }
    }
}

/// The traffic under way.
#[derive(Debug)]
pub struct Load {
    mesh: Mesh,
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    /// Begins. Every visit is sent to the receiver, which must be read as long as the load runs.
    ///
    /// # Errors
    /// The clients' mesh cannot be built.
    pub async fn start(
        bookinfo: &Bookinfo,
        options: LoadOptions,
    ) -> Result<(Self, UnboundedReceiver<Visit>), BoxError> {
        let mesh = join(bookinfo.path(), "readers", "readers", "v1").await?;
        mesh.ready().await?;
        let page = Caller::new("readers", bookinfo.ledger()).calls("productpage").layer(mesh.http_client());
        let (visits, received) = unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        let (pace, count) = (Arc::new(Pace::new(options.rate)), Arc::new(AtomicU64::new(0)));
        let mut clients = JoinSet::new();
        for _ in 0..options.clients.max(1) {
            let client = Client {
                page: page.clone(),
                pace: Arc::clone(&pace),
                count: Arc::clone(&count),
                stop: Arc::clone(&stop),
            };
            clients.spawn(client.run(visits.clone()));
        }
        Ok((Self { mesh, stop, clients }, received))
    }

    /// Ends after the pages under way. The receiver then ends too, when it is read empty.
    pub async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while self.clients.join_next().await.is_some() {}
        self.mesh.shutdown().await;
    }
}

struct Client {
    page: Observe<HttpClient>,
    pace: Arc<Pace>,
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Client {
    async fn run(self, visits: UnboundedSender<Visit>) {
        let jason = HeaderValue::from_static("jason");
        while !self.stop.load(Ordering::Relaxed) {
            self.pace.wait().await;
            let reader =
                if self.count.fetch_add(1, Ordering::Relaxed) % 10 == 9 { Reader::Jason } else { Reader::Anonymous };
            let header = (reader == Reader::Jason).then_some(&jason);
            let started = Instant::now();
            let page: Result<Page, _> = fetch(&self.page, "http://productpage:9080/productpage/0", header).await;
            let version = page.map(|page| page.reviews.version).map_err(|error| error.chain());
            if visits.send(Visit { reader, started, finished: Instant::now(), version }).is_err() {
                return;
            }
        }
    }
}

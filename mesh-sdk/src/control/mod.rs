//! Control work on a thread of its own, `mesh-control`, so that blocked request handlers cannot starve it.
//!
//! [`run`](self::run) is its loop: sources, names and admin pages in, snapshots out. [`publish`](self::publish) is the one way
//! from objects to what is in force; [`health`](self::health) watches hosts. The thread ends with its owner. The process' signals are left as they are:
//! Rust programs ignore SIGPIPE from the start.

mod health;
mod publish;
mod run;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use mesh_core::snapshot::RequestCompat;
use mesh_istio::{MeshConfig, ProxyContext};
use tokio::sync::{oneshot, watch};

use crate::build_error::BuildError;
use crate::dns::Resolver;
use crate::source::SourceConfig;
use crate::view::View;

/// What the control thread works on.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) sources: Vec<SourceConfig>,
    pub(crate) proxy: ProxyContext,
    pub(crate) mesh: MeshConfig,
    pub(crate) compat: RequestCompat,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) resolver: Resolver,
    pub(crate) view: Arc<View>,
}

/// What is known once the first configuration is in force.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started {
    /// Where the admin pages are.
    pub(crate) admin: Option<SocketAddr>,
}

/// Owns the control thread: when this goes, the thread ends and with it watches, name look-ups and admin pages.
#[derive(Debug)]
pub(crate) struct Control {
    /// Dropping it tells the thread as well.
    stop: watch::Sender<bool>,
    /// Closed by the thread when it has ended.
    ended: watch::Receiver<()>,
}

impl Control {
    /// Starts the thread and waits until the first configuration is in force.
    ///
    /// # Cancel safety
    /// Dropping the future ends the thread.
    pub(crate) async fn start(plan: Plan) -> Result<(Self, Started), BuildError> {
        let (stop, stopped) = watch::channel(false);
        let (alive, ended) = watch::channel(());
        let (first, started) = oneshot::channel();
        let body = move || {
            let _alive = alive;
            on_thread(plan, stopped, first);
        };
        thread::Builder::new().name("mesh-control".to_owned()).spawn(body).map_err(BuildError::Thread)?;
        let control = Self { stop, ended };
        let started = started.await.unwrap_or(Err(BuildError::Stopped))?;
        Ok((control, started))
    }

    /// Ends the thread and waits for its end.
    pub(crate) async fn stop(&self) {
        self.stop.send_replace(true);
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}

fn on_thread(plan: Plan, mut stopped: watch::Receiver<bool>, first: oneshot::Sender<Result<Started, BuildError>>) {
    let built = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("mesh-control-io")
        // Reading files and asking the system's resolver; both wait on others most of the time.
        .max_blocking_threads(8)
        .build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = first.send(Err(BuildError::Thread(error)));
            return;
        }
    };
    runtime.block_on(async {
        tokio::select! {
            // An error tells that the owner is gone.
            _ = stopped.wait_for(|stopped| *stopped) => {}
            () = run::run(plan, first) => {}
        }
    });
    // A look-up that hangs in the system's resolver must not hold the thread.
    runtime.shutdown_background();
}

//! The handle of a mesh: clients, servers, readiness, and its end.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use mesh_core::snapshot::SnapshotStore;
use mesh_core::snapshot::status::StatusBoard;
use mesh_istio::Finding;
use mesh_tower::body::RequestBody;
use mesh_tower::inbound::ServeOptions;
use mesh_tower::outbound::Outbound;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower_service::Service;

use crate::BoxError;
use crate::builder::MeshBuilder;
use crate::client::{Channel, HttpClient};
use crate::control::{Control, Started};
use crate::gateway::GatewayBuilder;
use crate::view::{Readiness, View};

/// A service mesh in this process. Clones are handles of the same mesh.
///
/// When the last handle goes, running servers included, nothing watches files, resolves names or serves admin
/// pages any more. Clients made from it keep working with the configuration that was in force then.
#[derive(Clone, Debug)]
pub struct Mesh(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    view: Arc<View>,
    control: Control,
    outbound: Outbound,
    admin: Option<SocketAddr>,
    serving: Serving,
    /// Servers hold receivers: it is closed when the last of them has drained.
    drain: watch::Sender<bool>,
}

/// How ports are served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Serving {
    pub(crate) allow_unconfigured_ports: bool,
    pub(crate) drain_timeout: Duration,
    /// By which address others know this machine.
    pub(crate) node: Option<IpAddr>,
}

/// The mesh was shut down before it was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the mesh was shut down")]
pub struct Stopped;

impl Mesh {
    /// Begins to build a mesh.
    pub fn builder() -> MeshBuilder {
        MeshBuilder::new()
    }

    pub(crate) fn new(
        view: Arc<View>,
        control: Control,
        outbound: Outbound,
        started: Started,
        serving: Serving,
    ) -> Self {
        let drain = watch::Sender::new(false);
        Self(Arc::new(Inner { view, control, outbound, admin: started.admin, serving, drain }))
    }

    /// A service whose requests all go to `target`, such as `reviews:9080`: what a generated gRPC client takes.
    ///
    /// A text that is no host and port gives a channel whose every call fails and says so.
    #[must_use]
    pub fn channel(&self, target: impl AsRef<str>) -> Channel {
        Channel::new(self.0.outbound.clone(), target.as_ref())
    }

    /// A service for any `http::Request`, routed by its authority.
    #[must_use]
    pub fn http_client(&self) -> HttpClient {
        HttpClient(self.0.outbound.clone())
    }

    /// Serves HTTP/1.1 and HTTP/2 on `listener` behind the mesh's inbound rules, until [`shutdown`](Self::shutdown); then
    /// requests under way end within the drain timeout. An axum `Router` and tonic's services fit.
    ///
    /// The future is itself a handle of the mesh.
    ///
    /// # Errors
    /// The listener's address cannot be told. Errors of single connections end neither the future nor others.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener and its connections.
    pub fn serve<S, RB>(
        &self,
        listener: TcpListener,
        service: S,
    ) -> impl Future<Output = io::Result<()>> + Send + use<S, RB>
    where
        S: Service<Request<RequestBody<Incoming>>, Response = Response<RB>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        RB: Body<Data = Bytes> + Send + 'static,
        RB::Error: Into<BoxError>,
    {
        let mesh = self.clone();
        // Counts from now on: a shutdown before the first poll waits for it as well.
        let mut drain = self.0.drain.subscribe();
        async move {
            let mut options = ServeOptions::new(mesh.snapshots());
            options.allow_unconfigured_ports = mesh.0.serving.allow_unconfigured_ports;
            options.drain_timeout = mesh.0.serving.drain_timeout;
            let shutdown = async {
                // The sender lives as long as `mesh`.
                let _ = drain.wait_for(|drain| *drain).await;
            };
            mesh_tower::inbound::serve(listener, service, options, shutdown).await
        }
    }

    /// Serves the listeners of the configuration for callers outside: those of Istio's Gateways that select this workload, or
    /// of an Envoy configuration.
    pub fn gateway(&self) -> GatewayBuilder {
        GatewayBuilder::new(self.clone())
    }

    pub(crate) fn view(&self) -> &View {
        &self.0.view
    }

    pub(crate) fn outbound(&self) -> Outbound {
        self.0.outbound.clone()
    }

    pub(crate) fn serving(&self) -> Serving {
        self.0.serving
    }

    /// Counts as a server from now on, for whom a shutdown waits.
    pub(crate) fn drain(&self) -> watch::Receiver<bool> {
        self.0.drain.subscribe()
    }

    /// Waits until the mesh can be used: the first configuration is in force, and every name in it has been
    /// looked up once.
    ///
    /// # Errors
    /// [`Stopped`]: it was shut down.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub fn ready(&self) -> impl Future<Output = Result<(), Stopped>> + Send + use<> {
        let mut readiness = self.0.view.readiness();
        async move {
            let settled = readiness.wait_for(|state| !matches!(state, Readiness::Waiting(_))).await;
            match settled.as_deref() {
                Ok(Readiness::Live) => Ok(()),
                _ => Err(Stopped),
            }
        }
    }

    /// Drains every server and waits for it, then ends control work. Calling it again waits for the same end.
    ///
    /// # Cancel safety
    /// Servers drain although the future is dropped; control work may then go on until the last handle goes.
    pub async fn shutdown(&self) {
        self.0.view.set_readiness(Readiness::Draining);
        self.0.drain.send_replace(true);
        self.0.drain.closed().await;
        self.0.control.stop().await;
    }

    /// Where layers find the configuration in force.
    #[must_use]
    pub fn snapshots(&self) -> SnapshotStore {
        self.0.view.snapshots.clone()
    }

    /// What there is to say about the Istio objects as they are now: refusals, warnings, fields without effect.
    #[must_use]
    pub fn findings(&self) -> Arc<[Finding]> {
        self.0.view.findings()
    }

    /// What became of every resource made of the objects.
    #[must_use]
    pub fn status(&self) -> StatusBoard {
        self.0.view.board().clone()
    }

    /// Where the admin pages are; `None` if none were asked for.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.0.admin
    }
}

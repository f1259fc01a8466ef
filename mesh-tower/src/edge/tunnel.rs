//! Upgraded connections: bytes between a caller and an upstream, once both have left HTTP behind.

use http::{Request, Response, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use mesh_core::exchange::upgrade::is_upgrade;
use tokio::sync::watch;

/// The caller's side of a request that asks for an upgrade.
#[derive(Debug)]
pub(super) struct Tunnel {
    caller: OnUpgrade,
    /// Closed when the listener has drained: then the tunnel ends as well.
    listener: watch::Receiver<()>,
}

impl Tunnel {
    /// Of a request that may leave HTTP; nearly none asks to.
    pub(super) fn of<B>(request: &mut Request<B>, listener: &watch::Receiver<()>) -> Option<Self> {
        if request.version() != Version::HTTP_11 || !is_upgrade(request.version(), request.headers()) {
            return None;
        }
        let caller = request.extensions_mut().remove::<OnUpgrade>()?;
        Some(Self { caller, listener: listener.clone() })
    }

    /// Passes bytes on in both directions, if the upstream's response says so.
    pub(super) fn open<B>(self, response: &mut Response<B>) {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        let Some(upstream) = response.extensions_mut().remove::<OnUpgrade>() else { return };
        let Self { caller, mut listener } = self;
        tokio::spawn(async move {
            let bytes = async {
                let (Ok(caller), Ok(upstream)) = tokio::join!(caller, upstream) else { return };
                let (mut caller, mut upstream) = (TokioIo::new(caller), TokioIo::new(upstream));
                // Either side may go away as it likes.
                let _ = tokio::io::copy_bidirectional(&mut caller, &mut upstream).await;
            };
            tokio::select! {
                () = bytes => {}
                // An error tells that the listener is gone.
                _ = listener.changed() => {}
            }
        });
    }
}

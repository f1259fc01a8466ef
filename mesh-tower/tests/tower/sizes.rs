//! How large the outbound future is, so that growth is noticed: it is moved and kept per request.

use bytes::Bytes;
use http_body_util::Full;
use mesh_core::resource::cluster::UpstreamProtocol;
use mesh_tower::outbound::Outbound;
use tower::Service;

use crate::mesh::{Mesh, Setup, cluster, get};

type Unary = <Outbound as Service<http::Request<Full<Bytes>>>>::Future;

/// Bytes. Raise it only with a reason and a measurement.
const MOST: usize = 768;

#[tokio::test]
async fn the_future_of_a_unary_request_does_not_grow_unnoticed() {
    let size = size_of::<Unary>();
    println!("outbound future of a unary request: {size} bytes");
    assert!(size <= MOST, "{size} bytes");
    // The size is that of what is made, whichever way a request takes.
    let mut client = Mesh::new(Setup::to(cluster("c", UpstreamProtocol::Http1, &[]))).client();
    assert_eq!(size_of_val(&client.call(get("/"))), size);
}

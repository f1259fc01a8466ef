//! One layer and no mesh: Envoy's retry rules around any service. `cargo run --example one_layer`.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use mesh_core::resource::retry::{RetryOn, RetryPolicy};
use mesh_tower::{Error, RetryLayer, outbound::retry::ReplayBody};
use tower::{ServiceBuilder, ServiceExt, service_fn};

static CALLS: AtomicU32 = AtomicU32::new(0);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (retry_on, unknown) = RetryOn::parse("5xx,reset,connect-failure");
    assert!(unknown.is_empty(), "Envoy knows no {unknown:?}");
    let policy = RetryPolicy { retry_on, num_retries: Some(2), ..RetryPolicy::default() };

    let service = ServiceBuilder::new().layer(RetryLayer::new(&policy)?).service(service_fn(flaky));

    let response = service.oneshot(Request::post("http://flaky/").body(Full::new(Bytes::from("hello")))?).await?;
    println!("{} after {} calls", response.status(), CALLS.load(Ordering::Relaxed));
    Ok(())
}

/// Answers 503 twice, then 200.
async fn flaky(_: Request<ReplayBody<Full<Bytes>>>) -> Result<Response<String>, Error> {
    let mut response = Response::new(String::new());
    if CALLS.fetch_add(1, Ordering::Relaxed) < 2 {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

//! `isbn.example.com`: a server that knows nothing of any mesh.

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

/// A book's number.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Isbn {
    pub(crate) isbn_10: String,
}

pub(crate) fn router() -> Router {
    Router::new().route("/isbn/{product}", get(isbn))
}

async fn isbn(Path(product): Path<u32>) -> Json<Isbn> {
    Json(Isbn { isbn_10: format!("{:010}", 1_234_567_890_u64.wrapping_add(product.into())) })
}

//! `ratings`: how many stars each reader gives.

use std::collections::BTreeMap;

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

/// Stars by reader, 1 to 5.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Ratings {
    pub(crate) stars: BTreeMap<String, u32>,
}

pub(crate) fn router() -> Router {
    Router::new().route("/ratings/{product}", get(ratings))
}

async fn ratings(Path(product): Path<u32>) -> Json<Ratings> {
    let stars = [("Reviewer1", 5), ("Reviewer2", 4 - product % 2)];
    Json(Ratings { stars: stars.into_iter().map(|(reviewer, stars)| (reviewer.to_owned(), stars)).collect() })
}

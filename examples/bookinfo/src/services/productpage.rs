//! `productpage`: the page of a book, put together from `details` (HTTP) and `reviews` (gRPC).

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue};
use mesh_sdk::{Channel, HttpClient, Mesh};
use serde::{Deserialize, Serialize};
use tower_layer::Layer;

use super::details::Details;
use super::{END_USER, Unavailable, fetch};
use crate::observe::{Caller, Observe};
use crate::proto::{ListReply, ListRequest, ReviewsClient};

/// The page.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Page {
    title: String,
    pub(crate) details: Details,
    pub(crate) reviews: PageReviews,
    instance: String,
}

/// The part of it that tells which version of `reviews` answered.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct PageReviews {
    pub(crate) version: String,
    instance: String,
    list: Vec<PageReview>,
}

/// One opinion.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct PageReview {
    reviewer: String,
    text: String,
    stars: Option<String>,
}

#[derive(Clone)]
struct Shop {
    instance: String,
    details: Observe<HttpClient>,
    reviews: ReviewsClient<Observe<Channel>>,
}

pub(crate) fn router(mesh: &Mesh, caller: &Caller, instance: String) -> Router {
    let details = caller.calls("details").layer(mesh.http_client());
    let reviews = ReviewsClient::new(caller.calls("reviews").layer(mesh.channel("reviews:9080")));
    Router::new().route("/productpage/{product}", get(page)).with_state(Shop { instance, details, reviews })
}

async fn page(
    State(shop): State<Shop>,
    Path(product): Path<u32>,
    headers: HeaderMap,
) -> Result<Json<Page>, Unavailable> {
    let end_user = headers.get(END_USER);
    let url = format!("http://details:9080/details/{product}");
    let (details, reviews) =
        tokio::try_join!(fetch(&shop.details, &url, end_user), reviews(&shop.reviews, product, end_user))?;
    Ok(Json(Page { title: "The Comedy of Errors".to_owned(), details, reviews, instance: shop.instance }))
}

async fn reviews(
    client: &ReviewsClient<Observe<Channel>>,
    product: u32,
    end_user: Option<&HeaderValue>,
) -> Result<PageReviews, Unavailable> {
    let mut request = tonic::Request::new(ListRequest { product });
    // A name that is no text stays behind: gRPC metadata must be ASCII.
    if let Some(user) = end_user.and_then(|user| user.to_str().ok()?.parse().ok()) {
        request.metadata_mut().insert(END_USER, user);
    }
    let ListReply { version, instance, reviews } = client.clone().list(request).await?.into_inner();
    let stars = |stars: u32, color: &str| (stars > 0).then(|| format!("{stars} {color}"));
    let list = reviews
        .into_iter()
        .map(|review| PageReview {
            stars: stars(review.stars, &review.color),
            reviewer: review.reviewer,
            text: review.text,
        })
        .collect();
    Ok(PageReviews { version, instance, list })
}

//! `reviews`: what readers say. v1 shows no stars; v2 and v3 ask `ratings` and colour them.

use mesh_sdk::{HttpClient, Mesh};
use tonic::{Request, Response, Status, async_trait};
use tower_layer::Layer;

use super::ratings::Ratings;
use super::{END_USER, fetch};
use crate::observe::{Caller, Observe};
use crate::proto::{ListReply, ListRequest, Review, Reviews, ReviewsServer};
use crate::topology::Workload;

const OPINIONS: [(&str, &str); 2] = [
    ("Reviewer1", "An extremely entertaining play by Shakespeare."),
    ("Reviewer2", "Absolutely fun and entertaining."),
];

pub(crate) struct Readers {
    version: &'static str,
    instance: String,
    /// The colour of the stars and who knows how many; `None` shows none.
    stars: Option<(&'static str, Observe<HttpClient>)>,
}

pub(crate) fn server(mesh: &Mesh, caller: &Caller, workload: &Workload) -> ReviewsServer<Readers> {
    let color = match workload.version {
        "v2" => Some("black"),
        "v3" => Some("red"),
        _ => None,
    };
    let stars = color.map(|color| (color, caller.calls("ratings").layer(mesh.http_client())));
    ReviewsServer::new(Readers { version: workload.version, instance: workload.name(), stars })
}

#[async_trait]
impl Reviews for Readers {
    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListReply>, Status> {
        let end_user = request.metadata().get(END_USER).and_then(|user| user.to_str().ok()?.parse().ok());
        let product = request.get_ref().product;
        let rated = match &self.stars {
            None => None,
            Some((color, ratings)) => {
                let url = format!("http://ratings:9080/ratings/{product}");
                let ratings: Ratings = fetch(ratings, &url, end_user.as_ref())
                    .await
                    .map_err(|error| Status::unavailable(error.chain()))?;
                Some((*color, ratings))
            }
        };
        let review = |(reviewer, text): (&str, &str)| Review {
            reviewer: reviewer.to_owned(),
            text: text.to_owned(),
            stars: rated.as_ref().and_then(|(_, ratings)| ratings.stars.get(reviewer).copied()).unwrap_or(0),
            color: rated.as_ref().map_or("", |(color, _)| color).to_owned(),
        };
        let reviews = OPINIONS.into_iter().map(review).collect();
        Ok(Response::new(ListReply { version: self.version.to_owned(), instance: self.instance.clone(), reviews }))
    }
}

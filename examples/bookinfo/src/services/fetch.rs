//! A GET through any `Service<http::Request<_>>`, read as JSON.

use axum::response::IntoResponse;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use serde::de::DeserializeOwned;
use tower::ServiceExt;
use tower_service::Service;

use super::END_USER;
use crate::BoxError;

/// Somebody whom a service needs did not answer as they should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unavailable {
    #[error("{url} cannot be called")]
    Call { url: String, source: BoxError },
    #[error("{url} answered {status}: {text}")]
    Status { url: String, status: StatusCode, text: String },
    #[error("{url} answered what is not the JSON that was expected")]
    Json { url: String, source: serde_json::Error },
    #[error("reviews answered an error")]
    Grpc(#[from] tonic::Status),
}

impl Unavailable {
    /// This error and what lies beneath it, on one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut at = std::error::Error::source(self);
        while let Some(source) = at {
            text = format!("{text}: {source}");
            at = source.source();
        }
        text
    }
}

impl IntoResponse for Unavailable {
    fn into_response(self) -> axum::response::Response {
        (StatusCode::BAD_GATEWAY, self.chain()).into_response()
    }
}

/// Gets `url` for a reader and reads the answer.
pub(crate) async fn fetch<T, S, B>(client: &S, url: &str, end_user: Option<&HeaderValue>) -> Result<T, Unavailable>
where
    T: DeserializeOwned,
    S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    let failed = |source: BoxError| Unavailable::Call { url: url.to_owned(), source };
    let mut request = Request::get(url).body(Empty::new()).map_err(|error| failed(error.into()))?;
    if let Some(user) = end_user {
        request.headers_mut().insert(END_USER, user.clone());
    }
    let response = client.clone().oneshot(request).await.map_err(|error| failed(error.into()))?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| failed(error.into()))?.to_bytes();
    if !status.is_success() {
        return Err(Unavailable::Status {
            url: url.to_owned(),
            status,
            text: String::from_utf8_lossy(&body).into_owned(),
        });
    }
    serde_json::from_slice(&body).map_err(|source| Unavailable::Json { url: url.to_owned(), source })
}

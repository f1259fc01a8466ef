//! `details`: what a book is. It asks a host outside the mesh for the number.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use http::HeaderMap;
use mesh_sdk::{HttpClient, Mesh};
use serde::{Deserialize, Serialize};
use tower_layer::Layer;

use super::isbn::Isbn;
use super::{END_USER, Unavailable, fetch};
use crate::observe::{Caller, Observe};

/// What a book is.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Details {
    author: String,
    pages: u32,
    isbn: String,
    instance: String,
}

#[derive(Clone)]
struct Shelf {
    instance: String,
    isbn: Observe<HttpClient>,
}

pub(crate) fn router(mesh: &Mesh, caller: &Caller, instance: String) -> Router {
    let isbn = caller.calls("isbn").layer(mesh.http_client());
    Router::new().route("/details/{product}", get(details)).with_state(Shelf { instance, isbn })
}

async fn details(
    State(shelf): State<Shelf>,
    Path(product): Path<u32>,
    headers: HeaderMap,
) -> Result<Json<Details>, Unavailable> {
    let url = format!("http://isbn.example.com/isbn/{product}");
    let number: Isbn = fetch(&shelf.isbn, &url, headers.get(END_USER)).await?;
    Ok(Json(Details {
        author: "William Shakespeare".to_owned(),
        pages: 200,
        isbn: number.isbn_10,
        instance: shelf.instance,
    }))
}

//! The gRPC contract of `reviews`, `bookinfo.Reviews/List`, in the shape that tonic's code generator gives it.
//!
//! Written out by hand so that nobody needs protoc to run an example. It stands for this:
//!
//! ```proto
//! service Reviews { rpc List(ListRequest) returns (ListReply); }
//! ```

mod client;
mod server;

pub use self::client::ReviewsClient;
pub use self::server::{Reviews, ReviewsServer};

const LIST: &str = "/bookinfo.Reviews/List";

/// Which book's reviews are asked for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ListRequest {
    /// The book.
    #[prost(uint32, tag = "1")]
    pub product: u32,
}

/// What readers say of a book.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ListReply {
    /// The version that answers: `v1`, `v2` or `v3`.
    #[prost(string, tag = "1")]
    pub version: String,
    /// The instance that answers, such as `reviews-v1-0`.
    #[prost(string, tag = "2")]
    pub instance: String,
    /// The reviews.
    #[prost(message, repeated, tag = "3")]
    pub reviews: Vec<Review>,
}

/// One reader's opinion.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Review {
    /// The reader.
    #[prost(string, tag = "1")]
    pub reviewer: String,
    /// The opinion.
    #[prost(string, tag = "2")]
    pub text: String,
    /// 1 to 5 stars; 0 in `v1`, which shows none.
    #[prost(uint32, tag = "3")]
    pub stars: u32,
    /// The colour of the stars: empty in `v1`, `black` in `v2`, `red` in `v3`.
    #[prost(string, tag = "4")]
    pub color: String,
}

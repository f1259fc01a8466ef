//! The services of the shop, one a file: what an application's author writes, and nothing about the mesh but its client.

pub(crate) mod details;
mod fetch;
pub(crate) mod isbn;
pub(crate) mod productpage;
pub(crate) mod ratings;
pub(crate) mod reviews;

pub(crate) use self::fetch::{Unavailable, fetch};
pub(crate) use self::productpage::Page;

/// Who the reader is. Passed on with every call made for a request, so that routes anywhere can tell by it.
pub(crate) const END_USER: &str = "end-user";

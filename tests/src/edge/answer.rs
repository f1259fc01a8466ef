//! A response read to its end, with what the mesh says about it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::Body;
use http_body_util::BodyExt;
use mesh_core::engine::local_reply::{LocalReply, reset_after_response_details};
use mesh_core::exchange::Upstream;
use mesh_tower::response::ResponseInfo;
use mesh_tower::{BoxError, Error};

use crate::observed::Headers;

/// What a caller got.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Headers,
    /// What there was of the body.
    pub body: Bytes,
    /// The trailers.
    pub trailers: Headers,
    /// Response flags, as printed.
    pub flags: String,
    /// Response code details.
    pub details: String,
    /// The cluster, endpoint and number of attempts, as told.
    pub upstream: Option<Upstream>,
    /// Attempts by cluster, as counted.
    pub attempts: BTreeMap<String, u64>,
    /// From the call to the end of the body.
    pub elapsed: Duration,
}

impl Answer {
    pub(super) async fn read<B>(response: Response<B>) -> Self
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let (head, body) = response.into_parts();
        let info = head.extensions.get::<ResponseInfo>().cloned();
        let info = info.expect("every response says where it came from");
        let mut answer = Self {
            status: head.status.as_u16(),
            headers: lines(&head.headers),
            body: Bytes::new(),
            trailers: Headers::new(),
            flags: info.flags.to_string(),
            details: info.details.into_owned(),
            upstream: info.upstream,
            attempts: BTreeMap::new(),
            elapsed: Duration::ZERO,
        };
        let mut received = Vec::new();
        let mut body = std::pin::pin!(body);
        while let Some(frame) = body.as_mut().frame().await {
            match frame {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => received.extend_from_slice(&data),
                    Err(frame) => answer.trailers = frame.into_trailers().map(|map| lines(&map)).unwrap_or_default(),
                },
                Err(error) => {
                    answer.broke_off(&error.into());
                    break;
                }
            }
        }
        answer.body = received.into();
        answer
    }

    pub(super) fn local(reply: LocalReply) -> Self {
        let (flags, details) = (reply.flags.to_string(), reply.details.to_string());
        let (head, body) = reply.into_head(false);
        Self {
            status: head.status.as_u16(),
            headers: lines(&head.headers),
            body,
            trailers: Headers::new(),
            flags,
            details,
            upstream: None,
            attempts: BTreeMap::new(),
            elapsed: Duration::ZERO,
        }
    }

    /// The body failed: its error has the last word on flags and details.
    fn broke_off(&mut self, error: &BoxError) {
        let Some(error) = error.downcast_ref::<Error>() else {
            self.details = format!("a body error of unknown type: {error}");
            return;
        };
        self.flags = error.response_flags().to_string();
        self.details = match error {
            Error::ResponseReset { reset, .. } => reset_after_response_details(*reset),
            other => other.local_reply().details.into_owned(),
        };
    }

    /// A header's values.
    pub fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(one, _)| one == name).map(|(_, value)| value.as_str())
    }

    /// The gRPC status of headers or trailers.
    #[must_use]
    pub fn grpc_status(&self) -> Option<u32> {
        let all = || self.headers.iter().chain(&self.trailers);
        all().find(|(name, _)| name == "grpc-status").and_then(|(_, value)| value.parse().ok())
    }
}

fn lines(map: &HeaderMap) -> Headers {
    map.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
}

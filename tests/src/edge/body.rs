//! A request body of a given size, whole or never finished.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// A request body.
#[derive(Clone, Debug, Default)]
pub struct Upload {
    left: usize,
    unfinished: bool,
}

impl Upload {
    /// So many bytes.
    #[must_use]
    pub const fn new(size: usize) -> Self {
        Self { left: size, unfinished: false }
    }

    /// After which nothing more comes, not even the end.
    #[must_use]
    pub const fn unfinished(mut self) -> Self {
        self.unfinished = true;
        self
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let size = self.left.min(16 * 1024);
        self.left -= size;
        match size {
            0 if self.unfinished => Poll::Pending,
            0 => Poll::Ready(None),
            _ => Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; size]))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && !self.unfinished
    }

    fn size_hint(&self) -> SizeHint {
        if self.unfinished { SizeHint::default() } else { SizeHint::with_exact(self.left as u64) }
    }
}

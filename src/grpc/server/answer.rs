//! The body of an answer, until its last frame or until something ends it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Bytes, HttpBody};
use axum::http::HeaderMap;
use futures::future::BoxFuture;
use hyper::body::Frame;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;
use tonic::body::Body;

use super::calls::{Call, Taken};

/// What a call keeps until the last byte of its answer is written to the socket: h2 takes data before the client does.
struct Held {
    _permit: Option<OwnedSemaphorePermit>,
    _taken: Option<Taken>,
}

/// Data of an answer.
struct Chunk {
    bytes: Bytes,
    _held: Arc<Held>,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What a service answers to a call.
pub(super) struct Answer {
    body: Body,
    ends: BoxFuture<'static, Status>,
    call: Call,
    held: Arc<Held>,
    over: bool,
}

impl Answer {
    /// `body`, unless `ends` has a status before its end.
    pub(super) fn new(body: Body, ends: BoxFuture<'static, Status>, mut call: Call, taken: Option<Taken>) -> Self {
        let held = Arc::new(Held { _permit: call.permit.take(), _taken: taken });
        Self { body, ends, call, held, over: false }
    }

    fn end(&mut self, status: &Status) -> Frame<Bytes> {
        self.over = true;
        self.body = Body::empty();
        let mut trailers = HeaderMap::new();
        // It fails for details that no header can hold; the statuses that come here have none.
        let _ = status.add_header(&mut trailers);
        self.call.end_by(&trailers);
        Frame::trailers(trailers)
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(status) = self.ends.as_mut().poll(cx) {
            return Poll::Ready(Some(Ok(self.end(&status))));
        }
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.body).poll_frame(cx)));
        let frame = ready!(polled.unwrap_or_else(|_| Poll::Ready(Some(Err(panicked())))));
        Poll::Ready(frame.map(|frame| match frame {
            Ok(frame) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.call.end_by(trailers);
                }
                Ok(frame.map_data(|bytes| Bytes::from_owner(Chunk { bytes, _held: Arc::clone(&self.held) })))
            }
            Err(status) => Ok(self.end(&status)),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }
}

/// The status of a call that panicked. The text of the panic is in the log, and not for clients.
pub(super) fn panicked() -> Status {
    Status::internal("the server failed; its log says why")
}

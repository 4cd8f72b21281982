//! The body of an answer, until its last frame or until something ends it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Bytes, HttpBody};
use axum::http::HeaderMap;
use futures::future::BoxFuture;
use hyper::body::Frame;
use tonic::Status;
use tonic::body::Body;

use super::calls::{Call, Taken};

/// Bytes of an answer that hyper gets at a time. It keeps them until the client takes them, and polls the rest then: so a
/// larger answer is not over, nor its permit released, before the client has taken it.
const CHUNK: usize = 16 * 1024;

/// What a service answers to a call.
pub(super) struct Answer {
    body: Body,
    /// Of the last frame of data.
    rest: Bytes,
    ends: BoxFuture<'static, Status>,
    call: Call,
    _taken: Option<Taken>,
    over: bool,
}

impl Answer {
    /// `body`, unless `ends` has a status before its end.
    pub(super) fn new(body: Body, ends: BoxFuture<'static, Status>, call: Call, taken: Option<Taken>) -> Self {
        Self { body, rest: Bytes::new(), ends, call, _taken: taken, over: false }
    }

    fn next_chunk(&mut self) -> Frame<Bytes> {
        let size = self.rest.len().min(CHUNK);
        Frame::data(self.rest.split_to(size))
    }

    fn end(&mut self, status: &Status) -> Frame<Bytes> {
        self.over = true;
        (self.body, self.rest) = (Body::empty(), Bytes::new());
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
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.next_chunk())));
        }
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.body).poll_frame(cx)));
        let frame = ready!(polled.unwrap_or_else(|_| Poll::Ready(Some(Err(panicked())))));
        Poll::Ready(frame.map(|frame| match frame {
            Ok(frame) => match frame.into_data() {
                Ok(data) => {
                    self.rest = data;
                    Ok(self.next_chunk())
                }
                Err(frame) => {
                    if let Some(trailers) = frame.trailers_ref() {
                        self.call.end_by(trailers);
                    }
                    Ok(frame)
                }
            },
            Err(status) => Ok(self.end(&status)),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.rest.is_empty() && self.body.is_end_stream()
    }
}

/// The status of a call that panicked. The text of the panic is in the log, and not for clients.
pub(super) fn panicked() -> Status {
    Status::internal("the server failed; its log says why")
}

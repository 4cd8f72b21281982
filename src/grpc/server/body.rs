//! The bodies of a call: a request that has to arrive in time, and an answer that knows its end.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use axum::http::{HeaderMap, Response};
use futures::future::BoxFuture;
use hyper::body::{Frame, Incoming};
use tonic::body::Body;
use tonic::{Code, Status};

use super::calls::Call;
use super::progress::Progress;
use super::untaken::Message;

/// Bytes of an answer that are handed over at a time. What is handed over is kept in memory until the client takes it,
/// and what is not counts as an answer that is under way.
pub(super) const CHUNK: usize = 16 * 1024;

/// A request that has to be whole in time.
pub(super) struct Arriving {
    body: Incoming,
    ends: BoxFuture<'static, Status>,
    progress: Arc<Progress>,
}

impl Arriving {
    /// `body`, of the call that `progress` follows.
    pub(super) fn new(body: Incoming, progress: Arc<Progress>) -> Self {
        let followed = Arc::clone(&progress);
        let ends = Box::pin(async move { followed.given_up().await });
        let arriving = Self { body, ends, progress };
        arriving.look();
        arriving
    }

    fn look(&self) {
        if self.body.is_end_stream() {
            self.progress.whole();
        }
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => self.ends.as_mut().poll(cx).map(|status| Some(Err(status))),
            Poll::Ready(None) => {
                self.progress.whole();
                Poll::Ready(None)
            }
            Poll::Ready(Some(frame)) => {
                self.look();
                Poll::Ready(Some(frame.map_err(|error| Status::cancelled(error.to_string()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// An answer, until its last frame or until something ends it.
pub(super) struct Answer {
    body: Body,
    ends: BoxFuture<'static, Status>,
    call: Call,
    /// Of the last message, or of the first one that was made before.
    rest: Message,
    over: bool,
}

impl Answer {
    /// What a service answered to `call`, of which `message` is read already, unless `ends` says how it ends before.
    pub(super) fn of(
        response: Response<Body>,
        message: Message,
        ends: BoxFuture<'static, Status>,
        mut call: Call,
    ) -> Response<Self> {
        call.end_by(response.headers());
        response.map(|body| Self { body, ends, call, rest: message, over: false })
    }

    /// Nothing but a status.
    pub(super) fn status(status: &Status, mut call: Call) -> Response<Self> {
        call.end(status.code());
        Self::empty(status.clone().into_http::<()>(), call)
    }

    /// An answer without a body.
    pub(super) fn empty(response: Response<()>, call: Call) -> Response<Self> {
        let ends = Box::pin(std::future::pending());
        response.map(|()| Self { body: Body::empty(), ends, call, rest: Message::default(), over: true })
    }

    fn hand_over(&mut self) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(Some(Ok(Frame::data(self.rest.take(CHUNK)))))
    }

    fn end(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.over = true;
        // Whoever made it need not go on.
        (self.body, self.rest) = (Body::empty(), Message::default());
        self.call.end(status.code());
        let mut trailers = HeaderMap::new();
        // Cannot fail: the messages are this server's own, and have no details.
        let _ = status.add_header(&mut trailers);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
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
            return self.end(&status);
        }
        if !self.rest.is_empty() {
            return self.hand_over();
        }
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.body).poll_frame(cx)));
        match polled {
            Err(panic) => self.end(&panicked(panic)),
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(None)) => {
                self.over = true;
                Poll::Ready(None)
            }
            Ok(Poll::Ready(Some(Ok(frame)))) => match frame.into_data() {
                Ok(data) => {
                    self.rest = data.into();
                    self.hand_over()
                }
                Err(frame) => {
                    if let Some(trailers) = frame.trailers_ref() {
                        self.call.end_by(trailers);
                    }
                    Poll::Ready(Some(Ok(frame)))
                }
            },
            Ok(Poll::Ready(Some(Err(error)))) => {
                self.over = true;
                self.call.end(error.code());
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.rest.is_empty() && self.body.is_end_stream()
    }
}

/// What a client hears of a panic: its text may say more than a stranger should know, and is in the log.
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Status {
    drop(panic);
    Status::new(Code::Internal, "the server failed; its log says why")
}

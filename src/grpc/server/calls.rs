//! The tower service around the API: how many calls there are at the same time, when each ends, and its metrics.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::http::{HeaderMap, Request, Response};
use futures::FutureExt;
use futures::future::{BoxFuture, OptionFuture};
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::Service;
use tower_http::timeout::TimeoutBody;

use super::Limits;
use super::answer::{Answer, panicked};
use super::incoming::Peer;
use super::methods::{Kind, Method};
use crate::grpc::deadline;
use crate::grpc::limit::Limit;
use crate::grpc::metrics::{GrpcCallLabels, GrpcMethodLabel, GrpcMetrics};

/// Answers calls. Clones share everything.
#[derive(Clone)]
pub(super) struct Calls {
    routes: Routes,
    shared: Arc<Shared>,
}

struct Shared {
    metrics: Arc<GrpcMetrics>,
    limits: Limits,
    unary: Limit,
    introspection: Limit,
    elections: Limit,
    draining: CancellationToken,
    stop: CancellationToken,
}

impl Calls {
    /// Answers by `routes`. Elections end when `draining` is cancelled, other streams when `stop` is.
    pub(super) fn new(
        routes: Routes,
        metrics: Arc<GrpcMetrics>,
        limits: Limits,
        draining: CancellationToken,
        stop: CancellationToken,
    ) -> Self {
        let shared = Shared {
            metrics,
            unary: Limit::new(limits.calls, limits.waiting),
            introspection: Limit::new(limits.introspection, 0),
            elections: Limit::new(limits.elections, 0),
            limits,
            draining,
            stop,
        };
        Self { routes: routes.prepare(), shared: Arc::new(shared) }
    }

    /// Answers one call.
    pub(super) fn answer(
        mut self,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send {
        let method = Method::at(request.uri().path());
        let mut call = Call::new(method, Arc::clone(&self.shared.metrics));
        // Made before tonic makes its own timer of `grpc-timeout`, which answers CANCELLED.
        let mut ends = self.shared.ends(method.kind, deadline::of(request.headers()));
        let peer = request.extensions().get::<Peer>().cloned();
        async move {
            let answering = AssertUnwindSafe(async {
                call.permit = Some(self.shared.admit(method.kind).await?);
                let Ok(response) = self.routes.call(self.shared.in_time(method.kind, request)).await;
                Ok(response)
            });
            let answered = tokio::select! {
                biased;
                answered = answering.catch_unwind() => answered.unwrap_or_else(|_| Err(panicked())),
                status = &mut ends => Err(status),
            };
            let response = answered.unwrap_or_else(Status::into_http);
            call.end_by(response.headers());
            let taken = peer.filter(|_| method.kind == Kind::Unary).map(|peer| self.shared.expect_taken(peer));
            Ok(response.map(|body| Body::new(Answer::new(body, ends, call, taken))))
        }
    }
}

impl Shared {
    /// A permit for a call. A stream does not wait for one: others end after weeks.
    async fn admit(&self, kind: Kind) -> Result<OwnedSemaphorePermit, Status> {
        let limit = match kind {
            Kind::Unary => &self.unary,
            Kind::Introspection => &self.introspection,
            Kind::Election => &self.elections,
        };
        let permit = limit.acquire().await;
        permit.ok_or_else(|| {
            self.metrics.calls_refused.inc();
            Status::unavailable("too many calls at a time: try again, or another replica")
        })
    }

    /// What ends a call from outside, and with which status.
    fn ends(&self, kind: Kind, timeout: Option<std::time::Duration>) -> BoxFuture<'static, Status> {
        let most = (kind == Kind::Unary).then_some(self.limits.answer);
        let deadline = timeout.into_iter().chain(most).min().and_then(|time| Instant::now().checked_add(time));
        let stopping = match kind {
            Kind::Unary => None,
            Kind::Introspection => Some(self.stop.clone()),
            Kind::Election => Some(self.draining.clone()),
        };
        let stopping = OptionFuture::from(stopping.map(CancellationToken::cancelled_owned));
        let deadline = OptionFuture::from(deadline.map(sleep_until));
        async move {
            tokio::select! {
                Some(()) = stopping => {
                    Status::unavailable("this replica is stopping: connect again, another one answers")
                }
                Some(()) = deadline => {
                    Status::deadline_exceeded("the call took too long")
                }
                else => std::future::pending().await,
            }
        }
        .boxed()
    }

    /// The request, whose next piece has to come in time: a call that is not complete has a permit already.
    fn in_time(&self, kind: Kind, request: Request<Body>) -> Request<Body> {
        let limit = if kind == Kind::Introspection { self.limits.idle } else { self.limits.request };
        request.map(|body| {
            Body::new(TimeoutBody::new(limit, body).map_err(|error| match error.downcast::<Status>() {
                Ok(status) => *status,
                Err(_) => Status::deadline_exceeded("the request was not complete in time"),
            }))
        })
    }

    /// Closes the connection unless the result is dropped in time. A client that does not take an answer keeps the
    /// permit of its call, and hyper polls no more of a body while the client's flow-control window is closed.
    fn expect_taken(&self, peer: Peer) -> Taken {
        let (taken, limit) = (CancellationToken::new(), self.limits.answer);
        let dropped = taken.clone();
        #[expect(clippy::disallowed_methods, reason = "it cannot panic, and ends with the answer")]
        tokio::spawn(async move {
            if timeout(limit, dropped.cancelled()).await.is_err() {
                tracing::debug!(peer = %peer.address, "an answer was not taken in time: closing the connection");
                peer.connection.cancel();
            }
        });
        taken.drop_guard()
    }
}

/// Dropped when an answer is taken.
pub(super) type Taken = tokio_util::sync::DropGuard;

/// A call; dropped when its answer is taken, or the client has cancelled it.
pub(super) struct Call {
    method: &'static Method,
    metrics: Arc<GrpcMetrics>,
    started: Instant,
    code: Code,
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl Call {
    fn new(method: &'static Method, metrics: Arc<GrpcMetrics>) -> Self {
        metrics.in_flight.get_or_create(&GrpcMethodLabel { method: &method.name }).inc();
        Self { method, metrics, started: Instant::now(), code: Code::Cancelled, permit: None }
    }

    /// Records how it ends, if these headers or trailers say so.
    pub(super) fn end_by(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get("grpc-status") {
            self.code = Code::from_bytes(status.as_bytes());
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let method = self.method.name.as_str();
        self.metrics.in_flight.get_or_create(&GrpcMethodLabel { method }).dec();
        self.metrics.requests.get_or_create(&GrpcCallLabels { method, code: name(self.code) }).inc();
        if self.method.kind == Kind::Unary {
            let took = self.started.elapsed().as_secs_f64();
            self.metrics.duration.get_or_create(&GrpcMethodLabel { method }).observe(took);
        }
    }
}

/// A code as gRPC's documents write it.
const fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

//! A call, from its head to the end of its answer: how many there may be, for how long, and how each ended.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::http::{HeaderMap, Method as HttpMethod, Request, Response, StatusCode, header};
use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::Service;

use super::Limits;
use super::body::{Answer, Arriving, panicked};
use super::methods::{Kind, Method};
use super::pace::Pace;
use super::progress::Progress;
use super::untaken::{Message, Untaken};
use crate::connections::{Place, Places};
use crate::grpc::deadline;
use crate::grpc::metrics::{GrpcCallLabels, GrpcMethodLabel, GrpcMetrics};

/// Code of what was no call of gRPC's.
const NOT_GRPC: &str = "none";

/// What answers calls. Clones share everything.
#[derive(Clone)]
pub(super) struct Calls {
    routes: Routes,
    metrics: Arc<GrpcMetrics>,
    limits: Limits,
    room: Arc<Room>,
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
        Self { routes: routes.prepare(), metrics, limits, room: Arc::new(Room::new(&limits)), draining, stop }
    }

    /// Answers one call of the connection that `pace` follows.
    pub(super) async fn answer(
        self,
        request: Request<Incoming>,
        pace: Arc<Pace>,
    ) -> Result<Response<Answer>, Infallible> {
        pace.ask();
        let method = Method::at(request.uri().path());
        let mut call = Call::new(method, Arc::clone(&self.metrics));
        if let Some(refusal) = not_grpc(&request) {
            call.code = Some(NOT_GRPC);
            return Ok(Answer::empty(refusal, call));
        }
        let now = Instant::now();
        let most = (method.kind == Kind::Unary).then_some(self.limits.answer);
        let deadline =
            deadline::of(request.headers()).into_iter().chain(most).min().and_then(|time| now.checked_add(time));
        let mut ends = self.ends(method.kind, deadline);
        let arrive = if method.kind == Kind::Look { self.limits.idle } else { self.limits.request };
        // Later than the call ends by itself: who sees first that it took too long must not take it for an answer that
        // is not taken, and end the connection with all that is on it.
        let take = most.map(|most| now + most + self.limits.late);
        let progress = Arc::new(Progress::new(pace, arrive, take));
        let mut routes = self.routes;
        let room = self.room;
        let answering = AssertUnwindSafe(async {
            if !room.enter(&mut call, &progress).await {
                return Err(Status::unavailable("too many calls at a time: try again, or another replica"));
            }
            let request = request.map(|body| Arriving::new(body, Arc::clone(&progress)));
            let Ok(mut response) = routes.call(request).await;
            let message = match method.kind {
                Kind::Unary => room.untaken.message(response.body_mut()).await?,
                Kind::Look | Kind::Stand => Message::default(),
            };
            progress.answered();
            Ok((response, message))
        })
        .catch_unwind();
        let answered = tokio::select! {
            biased;
            // What is answered at once needs no timer.
            answered = answering => answered.unwrap_or_else(|panic| Err(panicked(panic))),
            status = &mut ends => Err(status),
        };
        Ok(match answered {
            Ok((response, message)) => {
                call.progress = Some(progress);
                if method.kind == Kind::Unary {
                    // It is all there, and has to be taken in time.
                    ends = std::future::pending().boxed();
                } else {
                    call.place = None;
                }
                Answer::of(response, message, ends, call)
            }
            Err(status) => Answer::status(&status, call),
        })
    }

    /// What ends a call from outside, and with which status.
    fn ends(&self, kind: Kind, deadline: Option<Instant>) -> BoxFuture<'static, Status> {
        let stopping = match kind {
            Kind::Unary => None,
            Kind::Look => Some(self.stop.clone()),
            Kind::Stand => Some(self.draining.clone()),
        };
        async move {
            let late = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            let stopped = async {
                match stopping {
                    Some(token) => token.cancelled_owned().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stopped => Status::unavailable("this replica is stopping: connect again, another one answers"),
                () = late => Status::deadline_exceeded("the call took too long"),
            }
        }
        .boxed()
    }
}

/// The answer to what no gRPC client sends (gRPC over HTTP/2, "Requests").
fn not_grpc(request: &Request<Incoming>) -> Option<Response<()>> {
    let content_type = request.headers().get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let status = if request.method() != HttpMethod::POST {
        StatusCode::METHOD_NOT_ALLOWED
    } else if !content_type.starts_with(b"application/grpc") {
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    } else {
        return None;
    };
    let mut response = Response::new(());
    *response.status_mut() = status;
    Some(response)
}

/// How many calls there may be at a time, of all clients together.
struct Room {
    /// Of calls that wait for one of the places.
    waiting: Semaphore,
    /// Of unary calls, and of streams until they begin.
    places: Places<Progress>,
    looks: Arc<Semaphore>,
    stands: Arc<Semaphore>,
    untaken: Untaken,
}

impl Room {
    fn new(limits: &Limits) -> Self {
        let [looks, stands] = [limits.looks, limits.stands].map(|count| Arc::new(Semaphore::new(count)));
        Self {
            waiting: Semaphore::new(limits.waiting),
            places: Places::new(limits.calls),
            looks,
            stands,
            untaken: Untaken::new(limits.untaken),
        }
    }

    /// Gives `call` what it needs; says whether there was room. A stream is refused, since others end in their own time;
    /// anything else waits for its turn with the others, of whom there are only so many as well.
    async fn enter(&self, call: &mut Call, progress: &Arc<Progress>) -> bool {
        let streams = match call.method.kind {
            Kind::Unary => None,
            Kind::Look => Some(&self.looks),
            Kind::Stand => Some(&self.stands),
        };
        if let Some(streams) = streams {
            let Ok(permit) = Arc::clone(streams).try_acquire_owned() else { return false };
            call.stream = Some(permit);
        }
        let Ok(_waiting) = self.waiting.try_acquire() else { return false };
        call.place = self.places.take(Arc::clone(progress)).await;
        call.place.is_some()
    }
}

/// A call; dropped when its answer has been handed over, or nobody wants it.
pub(super) struct Call {
    method: Method,
    metrics: Arc<GrpcMetrics>,
    started: Instant,
    code: Option<&'static str>,
    stream: Option<OwnedSemaphorePermit>,
    place: Option<Place<Progress>>,
    /// Of an answer that is not taken yet.
    progress: Option<Arc<Progress>>,
}

impl Call {
    fn new(method: Method, metrics: Arc<GrpcMetrics>) -> Self {
        metrics.in_flight.get_or_create(&GrpcMethodLabel { method: method.name }).inc();
        Self { method, metrics, started: Instant::now(), code: None, stream: None, place: None, progress: None }
    }

    /// Says how it ends.
    pub(super) fn end(&mut self, code: Code) {
        self.code = Some(name(code));
    }

    /// Says the same, if these headers or trailers do.
    pub(super) fn end_by(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get("grpc-status") {
            self.end(Code::from_bytes(status.as_bytes()));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let method = self.method.name;
        self.metrics.in_flight.get_or_create(&GrpcMethodLabel { method }).dec();
        // Who goes away before the end has cancelled it.
        let code = self.code.unwrap_or(name(Code::Cancelled));
        self.metrics.requests.get_or_create(&GrpcCallLabels { method, code }).inc();
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

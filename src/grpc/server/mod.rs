//! The gRPC server: tonic's, with or without TLS, with a bound for everything that a client may take of it.
//!
//! Any pod can reach it, and thousands of nodes keep a connection for weeks. So an idle connection costs little and is
//! pinged, which shows within 20 s that a host has vanished; a request is small and has to come at once; and connections
//! and calls are limited. HTTP/2's own floods (streams that are reset, endless settings, pings and headers) are bounded
//! by h2.
//!
//! It ends in two stages. When the drain begins, elections end, for another replica to take them; each connection gets a
//! GOAWAY; and new connections are served for some seconds, since clients learn late that a replica leaves. Then nothing
//! new is accepted, and the calls that are under way finish.

mod answer;
mod calls;
mod incoming;
mod methods;

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{StreamExt, unfold};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use self::calls::Calls;
pub(crate) use self::incoming::{Latest, Tls};
use crate::grpc::metrics::GrpcMetrics;

/// Longest message that is read, in bytes. The largest request has options of 16 KiB.
pub(super) const MAX_MESSAGE: usize = 64 * 1024;
/// Bytes of a call's headers: a bearer token is the longest of them.
const MAX_HEADERS: u32 = 16 * 1024;
/// Bytes that a client may send ahead, on one call and on all of its connection.
const WINDOW: (u32, u32) = (64 * 1024, 128 * 1024);
/// Streams of one connection that were reset before they were looked at. A mesh puts the calls of many clients on one
/// connection, which ends for all of them when there are more.
const MAX_RESETS: usize = 256;
/// Streams of one connection, in its whole life, that had to be reset because a client broke the protocol.
const MAX_ERRORS: usize = 1024;

/// How much, and how long, the server puts up with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at a time. One more is closed.
    pub(crate) connections: usize,
    /// Unary calls at a time.
    pub(crate) calls: usize,
    /// Unary calls that wait until there are fewer.
    pub(crate) waiting: usize,
    /// Streams of health and reflection at a time.
    pub(crate) introspection: usize,
    /// Streams of elections at a time.
    pub(crate) elections: usize,
    /// For the TLS handshake, and then for the HTTP/2 preface.
    pub(crate) setup: Duration,
    /// For the next piece of a request.
    pub(crate) request: Duration,
    /// From the headers of a unary call to its answer, and from there to the answer taken.
    pub(crate) answer: Duration,
    /// For the next request of a stream of reflection.
    pub(crate) idle: Duration,
    /// Between two pings, and then for the answer.
    pub(crate) ping: (Duration, Duration),
    /// Age at which a connection gets a GOAWAY, before the drain and in it. Streams go on: a candidacy lasts for weeks,
    /// so there is no age at which a connection is closed with calls on it. New calls take a new connection, which
    /// spreads clients over the replicas again after a rolling restart and frees connections that are not in use.
    pub(crate) age: (Duration, Duration),
    /// From the begin of the drain to accepting nothing more.
    pub(crate) drain: Duration,
    /// After the drain, for the calls that are under way.
    pub(crate) stop: Duration,
}

impl Limits {
    /// Streams that one connection may have open: more than there may be on all connections together. So a call too many
    /// is refused at once, and does not wait in its client, or in a mesh, until another stream ends.
    fn streams(&self) -> u32 {
        let all =
            [self.calls, self.waiting, self.introspection, self.elections].into_iter().fold(1, usize::saturating_add);
        u32::try_from(all).unwrap_or(u32::MAX)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            calls: 512,
            waiting: 1024,
            introspection: 256,
            elections: 8192,
            setup: Duration::from_secs(5),
            request: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            idle: Duration::from_secs(300),
            ping: (Duration::from_secs(10), Duration::from_secs(10)),
            age: (Duration::from_secs(3600), Duration::from_secs(1)),
            drain: Duration::from_secs(5),
            stop: Duration::from_secs(20),
        }
    }
}

/// Serves `routes` on `listener` until `shutdown` is cancelled, and for [`Limits::drain`] longer. Returns when every
/// connection is closed.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Tls,
    routes: Routes,
    metrics: Arc<GrpcMetrics>,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let (stop, abandon) = (CancellationToken::new(), CancellationToken::new());
    let connections = incoming::connections(listener, tls, Arc::clone(&metrics), &limits, abandon.clone());
    let calls = Calls::new(routes, Arc::clone(&metrics), limits, shutdown.clone(), stop.clone());
    let service = tower::service_fn(move |request| calls.clone().answer(request));
    // tonic stops accepting when it sends GOAWAY. So a second server takes the connections that come in the drain.
    let connections = Arc::new(Mutex::new(connections.boxed()));
    let serve = |connections, age, until: CancellationToken| {
        let connections = unfold(connections, |connections: Arc<Mutex<_>>| async move {
            let next = StreamExt::next(&mut *connections.lock().await).await?;
            Some((next, connections))
        });
        server(&limits, age).serve_with_incoming_shutdown(service.clone(), connections, until.cancelled_owned())
    };
    let before = serve(Arc::clone(&connections), limits.age.0, shutdown.clone());
    let during = serve(connections, limits.age.1, stop.clone());
    let during = async {
        shutdown.cancelled().await;
        during.await
    };
    let overdue = async {
        shutdown.cancelled().await;
        sleep(limits.drain).await;
        stop.cancel();
        sleep(limits.stop).await;
        let connections = metrics.connections.get();
        tracing::warn!(connections, "closing connections whose requests did not finish in time");
        abandon.cancel();
        std::future::pending::<()>().await;
    };
    let served = tokio::select! {
        served = async { tokio::try_join!(before, during) } => served,
        () = overdue => return,
    };
    if let Err(error) = served {
        tracing::error!(%error, "the gRPC server failed");
    }
}

/// tonic's server. Timeouts of calls are not its own, which would count and answer them as cancelled.
fn server(limits: &Limits, age: Duration) -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(limits.ping.0))
        .http2_keepalive_timeout(Some(limits.ping.1))
        .max_connection_age(age)
        .max_concurrent_streams(limits.streams())
        .http2_max_header_list_size(MAX_HEADERS)
        .initial_stream_window_size(WINDOW.0)
        .initial_connection_window_size(WINDOW.1)
        .http2_max_pending_accept_reset_streams(Some(MAX_RESETS))
        .http2_max_local_error_reset_streams(Some(MAX_ERRORS))
}

#[cfg(test)]
mod tests;

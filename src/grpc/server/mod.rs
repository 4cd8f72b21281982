//! The gRPC server: HTTP/2, with or without TLS, and a bound for everything that a client may take of it.
//!
//! Any pod can reach it, and thousands of nodes keep a connection for weeks. So a connection costs little and is pinged,
//! so that a vanished host is noticed within 20 s; one that is not in use makes room for another; a request is small and
//! has to come at once; and there are only so many calls at a time. What HTTP/2 makes possible beyond that (streams that
//! are begun and reset, settings and pings without an end, headers that continue for ever) h2 has bounds for.
//!
//! It ends in two steps, as the server of the webhooks does. When it is told to stop, whoever stands for election is sent
//! away at once, to another replica; each connection is asked to go (GOAWAY), and calls that come nevertheless, because
//! nodes learn late that a replica leaves, are answered for some seconds. Then nothing new is accepted.

mod body;
mod calls;
mod methods;
mod pace;
mod progress;
mod untaken;

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use self::calls::Calls;
use self::pace::{Name, Pace};
use crate::connections::{self, Bounds, Followed};
use crate::grpc::metrics::GrpcMetrics;
use crate::runtime::metrics::ReasonLabel;

/// Longest message that is read, in bytes. The largest request has options of 16 KiB.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// Bytes of a call's headers: a bearer token is the longest of them.
const MAX_HEADERS: u32 = 16 * 1024;
/// Bytes that a client may send ahead, on one call and on all of its connection.
const WINDOW: (u32, u32) = (64 * 1024, 128 * 1024);
/// Bytes of an answer that wait for a client that does not take them.
const MAX_SEND_BUFFER: usize = 32 * 1024;
/// Calls of one connection that were reset before they were looked at. A mesh puts the calls of many clients on one
/// connection, which ends for all of them when there are more; so many at once are an attack.
const MAX_RESETS: usize = 256;
/// Streams of one connection, in its whole life, that had to be reset because a client broke the protocol.
const MAX_ERRORS: usize = 1024;

/// How much, and how long, the server puts up with.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time. One more takes the place of one that is not in use.
    pub connections: usize,
    /// Calls at a time that are not streams yet. One more takes the place of one whose client is slow, or waits.
    pub calls: usize,
    /// Calls that may wait for a place.
    pub waiting: usize,
    /// Streams at a time that only look: health and reflection.
    pub looks: usize,
    /// Elections that somebody stands for, at a time.
    pub stands: usize,
    /// Bytes of the larger answers, of all calls together, that their clients have not taken yet.
    pub untaken: usize,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// Until a client has said that it speaks HTTP/2.
    pub preface: Duration,
    /// From a call's headers to its request whole.
    pub request: Duration,
    /// From a call's headers to its one answer, and, with [`Limits::late`] more, to that answer taken.
    pub answer: Duration,
    /// Longest that a connection may stay without a call under way.
    pub idle: Duration,
    /// Between two pings, and then for the answer.
    pub ping: (Duration, Duration),
    /// From being told to stop to accepting nothing more.
    pub drain: Duration,
    /// After that, for a connection that has not asked yet; also for one that was told that it is idle for too long, and
    /// for an answer that comes at the last moment.
    pub late: Duration,
    /// After the drain, for the calls that are under way.
    pub stop: Duration,
}

impl Limits {
    /// Streams that one connection may have open: more than there is room for on all connections together. So a call too
    /// many is refused at once, and none waits in its client, or in a mesh, until another stream ends.
    fn streams(&self) -> u32 {
        let all = [self.calls, self.waiting, self.looks, self.stands].into_iter().fold(1, usize::saturating_add);
        u32::try_from(all).unwrap_or(u32::MAX)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            calls: 512,
            waiting: 1024,
            looks: 256,
            stands: 8192,
            untaken: 32 << 20,
            handshake: Duration::from_secs(5),
            preface: Duration::from_secs(5),
            request: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            idle: Duration::from_secs(300),
            ping: (Duration::from_secs(10), Duration::from_secs(10)),
            drain: Duration::from_secs(5),
            late: Duration::from_secs(1),
            stop: Duration::from_secs(20),
        }
    }
}

/// How connections are secured: not at all, or by the configuration that is the latest when they come. While there is
/// none, nobody is let in.
pub type Tls = Option<Latest>;
/// A configuration of TLS that may be replaced at any time.
pub type Latest = watch::Receiver<Option<Arc<ServerConfig>>>;

/// Serves `routes` on `listener` until `shutdown` is cancelled, for [`Limits::drain`] longer while it sends everybody
/// away, and then what is under way. Returns when every connection is closed.
pub async fn serve(
    listener: TcpListener,
    tls: Tls,
    routes: Routes,
    metrics: Arc<GrpcMetrics>,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let stop = CancellationToken::new();
    let calls = Calls::new(routes, Arc::clone(&metrics), limits, shutdown.clone(), stop.clone());
    let server = Server { calls, tls, metrics, limits, draining: shutdown, stop };
    let Limits { connections, drain, stop, .. } = limits;
    connections::serve(
        listener,
        Bounds { connections, drain, stop },
        (&server.draining, &server.stop),
        &server.metrics.connections,
        || Pace::new(limits, server.tls.is_some()),
        |stream, peer, pace| {
            let server = server.clone();
            async move { server.connection(stream, peer, pace).await }
        },
    )
    .await;
}

#[derive(Clone)]
struct Server {
    calls: Calls,
    tls: Tls,
    metrics: Arc<GrpcMetrics>,
    limits: Limits,
    /// From here on clients are asked to go.
    draining: CancellationToken,
    /// From here on nothing new is begun.
    stop: CancellationToken,
}

impl Server {
    async fn connection(&self, stream: TcpStream, peer: SocketAddr, pace: Arc<Pace>) {
        let Some(tls) = &self.tls else { return self.http(stream, peer, pace).await };
        let config = tls.borrow().clone();
        let stopped = async {
            self.stop.cancelled().await;
            sleep(self.limits.late).await;
        };
        let (reason, error) = tokio::select! {
            handshake = secure(stream, config) => match handshake {
                Ok(stream) => {
                    pace.secured();
                    return self.http(stream, peer, pace).await;
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => ("tls", error.to_string()),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => ("no_certificate", error.to_string()),
                Err(error) => ("closed", error.to_string()),
            },
            name = pace.overdue() => match name {
                Name::Evicted => ("evicted", "its place was needed".to_owned()),
                _ => ("timeout", "timed out".to_owned()),
            },
            () = stopped => return,
        };
        self.metrics.tls_handshake_failures.get_or_create(&ReasonLabel { reason }).inc();
        tracing::debug!(%peer, reason, error, "TLS handshake failed");
    }

    async fn http(&self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: SocketAddr, pace: Arc<Pace>) {
        let service = service_fn(|request| self.calls.clone().answer(request, Arc::clone(&pace)));
        let connection =
            builder(&self.limits).serve_connection(TokioIo::new(Followed::new(stream, Arc::clone(&pace))), service);
        // Whoever has not asked yet came to ask, and is sent away with the answer.
        let sent_away = async {
            self.draining.cancelled().await;
            pace.asked().await;
        };
        let (mut connection, mut sent_away) = (pin!(connection), pin!(sent_away));
        let (mut leaving, mut stopping) = (false, false);
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        let cause = error.source().map(ToString::to_string);
                        tracing::debug!(%peer, %error, cause, "gRPC connection failed");
                    }
                    return;
                }
                name = pace.overdue() => {
                    if name != Name::Idle || leaving || stopping {
                        tracing::debug!(%peer, phase = ?name, "gRPC connection took too long");
                        return;
                    }
                    // A call that is on its way is answered still, or made again elsewhere.
                    leaving = true;
                    pace.linger(self.limits.late);
                    connection.as_mut().graceful_shutdown();
                }
                () = sent_away.as_mut(), if !leaving => {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    pace.hurry(self.limits.late);
                }
            }
        }
    }
}

async fn secure(
    stream: TcpStream,
    config: Option<Arc<ServerConfig>>,
) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
    let config = config.ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "there is no certificate yet"))?;
    TlsAcceptor::from(config).accept(stream).await
}

fn builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.ping.0)
        .keep_alive_timeout(limits.ping.1)
        .max_concurrent_streams(limits.streams())
        .max_header_list_size(MAX_HEADERS)
        .initial_stream_window_size(WINDOW.0)
        .initial_connection_window_size(WINDOW.1)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_ERRORS);
    builder
}

#[cfg(test)]
mod tests;

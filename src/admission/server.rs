//! The HTTPS server of the webhooks: TLS, HTTP/1.1, and a deadline for everything that a client may do slowly.
//!
//! Any pod can reach it. So each connection has a phase with a deadline of its own, and a kept connection that waits
//! for its next request may do so for longer than the API server keeps it: whoever closes a kept connection while a
//! request is on its way fails that request, and it must not be this side. (hyper's own header timeout runs on idle
//! connections too, which is why it is not used.)
//!
//! For the same reason it ends in two steps. API servers and kube-proxies learn late that a replica leaves, so at first
//! everything is answered as before, but every answer ends its connection; then nothing new is accepted.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::{HeaderValue, Request, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::pace::{Name, Pace, PacedBody};
use crate::admission::metrics::AdmissionMetrics;
use crate::connections::{self, Bounds, Followed};
use crate::runtime::metrics::ReasonLabel;
use crate::tls::alert;

/// Bytes of a request's head that are read; the API server sends a few hundred.
const MAX_HEAD: usize = 16 * 1024;
/// Bytes that are read ahead from one connection. hyper's own bound would let all of them together fill the memory.
const MAX_BUFFER: usize = 32 * 1024;

/// How much, and how long, the server puts up with.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time. One more takes the place of one that keeps this side waiting.
    pub connections: usize,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// From a request's first byte to the end of its head.
    pub head: Duration,
    /// From a request's head to the answer made: the body has a shorter timeout of its own.
    pub request: Duration,
    /// Between the handshake or an answer and the next request. The API server closes its connections after 90 s.
    pub idle: Duration,
    /// From being told to stop to accepting nothing more.
    pub drain: Duration,
    /// After that, for a connection that has not asked yet: it was opened to ask.
    pub late: Duration,
    /// After the drain, for the requests that are under way.
    pub stop: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Many container runtimes give a process 1,024 file descriptors.
            connections: 512,
            handshake: Duration::from_secs(5),
            head: Duration::from_secs(5),
            request: Duration::from_secs(30),
            idle: Duration::from_secs(300),
            drain: Duration::from_secs(5),
            late: Duration::from_secs(1),
            stop: Duration::from_secs(20),
        }
    }
}

/// Serves `router` over TLS on `listener` until `shutdown` is cancelled, for [`Limits::drain`] longer with the wish in
/// each answer that its connection be closed, and then what is under way. Returns when every connection is closed.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    metrics: Arc<AdmissionMetrics>,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let server = Server { acceptor, router, metrics, limits, draining: shutdown, stop: CancellationToken::new() };
    let Limits { connections, drain, stop, .. } = limits;
    connections::serve(
        listener,
        Bounds { connections, drain, stop },
        (&server.draining, &server.stop),
        &server.metrics.connections,
        || Pace::new(limits),
        |stream, peer, pace| {
            let server = server.clone();
            async move { server.connection(stream, peer, pace).await }
        },
    )
    .await;
}

#[derive(Clone)]
struct Server {
    acceptor: TlsAcceptor,
    router: Router,
    metrics: Arc<AdmissionMetrics>,
    limits: Limits,
    /// From here on every answer closes its connection.
    draining: CancellationToken,
    /// From here on nothing new is begun.
    stop: CancellationToken,
}

impl Server {
    async fn connection(&self, stream: TcpStream, peer: SocketAddr, pace: Arc<Pace>) {
        let stopped = async {
            self.stop.cancelled().await;
            sleep(self.limits.late).await;
        };
        let (reason, error) = tokio::select! {
            handshake = self.acceptor.accept(stream) => match handshake {
                Ok(stream) => {
                    pace.enter(Name::Fresh);
                    return self.http(stream, peer, pace).await;
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => (alert::reason(&error), error.to_string()),
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
        let service = service_fn(|request| self.answer(request, &pace));
        let stream = TokioIo::new(Followed::new(stream, Arc::clone(&pace)));
        let connection = http1::Builder::new()
            .max_header_size(MAX_HEAD)
            .max_buf_size(MAX_BUFFER)
            .header_read_timeout(None)
            .serve_connection(stream, service);
        let (mut connection, mut overdue) = (pin!(connection), pin!(pace.overdue()));
        let mut stopping = false;
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(%peer, %error, "connection failed");
                    }
                    return;
                }
                name = overdue.as_mut() => {
                    tracing::debug!(%peer, phase = ?name, "connection took too long");
                    return;
                }
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    match pace.name() {
                        Name::Idle => connection.as_mut().graceful_shutdown(),
                        Name::Fresh => pace.hurry(self.limits.late),
                        // A request has begun; its answer closes the connection.
                        _ => {}
                    }
                }
            }
        }
    }

    async fn answer(&self, request: Request<Incoming>, pace: &Arc<Pace>) -> Result<Response, Infallible> {
        pace.enter(if request.body().is_end_stream() { Name::Answer } else { Name::Body });
        let request = request.map(|body| Body::new(PacedBody { body, pace: Arc::clone(pace) }));
        let mut response = self.router.clone().call(request).await;
        if self.draining.is_cancelled()
            && let Ok(response) = &mut response
        {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        pace.enter(Name::Idle);
        response
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;

//! The HTTPS server of the webhooks: TLS, HTTP/1.1, and a deadline for everything that a client may do slowly.
//!
//! Any pod can reach it. So each connection has a phase with a deadline of its own, and a kept connection that waits
//! for its next request may do so for longer than the API server keeps it: whoever closes a kept connection while a
//! request is on its way fails that request, and it must not be this side. (hyper's own header timeout runs on idle
//! connections too, which is why it is not used.)

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::metrics::{Metrics, ReasonLabel};

/// Bytes of a request's head that are read; the API server sends a few hundred.
const MAX_HEAD: usize = 16 * 1024;
/// First and longest pause after an error of the listener, as when the process is out of file descriptors.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How much, and how long, the server puts up with.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; more wait in the kernel's queue.
    pub connections: usize,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// From a request's first byte, or from the handshake, to the end of its head.
    pub head: Duration,
    /// From a request's head to the answer made: the body has a shorter timeout of its own.
    pub request: Duration,
    /// Between an answer and the next request. The API server closes its connections after 90 s.
    pub idle: Duration,
    /// For the requests that are under way when the server is told to stop.
    pub stop: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            handshake: Duration::from_secs(5),
            head: Duration::from_secs(5),
            request: Duration::from_secs(30),
            idle: Duration::from_secs(300),
            stop: Duration::from_secs(20),
        }
    }
}

/// Serves `router` over TLS on `listener` until `shutdown` is cancelled, and then what is under way. Kept connections
/// without a request are closed at once.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    metrics: Arc<Metrics>,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let connections = TaskTracker::new();
    let abandon = CancellationToken::new();
    let server = Server { acceptor: TlsAcceptor::from(tls), router, metrics, limits, shutdown };
    server.accept(listener, &connections, &abandon).await;
    connections.close();
    if timeout(limits.stop, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "closing connections whose requests did not finish in time");
        abandon.cancel();
        connections.wait().await;
    }
}

#[derive(Clone)]
struct Server {
    acceptor: TlsAcceptor,
    router: Router,
    metrics: Arc<Metrics>,
    limits: Limits,
    shutdown: CancellationToken,
}

impl Server {
    async fn accept(&self, listener: TcpListener, connections: &TaskTracker, abandon: &CancellationToken) {
        let places = Arc::new(Semaphore::new(self.limits.connections));
        let mut pause = ACCEPT_PAUSE.0;
        let next = async || {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return Err(io::Error::other("no place for a connection"));
            };
            listener.accept().await.map(|(stream, peer)| (place, stream, peer))
        };
        while let Some(accepted) = self.shutdown.run_until_cancelled(next()).await {
            match accepted {
                Ok((place, stream, peer)) => {
                    pause = ACCEPT_PAUSE.0;
                    let (server, abandon) = (self.clone(), abandon.clone());
                    connections.spawn(async move {
                        server.metrics.webhook_connections.inc();
                        abandon.run_until_cancelled(server.connection(stream, peer)).await;
                        server.metrics.webhook_connections.dec();
                        drop(place);
                    });
                }
                // The client went away in the queue.
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection");
                    self.shutdown.run_until_cancelled(sleep(pause)).await;
                    pause = ACCEPT_PAUSE.1.min(pause * 2);
                }
            }
        }
    }

    async fn connection(&self, stream: TcpStream, peer: SocketAddr) {
        // Without it an answer waits up to 40 ms for an acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "setting TCP_NODELAY");
        }
        let handshake = timeout(self.limits.handshake, self.acceptor.accept(stream));
        let (reason, error) = match self.shutdown.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => return self.http(stream, peer).await,
            Some(Ok(Err(error))) if error.kind() == io::ErrorKind::InvalidData => ("tls", error.to_string()),
            Some(Ok(Err(error))) => ("closed", error.to_string()),
            Some(Err(_)) => ("timeout", "timed out".to_owned()),
            None => return,
        };
        self.metrics.tls_handshake_failures.get_or_create(&ReasonLabel { reason }).inc();
        tracing::debug!(%peer, reason, error, "TLS handshake failed");
    }

    async fn http(&self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: SocketAddr) {
        let pace = Arc::new(Pace::new(self.limits));
        let mut phase = pace.0.subscribe();
        let service = service_fn(|request| self.answer(request, &pace));
        let stream = TokioIo::new(Paced { stream, pace: Arc::clone(&pace) });
        let connection =
            http1::Builder::new().max_header_size(MAX_HEAD).header_read_timeout(None).serve_connection(stream, service);
        let mut connection = pin!(connection);
        let overdue = async {
            loop {
                let deadline = phase.borrow_and_update().deadline;
                tokio::select! {
                    () = sleep_until(deadline) => return phase.borrow().name,
                    // The sender lives as long as this function.
                    _ = phase.changed() => {}
                }
            }
        };
        let mut overdue = pin!(overdue);
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
                () = self.shutdown.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }

    async fn answer(&self, request: Request<Incoming>, pace: &Pace) -> Result<Response, Infallible> {
        pace.enter(Name::Request);
        let response = self.router.clone().call(request.map(Body::new)).await;
        pace.enter(Name::Idle);
        response
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Head,
    Request,
    Idle,
}

#[derive(Clone, Copy, Debug)]
struct Phase {
    name: Name,
    deadline: Instant,
    limits: Limits,
}

impl Phase {
    fn new(name: Name, limits: Limits) -> Self {
        let time = match name {
            Name::Head => limits.head,
            Name::Request => limits.request,
            Name::Idle => limits.idle,
        };
        Self { name, deadline: Instant::now() + time, limits }
    }
}

/// What a connection is doing, and until when it may.
struct Pace(watch::Sender<Phase>);

impl Pace {
    fn new(limits: Limits) -> Self {
        Self(watch::Sender::new(Phase::new(Name::Head, limits)))
    }

    fn enter(&self, name: Name) {
        self.0.send_modify(|phase| *phase = Phase::new(name, phase.limits));
    }

    fn has_read(&self) {
        if self.0.borrow().name == Name::Idle {
            self.enter(Name::Head);
        }
    }
}

/// A stream that notices the first byte of a request.
struct Paced<S> {
    stream: S,
    pace: Arc<Pace>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.pace.has_read();
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;

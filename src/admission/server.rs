//! The HTTPS server of the webhooks: TLS and HTTP/1.1, with a time limit for each thing that a client may do slowly.
//!
//! Any pod can reach it. A client that is slow to shake hands, to send a head or to take an answer loses its connection;
//! the number of connections leaves room for the API server beside thousands of such clients.
//!
//! A server that closes a kept connection while a request is on its way fails that request. So an idle connection may
//! stay for longer than the API server keeps one, and shutdown has two steps. API servers and kube-proxies learn late
//! that a replica leaves: at first each answer ends its connection and new connections are accepted; then the listener
//! closes, and the requests under way are finished.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::metrics::{AdmissionMetrics, Counted};
use crate::listener;
use crate::runtime::metrics::ReasonLabel;
use crate::tls::alert;

/// Bytes that a head may have, and that are read ahead from one connection.
const MAX_BUFFER: usize = 8 * 1024;

/// How many connections there may be, and how long each step of one may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; others wait to be accepted.
    pub(crate) connections: usize,
    /// The TLS handshake.
    pub(crate) handshake: Duration,
    /// From the handshake, or an answer, to the end of the next request's head. The API server closes connections that
    /// are idle for 90 s.
    pub(crate) head: Duration,
    /// The client's acknowledgement of what was sent to it.
    pub(crate) acknowledgement: Duration,
    /// From the start of shutdown to the end of accepting connections.
    pub drain: Duration,
    /// After the drain, for the first request on a connection that was accepted at the end of it.
    pub(crate) late: Duration,
    /// After the drain, for the requests under way.
    pub stop: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2560,
            handshake: Duration::from_secs(5),
            head: Duration::from_secs(120),
            acknowledgement: Duration::from_secs(20),
            drain: Duration::from_secs(5),
            late: Duration::from_secs(1),
            stop: Duration::from_secs(20),
        }
    }
}

/// Serves `router` over TLS on `listener` until [`Limits::drain`] after `shutdown` is cancelled. Returns when every
/// connection is closed.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    metrics: Arc<AdmissionMetrics>,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let stopping = CancellationToken::new();
    let server = Server {
        acceptor: TlsAcceptor::from(tls),
        router,
        metrics,
        limits,
        draining: shutdown.clone(),
        stopping: stopping.clone(),
    };
    let mut connections = JoinSet::new();
    let drained = async {
        shutdown.cancelled().await;
        sleep(limits.drain).await;
    };
    tokio::select! {
        () = drained => {}
        () = server.accept(listener, &mut connections) => {}
    }
    let _ = timeout(limits.late, ended(&mut connections)).await;
    stopping.cancel();
    if timeout(limits.stop, ended(&mut connections)).await.is_err() {
        tracing::warn!(connections = connections.len(), "closing connections whose requests did not finish in time");
    }
    connections.shutdown().await;
}

async fn ended(connections: &mut JoinSet<()>) {
    while connections.join_next().await.is_some() {}
}

#[derive(Clone)]
struct Server {
    acceptor: TlsAcceptor,
    router: Router,
    metrics: Arc<AdmissionMetrics>,
    limits: Limits,
    /// Once it is cancelled, every answer closes its connection.
    draining: CancellationToken,
    /// Once it is cancelled, only requests under way are finished.
    stopping: CancellationToken,
}

impl Server {
    async fn accept(&self, listener: TcpListener, connections: &mut JoinSet<()>) {
        let permits = Arc::new(Semaphore::new(self.limits.connections));
        // The semaphore is never closed.
        while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
            let (stream, peer) = listener::accept(&listener).await;
            let server = self.clone();
            while connections.try_join_next().is_some() {}
            #[expect(clippy::disallowed_methods, reason = "one connection: its client sees that it died")]
            connections.spawn(async move {
                let _counted = Counted::new(&server.metrics.connections);
                server.connection(stream, peer).await;
                drop(permit);
            });
        }
    }

    async fn connection(&self, stream: TcpStream, peer: SocketAddr) {
        if let Err(error) = limit_acknowledgement(&stream, self.limits.acknowledgement) {
            tracing::debug!(%peer, %error, "setting TCP_USER_TIMEOUT");
        }
        let handshake = timeout(self.limits.handshake, self.acceptor.accept(stream));
        let (reason, error) = match self.stopping.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => return self.http(stream, peer).await,
            Some(Ok(Err(error))) if error.kind() == io::ErrorKind::InvalidData => {
                (alert::reason(&error), error.to_string())
            }
            Some(Ok(Err(error))) => ("closed", error.to_string()),
            Some(Err(elapsed)) => ("timeout", elapsed.to_string()),
            None => return,
        };
        self.metrics.tls_handshake_failures.get_or_create(&ReasonLabel { reason }).inc();
        tracing::debug!(%peer, reason, error, "TLS handshake failed");
    }

    async fn http(&self, stream: TlsStream<TcpStream>, peer: SocketAddr) {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .max_buf_size(MAX_BUFFER)
            .serve_connection(TokioIo::new(stream), service_fn(|request| self.answer(request)));
        let mut connection = pin!(connection);
        let result = if let Some(result) = self.stopping.run_until_cancelled(connection.as_mut()).await {
            result
        } else {
            connection.as_mut().graceful_shutdown();
            connection.await
        };
        if let Err(error) = result {
            tracing::debug!(%peer, %error, "connection failed");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response, Infallible> {
        let mut response = self.router.clone().call(request.map(Body::new)).await?;
        if self.draining.is_cancelled() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}

fn limit_acknowledgement(stream: &TcpStream, limit: Duration) -> io::Result<()> {
    let limit = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(stream, limit)?)
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;

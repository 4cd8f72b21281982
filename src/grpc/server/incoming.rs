//! Connections of clients: accepted, secured by TLS, known to speak HTTP/2, and only so many.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::ready;
use futures::stream::{Stream, StreamExt, unfold};
use prometheus_client::metrics::gauge::Gauge;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::server::Connected;

use super::Limits;
use crate::grpc::metrics::GrpcMetrics;
use crate::listener;
use crate::runtime::metrics::ReasonLabel;

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How connections are secured: not at all, or by the latest configuration when they come.
pub(crate) type Tls = Option<Latest>;
/// A configuration of TLS that is replaced when certificates change; none before the first one is loaded.
pub(crate) type Latest = watch::Receiver<Option<Arc<ServerConfig>>>;

/// The connections that come to `listener`, until the stream is dropped. Each ends when `abandon` is cancelled.
pub(super) fn connections(
    listener: TcpListener,
    tls: Tls,
    metrics: Arc<GrpcMetrics>,
    limits: &Limits,
    abandon: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> + Send + use<> {
    let (most, setup) = (limits.connections, limits.setup);
    let acceptor = Acceptor { listener, places: Arc::new(Semaphore::new(most)), metrics: Arc::clone(&metrics) };
    unfold(acceptor, |acceptor| async move { Some((acceptor.next().await, acceptor)) })
        .map(move |accepted| {
            let (tls, metrics, token) = (tls.clone(), Arc::clone(&metrics), abandon.child_token());
            #[expect(clippy::disallowed_methods, reason = "one connection: its client sees that it died")]
            let task = tokio::spawn(async move { accepted.set_up(tls, &metrics, token, setup).await });
            AbortOnDropHandle::new(task)
        })
        // A client whose handshake takes long keeps no other client waiting.
        .buffer_unordered(most)
        .filter_map(|connection| ready(connection.ok().flatten().map(Ok)))
}

struct Acceptor {
    listener: TcpListener,
    places: Arc<Semaphore>,
    metrics: Arc<GrpcMetrics>,
}

/// A connection of which nothing has been read.
struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
}

/// One of the connections that there may be, counted.
struct Place {
    open: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}

impl Acceptor {
    /// The next connection. One more than there may be is closed at once, and its client tries another replica.
    async fn next(&self) -> Accepted {
        loop {
            let (stream, peer) = listener::accept(&self.listener).await;
            if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
                self.metrics.connections.inc();
                let place = Place { open: self.metrics.connections.clone(), _permit: permit };
                return Accepted { stream, peer, place };
            }
            self.metrics.connections_refused.inc();
            tracing::debug!(%peer, "too many gRPC connections");
        }
    }
}

impl Accepted {
    /// Does the TLS handshake and reads the preface, each within `limit`. The HTTP/2 server has no timeout for either,
    /// and closes a connection without an answer if it has to go before it has read the preface.
    async fn set_up(
        self,
        tls: Tls,
        metrics: &GrpcMetrics,
        abandoned: CancellationToken,
        limit: Duration,
    ) -> Option<Connection> {
        let Self { stream, peer, place } = self;
        let secured = match tls {
            None => Ok(Either::Left(stream)),
            Some(latest) => {
                in_time(limit, handshake(stream, latest)).await.map(|stream| Either::Right(Box::new(stream)))
            }
        };
        let mut stream = match secured {
            Ok(stream) => stream,
            Err(error) => {
                let reason = match error.kind() {
                    io::ErrorKind::InvalidData => "tls",
                    io::ErrorKind::NotConnected => "no_certificate",
                    io::ErrorKind::TimedOut => "timeout",
                    _ => "closed",
                };
                metrics.tls_handshake_failures.get_or_create(&ReasonLabel { reason }).inc();
                tracing::debug!(%peer, reason, %error, "TLS handshake failed");
                return None;
            }
        };
        let mut read = [0; PREFACE.len()];
        match in_time(limit, stream.read_exact(&mut read)).await {
            Ok(_) if read == PREFACE => {}
            Ok(_) => {
                tracing::debug!(%peer, "the client does not speak HTTP/2");
                return None;
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "no HTTP/2 preface came");
                return None;
            }
        }
        let ended = Box::pin(abandoned.clone().cancelled_owned());
        Some(Connection {
            stream,
            preface: PREFACE,
            ended,
            peer: Peer { address: peer, connection: abandoned },
            _place: place,
        })
    }
}

async fn handshake(stream: TcpStream, latest: Latest) -> io::Result<TlsStream<TcpStream>> {
    let config = latest.borrow().clone();
    let config = config.ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "no certificate is loaded yet"))?;
    TlsAcceptor::from(config).accept(stream).await
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The client of a connection, in the extensions of each of its requests.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Ends the connection when it is cancelled.
    pub(super) connection: CancellationToken,
}

/// A connection that speaks HTTP/2.
pub(super) struct Connection {
    stream: Either<TcpStream, Box<TlsStream<TcpStream>>>,
    /// The rest of the preface, which the HTTP/2 server has to read as well.
    preface: &'static [u8],
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    peer: Peer,
    _place: Place,
}

impl Connection {
    /// # Errors
    /// If the connection has to end.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.ended.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        if self.preface.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let (now, later) = self.preface.split_at(self.preface.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.preface = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

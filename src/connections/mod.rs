//! What the servers of this process have in common: they take in connections from anybody, and choose whose ends when
//! there are too many.

mod files;
mod listen;
mod places;
mod stream;
mod wait;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use files::raise_limit;
pub(crate) use listen::listen;
pub use places::{Place, Places};
pub use stream::Followed;
pub use wait::Wait;

/// First and longest pause after an error of the listener, as when the process is out of file descriptors.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Has a place: follows a connection, or a call.
pub trait Tenant: Send + Sync + 'static {
    /// How this side waits for the client; `None` while it is this side's turn.
    fn waits(&self) -> Option<Wait>;

    /// Ends it if the next step is the client's; says whether it did.
    fn evict(&self) -> bool;
}

/// Is told what comes over a connection.
pub trait Reader: Send + Sync + 'static {
    /// So many bytes came, at least one.
    fn has_read(&self, bytes: usize);
}

/// How many connections are served, and how that ends.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at a time.
    pub connections: usize,
    /// From being told to stop to accepting nothing more.
    pub drain: Duration,
    /// After that, for what is under way.
    pub stop: Duration,
}

/// Serves what comes to `listener` until `shutdown` is cancelled, and for [`Bounds::drain`] longer; then cancels `stop`,
/// after which nothing new may be begun. Returns when every connection is closed. `newcomer` says who is to follow a
/// connection, and `serves` serves it; `count` has how many there are.
pub async fn serve<T: Tenant, F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    bounds: Bounds,
    (shutdown, stop): (&CancellationToken, &CancellationToken),
    count: &Gauge,
    newcomer: impl Fn() -> T,
    serves: impl Fn(TcpStream, SocketAddr, Arc<T>) -> F,
) {
    let (tasks, abandon) = (TaskTracker::new(), CancellationToken::new());
    let drain = async {
        shutdown.cancelled().await;
        sleep(bounds.drain).await;
        stop.cancel();
    };
    let accept = accept(listener, bounds.connections, stop, newcomer, |stream, peer, place| {
        let (connection, abandon, count) =
            (serves(stream, peer, Arc::clone(place.tenant())), abandon.clone(), count.clone());
        #[expect(clippy::disallowed_methods, reason = "one connection: its client sees that it died")]
        tasks.spawn(async move {
            count.inc();
            abandon.run_until_cancelled(connection).await;
            count.dec();
            drop(place);
        });
    });
    tokio::join!(drain, accept);
    tasks.close();
    if timeout(bounds.stop, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "closing connections whose requests did not finish in time");
        abandon.cancel();
        tasks.wait().await;
    }
}

/// Takes in connections until `stop` is cancelled, at most `count` at a time: `newcomer` says who is to follow one, and
/// `serve` starts to serve it, for as long as the place is not dropped.
pub(crate) async fn accept<T: Tenant>(
    listener: TcpListener,
    count: usize,
    stop: &CancellationToken,
    newcomer: impl Fn() -> T,
    serve: impl Fn(TcpStream, SocketAddr, Place<T>),
) {
    let places = Places::new(count);
    let mut pause = ACCEPT_PAUSE.0;
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                pause = ACCEPT_PAUSE.0;
                // One that came over IPv4 to a socket of both families is logged as such.
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                let tenant = Arc::new(newcomer());
                let Some(Some(place)) = stop.run_until_cancelled(places.take(tenant)).await else { return };
                // Without it an answer waits up to 40 ms for an acknowledgement.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%peer, %error, "setting TCP_NODELAY");
                }
                serve(stream, peer, place);
            }
            // The client went away in the queue.
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "accepting a connection");
                places.make_room();
                stop.run_until_cancelled(sleep(pause)).await;
                pause = ACCEPT_PAUSE.1.min(pause * 2);
            }
        }
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

use std::net::{self, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::control_plane::ControlPlane;
use crate::unique::free_port;

/// Between two attempts to listen on a port that the kernel has not given free yet.
const PAUSE: Duration = Duration::from_millis(10);

/// A way to a server, to the API server for instance, that can be cut: what
/// goes through it sees the server vanish, while everybody else still has it.
///
/// Dropping it cuts it for good.
#[derive(Debug)]
pub struct Link {
    port: u16,
    state: watch::Sender<State>,
    /// Taken out only at the end: everything runs on it.
    runtime: Option<Runtime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    Cut,
    Frozen,
}

impl Link {
    /// A link to the API server of a control plane.
    ///
    /// # Errors
    ///
    /// As of [`to`](Self::to), or if the control plane has no usable address.
    pub fn new(control_plane: &ControlPlane) -> Result<Self> {
        let server = control_plane.server();
        Self::to(server.trim_start_matches("https://").parse().with_context(|| server.to_owned())?)
    }

    /// A link to whatever listens there.
    ///
    /// # Errors
    ///
    /// If no thread can be started, or its port is taken.
    pub fn to(address: SocketAddr) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("link")
            .enable_all()
            .build()
            .context("starting the link")?;
        let (port, state) = (free_port(), watch::Sender::new(State::Up));
        // From now on, so that whoever is quick is not refused.
        let listener = net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).context("listening")?;
        listener.set_nonblocking(true).context("listening")?;
        runtime.spawn(carry(listener, port, address, state.subscribe()));
        Ok(Self { port, state, runtime: Some(runtime) })
    }

    /// Where its near end is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The URL of the API server through this link.
    #[must_use]
    pub fn server(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Breaks every connection and refuses new ones.
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Lets nothing through any more, without a reset: what is connected stays
    /// so for both sides, for ever, as when a host has vanished.
    pub fn freeze(&self) {
        self.state.send_replace(State::Frozen);
    }

    /// Takes connections again.
    pub fn mend(&self) {
        self.state.send_replace(State::Up);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn carry(first: net::TcpListener, port: u16, server: SocketAddr, mut state: watch::Receiver<State>) {
    let (followed, mut first) = (state.clone(), Some(first));
    // Without an end: the runtime ends it.
    while state.wait_for(|state| *state == State::Up).await.is_ok() {
        let listener = match first.take() {
            Some(first) => TcpListener::from_std(first),
            None => TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await,
        };
        let Ok(listener) = listener else {
            sleep(PAUSE).await;
            continue;
        };
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Ok((client, _)) = listener.accept() => {
                    connections.spawn(forward(client, server, followed.clone()));
                }
                Some(_) = connections.join_next() => {}
                cut = state.wait_for(|state| *state == State::Cut) => {
                    let _ = cut;
                    break;
                }
            }
        }
    }
}

async fn forward(mut client: TcpStream, server: SocketAddr, mut state: watch::Receiver<State>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let frozen = async {
        drop(state.wait_for(|state| *state == State::Frozen).await);
    };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        () = frozen => std::future::pending().await,
    }
}

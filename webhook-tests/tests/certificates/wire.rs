//! Clients that open connection after connection, each with a whole handshake, and verify by the bundle that the API
//! server has, or by the one that it had before, as an API server does whose watch lags.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ALL_VERSIONS, ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use serde_json::json;

use crate::pki::Pair;
use crate::support::{CONFIGURATIONS, Ground, SOON, bundles, set};

pub const HOST: &str = "atomix-controller.kube-system.svc";
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections that can be under way at the same time.
const CLIENTS: u32 = 16;

/// Connections that are being made.
pub struct Wire {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What became of them.
pub struct Made {
    pub connections: usize,
    pub took: Duration,
    /// How often the bundle was seen to change.
    pub changes: usize,
    pub failed: Vec<String>,
    /// From when each should have begun to its answer, the shortest first.
    times: Vec<Duration>,
}

impl Made {
    fn per_second(&self) -> f64 {
        f64::from(u32::try_from(self.connections).expect("fewer")) / self.took.as_secs_f64()
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percentile = |percent| self.times.get(self.times.len() * percent / 100).copied().unwrap_or_default();
        write!(
            f,
            "{} connections in {:.1?}, {:.0}/s, {} failed; p50 {:.1?}, p99 {:.1?}; {} bundles seen",
            self.connections,
            self.took,
            self.per_second(),
            self.failed.len(),
            percentile(50),
            percentile(99),
            self.changes
        )
    }
}

struct Shared {
    address: SocketAddr,
    begun: Instant,
    /// Between two connections of all clients together.
    pace: Duration,
    strict: bool,
    turns: AtomicU32,
    /// The latest bundle and the one before it, with a client that trusts it and nothing else.
    bundles: Mutex<Vec<(String, Arc<ClientConfig>)>>,
    changes: AtomicUsize,
    times: Mutex<Vec<Duration>>,
    failed: Mutex<Vec<String>>,
    end: AtomicBool,
}

impl Wire {
    /// Starts to connect to whatever listens on the port of the webhooks, so many times a second, however long the
    /// answers take. Failures that are not about certificates count only if `strict`: a replica that is killed breaks
    /// connections.
    pub fn start(ground: &Ground, per_second: u32, strict: bool) -> Self {
        let first = bundles(&ground.kubectl().get_json(&[CONFIGURATIONS[0], "atomix-controller"])).swap_remove(0);
        let shared = Arc::new(Shared {
            address: address(ground),
            begun: Instant::now(),
            pace: Duration::from_secs(1) / per_second,
            strict,
            turns: AtomicU32::new(0),
            bundles: Mutex::new(vec![(first.clone(), config(&first))]),
            changes: AtomicUsize::new(0),
            times: Mutex::default(),
            failed: Mutex::default(),
            end: AtomicBool::new(false),
        });
        let (kubectl, watcher) = (ground.kubectl().clone(), Arc::clone(&shared));
        let watcher = thread::spawn(move || {
            let mut watch = kubectl.watch(&[CONFIGURATIONS[0], "atomix-controller"]);
            while !watcher.end.load(Ordering::Acquire) {
                let Some(_) = watch.next(Instant::now() + Duration::from_millis(200)) else { continue };
                if let Some(bundle) = watch.state().first().and_then(|found| bundles(found).into_iter().next()) {
                    watcher.learn(bundle);
                }
            }
        });
        let clients = (0..CLIENTS).map(|_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.connect_on())
        });
        let threads = std::iter::once(watcher).chain(clients).collect();
        Self { shared, threads }
    }

    /// Waits until so many were made in all.
    #[track_caller]
    pub fn await_connections(&self, count: usize) {
        let deadline = Instant::now() + SOON;
        let made = || lock(&self.shared.times).len();
        while made() < count {
            assert!(Instant::now() < deadline, "{} of {count} connections after {SOON:?}", made());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends them.
    pub fn finish(self) -> Made {
        self.shared.end.store(true, Ordering::Release);
        let took = self.shared.begun.elapsed();
        for thread in self.threads {
            thread.join().expect("a client");
        }
        let mut times = std::mem::take(&mut *lock(&self.shared.times));
        times.sort_unstable();
        let failed = std::mem::take(&mut *lock(&self.shared.failed));
        let changes = self.shared.changes.load(Ordering::Acquire);
        Made { connections: times.len(), took, changes, failed, times }
    }
}

impl Shared {
    fn learn(&self, bundle: String) {
        let mut known = lock(&self.bundles);
        if known.last().is_none_or(|(last, _)| *last != bundle) {
            let config = config(&bundle);
            known.push((bundle, config));
            self.changes.fetch_add(1, Ordering::Relaxed);
            let keep = known.len().saturating_sub(2);
            known.drain(..keep);
        }
    }

    fn connect_on(&self) {
        while !self.end.load(Ordering::Acquire) {
            let turn = self.turns.fetch_add(1, Ordering::Relaxed);
            let due = self.begun + self.pace * turn;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let (bundle, config) = {
                let known = lock(&self.bundles);
                known[turn as usize % known.len()].clone()
            };
            if let Err(error) = ask(self.address, config)
                && (self.strict || error.kind() == io::ErrorKind::InvalidData)
            {
                lock(&self.failed).push(format!("{error} with\n{bundle}"));
            }
            lock(&self.times).push(due.elapsed());
        }
    }
}

/// Trusts this and nothing else, and remembers nothing from one connection to the next.
pub fn config(bundle: &str) -> Arc<ClientConfig> {
    Arc::new(config_with(default_provider(), bundle, ALL_VERSIONS, None))
}

/// A client that trusts `bundle`, has a whole handshake each time, and shows this certificate if it is asked for one.
pub fn config_with(
    provider: CryptoProvider,
    bundle: &str,
    versions: &[&'static SupportedProtocolVersion],
    pair: Option<&Pair>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(certificate.expect("PEM")).expect("a certificate");
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(versions);
    let builder = builder.expect("protocol versions").with_root_certificates(roots);
    let mut config = match pair {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
            builder.with_client_auth_cert(vec![certificate], key).expect("a pair")
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    config
}

/// The chain that is served to a client that trusts `bundle`.
pub fn served(ground: &Ground, bundle: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    served_at(address(ground), bundle)
}

/// The same, of the replica that listens there.
pub fn served_at(address: SocketAddr, bundle: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    let mut stream = connect(address, config(bundle))?;
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(stream.conn.peer_certificates().map(<[_]>::to_vec).unwrap_or_default())
}

/// Where API servers find the webhooks.
pub fn address(ground: &Ground) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, ground.installation.webhook_port()))
}

pub fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from(HOST).expect("a name");
    let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(StreamOwned::new(connection, stream))
}

/// One review by a new connection.
pub fn ask(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<()> {
    let mut stream = connect(address, config)?;
    let review = json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "u", "operation": "CREATE", "name": "w", "namespace": "default", "object": set("w"),
            "kind": {"group": "k8s.atomix.io", "version": "v1alpha1", "kind": "PartitionSet"},
            "resource": {"group": "k8s.atomix.io", "version": "v1alpha1", "resource": "partitionsets"},
            "userInfo": {"username": "somebody"},
        },
    })
    .to_string();
    let length = review.len();
    let head = "POST /mutate HTTP/1.1\r\nContent-Type: application/json\r\nConnection: close\r\n";
    write!(stream, "{head}Host: {HOST}\r\nContent-Length: {length}\r\n\r\n{review}")?;
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
        _ => {}
    }
    if answer.contains(r#""allowed":true"#) { Ok(()) } else { Err(io::Error::other(format!("answered {answer:?}"))) }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

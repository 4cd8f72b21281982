//! Clients that open connection after connection to each replica, and verify by what the webhook configurations say. An
//! API server keeps its connections, so that what it would not trust any more can go unnoticed for a while.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use webhook_tests::Replicas;

use crate::support::{CONFIGURATIONS, Ground, SOON, bundles};

const HOST: &str = "atomix-controller.kube-system.svc";
/// Between two connections of one client.
const PACE: Duration = Duration::from_millis(20);

/// Connections that are being made.
pub struct Wire {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// The bundles of all webhooks, as last seen.
    trusted: Mutex<[Vec<String>; CONFIGURATIONS.len()]>,
    clients: Mutex<Vec<Client>>,
    end: AtomicBool,
}

/// What one client has met with, which connects to one replica.
#[derive(Default)]
struct Client {
    made: usize,
    /// What was served last, DER, as far as it was trusted.
    leaf: Vec<u8>,
    /// Since when it is not trusted.
    failing: Option<Instant>,
    gaps: Vec<Duration>,
    failed: Vec<String>,
}

/// What became of the connections.
#[derive(Debug, Default)]
pub struct Outcome {
    pub made: usize,
    pub failed: Vec<String>,
    /// The longest time in which a replica was not trusted.
    pub longest: Duration,
}

impl Wire {
    pub fn start(ground: &Ground, replicas: &Replicas<'_>) -> Self {
        let shared = Arc::new(Shared::default());
        let first = CONFIGURATIONS.map(|kind| bundles(&ground.kubectl().get_json(&[kind, "atomix-controller"])));
        *lock(&shared.trusted) = first;
        lock(&shared.clients).resize_with(replicas.controllers.len(), Client::default);
        let watchers = (0..CONFIGURATIONS.len()).map(|which| {
            let (kubectl, shared) = (ground.kubectl().clone(), Arc::clone(&shared));
            thread::spawn(move || {
                let mut watch = kubectl.watch(&[CONFIGURATIONS[which], "atomix-controller"]);
                while !shared.end.load(Ordering::Acquire) {
                    let Some(_) = watch.next(Instant::now() + Duration::from_millis(200)) else { continue };
                    if let Some(found) = watch.state().first() {
                        lock(&shared.trusted)[which] = bundles(found);
                    }
                }
            })
        });
        let clients = replicas.controllers.iter().enumerate().map(|(number, replica)| {
            let (shared, address) = (Arc::clone(&shared), replica.webhook_addr());
            thread::spawn(move || shared.connect_on(number, address))
        });
        let threads = watchers.chain(clients).collect();
        Self { shared, threads }
    }

    /// Waits until every replica serves this certificate, and has been trusted by each of the bundles of now.
    #[track_caller]
    pub fn await_leaf(&self, leaf: &[u8]) {
        let turns = lock(&self.shared.trusted).iter().map(Vec::len).sum::<usize>() + 1;
        let enough: Vec<usize> = lock(&self.shared.clients).iter().map(|client| client.made + turns).collect();
        self.wait("the certificate is not served", |shared| {
            let clients = lock(&shared.clients);
            clients
                .iter()
                .zip(&enough)
                .all(|(client, &enough)| client.leaf == leaf && client.failing.is_none() && client.made >= enough)
        });
    }

    /// Waits until every client trusts this authority in both configurations.
    #[track_caller]
    pub fn await_trust(&self, authority: &str) {
        self.wait("the authority is not trusted", |shared| {
            lock(&shared.trusted).iter().flatten().all(|bundle| bundle.contains(authority.trim()))
        });
    }

    /// Waits until so many connections were made in all: an idle machine is done with the rest too soon for that.
    #[track_caller]
    pub fn await_connections(&self, count: usize) {
        self.wait("there are too few connections", |shared| {
            lock(&shared.clients).iter().map(|client| client.made).sum::<usize>() >= count
        });
    }

    #[track_caller]
    fn wait(&self, what: &str, is: impl Fn(&Shared) -> bool) {
        let deadline = Instant::now() + SOON;
        while !is(&self.shared) {
            assert!(Instant::now() < deadline, "{what} after {SOON:?}");
            thread::sleep(PACE);
        }
    }

    /// Ends them.
    pub fn finish(self) -> Outcome {
        self.shared.end.store(true, Ordering::Release);
        for thread in self.threads {
            thread.join().expect("a client");
        }
        let mut outcome = Outcome::default();
        for client in lock(&self.shared.clients).drain(..) {
            outcome.made += client.made;
            outcome.failed.extend(client.failed);
            outcome.longest = outcome.longest.max(client.gaps.into_iter().max().unwrap_or_default());
        }
        outcome
    }
}

impl Shared {
    fn connect_on(&self, number: usize, address: SocketAddr) {
        let mut configs: HashMap<String, Arc<ClientConfig>> = HashMap::new();
        for turn in 0.. {
            if self.end.load(Ordering::Acquire) {
                return;
            }
            let bundle = {
                let trusted = lock(&self.trusted);
                let all: Vec<_> = trusted.iter().flatten().collect();
                all[turn % all.len()].clone()
            };
            let config = configs.entry(bundle.clone()).or_insert_with(|| config(&bundle));
            let at = Instant::now();
            let met = shake_hands(address, Arc::clone(config));
            let mut clients = lock(&self.clients);
            let client = &mut clients[number];
            client.made += 1;
            match met {
                Ok(leaf) => {
                    client.gaps.extend(client.failing.take().map(|since| since.elapsed()));
                    client.leaf = leaf;
                }
                Err(error) => {
                    client.failing.get_or_insert(at);
                    client.failed.push(error.to_string());
                }
            }
            drop(clients);
            thread::sleep(PACE);
        }
    }
}

fn config(bundle: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(certificate.expect("PEM")).expect("a certificate");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.expect("protocol versions").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// One new connection; what it was served.
fn shake_hands(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<Vec<u8>> {
    let name = ServerName::try_from(HOST).expect("a name");
    let mut connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SOON))?;
    connection.complete_io(&mut stream)?;
    let served = connection.peer_certificates().and_then(<[_]>::first);
    served.map(|leaf| leaf.to_vec()).ok_or_else(|| io::Error::other("no certificate"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

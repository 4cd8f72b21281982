use std::io;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use rustls::client::Resumption;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConnection, SupportedProtocolVersion,
};

use super::super::{alert, configure};
use super::*;
use crate::tls::authority::Authority;
use crate::tls::source::Found;
use crate::tls::tests::served;
use crate::tls::{Names, Periods};

/// Signs clients' certificates.
struct Signer(CertifiedIssuer<'static, KeyPair>);

impl Signer {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn client(&self, common_name: &str, dns_names: &[&str]) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let names: Vec<_> = dns_names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.into(), PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    fn roots(&self) -> Arc<Roots> {
        let found = Found { ca: Some(self.0.pem().into_bytes()), ..Found::default() };
        Arc::new(Roots::of(&found, SystemTime::now()).unwrap())
    }
}

type Shown = Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>;

/// A server that asks for certificates, and its authority.
struct Server {
    config: Arc<rustls::ServerConfig>,
    roots: Arc<RootCertStore>,
    known: watch::Sender<Option<Arc<Roots>>>,
}

impl Server {
    fn new(names: &[&str], asks: bool) -> Self {
        let of = Names::new("keeper", "home", "x");
        let authority = Arc::new(Authority::mint(&of, 1, &Periods::default(), SystemTime::now()).unwrap());
        let (known, watched) = watch::channel(None);
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let clients: Arc<dyn ClientCertVerifier> = Arc::new(Clients::new(watched, names));
        let config = configure(served(&authority, &of), asks.then_some(clients));
        let mut roots = RootCertStore::empty();
        roots.add(authority.current.certificate.clone()).unwrap();
        Self { config: Arc::new(config), roots: Arc::new(roots), known }
    }

    fn client(&self, version: &'static SupportedProtocolVersion, shown: Shown) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(Arc::clone(&self.roots));
        let mut config = match shown {
            Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(8);
        Arc::new(config)
    }

    /// What becomes of a handshake, as metrics call it if it fails.
    fn meets(&self, client: &Arc<ClientConfig>) -> Result<HandshakeKind, &'static str> {
        let name = ServerName::try_from("keeper.home.svc").unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(&self.config)).unwrap();
        while client.is_handshaking() || server.is_handshaking() || server.wants_write() || client.wants_write() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server
                .process_new_packets()
                .map_err(|error| alert::reason(&io::Error::new(io::ErrorKind::InvalidData, error)))?;
            let mut bytes = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            client.read_tls(&mut bytes.as_slice()).unwrap();
            client.process_new_packets().unwrap();
        }
        Ok(client.handshake_kind().unwrap())
    }
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

#[test]
fn clients_need_a_certificate_of_an_authority_and_under_a_name_that_is_allowed() {
    let (ours, other) = (Signer::new("ours"), Signer::new("other"));
    let server = Server::new(&["api", "api.example"], true);
    for version in VERSIONS {
        let meets = |shown| server.meets(&server.client(version, shown));
        server.known.send_replace(None);
        assert_eq!(meets(Some(ours.client("api", &[]))), Err("client_certificate"), "before any authority is known");
        server.known.send_replace(Some(ours.roots()));
        assert_eq!(meets(None), Err("client_certificate_missing"));
        assert_eq!(meets(Some(other.client("api", &[]))), Err("client_certificate"));
        assert_eq!(meets(Some(ours.client("somebody", &["example", "x.api.example"]))), Err("client_name"));
        assert!(meets(Some(ours.client("api", &[]))).is_ok());
        assert!(meets(Some(ours.client("somebody", &["x", "api.example"]))).is_ok());
        // From one authority to the next.
        server.known.send_replace(Some(other.roots()));
        assert!(meets(Some(other.client("api", &[]))).is_ok());
        assert_eq!(meets(Some(ours.client("api", &[]))), Err("client_certificate"));
    }
}

#[test]
fn without_names_every_client_of_an_authority_is_accepted() {
    let ours = Signer::new("ours");
    let server = Server::new(&[], true);
    server.known.send_replace(Some(ours.roots()));
    assert!(server.meets(&server.client(&TLS13, Some(ours.client("anybody", &[])))).is_ok());
}

#[test]
fn a_client_that_needs_a_certificate_shows_it_in_every_handshake() {
    let ours = Signer::new("ours");
    for version in VERSIONS {
        for (asks, second) in [(false, HandshakeKind::Resumed), (true, HandshakeKind::Full)] {
            let server = Server::new(&["api"], asks);
            server.known.send_replace(Some(ours.roots()));
            let client = server.client(version, Some(ours.client("api", &[])));
            assert_eq!(server.meets(&client), Ok(HandshakeKind::Full));
            assert_eq!(server.meets(&client), Ok(second), "{version:?}, asked for a certificate: {asks}");
        }
    }
}

#[test]
fn authorities_that_cannot_be_used_are_refused() {
    let of = |ca: Option<&str>| {
        let found = Found { ca: ca.map(|ca| ca.as_bytes().to_vec()), ..Found::default() };
        Roots::of(&found, SystemTime::now() + Duration::from_secs(1)).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(of(None), Err("ca.crt is missing".to_owned()));
    assert_eq!(of(Some("x")), Err("ca.crt is not PEM of a certificate".to_owned()));
}

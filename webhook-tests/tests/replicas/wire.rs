//! A client of the webhooks' port, by TLS that it verifies as the API server does, for requests of any kind.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::support::Ground;

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const HOST: &str = "atomix-controller.kube-system.svc";

/// Opens connections to replicas.
#[derive(Clone)]
pub struct Wire(Arc<ClientConfig>);

/// A connection, kept until the server closes it.
pub struct Kept(StreamOwned<ClientConnection, TcpStream>);

/// What the server said.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Whether the server is going to close the connection.
    pub closes: bool,
    pub body: String,
}

impl Answer {
    /// The response in the review.
    #[track_caller]
    pub fn response(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        let mut review: Value = serde_json::from_str(&self.body).expect("a review");
        review["response"].take()
    }
}

impl Wire {
    /// Trusts what the API server trusts.
    pub fn new(ground: &Ground) -> Self {
        let configuration = ground.kubectl().get_json(&["mutatingwebhookconfiguration", "atomix-controller"]);
        let bundle = configuration.pointer("/webhooks/0/clientConfig/caBundle").and_then(Value::as_str);
        let pem = STANDARD.decode(bundle.expect("a bundle")).expect("base64");
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.expect("PEM")).expect("a certificate");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.expect("protocol versions").with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self(Arc::new(config))
    }

    /// A new connection; its handshake is over.
    ///
    /// # Errors
    /// What it failed with.
    pub fn connect(&self, address: SocketAddr) -> io::Result<Kept> {
        let name = ServerName::try_from(HOST).expect("a name");
        let mut connection = ClientConnection::new(Arc::clone(&self.0), name).expect("a client");
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Kept(StreamOwned::new(connection, stream)))
    }
}

impl Kept {
    /// Posts JSON and reads the answer.
    ///
    /// # Errors
    /// If the server closes the connection before its answer is whole.
    pub fn post(&mut self, path: &str, body: &[u8]) -> io::Result<Answer> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.0.write_all(head.as_bytes())?;
        self.0.write_all(body)?;
        self.0.flush()?;
        self.answer()
    }

    /// Sends bytes and waits for no answer.
    ///
    /// # Errors
    /// If the server has closed the connection.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.flush()
    }

    /// Whether the server has closed the connection, which is waited for.
    pub fn is_closed(&mut self) -> bool {
        // Abrupt or not, an end is an end.
        !matches!(self.0.read(&mut [0]), Ok(1..))
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let mut text = Vec::new();
        loop {
            let mut piece = [0; 4096];
            let count = self.0.read(&mut piece)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            text.extend_from_slice(&piece[..count]);
            if let Some(answer) = parse(&String::from_utf8_lossy(&text)) {
                return Ok(answer);
            }
        }
    }
}

/// An answer, if all of it is there.
fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let head = head.to_lowercase();
    let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())?;
    let status = head.strip_prefix("http/1.1 ")?.get(..3)?.parse().ok()?;
    let closes = head.lines().any(|line| line == "connection: close");
    (body.len() >= length).then(|| Answer { status, closes, body: body.to_owned() })
}

/// A review of a new set that has an annotation of so many bytes, with its uid first, as API servers write it.
pub fn review(uid: &str, padding: usize) -> Vec<u8> {
    let request = json!({
        "kind": {"group": "k8s.atomix.io", "version": "v1alpha1", "kind": "PartitionSet"},
        "resource": {"group": "k8s.atomix.io", "version": "v1alpha1", "resource": "partitionsets"},
        "name": "raft", "namespace": "default", "operation": "CREATE",
        "userInfo": {"username": "somebody"},
        "object": {
            "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet",
            "metadata": {"name": "raft", "namespace": "default", "annotations": {"a": "x".repeat(padding)}},
            "spec": {"template": {"spec": {"protocol": "raft", "size": 3}}},
        },
    })
    .to_string();
    let head = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":"#;
    format!("{head}{{\"uid\":\"{uid}\",{}}}", request.trim_start_matches('{')).into_bytes()
}

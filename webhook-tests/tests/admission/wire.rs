//! A client for the webhooks' port that sends whatever it is told to, over TLS that it verifies as the API server does.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use webhook_tests::harness;

/// Longer than any timeout of the server that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// What the server said.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// A TCP connection to the port.
pub fn tcp() -> TcpStream {
    let stream = TcpStream::connect(harness().controller().webhook_addr()).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// A TLS connection, offering these protocols. Its handshake is over.
///
/// # Errors
/// What the handshake failed with.
pub fn tls(protocols: &[&str]) -> std::io::Result<Tls> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.expect("protocol versions").with_root_certificates(authority()).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("atomix-controller.kube-system.svc").expect("a name");
    let mut connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut stream = tcp();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(connection, stream))
}

/// What the API server trusts, as it stands in the live configuration.
fn authority() -> RootCertStore {
    let configuration = harness().kubectl().get_json(&["mutatingwebhookconfiguration", "atomix-controller"]);
    let bundle = configuration.pointer("/webhooks/0/clientConfig/caBundle").and_then(Value::as_str);
    let pem = STANDARD.decode(bundle.expect("a bundle")).expect("base64");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.expect("PEM")).expect("a certificate");
    }
    roots
}

/// Sends bytes on a connection of their own and reads what comes until the server closes it: nothing, if it closes
/// without an answer.
pub fn exchange(bytes: &[u8]) -> Option<Answer> {
    let mut stream = tls(&["http/1.1"]).expect("a handshake");
    stream.write_all(bytes).expect("sent");
    stream.flush().expect("sent");
    last_answer(&mut stream)
}

/// Everything that the server still says.
pub fn last_answer(stream: &mut Tls) -> Option<Answer> {
    let mut text = Vec::new();
    // A server that closes in the middle of a request does not say goodbye.
    let _ = stream.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

/// A request with a body, after which the server closes the connection.
pub fn request(method: &str, path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: atomix-controller.kube-system.svc\r\nConnection: close\r\n\
         Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// What the server answers to a body that is posted as JSON.
#[track_caller]
pub fn post(path: &str, body: &[u8]) -> Answer {
    exchange(&request("POST", path, "application/json", body)).expect("an answer")
}

/// The response in the review that is the answer to one.
#[track_caller]
pub fn review(path: &str, review: &Value) -> Value {
    let answer = post(path, review.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut answer: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(
        (answer["apiVersion"].as_str(), answer["kind"].as_str()),
        (Some("admission.k8s.io/v1"), Some("AdmissionReview"))
    );
    answer["response"].take()
}

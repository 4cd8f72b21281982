//! The connection to the API.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use super::args::Groups;
use crate::grpc::proto::controller::controller_service_client::ControllerServiceClient;

/// Why the client cannot be configured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("reading {file}: {source}")]
    Read {
        /// Name of the file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The server's address or the TLS options make no sense.
    #[error("--server {server:?} must be HOST:PORT, and the TLS options PEM files: {source}")]
    Address {
        /// What was given.
        server: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// The file holds no token.
    #[error("{0} must hold a bearer token, in one line")]
    Token(PathBuf),
    /// The token could be read on the network.
    #[error("a token is sent over TLS (--tls or --ca) or to this machine only, and not in the clear to {0}")]
    TokenInTheClear(String),
}

/// Longest answer that is read, in bytes: some hundreds of groups of a thousand partitions.
const MAX_ANSWER: usize = 64 << 20;
/// How much longer the client waits than the deadline that it sends: the server may answer just in time.
const GRACE: Duration = Duration::from_millis(500);

/// Adds the token and the deadline to each request.
#[derive(Clone)]
pub(super) struct Bearer {
    token: Option<MetadataValue<Ascii>>,
    timeout: Duration,
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.set_timeout(self.timeout);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

pub(super) type Client = ControllerServiceClient<InterceptedService<Channel, Bearer>>;

/// A client that connects with its first request. The caller is inside a runtime.
pub(super) fn client(options: &Groups) -> Result<Client, Error> {
    let Groups { server, ca, certificate, key, .. } = options;
    let encrypted = options.tls || ca.is_some() || certificate.is_some();
    let scheme = if encrypted { "https" } else { "http" };
    let wrong = |source| Error::Address { server: server.clone(), source };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{server}"))
        .map_err(wrong)?
        .timeout(options.timeout + GRACE)
        .connect_timeout(options.timeout);
    if encrypted {
        let mut tls = match ca {
            Some(ca) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let Some(name) = &options.server_name {
            tls = tls.domain_name(name);
        }
        if let (Some(certificate), Some(key)) = (certificate, key) {
            tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        endpoint = endpoint.tls_config(tls).map_err(wrong)?;
    }
    let token = options.token_file.as_deref().map(token).transpose()?;
    if token.is_some() && !encrypted && !is_here(endpoint.uri().host().unwrap_or_default()) {
        return Err(Error::TokenInTheClear(server.clone()));
    }
    let bearer = Bearer { token, timeout: options.timeout };
    Ok(ControllerServiceClient::with_interceptor(endpoint.connect_lazy(), bearer).max_decoding_message_size(MAX_ANSWER))
}

fn token(file: &Path) -> Result<MetadataValue<Ascii>, Error> {
    let text = String::from_utf8(read(file)?).map_err(|_| Error::Token(file.to_owned()))?;
    let text = text.trim();
    let value = format!("Bearer {text}").parse::<MetadataValue<Ascii>>().ok().filter(|_| !text.is_empty());
    let mut value = value.ok_or_else(|| Error::Token(file.to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_here(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    fs::read(file).map_err(|source| Error::Read { file: file.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::ServerConfig;
    use rustls::crypto::ring;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::commands::groups::args::{Action, Output};
    use crate::grpc::proto::controller::GetPartitionGroupsRequest;

    /// An authority, and what a server shows that it has certified under the name `atx.example.org`.
    fn certified() -> (String, ServerConfig) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let ca = params.self_signed(&ca_key).unwrap();
        let leaf = CertificateParams::new(["atx.example.org".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &Issuer::from_params(&params, &ca_key)).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        (ca.pem(), config)
    }

    fn options(server: String) -> Groups {
        Groups {
            action: Action::List,
            server,
            namespace: None,
            output: Output::Table,
            timeout: Duration::from_secs(30),
            tls: false,
            ca: None,
            server_name: None,
            certificate: None,
            key: None,
            token_file: None,
        }
    }

    #[tokio::test]
    async fn over_tls_the_server_must_be_certified_by_the_given_authority_under_the_given_name() {
        let (ca, config) = certified();
        let file = std::env::temp_dir().join(format!("atomix-client-ca-{}.pem", std::process::id()));
        fs::write(&file, ca).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut options = options(listener.local_addr().unwrap().to_string());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        for (ca, name, trusts) in [
            (Some(file.clone()), Some("atx.example.org"), true),
            (Some(file.clone()), None, false),
            (None, Some("atx.example.org"), false),
        ] {
            (options.tls, options.ca, options.server_name) = (true, ca, name.map(str::to_owned));
            let mut client = client(&options).unwrap();
            let asks =
                tokio::spawn(async move { client.get_partition_groups(GetPartitionGroupsRequest::default()).await });
            let (stream, _) = listener.accept().await.unwrap();
            let shaken = acceptor.accept(stream).await;
            assert_eq!(shaken.is_ok(), trusts, "{name:?}");
            if let Ok(stream) = shaken {
                assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            }
            asks.abort();
        }
        fs::remove_file(&file).unwrap();
    }

    #[tokio::test]
    async fn a_token_is_not_sent_in_the_clear_to_another_machine() {
        let file = std::env::temp_dir().join(format!("atomix-client-token-{}", std::process::id()));
        fs::write(&file, "secret-token\n").unwrap();
        let mut options = Groups { token_file: Some(file.clone()), ..options("atx.example.org:5679".to_owned()) };
        let refused = client(&options).unwrap_err().to_string();
        assert!(
            refused.contains("not in the clear to atx.example.org:5679") && !refused.contains("secret"),
            "{refused}"
        );
        options.tls = true;
        assert!(client(&options).is_ok());
        (options.tls, options.server) = (false, "127.0.0.1:5679".to_owned());
        assert!(client(&options).is_ok());
        fs::write(&file, "\n").unwrap();
        assert!(matches!(client(&options), Err(Error::Token(_))));
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn only_loopback_is_here() {
        for here in ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_here(here), "{here}");
        }
        for elsewhere in ["", "10.0.0.1", "[2001:db8::1]", "localhost.example.org", "127.0.0.1.example.org"] {
            assert!(!is_here(elsewhere), "{elsewhere}");
        }
    }
}

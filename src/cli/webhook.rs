//! Options of `run` for the admission webhooks.

use std::net::SocketAddr;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use crate::tls::source::Source;
use crate::tls::{ClientAuthentication, Mode};

/// Options of the admission webhooks.
#[derive(Args, Clone, Debug)]
pub struct Webhook {
    /// Address of the admission webhooks, over TLS.
    #[arg(
        id = "webhook_address",
        long = "webhook-address",
        value_name = "ADDRESS",
        env = "WEBHOOK_ADDRESS",
        default_value = "[::]:9443"
    )]
    pub address: SocketAddr,

    /// Source of the webhooks' certificate: the controller signs it, or it is read (tls.crt, tls.key and ca.crt) from this
    /// Secret of the controller's namespace or this directory and reloaded when it changes. The controller sets caBundle
    /// only if it signs the certificate.
    #[arg(
        id = "webhook_certificate",
        long = "webhook-certificate",
        env = "WEBHOOK_CERTIFICATE",
        value_name = "self-signed|secret:NAME|files:DIRECTORY",
        default_value_t
    )]
    pub certificate: Mode,

    /// Require a client certificate that an authority in ca.crt of this Secret or directory has signed. An API server
    /// sends one if its --admission-control-config-file names it.
    #[arg(
        id = "webhook_client_ca",
        long = "webhook-client-ca",
        env = "WEBHOOK_CLIENT_CA",
        value_name = "secret:NAME|files:DIRECTORY"
    )]
    pub client_ca: Option<Source>,

    /// Common name or DNS name that the client certificate must have; can be repeated or comma-separated. Default: every
    /// certificate that --webhook-client-ca has signed.
    #[arg(id = "webhook_client_names", long = "webhook-client-name", env = "WEBHOOK_CLIENT_NAMES", value_name = "NAME", value_delimiter = ',', requires = "webhook_client_ca", value_parser = NonEmptyStringValueParser::new())]
    pub client_names: Vec<String>,
}

impl Webhook {
    /// How clients are authenticated; none if they need no certificate.
    #[must_use]
    pub fn clients(&self) -> Option<ClientAuthentication> {
        let ca = self.client_ca.clone()?;
        Some(ClientAuthentication { ca, names: self.client_names.clone() })
    }
}

//! Certificates that other programs make: in a Secret, which is watched, or in files as a kubelet mounts them.
//!
//! What is found is verified before it is used, so a half-written pair or an expired one replaces nothing.

mod files;
pub(super) mod keep;
mod material;
mod secret;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

use crate::runtime::Runtime;
use crate::runtime::shutdown::Stage;
use crate::tls::metrics::TlsMetrics;

pub use material::{Error, Material, Roots};

pub use crate::tls::pair::Pair;

/// Name of the certificate chain in a Secret of type `kubernetes.io/tls`, and of its file.
const CERTIFICATE: &str = "tls.crt";
/// Name of the key.
const KEY: &str = "tls.key";
/// Name of the authority, which cert-manager adds.
const CA: &str = "ca.crt";

/// Where certificates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A Secret in the controller's own namespace.
    Secret(String),
    /// A directory.
    Files(PathBuf),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("secret", name)) if crate::rules::syntax::is_dns_1123_subdomain(name) => {
                Ok(Self::Secret(name.to_owned()))
            }
            Some(("files", directory)) if !directory.is_empty() => Ok(Self::Files(directory.into())),
            _ => Err("must be secret:NAME, a Secret in the controller's namespace, or files:DIRECTORY".to_owned()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(name) => write!(f, "secret:{name}"),
            Self::Files(directory) => write!(f, "files:{}", directory.display()),
        }
    }
}

impl Source {
    /// Starts `task`, which keeps the last good of what `make` makes of the certificates that are there. `role` names it in
    /// metrics and in the log. Secrets are those of `namespace`.
    pub(crate) fn keep<M: Material>(
        &self,
        (task, role): (&'static str, &'static str),
        make: impl Fn(&Found, SystemTime) -> Result<M, Error> + Send + Sync + 'static,
        namespace: &str,
        runtime: &Runtime,
        metrics: &Arc<TlsMetrics>,
    ) -> watch::Receiver<Option<Arc<M>>> {
        let seen = match self {
            Self::Secret(name) => secret::follow(runtime.client.clone(), namespace, name),
            Self::Files(directory) => files::follow(directory.clone()),
        };
        let (used, latest) = watch::channel(None);
        runtime.tasks(Stage::Serve).spawn_endless(task, keep::keep(seen, role, make, used, Arc::clone(metrics)));
        latest
    }
}

/// What is there at one time, or why there is nothing.
type Seen = Result<Found, String>;

/// The parts that were found, as they are. The key never appears in its debug output.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The certificate and those between it and the authority, PEM.
    pub certificate: Option<Vec<u8>>,
    /// Its private key, PEM.
    pub key: Option<Vec<u8>>,
    /// Certificates of authorities, PEM.
    pub ca: Option<Vec<u8>>,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found").field("certificate", &self.certificate).field("ca", &self.ca).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_secret_or_a_directory() {
        assert_eq!("secret:a.b".parse(), Ok(Source::Secret("a.b".to_owned())));
        assert_eq!("files:/a:b".parse(), Ok(Source::Files("/a:b".into())));
        for text in ["secret:a.b", "files:/a:b"] {
            assert_eq!(text.parse::<Source>().map(|source| source.to_string()).as_deref(), Ok(text));
        }
        for wrong in ["", "secret", "secret:", "secret:A_b", "secret:kube-system/a", "files:", "file:/a", "/a"] {
            assert!(wrong.parse::<Source>().is_err_and(|why| why.contains("secret:NAME")), "{wrong:?}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let found = Found { key: Some(b"secret".to_vec()), ..Found::default() };
        assert!(!format!("{found:?}").contains(&format!("{:?}", b"secret")));
    }
}

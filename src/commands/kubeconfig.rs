//! The API server that commands for people talk to, and the user that they are there.

use std::path::PathBuf;

use clap::Args;
use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use crate::proxy::{self, Proxied};

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig cannot be used.
    #[error("reading the kubeconfig")]
    Read(#[from] KubeconfigError),
    /// There is neither a kubeconfig nor a pod's service account.
    #[error("finding the API server")]
    Find(#[from] InferConfigError),
    /// The kubeconfig names a proxy.
    #[error(transparent)]
    Proxied(#[from] Proxied),
    /// Its address or credentials cannot be used.
    #[error("connecting to the API server")]
    Connect(#[from] kube::Error),
}

/// Options that name a kubeconfig.
#[derive(Args, Clone, Debug)]
pub struct KubeconfigArgs {
    /// Kubeconfig file. Default: as kubectl.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig. Default: the current one.
    #[arg(long)]
    pub context: Option<String>,
}

impl KubeconfigArgs {
    /// A client that retries nothing, and the namespace of the context.
    pub(super) async fn connect(&self) -> Result<(Client, String), Error> {
        // An earlier call in this process has installed the same one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut config = self.config().await?;
        if let Some(variable) = proxy::bypass(&mut config)? {
            eprintln!("{variable} names a proxy, which is not used: the API server is connected to directly");
        }
        config.default_retry = false;
        let namespace = config.default_namespace.clone();
        Ok((Client::try_from(config)?, namespace))
    }

    async fn config(&self) -> Result<Config, Error> {
        let context = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        Ok(match &self.kubeconfig {
            Some(file) => Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &context).await?,
            None if self.context.is_some() => Config::from_kubeconfig(&context).await?,
            None => Config::infer().await?,
        })
    }
}

//! Which log lines are written: as the command line says, or a file that may change while the process runs.
//!
//! A file, such as one of a mounted `ConfigMap`: Kubernetes decides who may write it, and each replica follows it. An HTTP
//! route would need an authentication of its own.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Between two reads of the file.
const PERIOD: Duration = Duration::from_secs(2);

/// Changes the filter of the log.
#[derive(Debug)]
pub struct LogFilter {
    handle: reload::Handle<EnvFilter, Registry>,
    /// That of the command line.
    directives: String,
}

/// A filter of these directives, and what changes it.
///
/// # Errors
/// If the directives cannot be read.
pub fn new(directives: &str) -> Result<(reload::Layer<EnvFilter, Registry>, LogFilter), ParseError> {
    let (layer, handle) = reload::Layer::new(parse(directives)?);
    Ok((layer, LogFilter { handle, directives: directives.to_owned() }))
}

fn parse(directives: &str) -> Result<EnvFilter, ParseError> {
    // The caller of a request logs its failure; the client would log it once more.
    EnvFilter::try_new(format!("kube_client::client::builder=off,{directives}"))
}

impl LogFilter {
    /// Applies the text of `file`, if it has any, and each change of it, until `stop`.
    pub(crate) async fn follow(self, file: PathBuf, stop: CancellationToken) {
        let mut now = self.directives.clone();
        loop {
            let text = tokio::fs::read_to_string(&file).await.unwrap_or_default();
            let wanted = Some(text.trim()).filter(|text| !text.is_empty()).unwrap_or(&self.directives);
            if wanted != now {
                now = wanted.to_owned();
                self.apply(&now);
            }
            if stop.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_none() {
                return;
            }
        }
    }

    fn apply(&self, directives: &str) {
        match parse(directives) {
            Ok(filter) => {
                let filter = self.handle.reload(filter).map_err(|error| error.to_string());
                tracing::info!(filter = directives, error = filter.err(), "the log filter has changed");
            }
            Err(error) => {
                tracing::warn!(filter = directives, %error, "the log filter cannot be read and stays as it is");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;
    use tracing_subscriber::prelude::*;

    use super::*;

    #[test]
    fn a_filter_that_can_be_read_is_applied_and_another_one_changes_nothing() {
        let (layer, filter) = new("info").unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let is_debug = || tracing::enabled!(Level::DEBUG);
            assert!(!is_debug());
            filter.apply("debug");
            assert!(is_debug());
            filter.apply("atomix_controller=loud");
            assert!(is_debug());
            filter.apply("info");
            assert!(!is_debug());
        });
    }
}

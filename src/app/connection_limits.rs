//! How many connections the servers accept, by the number of files that the process may open.

use std::time::Duration;

use crate::{admission, grpc, listener};

/// Files that may be open beside the connections to the webhooks and to the Atomix API: connections to the API server,
/// and those of the runtime.
const OTHER_FILES: usize = 256;
/// gRPC connections that are accepted however few files may be open.
const FEWEST_CONNECTIONS: usize = 64;

/// Limits of the webhook server and of the server of the Atomix API, which drain for `drain`.
pub(super) fn limits(drain: Duration) -> (admission::server::Limits, grpc::server::Limits) {
    let files = listener::raise_limit().unwrap_or(usize::MAX);
    let webhooks = admission::server::Limits { drain, ..admission::server::Limits::default() };
    let api = grpc::server::Limits { drain, ..grpc::server::Limits::default() };
    let (of_webhooks, of_api) = shares(files, webhooks.connections, api.connections);
    if of_api < api.connections {
        let wanted = api.connections;
        tracing::warn!(files, connections = of_api, wanted, "few files may be open, so few gRPC connections");
    }
    (
        admission::server::Limits { connections: of_webhooks, ..webhooks },
        grpc::server::Limits { connections: of_api, ..api },
    )
}

/// Connections to the webhooks, which may take half of the files, and to the Atomix API.
fn shares(files: usize, webhooks: usize, api: usize) -> (usize, usize) {
    let webhooks = webhooks.min(files / 2);
    (webhooks, api.min(files.saturating_sub(OTHER_FILES + webhooks)).max(FEWEST_CONNECTIONS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_files_leave_the_webhooks_half_and_the_api_some_connections() {
        assert_eq!(shares(usize::MAX, 2560, 4096), (2560, 4096));
        assert_eq!(shares(8192, 2560, 4096), (2560, 4096));
        assert_eq!(shares(4096, 2560, 4096), (2048, 4096 - 2048 - OTHER_FILES));
        assert_eq!(shares(256, 2560, 4096), (128, FEWEST_CONNECTIONS));
    }
}

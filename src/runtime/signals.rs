//! SIGTERM and SIGINT.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::tasks::Supervisor;

/// The first signal stops the process, the second one cancels `abandon`.
///
/// # Errors
/// If signals cannot be handled.
pub(crate) fn handle(supervisor: &Supervisor, abandon: CancellationToken) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = supervisor.stopping();
    let signals = {
        let stop = stop.clone();
        async move {
            for token in [stop, abandon] {
                let name = tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" };
                tracing::info!(signal = name, "stopping");
                token.cancel();
            }
        }
    };
    // Shutdown does not wait for this task: a second signal may come until the very end.
    drop(supervisor.spawn("signals", stop, signals));
    Ok(())
}

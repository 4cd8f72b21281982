//! The work of the replica that leads.

use std::sync::Arc;

use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;

use crate::cli::Run;
use crate::controller::Manager;
use crate::leader::{Elector, Term};
use crate::primary::Sweeper;
use crate::replicas::ReplicaId;
use crate::runtime::Runtime;
use crate::tls::Tls;

/// What only the replica that leads does.
pub(super) struct LeaderWork {
    pub(super) manager: Manager,
    pub(super) sweeper: Sweeper,
    pub(super) tls: Tls,
}

/// Campaigns for leadership once this replica is `able` to lead, and does the work of the leader while it leads.
pub(super) async fn campaign(
    options: Run,
    runtime: Runtime,
    id: ReplicaId,
    work: LeaderWork,
    able: impl Future<Output = ()>,
    stop: CancellationToken,
) {
    let LeaderWork { manager, sweeper, tls } = work;
    if stop.run_until_cancelled(able).await.is_none() {
        return;
    }
    let elector = Elector::new(
        runtime.client.clone(),
        &options.controller_namespace,
        &options.controller_name,
        (options.replica(), id),
        runtime.registry.register(),
    );
    let lead = |term: Term| {
        let (supervisor, ending) = (runtime.supervisor(), term.ending.clone());
        let (work, sweeping) = (manager.clone().lead(term.clone()), sweeper.sweep_all());
        let tls = supervisor.supervise("certificates of the leader", &ending, tls.clone().lead(term));
        supervisor.spawn("leader", &ending, async move {
            tokio::join!(work, tls);
            drop(sweeping);
        })
    };
    elector.run(stop, lead).await;
}

/// Waits until the first lists of all watches are in, and the own user name is known. A leader with half a cache would try
/// to create what exists; one whose webhook does not know it would have each of its Partitions refused.
pub(super) async fn able_to_lead(synced: impl Future<Output = ()>, own_username: Arc<SetOnce<String>>) {
    synced.await;
    own_username.wait().await;
}

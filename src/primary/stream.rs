//! The stream of a candidate.

use std::sync::Arc;

use tokio::sync::watch;

use super::candidacies::{Handle, Update};
use super::hub::Hub;
use crate::api::names::ObjectKey;

/// The stream of a candidate. Dropping it ends the candidacy.
#[derive(Debug)]
pub(crate) struct CandidateStream {
    pub(super) updates: watch::Receiver<Option<Update>>,
    pub(super) _leave: LeaveOnDrop,
}

impl CandidateStream {
    /// Waits for the first term of which this is a candidate, and then for each change; a term that another has followed
    /// since the last call is left out. None if this replica cannot go on.
    pub(crate) async fn next(&mut self) -> Option<Update> {
        loop {
            self.updates.changed().await.ok()?;
            let update = self.updates.borrow_and_update().clone();
            if update.is_some() {
                return update;
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct LeaveOnDrop {
    pub(super) hub: Arc<Hub>,
    pub(super) key: ObjectKey,
    pub(super) handle: Handle,
}

impl Drop for LeaveOnDrop {
    fn drop(&mut self) {
        self.hub.leave(&self.key, self.handle);
    }
}

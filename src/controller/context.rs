//! The surroundings of both controllers.

use std::sync::Arc;

use kube::Client;

use super::metrics::ControllerMetrics;
use super::settings::Settings;
use super::writer::Writer;
use crate::events::Events;
use crate::store::{Caches, Triggers};

/// What reconciliations of one term share. Each controller keeps its own state beside it.
pub(super) struct Context {
    /// Client with the controller's own rights, whose writes end with the term.
    pub(super) client: Client,
    pub(super) writer: Writer,
    pub(super) caches: Arc<Caches>,
    pub(super) settings: Arc<Settings>,
    pub(super) events: Events,
    pub(super) metrics: Arc<ControllerMetrics>,
    pub(super) triggers: Triggers,
}

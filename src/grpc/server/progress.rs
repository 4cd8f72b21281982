//! How far a call has come, and who keeps whom waiting.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::pace::{Pace, UnderWay};
use crate::connections::{Tenant, Wait};

#[derive(Debug)]
enum Stage {
    /// The request is not whole.
    Arriving,
    /// The answer is not made.
    Working,
    /// The answer is made, and not taken. It should be gone in time, and is not waited for if others wait.
    Answered(Wait),
}

#[derive(Debug)]
struct State {
    stage: Stage,
    /// From the moment when the request is whole the connection is in use.
    _under_way: Option<UnderWay>,
}

/// Follows one call.
#[derive(Debug)]
pub(super) struct Progress {
    pace: Arc<Pace>,
    /// How long a client is waited for when others wait for its place.
    patience: Duration,
    arrive: Wait,
    /// Until when the answer has to be taken, if it is not a stream.
    take: Option<Instant>,
    state: Mutex<State>,
    given_up: CancellationToken,
}

impl Progress {
    /// Of a call on the connection that `pace` follows, whose request has to be whole after `patience` and whose one
    /// answer has to be taken at `take`.
    pub(super) fn new(pace: Arc<Pace>, patience: Duration, take: Option<Instant>) -> Self {
        let state = Mutex::new(State { stage: Stage::Arriving, _under_way: None });
        let arrive = Wait::from(Instant::now(), patience);
        Self { pace, patience, arrive, take, state, given_up: CancellationToken::new() }
    }

    /// Says that the request is whole.
    pub(super) fn whole(&self) {
        let mut state = self.state();
        if matches!(state.stage, Stage::Arriving) {
            *state = State { stage: Stage::Working, _under_way: Some(self.pace.begin(self.take)) };
        }
    }

    /// Says that the answer is made.
    pub(super) fn answered(&self) {
        self.state().stage = Stage::Answered(Wait::from(Instant::now(), self.patience));
    }

    /// Waits until it takes the request too long to arrive, or somebody else needs the place.
    pub(super) async fn given_up(&self) -> Status {
        tokio::select! {
            () = sleep_until(self.arrive.until) => Status::deadline_exceeded("the request was not whole in time"),
            () = self.given_up.cancelled() => Status::unavailable("the request did not come at once: try again"),
        }
    }

    // Nothing panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tenant for Progress {
    fn waits(&self) -> Option<Wait> {
        if self.given_up.is_cancelled() {
            return None;
        }
        match self.state().stage {
            Stage::Arriving => Some(self.arrive),
            Stage::Working => None,
            Stage::Answered(wait) => Some(wait),
        }
    }

    fn evict(&self) -> bool {
        match self.state().stage {
            Stage::Working => return false,
            Stage::Arriving => {}
            // Nothing less makes a client let go that does not take what it has asked for.
            Stage::Answered(_) => self.pace.cut(),
        }
        self.given_up.cancel();
        true
    }
}

//! What a connection is doing, and until when it may.
//!
//! A connection may be silent for minutes, and nodes hold theirs for weeks. So what counts is whether this side owes the
//! client something: while it does not, the connection may have to make room for another, and ends at last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Limits;
use crate::connections::{Reader, Tenant, Wait};

/// Length of the first thing that an HTTP/2 client says (RFC 9113, section 3.4).
const PREFACE: usize = 24;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// TLS is being set up.
    Handshake,
    /// Nothing was said yet that makes it HTTP/2.
    Preface,
    /// No request is whole whose answer is not taken yet.
    Idle,
    /// At least one is.
    Busy,
    /// Another connection needs the place.
    Evicted,
}

#[derive(Debug)]
struct State {
    /// Since when the connection has to end, whatever happens on it meanwhile.
    evicted: Option<Instant>,
    /// `Handshake`, `Preface` or `Idle`; having calls means `Busy`.
    name: Name,
    /// How long that may last.
    wait: Wait,
    /// Bytes that came before it was known to be HTTP/2.
    read: usize,
    /// The calls that are under way, with the time at which their answers must have been taken if they are not streams.
    calls: HashMap<u64, Option<Instant>>,
    last_number: u64,
    /// Until when [`Pace::overdue`] sleeps.
    alarm: Instant,
}

impl State {
    fn name(&self) -> Name {
        match self.name {
            _ if self.evicted.is_some() => Name::Evicted,
            Name::Idle if !self.calls.is_empty() => Name::Busy,
            name => name,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self.name() {
            Name::Evicted => self.evicted,
            Name::Busy => self.calls.values().filter_map(|deadline| *deadline).min(),
            _ => Some(self.wait.until),
        }
    }
}

/// Follows one connection; everything that happens on it is told here.
#[derive(Debug)]
pub(super) struct Pace {
    limits: Limits,
    state: Mutex<State>,
    changed: Notify,
    asked: CancellationToken,
}

/// A call whose request is whole; dropped when its answer has been taken, or nobody wants it.
#[derive(Debug)]
pub(super) struct UnderWay {
    number: u64,
    pace: Arc<Pace>,
}

impl Pace {
    /// Of a connection that was just accepted, with TLS or without.
    pub(super) fn new(limits: Limits, tls: bool) -> Self {
        let (name, time) = if tls { (Name::Handshake, limits.handshake) } else { (Name::Preface, limits.preface) };
        let now = Instant::now();
        let state = State {
            evicted: None,
            name,
            wait: Wait::from(now, time),
            read: 0,
            calls: HashMap::new(),
            last_number: 0,
            alarm: now + limits.idle,
        };
        Self { limits, state: Mutex::new(state), changed: Notify::new(), asked: CancellationToken::new() }
    }

    /// Says that TLS is set up.
    pub(super) fn secured(&self) {
        self.change(|state, now| (state.name, state.wait) = (Name::Preface, Wait::from(now, self.limits.preface)));
    }

    /// Says that a call has begun, the first one or another.
    pub(super) fn ask(&self) {
        self.asked.cancel();
    }

    /// Waits for the first call.
    pub(super) async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// Says that the request of a call is whole. What is answered at once has to be taken until `deadline`.
    pub(super) fn begin(self: &Arc<Self>, deadline: Option<Instant>) -> UnderWay {
        let mut number = 0;
        self.change(|state, _| {
            state.last_number += 1;
            number = state.last_number;
            state.calls.insert(number, deadline);
        });
        UnderWay { number, pace: Arc::clone(self) }
    }

    /// Leaves at most this time to a connection that is idle, or is not one yet.
    pub(super) fn hurry(&self, time: Duration) {
        self.change(|state, now| state.wait.until = state.wait.until.min(now + time));
    }

    /// Gives this time to a connection that has been idle for too long.
    pub(super) fn linger(&self, time: Duration) {
        self.change(|state, now| state.wait = Wait::from(now, time));
    }

    /// Ends the connection, whatever it is doing.
    pub(super) fn cut(&self) {
        self.change(|state, now| state.evicted = Some(now));
    }

    /// Waits until something takes too long, or for an eviction; says what the connection was doing.
    pub(super) async fn overdue(&self) -> Name {
        loop {
            let deadline = {
                let mut state = self.state();
                let deadline = state.deadline();
                if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                    return state.name();
                }
                // Whatever ends later than this need not wake anybody.
                state.alarm = deadline.unwrap_or_else(|| Instant::now() + self.limits.idle);
                state.alarm
            };
            tokio::select! {
                () = sleep_until(deadline) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut State, Instant)) {
        let sooner = {
            let mut state = self.state();
            change(&mut state, Instant::now());
            state.deadline().is_some_and(|deadline| deadline < state.alarm)
        };
        if sooner {
            self.changed.notify_one();
        }
    }

    // Nothing panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tenant for Pace {
    fn waits(&self) -> Option<Wait> {
        let state = self.state();
        (!matches!(state.name(), Name::Busy | Name::Evicted)).then_some(state.wait)
    }

    fn evict(&self) -> bool {
        let mut evicted = false;
        self.change(|state, now| {
            evicted = !matches!(state.name(), Name::Busy | Name::Evicted);
            if evicted {
                state.evicted = Some(now);
            }
        });
        evicted
    }
}

impl Reader for Pace {
    fn has_read(&self, bytes: usize) {
        self.change(|state, now| {
            if state.name == Name::Preface {
                state.read += bytes;
                if state.read >= PREFACE {
                    (state.name, state.wait) = (Name::Idle, Wait::from(now, self.limits.idle));
                }
            }
        });
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let idle = self.pace.limits.idle;
        self.pace.change(|state, now| {
            state.calls.remove(&self.number);
            if state.calls.is_empty() {
                state.wait = Wait::from(now, idle);
            }
        });
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;

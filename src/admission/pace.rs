//! What a connection is doing, and until when it may.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until};

use super::server::Limits;
use crate::connections::{Reader, Tenant, Wait};

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// TLS is being set up.
    Handshake,
    /// Nothing was asked yet. API servers keep spare connections of this kind.
    Fresh,
    /// The head of a request has begun.
    Head,
    /// The head is whole, the body is not.
    Body,
    /// The request is whole, the answer is not made.
    Answer,
    /// Answered, and kept for the next request.
    Idle,
    /// Another connection needs the place.
    Evicted,
}

impl Name {
    /// Whether the next step is the client's.
    const fn waits_for_client(self) -> bool {
        matches!(self, Self::Handshake | Self::Fresh | Self::Head | Self::Body | Self::Idle)
    }
}

#[derive(Clone, Copy, Debug)]
struct Phase {
    name: Name,
    wait: Wait,
}

impl Phase {
    fn new(name: Name, time: Duration) -> Self {
        Self { name, wait: Wait::from(Instant::now(), time) }
    }
}

/// Follows one connection; everything that happens on it is told here.
#[derive(Debug)]
pub(super) struct Pace {
    limits: Limits,
    phase: watch::Sender<Phase>,
}

impl Pace {
    /// Of a connection that was just accepted.
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, phase: watch::Sender::new(Phase::new(Name::Handshake, limits.handshake)) }
    }

    pub(super) fn name(&self) -> Name {
        self.phase.borrow().name
    }

    /// Goes on to another phase, unless the connection is on its way out.
    pub(super) fn enter(&self, name: Name) {
        let time = match name {
            Name::Handshake => self.limits.handshake,
            Name::Head => self.limits.head,
            Name::Body | Name::Answer => self.limits.request,
            Name::Fresh | Name::Idle => self.limits.idle,
            Name::Evicted => Duration::ZERO,
        };
        self.phase.send_if_modified(|phase| {
            let goes_on = phase.name != Name::Evicted;
            if goes_on {
                *phase = Phase::new(name, time);
            }
            goes_on
        });
    }

    /// Leaves at most this time to the phase that the connection is in.
    pub(super) fn hurry(&self, time: Duration) {
        self.phase.send_modify(|phase| phase.wait.until = phase.wait.until.min(Instant::now() + time));
    }

    /// Waits until a phase takes too long, or for an eviction; says which phase.
    pub(super) async fn overdue(&self) -> Name {
        let mut phase = self.phase.subscribe();
        loop {
            let Phase { name, wait } = *phase.borrow_and_update();
            if name == Name::Evicted {
                return name;
            }
            tokio::select! {
                () = sleep_until(wait.until) => return name,
                // The sender lives as long as this value.
                _ = phase.changed() => {}
            }
        }
    }
}

impl Tenant for Pace {
    fn waits(&self) -> Option<Wait> {
        let phase = self.phase.borrow();
        phase.name.waits_for_client().then_some(phase.wait)
    }

    fn evict(&self) -> bool {
        self.phase.send_if_modified(|phase| {
            let waits = phase.name.waits_for_client();
            if waits {
                *phase = Phase::new(Name::Evicted, Duration::ZERO);
            }
            waits
        })
    }
}

impl Reader for Pace {
    fn has_read(&self, _: usize) {
        if matches!(self.name(), Name::Fresh | Name::Idle) {
            self.enter(Name::Head);
        }
    }
}

/// A body that tells when it is whole.
pub(super) struct PacedBody {
    pub(super) body: Incoming,
    pub(super) pace: Arc<Pace>,
}

impl HttpBody for PacedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let whole = match &frame {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(_))) => self.body.is_end_stream(),
            _ => false,
        };
        if whole && self.pace.name() == Name::Body {
            self.pace.enter(Name::Answer);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

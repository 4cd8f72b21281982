//! Reading the body of a request to the webhooks.

use std::future::ready;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::StatusCode;
use futures::StreamExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::MAX_BODY;
use super::limits::{LIGHT_BODY, Limits};
use super::router::Refused;
use super::uid;

/// Time that a client has for sending the body.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A whole body, and the room that it takes if it is long.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// What has come so far. A short body comes in one piece, which need not be copied. No memory is set aside for bytes
/// that were only announced.
#[derive(Default)]
struct Pieces {
    first: Bytes,
    rest: Vec<u8>,
}

impl Pieces {
    fn add(&mut self, piece: Bytes) {
        if self.so_far().is_empty() {
            self.first = piece;
        } else {
            if self.rest.is_empty() {
                self.rest.extend_from_slice(&std::mem::take(&mut self.first));
            }
            self.rest.extend_from_slice(&piece);
        }
    }

    fn so_far(&self) -> &[u8] {
        if self.rest.is_empty() { &self.first } else { &self.rest }
    }

    fn whole(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.into() }
    }

    /// Asks to try again, if it is known already who is to be answered.
    fn throttled(&self) -> Option<Refused> {
        uid::find(self.so_far()).map(Refused::Throttled)
    }
}

/// Reads a body to its end. One that is not light waits for room once it has shown that it comes; what there is no room
/// for is thrown away as it comes.
///
/// # Errors
/// Why there is nothing to decide: by HTTP status, or by a review once the uid is known.
pub(super) async fn read(body: Body, limits: &Limits, deadline: Instant) -> Result<Whole, Refused> {
    let announced = body.size_hint();
    let announced = usize::try_from(announced.exact().unwrap_or(announced.lower())).unwrap_or(usize::MAX);
    if announced > MAX_BODY {
        return Err(too_large());
    }
    let give_up = Instant::now() + TIMEOUT;
    let mut until = deadline.min(give_up);
    let mut frames = body.into_data_stream();
    let (mut pieces, mut room) = (Pieces::default(), None);
    loop {
        match timeout_at(until, frames.next()).await {
            Ok(Some(Ok(piece))) => {
                if pieces.so_far().len() + piece.len() > MAX_BODY {
                    return Err(too_large());
                }
                pieces.add(piece);
            }
            Ok(Some(Err(_))) => {
                return Err(Refused::status(StatusCode::BAD_REQUEST, "truncated", "the body broke off"));
            }
            Ok(None) => break,
            Err(_) if until == give_up => {
                return Err(Refused::status(StatusCode::REQUEST_TIMEOUT, "timeout", "the body took too long"));
            }
            Err(_) => match pieces.throttled() {
                Some(throttled) => return Err(throttled),
                None => until = give_up,
            },
        }
        if room.is_none() && pieces.so_far().len() > LIGHT_BODY {
            let length = if announced > LIGHT_BODY { announced } else { MAX_BODY };
            let now = Instant::now();
            room = limits.body(length, now + deadline.saturating_duration_since(now) / 2).await;
            if room.is_none() {
                // A client that cannot send all of it may not look at the answer.
                let _ = timeout_at(deadline, frames.for_each(|_| ready(()))).await;
                return Err(pieces.throttled().unwrap_or_else(|| {
                    Refused::status(StatusCode::SERVICE_UNAVAILABLE, "overload", "too many long bodies at a time")
                }));
            }
        }
    }
    if pieces.so_far().is_empty() {
        return Err(Refused::status(StatusCode::BAD_REQUEST, "empty", "the body is empty"));
    }
    Ok(Whole { bytes: pieces.whole(), room })
}

fn too_large() -> Refused {
    let text = format!("the body has more than {MAX_BODY} bytes");
    Refused::status(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text)
}

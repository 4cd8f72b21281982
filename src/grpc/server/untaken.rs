//! Bytes of answers that their clients have not taken yet.
//!
//! A client may ask for much and take nothing: the answer is kept for it until it does, or its time is up. How many such
//! answers there may be is not enough of a bound, since a list of groups has as many bytes as there are groups.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::{Bytes, HttpBody};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;

use super::body::CHUNK;

/// Bytes that are counted as one.
const UNIT: usize = 1024;

/// A message that a client has not taken yet. What it weighs is given back with the last of it, since all of it stays in
/// memory until then.
#[derive(Debug, Default)]
pub(super) struct Message {
    rest: Bytes,
    weight: Option<OwnedSemaphorePermit>,
}

impl From<Bytes> for Message {
    fn from(rest: Bytes) -> Self {
        Self { rest, weight: None }
    }
}

impl Message {
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next bytes, at most so many.
    pub(super) fn take(&mut self, most: usize) -> Bytes {
        let taken = self.rest.split_to(self.rest.len().min(most));
        if self.rest.is_empty() {
            self.weight = None;
        }
        taken
    }
}

/// How many bytes there may be of all answers together.
#[derive(Debug)]
pub(super) struct Untaken {
    room: Arc<Semaphore>,
    units: usize,
}

impl Untaken {
    pub(super) fn new(bytes: usize) -> Self {
        let units = bytes.div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        Self { room: Arc::new(Semaphore::new(units)), units }
    }

    /// The one message of an answer, made before anybody takes it: what it is made of is larger, and would be kept for a
    /// client that does not even take the first byte.
    ///
    /// # Errors
    /// What the service answers instead; `UNAVAILABLE` if there is no room for it. One that is larger than all of the
    /// room has it to itself.
    pub(super) async fn message(&self, body: &mut Body) -> Result<Message, Status> {
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            None => Ok(Message::default()),
            Some(Err(status)) => Err(status),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Ok(Message { weight: self.weigh(data.len())?, rest: data }),
                Err(frame) => {
                    let status = frame.trailers_ref().and_then(Status::from_header_map);
                    Err(status.unwrap_or_else(|| Status::internal("the service has not answered")))
                }
            },
        }
    }

    /// Small ones cost no more than the call: they must not be refused because of large ones.
    fn weigh(&self, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, Status> {
        if bytes <= CHUNK {
            return Ok(None);
        }
        let units = u32::try_from(bytes.div_ceil(UNIT).min(self.units)).unwrap_or(u32::MAX);
        let weight = Arc::clone(&self.room).try_acquire_many_owned(units);
        weight.map(Some).map_err(|_| {
            Status::unavailable("too much of what was answered is not taken yet: try again, or another replica")
        })
    }
}

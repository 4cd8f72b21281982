//! Reading the body of a request to the webhooks.

use std::future::ready;

use axum::body::{Body, BodyDataStream, HttpBody};
use futures::StreamExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::limits::{Limits, MAX_BODY, SMALL_BODY};
use super::rejection::Rejection;

/// A body that was read to its end.
pub(super) struct Whole {
    pub(super) bytes: Vec<u8>,
    /// A large body's share of the memory.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// Reads a body to its end, which has to come before the deadline. If there is no room for a large one, the rest is read
/// and dropped: a client that cannot send all of its request may not read the answer.
pub(super) async fn read(body: Body, limits: &Limits, deadline: Instant) -> Result<Whole, Rejection> {
    let announced = body.size_hint();
    if announced.lower() > MAX_BODY as u64 {
        return Err(Rejection::TooLarge);
    }
    let length = announced.upper().and_then(|length| usize::try_from(length).ok()).unwrap_or(MAX_BODY).min(MAX_BODY);
    let mut chunks = body.into_data_stream();
    let whole = timeout_at(deadline, collect(&mut chunks, length, limits)).await.map_err(|_| Rejection::Timeout)?;
    if let Err(Rejection::Overload) = whole {
        // A client that is too slow gets its answer early.
        let _ = timeout_at(deadline, chunks.for_each(|_| ready(()))).await;
    }
    whole.and_then(|whole| if whole.bytes.is_empty() { Err(Rejection::Empty) } else { Ok(whole) })
}

/// Copies each chunk, because a chunk keeps the whole buffer alive that it was read into, and into one allocation: a
/// vector that grows takes up to twice the memory. More than a small body is kept only with a permit, so that a client
/// that announces a large body and sends nothing takes no room from others.
async fn collect(chunks: &mut BodyDataStream, length: usize, limits: &Limits) -> Result<Whole, Rejection> {
    let mut whole = Whole { bytes: Vec::with_capacity(length.min(SMALL_BODY)), permit: None };
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Rejection::Truncated)?;
        let size = whole.bytes.len() + chunk.len();
        if size > MAX_BODY {
            return Err(Rejection::TooLarge);
        }
        if size > SMALL_BODY && whole.permit.is_none() {
            whole.permit = Some(limits.body(length).await?);
            whole.bytes.reserve_exact(length.saturating_sub(whole.bytes.len()));
        }
        whole.bytes.extend_from_slice(&chunk);
    }
    Ok(whole)
}

//! Reading the body of a request to the webhooks.

use std::future::ready;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use futures::StreamExt;
use tokio::time::timeout;

use super::limits::MAX_BODY;
use super::rejection::Rejection;

/// Time that a client has for sending the body.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a body to its end.
pub(super) async fn read(body: Body) -> Result<Vec<u8>, Rejection> {
    let bytes = timeout(TIMEOUT, collect(body)).await.map_err(|_| Rejection::Timeout)??;
    if bytes.is_empty() { Err(Rejection::Empty) } else { Ok(bytes) }
}

/// Copies each chunk, because a chunk keeps the whole buffer alive that it was read into, and into one allocation: a
/// vector that grows takes up to twice the memory.
async fn collect(body: Body) -> Result<Vec<u8>, Rejection> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(MAX_BODY);
    let (mut chunks, mut bytes) = (body.into_data_stream(), Vec::with_capacity(announced.min(MAX_BODY)));
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Rejection::Truncated)?;
        if bytes.len() + chunk.len() > MAX_BODY {
            return Err(Rejection::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Reads a body and keeps nothing of it: a client that cannot send all of its request may not read the answer.
pub(super) async fn discard(body: Body) {
    let chunks = body.into_data_stream().for_each(|_| ready(()));
    // A client that is too slow gets its answer early.
    let _ = timeout(TIMEOUT, chunks).await;
}

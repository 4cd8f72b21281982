//! From the bytes of a review to the response.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::rejection::Rejection;
use super::response::{Response, shorten};
use super::review::{self, Request};
use super::{Admission, Webhook, record};
use crate::runtime::tasks;

/// The request, empty if it could not be read, and the response to it.
pub(super) type Decision = (Request, Response);

/// Reads the review in `body` and decides about it.
pub(super) fn decide(admission: &Admission, webhook: Webhook, body: &[u8]) -> Result<Decision, Rejection> {
    match review::parse(body) {
        Ok(request) => {
            let response = catch_panics(admission, webhook, &request);
            Ok((request, response))
        }
        Err(review::Error::Request { uid, error }) => {
            Ok((Request::default(), Response::bad_request(&uid, &format!("reading the request: {error}"))))
        }
        Err(error) => Err(error.into()),
    }
}

/// A panic is one wrong answer and not the end of the process.
fn catch_panics(admission: &Admission, webhook: Webhook, request: &Request) -> Response {
    let result = catch_unwind(AssertUnwindSafe(|| admission.decide(webhook, request)));
    result.unwrap_or_else(|panic| {
        admission.metrics.panics.inc();
        let (uid, panic) = (shorten(&request.uid, record::MAX_LOGGED), tasks::message(&*panic));
        tracing::error!(?uid, webhook = webhook.as_str(), panic, "panic while answering a review");
        Response::internal_error(&request.uid)
    })
}

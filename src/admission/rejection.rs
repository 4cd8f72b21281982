//! Requests that are refused by HTTP status, because no review can answer them.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::limits::MAX_BODY;
use super::review;

/// Why there is no review to answer with.
#[derive(Debug, thiserror::Error)]
pub(super) enum Rejection {
    #[error("expected content type application/json")]
    ContentType,
    #[error("the body has more than {MAX_BODY} bytes")]
    TooLarge,
    #[error("the body broke off")]
    Truncated,
    #[error("the body took too long")]
    Timeout,
    #[error("the body is empty")]
    Empty,
    #[error("too many large reviews at a time; try again")]
    Overload,
    #[error(transparent)]
    NoReview(#[from] review::Error),
    #[error("writing the answer: {0}")]
    Render(#[from] serde_json::Error),
}

impl Rejection {
    /// Value of the metric's label.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::ContentType => "content_type",
            Self::TooLarge => "too_large",
            Self::Truncated => "truncated",
            Self::Timeout => "timeout",
            Self::Empty => "empty",
            Self::Overload => "overload",
            Self::NoReview(_) => "no_review",
            Self::Render(_) => "render",
        }
    }

    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Truncated | Self::Empty | Self::NoReview(_) => StatusCode::BAD_REQUEST,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::Overload => StatusCode::SERVICE_UNAVAILABLE,
            Self::Render(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let mut response = (self.status(), format!("{self}\n")).into_response();
        if matches!(self, Self::Overload) {
            // An API server calls a webhook again after this time.
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

//! What is shown when a page cannot be.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;
use message_store::Error;

use crate::html::{bare_page, visible};

/// Why there is no page.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Invalid { .. } | Error::TooLarge { .. } => StatusCode::BAD_REQUEST,
            error if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, message_store::chain(&error))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("It failed");
        let page =
            bare_page(title, &html! { h1 { (title) } p { (visible(&self.text)) } p { a href="/" { "Overview" } } });
        (self.status, page).into_response()
    }
}

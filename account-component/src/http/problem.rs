//! Problems: what is answered when a request does not succeed (RFC 9457). Each cause has a type of its own.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use message_store::Error;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The kind of problem, such as `/problems/insufficient-funds`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// What happened here, and what to do.
    pub detail: String,
    /// The seconds after which the request can be sent again.
    #[serde(skip)]
    pub retry_after: Option<u32>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, name: &str, title: &str, detail: impl Into<String>) -> Self {
        let (kind, title, status) = (format!("/problems/{name}"), title.to_owned(), status.as_u16());
        Self { kind, title, status, detail: detail.into(), retry_after: None }
    }

    pub(super) fn no_key() -> Self {
        let detail = "give the header Idempotency-Key a value that you have made up for this request, such as a UUID, and send the \
                      same value if you send the request again";
        Self::new(StatusCode::BAD_REQUEST, "no-idempotency-key", "The request has no idempotency key", detail)
    }

    pub(super) fn invalid_key() -> Self {
        let detail = "Idempotency-Key must have 1 to 255 bytes of visible characters";
        Self::new(StatusCode::BAD_REQUEST, "invalid-idempotency-key", "The idempotency key is not valid", detail)
    }

    pub(super) fn other_payload(detail: impl Into<String>) -> Self {
        let title = "The key was used for another request";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", title, detail)
    }

    pub(super) fn in_flight() -> Self {
        let title = "The first request with this key is being carried out";
        let detail = "send the same request again to get its answer; with `Prefer: wait=10`, the answer is waited for";
        let problem = Self::new(StatusCode::CONFLICT, "request-in-flight", title, detail);
        Self { retry_after: Some(1), ..problem }
    }

    pub(super) fn no_account(account: &str) -> Self {
        let detail = format!("there is no account {account:?}; PUT /accounts/{{account}} opens one");
        Self::new(StatusCode::NOT_FOUND, "no-such-account", "There is no such account", detail)
    }

    pub(super) fn no_transfer(transfer: &str) -> Self {
        let detail = format!("there is no transfer {transfer:?}; PUT /transfers/{{transfer}} starts one");
        Self::new(StatusCode::NOT_FOUND, "no-such-transfer", "There is no such transfer", detail)
    }

    pub(super) fn version_changed() -> Self {
        let detail = "If-Match names another version than the account has: GET the account, and decide again";
        Self::new(StatusCode::PRECONDITION_FAILED, "version-changed", "The account has changed", detail)
    }

    pub(super) fn not_shown_yet() -> Self {
        let title = "The days are not shown up to this position yet";
        let detail = "no component has added them up so far (or there is no such position); GET /readyz shows whether one runs here";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-shown-yet", title, detail);
        Self { retry_after: Some(1), ..problem }
    }

    pub(super) fn too_large() -> Self {
        let detail = format!("a body has at most {} bytes", super::BODY);
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large", detail)
    }

    pub(super) fn reserved_id(id: &str) -> Self {
        Self::invalid(format!("{id:?} is an id of a transfer's deposits and withdrawals; use another one"))
    }

    /// What was written is not found, or cannot be shown.
    pub(super) fn gone() -> Self {
        let title = "The service has failed";
        let detail = "send the same request again: what was done is not done again";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal-error", title, detail)
    }

    pub(super) fn too_long() -> Self {
        let title = "The request took too long";
        let detail = "send the same request again: what was done is not done again";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "took-too-long", title, detail);
        Self { retry_after: Some(1), ..problem }
    }

    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-request", "The request is not valid", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid { .. } | Error::TooLarge { .. } => Self::invalid(error.to_string()),
            error if error.is_transient() => {
                ::tracing::warn!(target: "account_component::http", %error, "the store did not answer");
                let title = "The store does not answer";
                let detail = "send the same request again: what was done is not done again";
                let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", title, detail);
                Self { retry_after: Some(1), ..problem }
            }
            error => {
                ::tracing::error!(target: "account_component::http", %error, "a request failed");
                let detail = "the service's log has the reason";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal-error", "The service has failed", detail)
            }
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let status = rejection.status();
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            return Self::new(status, "body-too-large", "The body is too large", rejection.body_text());
        }
        if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            return Self::new(status, "no-json", "The body is no JSON", rejection.body_text());
        }
        Self::invalid(rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::invalid(rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::invalid(rejection.body_text())
    }
}

pub(super) async fn no_such_path() -> Problem {
    let detail = "GET /openapi.json lists the paths";
    Problem::new(StatusCode::NOT_FOUND, "no-such-path", "There is no such path", detail)
}

pub(super) async fn no_such_method() -> Problem {
    let detail = "GET /openapi.json lists the methods of each path";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no-such-method", "The path has no such method", detail)
}

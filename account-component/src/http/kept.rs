//! Answers that are kept with a key.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use message_store::Json;
use serde::{Deserialize, Serialize};

/// An answer, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) status: u16,
    #[serde(default)]
    pub(super) headers: Vec<(String, String)>,
    pub(super) is_problem: bool,
    pub(super) body: Json,
}

impl IntoResponse for Kept {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let content_type = if self.is_problem { "application/problem+json" } else { "application/json" };
        let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))];
        let mut response = (status, content_type, self.body.text().to_owned()).into_response();
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

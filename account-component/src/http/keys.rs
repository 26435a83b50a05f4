//! Idempotency keys: a request that is sent again gets the answer of the first.
//!
//! The header is that of an IETF draft (`draft-ietf-httpapi-idempotency-key-header-07`), which has expired: a convention. An
//! answer is kept only when something was written for the request: a rejection that is an event is kept, and a request that was
//! refused before that can be corrected and sent with the same key.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use message_store::intents::Answer;
use message_store::{Json, Key, Timestamp};
use tokio::time::{Instant, sleep};

use super::app::{App, KEPT};
use super::kept::Kept;
use super::problem::Problem;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Set to `true` in an answer that was given before.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The time at which the key is forgotten.
pub(super) const EXPIRES: HeaderName = HeaderName::from_static("idempotency-key-expires");

/// The pause between two looks at what a client waits for.
pub(super) const PAUSE: Duration = Duration::from_millis(50);
/// The longest time that a client can wait.
const LONGEST_WAIT: u64 = 25;

/// What a request does.
pub(super) trait Work: Clone + Send + Sync + 'static {
    /// Does it, and returns the answer. `Ok` says that something was written for it.
    fn carry_out(&self, app: &App) -> impl Future<Output = Result<Kept, Problem>> + Send;
}

/// The key of a request. It may be written as a string of structured fields, in quotation marks.
pub(super) fn key_of(headers: &HeaderMap) -> Result<String, Problem> {
    let mut values = headers.get_all(KEY).iter();
    let value = values.next().ok_or_else(Problem::no_key)?;
    if values.next().is_some() {
        return Err(Problem::invalid_key());
    }
    let text = value.to_str().map_err(|_| Problem::invalid_key())?.trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if text.is_empty() || text.len() > crate::messages::MAX_ID_BYTES {
        return Err(Problem::invalid_key());
    }
    Ok(text.to_owned())
}

/// The time for which the client wants to wait: `Prefer: wait=10`.
pub(super) fn wait_of(headers: &HeaderMap) -> Duration {
    let preferences = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    // Each preference may have parameters.
    let preferences = preferences.flat_map(|value| value.split(',')).filter_map(|one| one.split(';').next());
    let mut pairs = preferences.filter_map(|preference| preference.split_once('='));
    let seconds = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"));
    let seconds = seconds.and_then(|(_, seconds)| seconds.trim().parse::<u64>().ok());
    Duration::from_secs(seconds.unwrap_or(0).min(LONGEST_WAIT))
}

/// Carries a request out, or returns the answer of the first request with this key. `request` is what must be the same.
pub(super) async fn once(
    app: &App,
    key: &str,
    headers: &HeaderMap,
    request: &Json,
    work: impl Work,
) -> Result<Response, Problem> {
    let key = Key::new(key).map_err(|_| Problem::invalid_key())?;
    let until = Instant::now() + wait_of(headers);
    loop {
        let (doing, work) = (app.clone(), work.clone());
        let work = async move || Ok::<_, Problem>((Vec::new(), work.carry_out(&doing).await?));
        let done = app.keys.run(&key, request, work).await?;
        match done {
            Answer::Done(kept) => return Ok(kept.into_response()),
            Answer::Duplicate { first, result } => {
                let mut response = result.into_response();
                response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
                if let Some(expires) = expires(first) {
                    response.headers_mut().insert(EXPIRES, expires);
                }
                return Ok(response);
            }
            Answer::Conflict { first } => {
                let detail = format!("it was first used at {first}, for another path or another body; use a new key");
                return Err(Problem::other_payload(detail));
            }
            Answer::InProgress if Instant::now() < until => sleep(PAUSE).await,
            _ => return Err(Problem::in_flight()),
        }
    }
}

fn expires(first: Timestamp) -> Option<HeaderValue> {
    first.checked_add(KEPT).ok()?.to_string().parse().ok()
}

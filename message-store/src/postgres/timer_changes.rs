//! Changes of timers, as the server's function takes them.

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use serde::Serialize;
use uuid::Uuid;

use crate::store::{Due, IfWaiting, LONGEST, TimerChange, TimerKey};
use crate::{Error, Json, NewMessage, Result, StreamName};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Change<'a> {
    #[serde(rename = "change")]
    kind: &'static str,
    stream: &'a StreamName,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<f64>,
    #[serde(flatten)]
    set: Option<Set<'a>>,
    #[serde(flatten)]
    redact: Option<Redact<'a>>,
}

#[derive(Serialize)]
struct Redact<'a> {
    id: Uuid,
    #[serde(skip_serializing_if = "Json::is_empty")]
    data: &'a Json,
    #[serde(skip_serializing_if = "Json::is_empty")]
    metadata: &'a Json,
}

/// The time in microseconds, rounded down: the last one could not be read back if it were rounded up. A time before the
/// first year is the beginning of that: PostgreSQL writes such years in another way, and the timer is due at once anyway.
fn in_postgres(time: Timestamp) -> Timestamp {
    const FIRST_YEAR: Timestamp = Timestamp::constant(-62_135_596_800, 0);
    let rounding = TimestampRound::new().smallest(Unit::Microsecond).mode(RoundMode::Floor);
    time.round(rounding).unwrap_or(time).max(FIRST_YEAR)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Set<'a> {
    if_waiting: &'static str,
    to: &'a StreamName,
    id: Uuid,
    #[serde(rename = "type")]
    message_type: &'a str,
    #[serde(skip_serializing_if = "Json::is_empty")]
    data: &'a Json,
    #[serde(skip_serializing_if = "Json::is_empty")]
    metadata: &'a Json,
}

/// The argument of `change_timers`. `None` for no changes.
pub(super) fn argument(changes: &[TimerChange]) -> Result<Option<String>> {
    if changes.is_empty() {
        return Ok(None);
    }
    let changes: Vec<Change<'_>> = changes.iter().map(Change::of).collect();
    serde_json::to_string(&changes).map(Some).map_err(|error| Error::invalid("timer", error.to_string()))
}

impl<'a> Change<'a> {
    fn of(change: &'a TimerChange) -> Self {
        let TimerKey { stream, name } = change.key();
        let of = |kind, due: Option<Due>, set| {
            let (at, after) = match due {
                Some(Due::At(time)) => (Some(in_postgres(time)), None),
                Some(Due::After(time)) => (None, Some(time.min(LONGEST).as_secs_f64())),
                None => (None, None),
            };
            Self { kind, stream, name, at, after, set, redact: None }
        };
        match change {
            TimerChange::Set { due, to, message, if_waiting, .. } => {
                let NewMessage { id, message_type, data, metadata } = message;
                let if_waiting = match if_waiting {
                    IfWaiting::Replace => "replace",
                    IfWaiting::KeepDue => "keepDue",
                    IfWaiting::Keep => "keep",
                };
                of("set", Some(*due), Some(Set { if_waiting, to, id: id.as_uuid(), message_type, data, metadata }))
            }
            TimerChange::Move { due, .. } => of("move", Some(*due), None),
            TimerChange::Redact { id, data, metadata, .. } => {
                Self { redact: Some(Redact { id: id.as_uuid(), data, metadata }), ..of("redact", None, None) }
            }
            TimerChange::Cancel { .. } => of("cancel", None, None),
        }
    }
}

//! Questions to the server, and its answers.

use async_nats::{Message, RequestError, RequestErrorKind};
use bytes::Bytes;
use message_store::Source;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::{ApiError, Failure};
use crate::record::Record;

/// Records in the order of the log.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) records: Vec<Record>,
    /// The records that stood behind them when they were read.
    pub(crate) behind: u64,
}

impl Records {
    pub(crate) fn is_end(&self) -> bool {
        self.behind == 0
    }
}

pub(crate) fn encoded(question: &impl Serialize) -> Result<Bytes, Failure> {
    serde_json::to_vec(question).map(Bytes::from).map_err(|error| Failure::NotSent(error.into()))
}

/// The answer of the API, or its error.
pub(crate) fn decoded<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Failure> {
    #[derive(Deserialize)]
    struct Refused {
        error: Option<ApiError>,
    }
    let unreadable = |error: serde_json::Error| Failure::NotSent(error.into());
    let Refused { error } = serde_json::from_slice(answer).map_err(unreadable)?;
    match error {
        Some(error) => Err(Failure::Refused(error)),
        None => serde_json::from_slice(answer).map_err(unreadable),
    }
}

pub(crate) fn failed(error: RequestError) -> Failure {
    match error.kind() {
        RequestErrorKind::NoResponders => Failure::NoAnswer(
            "no NATS server has the log: JetStream is not enabled, or is starting, or the log was removed".into(),
        ),
        RequestErrorKind::TimedOut | RequestErrorKind::Other => Failure::NoAnswer(error.into()),
        RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => Failure::NotSent(error.into()),
    }
}

/// The status of an answer that is no record.
pub(crate) fn status(answer: &Message) -> Option<u16> {
    answer.status.map(|status| status.as_u16())
}

pub(crate) fn refused(code: u16, answer: &Message) -> Failure {
    let description = answer.description.clone().unwrap_or_else(|| "no record".to_owned());
    Failure::Refused(ApiError { code, err_code: 0, description })
}

/// A header that the server has added. It stands behind those of the record, which another program may have written.
fn header<'a>(answer: &'a Message, name: &str) -> Option<&'a str> {
    answer.headers.as_ref()?.get_last(name).map(async_nats::HeaderValue::as_str)
}

fn number(answer: &Message, name: &str) -> Option<u64> {
    header(answer, name)?.parse().ok()
}

/// The record in an answer to a direct question.
pub(crate) fn record_in(answer: Message) -> Result<Record, Failure> {
    let incomplete = || Failure::NotSent(Source::from("the server's answer has no subject, sequence or time"));
    let sequence = number(&answer, "Nats-Sequence").ok_or_else(incomplete)?;
    let time = header(&answer, "Nats-Time-Stamp").and_then(|time| time.parse().ok()).ok_or_else(incomplete)?;
    let subject = header(&answer, "Nats-Subject").ok_or_else(incomplete)?.to_owned();
    Ok(Record { subject, sequence, time, payload: answer.payload })
}

impl Records {
    /// Adds an answer to a question for several records. Returns whether it was the last answer.
    ///
    /// Each answer names the record before it. When a connection is lost and made again, answers may be missing between
    /// others: then the records are read again, because their reader would pass over those that are missing.
    pub(crate) fn add(&mut self, answer: Message) -> Result<bool, Failure> {
        let code = status(&answer);
        if let Some(code) = code.filter(|code| ![204, 404].contains(code)) {
            return Err(refused(code, &answer));
        }
        if code == Some(404) {
            return Ok(true);
        }
        let before = self.records.last().map_or(0, |last| last.sequence);
        if number(&answer, "Nats-Last-Sequence") != Some(before) {
            return Err(Failure::NoAnswer(format!("an answer behind the record {before} is missing").into()));
        }
        if code.is_some() {
            self.behind = number(&answer, "Nats-Num-Pending").unwrap_or(1);
            return Ok(true);
        }
        self.records.push(record_in(answer)?);
        Ok(false)
    }
}

//! Atomic batches: records that are written together, or not at all.
//!
//! Problem: a message must be written only if its stream ends where the writer believes, its id is new, and a key, a lease
//! or a timer is what the writer has read. Fix: a batch of records, each with the sequence number of the last record that
//! its own or another subject must have. The server checks all conditions and writes all records, or none. Why it is right:
//! the log has one leader, which checks a batch and gives it its sequence numbers in one step.

use async_nats::HeaderMap;
use bytes::Bytes;

/// The greatest number of records of a batch, as the server allows.
pub(crate) const MAX_RECORDS: usize = 1_000;

/// A record to be written.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    subject: String,
    payload: Bytes,
    /// The last record that a subject must have, by its sequence number, or 0 for none.
    condition: Option<(Subject, u64)>,
    /// Whether the earlier records of its subject are removed.
    is_document: bool,
    /// The seconds after which the server removes the record.
    lifetime: Option<u64>,
    /// The last record that the log must have.
    end: Option<u64>,
}

/// The subject of a condition.
#[derive(Clone, Debug)]
enum Subject {
    Own,
    Other(String),
}

impl Entry {
    /// A record without a condition.
    pub(crate) fn new(subject: String, payload: impl Into<Bytes>) -> Self {
        Self { subject, payload: payload.into(), condition: None, is_document: false, lifetime: None, end: None }
    }

    /// Requires that the last record of its own subject is this one, or that there is none (0).
    pub(crate) fn after(mut self, sequence: u64) -> Self {
        self.condition = Some((Subject::Own, sequence));
        self
    }

    /// Requires that the last record of another subject, or of those that a wildcard matches, is this one.
    pub(crate) fn while_last(mut self, subject: String, sequence: u64) -> Self {
        self.condition = Some((Subject::Other(subject), sequence));
        self
    }

    /// Requires that the last record of the whole log is this one. Only the first record of a batch can.
    pub(crate) fn require_end(&mut self, sequence: u64) {
        self.end = Some(sequence);
    }

    /// Removes the earlier records of its subject.
    pub(crate) fn replacing(mut self) -> Self {
        self.is_document = true;
        self
    }

    /// Lets the server remove the record after so many seconds, at least one.
    pub(crate) fn for_seconds(mut self, seconds: u64) -> Self {
        self.lifetime = Some(seconds.max(1));
        self
    }

    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }

    /// Whether it says nothing but that something was written.
    pub(crate) fn is_mark(&self) -> bool {
        self.is_document && self.condition.is_none() && self.payload.is_empty()
    }

    /// Whether it takes the place of the earlier records of its subject.
    pub(crate) fn is_document(&self) -> bool {
        self.is_document
    }

    pub(crate) fn payload(&self) -> Bytes {
        self.payload.clone()
    }
}

/// The headers of the records of a batch with this id.
pub(crate) fn headers(batch: &str, entries: &[Entry]) -> impl Iterator<Item = HeaderMap> {
    let count = entries.len();
    entries.iter().zip(1..).map(move |(entry, number)| {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Batch-Id", batch);
        headers.insert("Nats-Batch-Sequence", number.to_string());
        if number == count {
            headers.insert("Nats-Batch-Commit", "1");
        }
        if let Some((subject, sequence)) = &entry.condition {
            headers.insert("Nats-Expected-Last-Subject-Sequence", sequence.to_string());
            if let Subject::Other(subject) = subject {
                headers.insert("Nats-Expected-Last-Subject-Sequence-Subject", subject.as_str());
            }
        }
        if let Some(end) = entry.end {
            headers.insert("Nats-Expected-Last-Sequence", end.to_string());
        }
        if entry.is_document {
            headers.insert("Nats-Rollup", "sub");
        }
        if let Some(seconds) = entry.lifetime {
            headers.insert("Nats-TTL", format!("{seconds}s"));
        }
        headers
    })
}

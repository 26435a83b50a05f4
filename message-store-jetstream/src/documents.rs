//! Documents: subjects of which the log keeps only the last record.
//!
//! Problem: keys, leases and timers change, and two processes must not change the same one in two ways. Fix: a document is
//! replaced under the condition that it is still the one that was read. Why it is right: the server checks the condition
//! when it gives the new record its place in the log.

use bytes::Bytes;
use futures_util::future::try_join_all;
use message_store::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::attempts::{PATIENCE, Pauses};
use crate::batch::{Entry, MAX_RECORDS};
use crate::failure::Failure;
use crate::log::Log;
use crate::record::Record;

/// The seconds for which a removed document leaves an empty record, so that other processes see the removal.
pub(crate) const REMOVED_FOR: u64 = 24 * 3600;

/// A document, as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Document<T> {
    pub(crate) subject: String,
    /// `None` if there is none.
    pub(crate) content: Option<T>,
    /// The sequence number of its record. 0 if it never had one, or it is forgotten.
    pub(crate) sequence: u64,
}

impl<T: Serialize + DeserializeOwned> Document<T> {
    /// The document in a record.
    pub(crate) fn of(record: &Record) -> Result<Self> {
        let content = if record.payload.is_empty() { None } else { Some(record.decode()?) };
        Ok(Self { subject: record.subject.clone(), content, sequence: record.sequence })
    }

    /// The record that replaces it, if it is still the one that was read.
    pub(crate) fn replaced_by(&self, content: &T) -> Result<Entry> {
        let text = serde_json::to_vec(content).map_err(|error| Error::invalid("document", error.to_string()))?;
        Ok(Entry::new(self.subject.clone(), text).after(self.sequence).replacing())
    }

    /// The record that removes it, if it is still the one that was read.
    pub(crate) fn removed(&self) -> Entry {
        Entry::new(self.subject.clone(), Bytes::new()).after(self.sequence).replacing().for_seconds(REMOVED_FOR)
    }
}

/// What is done when the answer to a change of documents is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenLost {
    /// The change is made again: made twice, it is the same.
    Again,
    /// The caller learns of it.
    Tell,
}

impl Log {
    pub(crate) async fn document<T: Serialize + DeserializeOwned>(&self, subject: String) -> Result<Document<T>> {
        match self.last(&subject).await? {
            Some(record) => Document::of(&record),
            None => Ok(Document { subject, content: None, sequence: 0 }),
        }
    }

    /// The documents of these subjects.
    pub(crate) async fn documents<T: Serialize + DeserializeOwned>(
        &self,
        subjects: impl IntoIterator<Item = String>,
    ) -> Result<Vec<Document<T>>> {
        try_join_all(subjects.into_iter().map(|subject| self.document(subject))).await
    }

    /// All documents that a wildcard matches, in the order of their records.
    pub(crate) async fn all_documents<T: Serialize + DeserializeOwned>(
        &self,
        filter: &str,
    ) -> Result<Vec<Document<T>>> {
        let (mut found, mut from) = (Vec::new(), 1);
        loop {
            let batch = self.range(filter, from, MAX_RECORDS, 8 << 20).await?;
            let Some(last) = batch.records.last() else { return Ok(found) };
            from = last.sequence + 1;
            for record in &batch.records {
                found.push(Document::of(record)?);
            }
            if batch.is_end() {
                return Ok(found);
            }
        }
    }
}

/// The attempts of a change of documents. Each reads what it needs, and commits records that are written if nothing has
/// changed since.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    context: &'a str,
    when_lost: WhenLost,
    deadline: Instant,
    pauses: Pauses,
}

impl<'a> Change<'a> {
    pub(crate) fn new(context: &'a str, when_lost: WhenLost) -> Self {
        Self { context, when_lost, deadline: Instant::now() + PATIENCE, pauses: Pauses::default() }
    }

    /// Writes the records of an attempt. Returns `false` if another attempt has to be made. Without records, there is nothing
    /// to do.
    pub(crate) async fn is_done(&mut self, log: &Log, records: &[Entry]) -> Result<bool> {
        if records.is_empty() {
            return Ok(true);
        }
        let Err(failure) = log.commit(records).await else { return Ok(true) };
        let is_passing = failure.is_passing() || matches!(&failure, Failure::Refused(error) if error.is_overtaken());
        match failure {
            Failure::NoAnswer(cause) if self.when_lost == WhenLost::Tell => Err(Error::CommitUnknown { cause }),
            failure if !is_passing || Instant::now() >= self.deadline => {
                Err(Error::backend(self.context, is_passing, failure.into_source()))
            }
            _ => {
                self.pauses.next().await;
                Ok(false)
            }
        }
    }
}

//! The log of a store: one JetStream stream, with the calls that the store makes of it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use message_store::{Result, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use uuid::Uuid;

use crate::answers::{Records, decoded, encoded, failed, record_in, refused, status};
use crate::attempts::attempts;
use crate::batch::{self, Entry};
use crate::failure::Failure;
use crate::record::Record;
use crate::subjects::Subjects;

/// The time in which a server must answer. Then the call is made again, perhaps to another server.
const ANSWER: Duration = Duration::from_secs(4);
/// The batches that are under way at once. A server allows 50 for a log.
const BATCHES: usize = 32;
/// The greatest number of records of one read.
const MAX_RANGE: usize = 1_000;

/// The log of a store.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    client: Client,
    /// The name of the JetStream stream.
    name: Arc<str>,
    pub(crate) subjects: Subjects,
    /// Whether servers besides the leader answer reads. They may be behind.
    is_replicated: bool,
    batches: Arc<Semaphore>,
}

/// The state of a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogState {
    /// The highest sequence number that was given out.
    pub(crate) last: u64,
    /// The clock of the leader.
    pub(crate) now: Timestamp,
    /// Whether several servers keep the log.
    pub(crate) is_replicated: bool,
}

/// A question for one record.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Question<'a> {
    Last { last_by_subj: &'a str },
    Next { seq: u64, next_by_subj: &'a str },
    At { seq: u64 },
}

impl Log {
    pub(crate) fn new(client: Client, name: &str, subjects: Subjects, is_replicated: bool) -> Self {
        let batches = Arc::new(Semaphore::new(BATCHES));
        Self { client, name: name.into(), subjects, is_replicated, batches }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The state of the log, from its leader.
    pub(crate) async fn state(&self) -> Result<LogState> {
        #[derive(Deserialize)]
        struct Info {
            state: InfoState,
            ts: Timestamp,
            config: InfoConfig,
        }
        #[derive(Deserialize)]
        struct InfoConfig {
            num_replicas: usize,
        }
        #[derive(Deserialize)]
        struct InfoState {
            last_seq: u64,
        }
        let subject = format!("STREAM.INFO.{}", self.name);
        let info: Info = attempts!("reading the state of the log", self.call(&subject, &()));
        let is_replicated = info.config.num_replicas > 1;
        Ok(LogState { last: info.state.last_seq, now: info.ts, is_replicated })
    }

    /// The last record of a subject, or of those that a wildcard matches, from the leader.
    pub(crate) async fn last(&self, subject: &str) -> Result<Option<Record>> {
        self.one(Question::Last { last_by_subj: subject }).await
    }

    /// The first record at or above a sequence number, from the leader.
    pub(crate) async fn next(&self, subject: &str, from: u64) -> Result<Option<Record>> {
        self.one(Question::Next { seq: from, next_by_subj: subject }).await
    }

    /// The record with a sequence number, from the leader.
    pub(crate) async fn at(&self, sequence: u64) -> Result<Option<Record>> {
        self.one(Question::At { seq: sequence }).await
    }

    async fn one(&self, question: Question<'_>) -> Result<Option<Record>> {
        Ok(attempts!("reading a record", self.one_once(&question)))
    }

    async fn one_once(&self, question: &Question<'_>) -> Result<Option<Record>, Failure> {
        if self.is_replicated { self.one_from_leader(question).await } else { self.one_directly(question).await }
    }

    async fn one_from_leader(&self, question: &Question<'_>) -> Result<Option<Record>, Failure> {
        #[derive(Deserialize)]
        struct Answer {
            message: Stored,
        }
        #[derive(Deserialize)]
        struct Stored {
            subject: String,
            seq: u64,
            #[serde(default)]
            data: String,
            time: Timestamp,
        }
        let subject = format!("STREAM.MSG.GET.{}", self.name);
        let Stored { subject, seq, data, time } = match self.call::<Answer>(&subject, question).await {
            Ok(answer) => answer.message,
            Err(Failure::Refused(error)) if error.is_no_record() => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let payload = STANDARD.decode(data).map_err(|error| Failure::NotSent(error.into()))?.into();
        Ok(Some(Record { subject, sequence: seq, time, payload }))
    }

    /// As [`one_from_leader`](Self::one_from_leader), where every server that answers is the leader.
    async fn one_directly(&self, question: &Question<'_>) -> Result<Option<Record>, Failure> {
        let subject = format!("$JS.API.DIRECT.GET.{}", self.name);
        let answer = self.request(subject, encoded(question)?).await?;
        match status(&answer) {
            Some(404) => Ok(None),
            Some(code) => Err(refused(code, &answer)),
            None => record_in(answer).map(Some),
        }
    }

    /// Records of a subject, or of those that a wildcard matches, in the order of their sequence numbers: at most `limit`, and
    /// about `bytes`. They contain every record that was written before the call, up to the last of them; if there are none,
    /// there was none.
    pub(crate) async fn range(&self, subject: &str, from: u64, limit: usize, bytes: usize) -> Result<Records> {
        let limit = limit.clamp(1, MAX_RANGE);
        let read = async { Ok(attempts!("reading records", self.range_once(subject, from, limit, bytes))) };
        if !self.is_replicated {
            return read.await;
        }
        // The server that answers may be behind the leader.
        let (read, last) = tokio::join!(read, self.last(subject));
        let (mut found, last) = (read?, last?.map_or(0, |last| last.sequence));
        let reached = found.records.last().map_or(0, |last| last.sequence);
        if last >= from && reached < last {
            if found.records.is_empty() {
                found.records.extend(self.next(subject, from).await?);
            }
            let is_end = found.records.last().is_some_and(|record| record.sequence >= last);
            found.behind = if is_end { 0 } else { found.behind.max(1) };
        }
        Ok(found)
    }

    async fn range_once(&self, subject: &str, from: u64, limit: usize, bytes: usize) -> Result<Records, Failure> {
        #[derive(Serialize)]
        struct Range<'a> {
            seq: u64,
            next_by_subj: &'a str,
            batch: usize,
            max_bytes: usize,
        }
        let range = encoded(&Range { seq: from.max(1), next_by_subj: subject, batch: limit, max_bytes: bytes })?;
        let inbox = self.client.new_inbox();
        let ask = async {
            let answers = self.client.subscribe(inbox.clone()).await.map_err(|error| Failure::NotSent(error.into()))?;
            let question = format!("$JS.API.DIRECT.GET.{}", self.name);
            let sent = self.client.publish_with_reply(question, inbox, range).await;
            sent.map_err(|error| Failure::NotSent(error.into())).map(|()| answers)
        };
        let mut answers = self.in_time(ask).await?;
        let mut found = Records::default();
        loop {
            let answer = timeout(ANSWER, answers.next()).await;
            let answer = answer.map_err(|elapsed| Failure::NoAnswer(elapsed.into()))?;
            let answer = answer.ok_or_else(|| Failure::NoAnswer("the connection was closed".into()))?;
            if found.add(answer)? {
                return Ok(found);
            }
        }
    }

    /// Writes records, all of them or none. Returns the sequence number of the last one; the others have those before it.
    ///
    /// A batch is sent whole, also if the caller leaves: a server allows few batches that have no end yet.
    pub(crate) async fn commit(&self, entries: &[Entry]) -> Result<u64, Failure> {
        let (log, entries) = (self.clone(), entries.to_vec());
        let sent = tokio::spawn(async move { log.send(&entries).await }).await;
        sent.unwrap_or_else(|ended| Err(Failure::NoAnswer(ended.into())))
    }

    async fn send(&self, entries: &[Entry]) -> Result<u64, Failure> {
        #[derive(Deserialize)]
        struct Written {
            seq: u64,
            #[serde(default)]
            batch: String,
        }
        let _turn = self.batches.acquire().await.map_err(|closed| Failure::NotSent(closed.into()))?;
        let id = Uuid::new_v4().simple().to_string();
        let mut headers = batch::headers(&id, entries);
        let Some((last, others)) = entries.split_last() else {
            return Err(Failure::NotSent("the batch is empty".into()));
        };
        // What is sent of a batch without its end is given up by the server.
        let send = async {
            for (entry, headers) in others.iter().zip(&mut headers) {
                let sent = self.client.publish_with_headers(entry.subject().to_owned(), headers, entry.payload()).await;
                sent.map_err(|error| Failure::NotSent(error.into()))?;
            }
            Ok(())
        };
        match self.in_time(send).await {
            Err(Failure::NoAnswer(_)) => return Err(Failure::NotConnected),
            sent => sent?,
        }
        let headers = headers.next().unwrap_or_default();
        let request = Request::new().headers(headers).payload(last.payload()).timeout(Some(ANSWER));
        let request = async { self.client.send_request(last.subject().to_owned(), request).await.map_err(failed) };
        let answer = self.in_time(request).await?;
        match decoded::<Written>(&answer.payload) {
            Ok(written) if written.batch == id => Ok(written.seq),
            // Another program listens to the subjects of the store, and has answered before the server.
            Ok(_) => Err(Failure::NoAnswer("the answer does not name the batch that was sent".into())),
            Err(Failure::NotSent(unreadable)) => Err(Failure::NoAnswer(unreadable)),
            Err(refused) => Err(refused),
        }
    }

    /// The records that each subject of a kind has, by their subjects.
    pub(crate) async fn subjects_of(&self, filter: &str) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Info {
            state: InfoState,
            #[serde(default)]
            total: usize,
        }
        #[derive(Deserialize)]
        struct InfoState {
            #[serde(default)]
            subjects: std::collections::BTreeMap<String, u64>,
        }
        #[derive(Serialize)]
        struct Page<'a> {
            subjects_filter: &'a str,
            offset: usize,
        }
        let call = format!("STREAM.INFO.{}", self.name);
        let mut found = Vec::new();
        loop {
            let page = Page { subjects_filter: filter, offset: found.len() };
            let info: Info = attempts!("reading the subjects", self.call(&call, &page));
            let is_last = info.state.subjects.is_empty();
            found.extend(info.state.subjects.into_keys());
            if is_last || found.len() >= info.total {
                return Ok(found);
            }
        }
    }

    /// Removes the records of a subject below a sequence number.
    pub(crate) async fn purge(&self, subject: &str, below: u64) -> Result<()> {
        #[derive(Serialize)]
        struct Purge<'a> {
            filter: &'a str,
            seq: u64,
        }
        #[derive(Deserialize)]
        struct Purged {}
        let (call, purge) = (format!("STREAM.PURGE.{}", self.name), Purge { filter: subject, seq: below });
        let Purged {} = attempts!("removing a record", self.call(&call, &purge));
        Ok(())
    }

    /// Calls the API of JetStream.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: &str, question: &impl Serialize) -> Result<T, Failure> {
        let answer = self.request(format!("$JS.API.{call}"), encoded(question)?).await?;
        decoded(&answer.payload)
    }

    async fn request(&self, subject: String, payload: Bytes) -> Result<async_nats::Message, Failure> {
        let request = Request::new().payload(payload).timeout(Some(ANSWER));
        self.in_time(async { self.client.send_request(subject, request).await.map_err(failed) }).await
    }

    /// Makes a call if a server is connected. Without one, the client keeps what it is given, and sends it much later.
    async fn in_time<T>(&self, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        if self.client.connection_state() != State::Connected {
            return Err(Failure::NotConnected);
        }
        // The client's own limit does not count the wait for a place in its queue.
        timeout(ANSWER + ANSWER / 4, call).await.map_err(|elapsed| Failure::NoAnswer(elapsed.into()))?
    }
}

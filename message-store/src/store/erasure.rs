//! An optional part of a store: erasure, for data that must be gone while the message stays.
//!
//! Problem: a person's data must be erased, and the events that contain it are the record of what was done. Without
//! them, a repeated command would be carried out again, and streams would have gaps. Fix: a message loses its data, and
//! the values of the application in its metadata. It keeps its id, its positions, its type, its cause and its stamp. Why
//! one effect still holds: repeats are recognised by ids, positions and stamps, and these remain.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{GlobalPosition, Json, Message, MessageId, Result, StreamName, Tag};

/// The erasure of messages. [`Erasing`](crate::operations::Erasing) decides what is erased, and erases it.
#[async_trait]
pub trait Erasure: Send + Sync {
    /// Begins a run. A target has one run at a time: if it has one that has not ended, this returns that run.
    ///
    /// # Errors
    /// The store's errors.
    async fn begin(&self, target: &ErasureTarget) -> Result<ErasureRun>;

    /// The messages of a target after a global position, in order, and at most so many: those of the table of messages
    /// and those of the archive.
    ///
    /// # Errors
    /// The store's errors.
    async fn messages(&self, target: &ErasureTarget, after: GlobalPosition, limit: usize) -> Result<Vec<Message>>;

    /// Replaces the content of messages, wherever they are, and saves that the run has looked through this position, all in
    /// one transaction. Returns the run with its progress. If the run has ended, this changes nothing.
    ///
    /// # Errors
    /// The store's errors. After a lost answer, the caller calls it again.
    async fn redact(&self, run: &ErasureRun, redactions: Vec<Redaction>, through: GlobalPosition)
    -> Result<ErasureRun>;

    /// Ends a run, and returns it.
    ///
    /// # Errors
    /// The store's errors.
    async fn end(&self, run: &ErasureRun) -> Result<ErasureRun>;

    /// All runs, in the order in which they began: the record of what was erased.
    ///
    /// # Errors
    /// The store's errors.
    async fn runs(&self) -> Result<Vec<ErasureRun>>;
}

/// The messages that a run erases.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErasureTarget {
    /// The messages of one stream.
    Stream(StreamName),
    /// The messages of an entity: of this stream, and of all streams whose names begin with its name and `+`, such as its
    /// reservations.
    Entity(StreamName),
    /// The messages with this tag, of any stream. What is erased loses its tags.
    Tag(Tag),
}

/// The new content of a message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Redaction {
    /// The message.
    pub id: MessageId,
    #[allow(missing_docs)]
    pub data: Json,
    #[allow(missing_docs)]
    pub metadata: Json,
}

impl Redaction {
    /// A message gets this content.
    pub fn new(id: MessageId, data: Json, metadata: Json) -> Self {
        Self { id, data, metadata }
    }
}

/// A run that erases messages, with its progress.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErasureRun {
    /// The number of the run in its store.
    pub number: i64,
    #[allow(missing_docs)]
    pub target: ErasureTarget,
    /// The messages of the target up to this global position are erased.
    pub looked_through: GlobalPosition,
    /// The number of messages whose content was replaced.
    pub erased: u64,
    /// By the database's clock.
    pub begun_at: Timestamp,
    /// By the database's clock. `None` while the run has not ended.
    pub ended_at: Option<Timestamp>,
}

impl ErasureRun {
    /// A run that has erased nothing yet.
    pub fn new(number: i64, target: ErasureTarget, begun_at: Timestamp) -> Self {
        Self { number, target, looked_through: GlobalPosition::ZERO, erased: 0, begun_at, ended_at: None }
    }
}

impl ErasureTarget {
    /// For backends: the kind and the name of the target, as the journal has them.
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Stream(stream) => ("stream", stream.as_str()),
            Self::Entity(stream) => ("entity", stream.as_str()),
            Self::Tag(tag) => ("tag", tag.as_str()),
        }
    }

    /// For backends: the target with this kind and name. `None` for a kind that this version does not know.
    pub fn from_parts(kind: &str, name: &str) -> Option<Self> {
        let stream = StreamName::from_database(name);
        match kind {
            "stream" => Some(Self::Stream(stream)),
            "entity" => Some(Self::Entity(stream)),
            "tag" => Tag::new(name).ok().map(Self::Tag),
            _ => None,
        }
    }
}

impl fmt::Display for ErasureTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = self.parts();
        write!(f, "the {kind} {name}")
    }
}

impl fmt::Display for ErasureRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, erased, looked_through, .. } = self;
        write!(f, "{target}: {erased} messages erased, looked through {looked_through}")
    }
}

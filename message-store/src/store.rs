//! The contract that every backend keeps, proved by one conformance suite ([`crate::testing::conformance`]).

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::Stream;
use futures_util::stream::{self, TryStreamExt as _};
use jiff::Timestamp;

use crate::idempotence::{Claim, Hold, Seen};
use crate::{
    Append, Appended, Batch, Category, Error, ExpectedVersion, GlobalPosition, Json, Limits, Message, MessageId,
    NewMessage, Position, Read, Result, StoreId, StreamName, StreamRead, Version, WakeUp,
};

/// Counts the histories that a handle has seen of its store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct History(pub u64);

/// A store of messages.
///
/// - Stream positions are gapless from 0. Global positions rise; gaps are normal.
/// - A reader that has passed a global position never later finds an unseen message below it.
/// - An acknowledged append is durable; an append whose answer was lost is settled by appending the same messages again.
#[async_trait]
pub trait MessageStore: fmt::Debug + Send + Sync {
    /// This store's identity, as it was when the store was opened or last rotated by this handle.
    fn store_id(&self) -> StoreId;

    /// What this store refuses to write, and how much it reads at once.
    fn limits(&self) -> &Limits;

    /// The store's kind and place, without secrets: for start-up sheets and errors.
    fn describe(&self) -> String;

    /// Appends messages to one stream or to several, all of them or none.
    ///
    /// The same messages again (ids, streams, types, data) return their first places, marked
    /// [`already_written`](Appended::already_written), even when an expected version is stale by now.
    ///
    /// # Errors
    /// [`WrongExpectedVersion`](crate::Error::WrongExpectedVersion), [`IdConflict`](crate::Error::IdConflict),
    /// [`TooLarge`](crate::Error::TooLarge), [`Invalid`](crate::Error::Invalid): nothing was written.
    /// [`CommitUnknown`](crate::Error::CommitUnknown): append the same messages again.
    /// [`TimedOut`](crate::Error::TimedOut), [`Backend`](crate::Error::Backend): nothing was written.
    ///
    /// A caller that gives up, by dropping the future, does not learn whether its messages were written: appending them again tells.
    async fn append(&self, appends: Vec<Append>) -> Result<Appended>;

    /// Which history of the store this handle sees: another one after a failover that may have lost messages, or a new identity. What was
    /// remembered of the store under another history is worthless: drop it.
    fn history(&self) -> History {
        History::default()
    }

    /// Appends what was decided on what was remembered under `history`.
    ///
    /// # Errors
    /// As [`MessageStore::append`]; [`HistoryChanged`](crate::Error::HistoryChanged) when the store has another history by now.
    async fn append_in(&self, history: History, appends: Vec<Append>) -> Result<Appended> {
        let _ = history;
        self.append(appends).await
    }

    /// The highest global position that the store has given out, whether the message still stands or not; 0 for none.
    async fn given_out(&self) -> Result<GlobalPosition>;

    /// What the database's clock says.
    async fn now(&self) -> Result<Timestamp>;

    /// Reads a stream. An empty answer means that there is nothing from there on.
    async fn read_stream(&self, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>>;

    /// Reads a category in the order of global positions.
    async fn read_category(&self, category: &Category, read: Read) -> Result<Batch>;

    /// Reads all messages in the order of global positions.
    async fn read_all(&self, read: Read) -> Result<Batch>;

    /// The last message of a stream, or its last message of one type.
    async fn last_message(&self, stream: &StreamName, message_type: Option<&str>) -> Result<Option<Message>>;

    /// The version of a stream.
    async fn version(&self, stream: &StreamName) -> Result<Version>;

    /// The message with this id.
    async fn message(&self, id: MessageId) -> Result<Option<Message>>;

    /// Holds a key while somebody works on it, so that nobody else begins, here or in another process: waits for it, or, without
    /// waiting, answers `None` when somebody has it. It ends with the [`Hold`], or with the process.
    async fn hold(&self, claim: &Claim, waits: bool) -> Result<Option<Hold>>;

    /// Takes a key and appends messages (none is allowed), all in one step, with the answer to give to repeats; or says who has the key, and
    /// does nothing. See [`Once`](crate::idempotence::Once).
    ///
    /// # Errors
    /// As [`MessageStore::append`]; the key is free then.
    async fn append_once(&self, claim: &Claim, appends: Vec<Append>, result: Json) -> Result<Option<Seen>>;

    /// Who has a key, unless it has expired. With a sliding window, the window begins anew.
    async fn seen(&self, claim: &Claim) -> Result<Option<Seen>>;

    /// Removes up to `batch` expired keys; returns how many.
    async fn sweep(&self, batch: u32) -> Result<u64>;

    /// A bell that rings when messages come to a category, or to any with `None`. Ask for it *before* reading: what is
    /// written after the read then rings it.
    async fn wake_up(&self, category: Option<&Category>) -> Result<WakeUp>;

    /// Gives the store a new identity, so that positions given out from now on are told apart from earlier ones.
    /// For a store restored to an earlier point, or a clone that goes live; with no component running.
    async fn rotate_store_id(&self) -> Result<StoreId>;
}

/// What follows from the contract, for every store.
#[async_trait]
pub trait MessageStoreExt: MessageStore {
    /// Appends messages to one stream.
    ///
    /// # Errors
    /// As [`MessageStore::append`].
    async fn append_to(
        &self,
        stream: &StreamName,
        expected: impl Into<ExpectedVersion> + Send,
        messages: Vec<NewMessage>,
    ) -> Result<Appended> {
        self.append(vec![Append { stream: stream.clone(), expected: expected.into(), messages }]).await
    }

    /// Appends, and when the answer is lost, appends the same again: the ids settle it. What the second attempt finds written is
    /// written now: the first has written it.
    ///
    /// # Errors
    /// As [`MessageStore::append`]; [`CommitUnknown`](crate::Error::CommitUnknown) when the second attempt does not say what became of
    /// the first: its answer is lost as well, it cannot be sent, or the store has another history by then.
    async fn append_settled(&self, appends: Vec<Append>) -> Result<Appended> {
        let history = self.history();
        let lost = match self.append_in(history, appends.clone()).await {
            Err(lost @ Error::CommitUnknown { .. }) => lost,
            result => return result,
        };
        match self.append_in(history, appends).await {
            Ok(appended) => Ok(Appended { already_written: false, ..appended }),
            // Had the first been written, the second would have found it so.
            Err(
                refused @ (Error::WrongExpectedVersion { .. }
                | Error::IdConflict { .. }
                | Error::Invalid { .. }
                | Error::TooLarge { .. }),
            ) => Err(refused),
            Err(error) => {
                tracing::debug!(%error, "an append whose answer was lost could not be settled");
                Err(lost)
            }
        }
    }

    /// All messages of a stream from a position on, read in batches as they are asked for.
    fn stream_messages<'a>(
        &'a self,
        stream: &'a StreamName,
        from: Position,
    ) -> impl Stream<Item = Result<Message>> + Send + 'a {
        stream::try_unfold(from, move |from| async move {
            let messages = self.read_stream(stream, StreamRead::forwards_from(from)).await?;
            let Some(last) = messages.last() else { return Ok(None) };
            let next = last.position.next();
            Ok::<_, crate::Error>(Some((stream::iter(messages.into_iter().map(Ok)), next)))
        })
        .try_flatten()
    }

    /// All messages of a category up to its end, read in batches as they are asked for.
    fn category_messages<'a>(
        &'a self,
        category: &'a Category,
        read: Read,
    ) -> impl Stream<Item = Result<Message>> + Send + 'a {
        batches(read, move |read| self.read_category(category, read))
    }

    /// All messages of the store up to its end, read in batches as they are asked for.
    fn all_messages(&self, read: Read) -> impl Stream<Item = Result<Message>> + Send + '_ {
        batches(read, move |read| self.read_all(read))
    }
}

impl<S: MessageStore + ?Sized> MessageStoreExt for S {}

fn batches<'a, F>(
    read: Read,
    mut next: impl FnMut(Read) -> F + Send + 'a,
) -> impl Stream<Item = Result<Message>> + Send + 'a
where
    F: Future<Output = Result<Batch>> + Send + 'a,
{
    stream::try_unfold(read, move |read| {
        let batch = next(read.clone());
        async move {
            let batch = batch.await?;
            if batch.is_at_end(&read) {
                return Ok(None);
            }
            let read = Read { from: batch.looked_through.next(), ..read };
            Ok::<_, crate::Error>(Some((stream::iter(batch.messages.into_iter().map(Ok)), read)))
        }
    })
    .try_flatten()
}

/// Opens the store that a URL names, and makes or upgrades its schema.
///
/// | URL | store |
/// |---|---|
/// | `postgres://user@host/database` | PostgreSQL |
/// | `sqlite:path/to/file.db` | a SQLite file, made when it is missing |
/// | `sqlite::memory:` | SQLite in memory, gone when it is closed |
///
/// # Errors
/// [`Error::Invalid`](crate::Error::Invalid) for a URL of another kind, [`Error::Unsupported`](crate::Error::Unsupported) for
/// a backend that was not compiled in, [`Error::Backend`](crate::Error::Backend) when the database cannot be opened.
pub async fn connect(url: &str) -> Result<Arc<dyn MessageStore>> {
    match url.split_once(':') {
        #[cfg(feature = "postgres")]
        Some(("postgres" | "postgresql", _)) => Ok(Arc::new(crate::postgres::PostgresStore::open(url).await?)),
        #[cfg(feature = "sqlite")]
        Some(("sqlite", place)) => Ok(Arc::new(crate::sqlite::SqliteStore::open(place).await?)),
        #[allow(unreachable_patterns)]
        Some((kind @ ("postgres" | "postgresql" | "sqlite"), _)) => Err(crate::Error::Unsupported {
            store: "this build".to_owned(),
            what: format!("{kind}: URLs; compile it with that feature"),
        }),
        _ => Err(crate::Error::invalid(
            "store URL",
            "it must begin with postgres:// or sqlite: (such as sqlite:account.db or sqlite::memory:)",
        )),
    }
}

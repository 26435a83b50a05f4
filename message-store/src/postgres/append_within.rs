//! Appends in a transaction of the caller: a row of a business table and its event are in one commit.

use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::PostgresStore;
use super::append::{Arguments, Jsonb, meaning, sent};
use super::append_apart::{APPEND_APART, APPEND_UNLESS_APART};
use super::failure::{self, is_unanswered};
use super::sent_condition::SentCondition;
use super::{read, timer_changes};
use crate::{AppendRequest, Appended, Error, MessageStore as _, MessageStoreExt as _, Result, StreamName};

impl PostgresStore {
    /// Appends in a transaction of the caller, on a connection of its own to the database of this store. The messages are
    /// written when the transaction commits, together with everything else in it, or not at all.
    ///
    /// The transaction keeps the locks of the messages' categories until it ends, so other writers of these categories wait
    /// for it, and so do readers of all messages for what follows: append last, and commit soon. Readers learn of the
    /// messages by their poll interval, or at once by [`wake_readers`](Self::wake_readers) after the commit.
    ///
    /// If the answer to the commit is lost, carry out the whole transaction again with the same messages: the ids show
    /// whether it was committed ([`already_written`](Appended::already_written)). Roll it back then, so that its other
    /// effects do not happen twice.
    ///
    /// ```no_run
    /// use message_store::postgres::{PostgresStore, tokio_postgres};
    /// use message_store::{Append, Json, NewMessage, StreamName};
    ///
    /// # async fn example(client: &mut tokio_postgres::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let store = PostgresStore::open("postgres://localhost/bank").await?;
    /// let stream = StreamName::new("customer-7")?;
    /// let moved = Append::to(stream.clone()).message(NewMessage::new("Moved", Json::parse(r#"{"to":"Oslo"}"#)?));
    ///
    /// let transaction = client.transaction().await?;
    /// transaction.execute("UPDATE customers SET city = 'Oslo' WHERE id = 7", &[]).await?;
    /// if store.append_within(&transaction, moved).await?.already_written {
    ///     transaction.rollback().await?;
    /// } else {
    ///     transaction.commit().await?;
    ///     store.wake_readers(&[stream]);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`MessageStore::append`](crate::MessageStore::append), but never [`CommitUnknown`](Error::CommitUnknown): nothing is
    /// committed. [`WrongExpectedVersion`](Error::WrongExpectedVersion), [`IdConflict`](Error::IdConflict) and
    /// [`ConditionFailed`](Error::ConditionFailed) leave the transaction as it was; after other errors of the server it can
    /// only be rolled back. [`Error::Invalid`] for a transaction in the database of another store, and for one that is not
    /// READ COMMITTED: its view is older than the locks of the categories, so it would not see what others have written or
    /// archived before they were granted. [`Error::Unsupported`] with Message DB's own schema.
    pub async fn append_within(
        &self,
        transaction: &Transaction<'_>,
        request: impl Into<AppendRequest>,
    ) -> Result<Appended> {
        if self.is_message_db {
            let what = "an append in a transaction of the caller".to_owned();
            return Err(Error::Unsupported { store: self.describe(), what });
        }
        let mut request = request.into();
        let timers = timer_changes::argument(&self.take_timers(&mut request)?)?;
        let condition = self.take_condition(&mut request)?.as_ref().map(SentCondition::new).transpose()?;
        let appends = self.accept(request)?;
        let found = read::store_id(transaction.client()).await?;
        if found != self.store_id() {
            let reason = format!("it is in the database of the store {found}, and not in {}", self.describe());
            return Err(Error::invalid("transaction", reason));
        }
        let batch = [(&appends[..], condition.as_ref())];
        let statement = if condition.is_some() { APPEND_UNLESS_APART } else { APPEND_APART };
        let timers = timers.as_deref().map(Jsonb);
        let beside: [&(dyn ToSql + Sync); 5] = [&timers, &None::<&str>, &None::<i32>, &None::<i64>, &None::<Uuid>];
        let arguments = Arguments::new(batch, |_| None, None);
        let row = transaction.query_one(statement, &[&arguments.list()[..], &beside].concat()).await;
        let results = row.and_then(|row| sent(&row, batch));
        let mut results = results.map_err(|error| {
            if error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED) {
                let isolation =
                    error.as_db_error().map_or_else(|| crate::chain(&error), |error| error.message().to_owned());
                return Error::invalid("transaction", format!("{isolation}. Begin it as READ COMMITTED"));
            }
            if is_unanswered(&error) {
                return failure::failed("appending in a transaction, which is not committed", error);
            }
            meaning(error, &appends)
        })?;
        let nothing = || Err(Error::backend("appending in a transaction", false, "the server returned no result"));
        results.results.pop().flatten().unwrap_or_else(nothing)
    }

    /// Wakes the readers of these streams' categories, in this process and in others, after a transaction with
    /// [`append_within`](Self::append_within) was committed.
    pub fn wake_readers(&self, streams: &[StreamName]) {
        self.wake(streams);
    }
}

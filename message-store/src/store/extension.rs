//! Methods that every store has.

use async_trait::async_trait;
use futures_util::Stream;
use futures_util::stream::{self, TryStreamExt as _};

use crate::store::{Condition, Fence, TimerChange};
use crate::variant::stored_types;
use crate::{
    Append, AppendRequest, Appended, Batch, Category, Error, ExpectedVersion, Message, MessageStore, NewMessage,
    Position, Read, Result, StreamName, StreamRead, Upcaster,
};

/// Methods that every store has. They are built on [`MessageStore`].
#[async_trait]
pub trait MessageStoreExt: MessageStore {
    /// For backends: checks a request and returns its appends. If a later version of this library adds something to
    /// requests, stores that do not know it refuse such a request here instead of ignoring the addition.
    ///
    /// # Errors
    /// [`Invalid`](crate::Error::Invalid) and [`TooLarge`](crate::Error::TooLarge) for appends that this store does not
    /// accept, by its [limits](MessageStore::limits). [`HistoryChanged`](crate::Error::HistoryChanged) when the request
    /// is tied to another history than the store's.
    fn accept(&self, request: AppendRequest) -> Result<Vec<Append>> {
        let appends = self.accept_with_key(request)?;
        if appends.is_empty() {
            return Err(Error::invalid("append", "it names no stream"));
        }
        Ok(appends)
    }

    /// For backends: as [`accept`](Self::accept), for a request that comes with a key. Such a request may be empty. It
    /// is checked all the same, because it can be tied to a history.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    fn accept_with_key(&self, request: AppendRequest) -> Result<Vec<Append>> {
        if request.fence().is_some() {
            return Err(Error::Unsupported { store: self.describe(), what: "this append with a fence".to_owned() });
        }
        if !request.timers().is_empty() {
            return Err(Error::Unsupported { store: self.describe(), what: "timers in this append".to_owned() });
        }
        if request.condition().is_some() {
            return Err(Error::Unsupported { store: self.describe(), what: "this append with a condition".to_owned() });
        }
        if request.history().is_some_and(|history| history != self.history()) {
            return Err(Error::HistoryChanged { store: self.describe() });
        }
        request.into_valid_appends(self.limits())
    }

    /// For backends that have [leases](MessageStore::leases): as [`accept`](Self::accept), for a request that may have a
    /// fence, which it returns.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    fn accept_with_fence(&self, mut request: AppendRequest) -> Result<(Vec<Append>, Option<Fence>)> {
        let fence = request.take_fence();
        Ok((self.accept(request)?, fence))
    }

    /// For backends that have [conditions](MessageStore::conditions): takes the condition out of a request, before one of
    /// the other methods accepts the rest.
    ///
    /// # Errors
    /// [`TooLarge`](crate::Error::TooLarge) for a query with too many parts; [`Invalid`](crate::Error::Invalid) for one that no
    /// message can match, and for a condition of a request without appends.
    fn take_condition(&self, request: &mut AppendRequest) -> Result<Option<Condition>> {
        let condition = request.take_condition();
        if let Some(condition) = &condition {
            condition.query.check()?;
            if request.is_empty() {
                return Err(Error::invalid("condition", "the request has no append that it could be a condition of"));
            }
        }
        Ok(condition)
    }

    /// For backends that have [timers](MessageStore::timers): takes the changes of timers out of a request, before one of
    /// the other methods accepts the rest.
    ///
    /// # Errors
    /// As [`TimerChange::check`].
    fn take_timers(&self, request: &mut AppendRequest) -> Result<Vec<TimerChange>> {
        let changes = request.take_timers();
        changes.iter().try_for_each(|change| change.check(self.limits()))?;
        Ok(changes)
    }

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
        self.append(Append { stream: stream.clone(), expected: expected.into(), messages }.into()).await
    }

    /// Appends a request. If the answer is lost, this sends the same request once more, and the store recognises the
    /// ids. The result then counts as written by this call.
    ///
    /// # Errors
    /// As [`MessageStore::append`]. [`CommitUnknown`](crate::Error::CommitUnknown) when the second request does not
    /// show whether the first was written: its answer is lost too, it cannot be sent, or the store has another history
    /// by then.
    async fn append_settled(&self, request: impl Into<AppendRequest> + Send) -> Result<Appended> {
        let request = request.into();
        let history = request.history().unwrap_or_else(|| self.history());
        let request = request.in_history(history);
        let lost = match self.append(request.clone()).await {
            Err(lost @ Error::CommitUnknown { .. }) => lost,
            result => return result,
        };
        match self.append(request).await {
            Ok(appended) => Ok(Appended { already_written: false, ..appended }),
            // The first was not written: a repeat of a written append is not refused.
            Err(
                refused @ (Error::WrongExpectedVersion { .. }
                | Error::IdConflict { .. }
                | Error::ConditionFailed { .. }
                | Error::Invalid { .. }
                | Error::TooLarge { .. }),
            ) => Err(refused),
            Err(error) => {
                tracing::debug!(target: "message_store::store", %error, "an append whose answer was lost could not be settled");
                Err(lost)
            }
        }
    }

    /// The last message of a stream that these upcasters read as a message of this type: also under an earlier name, or
    /// split into it. `None` if there is no such message.
    ///
    /// # Errors
    /// The errors of a read. [`Undecodable`](crate::Error::Undecodable) and [`NewerVersion`](crate::Error::NewerVersion)
    /// for a message that the upcasters cannot read.
    async fn last_message_as(
        &self,
        stream: &StreamName,
        message_type: &str,
        upcasters: &[Upcaster],
    ) -> Result<Option<Message>> {
        let mut last: Option<Message> = None;
        let mut unclear = None;
        for stored in stored_types(upcasters, [message_type]) {
            let Some(found) = self.last_message(stream, Some(stored)).await? else { continue };
            let is_it = found.is_read_as(message_type, upcasters)?;
            let known = if is_it { &mut last } else { &mut unclear };
            if known.as_ref().is_none_or(|known| known.position < found.position) {
                *known = Some(found);
            }
        }
        // The last message of a stored type is read as something else, and an earlier one may be read as this type.
        let Some(unclear) = unclear.filter(|other| last.as_ref().is_none_or(|last| last.position < other.position))
        else {
            return Ok(last);
        };
        let mut from = unclear.position;
        while from > Position::FIRST {
            let before = StreamRead::backwards_from(Position::new(from.get() - 1));
            let messages = self.read_stream(stream, before).await?;
            let Some(lowest) = messages.last().map(|message| message.position) else { break };
            for message in messages {
                if message.is_read_as(message_type, upcasters)? {
                    return Ok(Some(message));
                }
            }
            from = lowest;
        }
        Ok(None)
    }

    /// All messages of a stream from a position to its end. Batches are read as the caller asks for messages.
    fn stream_messages<'a>(
        &'a self,
        stream: &'a StreamName,
        from: Position,
    ) -> impl Stream<Item = Result<Message>> + Send + 'a {
        stream::try_unfold(Some(from), move |from| async move {
            let Some(from) = from else { return Ok(None) };
            let batch = self.read_stream_batch(stream, StreamRead::forwards_from(from)).await?;
            let Some(last) = batch.messages.last() else { return Ok(None) };
            let next = (!batch.is_end).then(|| last.position.next());
            Ok::<_, crate::Error>(Some((stream::iter(batch.messages.into_iter().map(Ok)), next)))
        })
        .try_flatten()
    }

    /// All messages of a category to its end. Batches are read as the caller asks for messages.
    fn category_messages<'a>(
        &'a self,
        category: &'a Category,
        read: Read,
    ) -> impl Stream<Item = Result<Message>> + Send + 'a {
        batches(read, move |read| self.read_category(category, read))
    }

    /// All messages of all categories whose correlation is this stream ([`MessageStore::read_correlated`]). Batches are read
    /// as the caller asks for messages.
    fn correlated_messages<'a>(
        &'a self,
        stream: &'a StreamName,
        read: Read,
    ) -> impl Stream<Item = Result<Message>> + Send + 'a {
        batches(read, move |read| self.read_correlated(stream, read))
    }

    /// All messages of the store to its end. Batches are read as the caller asks for messages.
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

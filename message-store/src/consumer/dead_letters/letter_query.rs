//! Selects letters, for operators: list, count, retry and discard them a part at a time.
//!
//! Problem: a bad deployment can set aside a hundred thousand messages. An operator must retry them without holding all
//! of them in memory, and if the retry ends half way, the next one must go on. Fix: the letters are read in the order in
//! which they were begun, one after the other, and each decision is appended before the next letter is read. Why none is
//! decided twice: a decision is appended at the version that was read, and a letter that waits no longer is not selected.

use std::time::Duration;

use futures_util::stream::{Stream, TryStreamExt as _};
use jiff::Timestamp;

use super::letter::{DeadLetter, DeadLetters, LetterState};
use super::step::Step;
use crate::{Message, MessageStoreExt as _, Read, Result};

/// Selects letters of a consumer. Without conditions, it selects all that are open.
///
/// ```
/// use std::time::Duration;
/// use message_store::consumer::LetterQuery;
///
/// let query = LetterQuery::default().message_type("Deposit").containing("connection refused").older_than(Duration::from_secs(3600));
/// # let _ = query;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct LetterQuery {
    waits_for: Option<WaitsFor>,
    is_closed: bool,
    entity: Option<String>,
    message_type: Option<String>,
    text: Option<String>,
    age: Option<Duration>,
}

/// What the message of an open letter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// An operator: the message failed finally.
    Operator,
    /// The time of its next delivery.
    Time,
    /// An earlier message of its entity.
    EarlierMessage,
    /// A delivery, which was requested.
    Delivery,
}

impl WaitsFor {
    /// What a message waits for that was set aside after these attempts, until this time.
    pub(super) fn of(attempts: u32, again_at: Option<Timestamp>) -> Self {
        match (attempts, again_at) {
            (_, Some(_)) => Self::Time,
            (0, None) => Self::EarlierMessage,
            (_, None) => Self::Operator,
        }
    }
}

impl LetterQuery {
    /// Only open letters that wait for this.
    pub fn waiting_for(mut self, waits_for: WaitsFor) -> Self {
        self.waits_for = Some(waits_for);
        self
    }

    /// Only letters that are closed: the message was handled or discarded.
    pub fn closed(mut self) -> Self {
        self.is_closed = true;
        self
    }

    /// Only letters of this entity: the cardinal id of the message's stream.
    pub fn entity(mut self, entity: impl Into<String>) -> Self {
        self.entity = Some(entity.into());
        self
    }

    /// Only letters of messages of this type.
    pub fn message_type(mut self, message_type: impl Into<String>) -> Self {
        self.message_type = Some(message_type.into());
        self
    }

    /// Only letters whose error contains this text.
    pub fn containing(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Only letters whose messages were last set aside at least this long ago, by the database's clock.
    pub fn older_than(mut self, age: Duration) -> Self {
        self.age = Some(age);
        self
    }

    fn selects(&self, letter: &DeadLetter, now: Timestamp) -> bool {
        let is_state = if self.is_closed {
            !letter.is_open()
        } else {
            letter.is_open() && self.waits_for.is_none_or(|wanted| letter.waits_for() == Some(wanted))
        };
        let is_old = |age| Duration::try_from(now.duration_since(letter.parked_at)).is_ok_and(|is| is >= age);
        is_state
            && self.entity.as_deref().is_none_or(|entity| letter.message.stream.cardinal_id() == Some(entity))
            && self.message_type.as_ref().is_none_or(|wanted| *wanted == letter.message_type)
            && self.text.as_ref().is_none_or(|text| letter.error.contains(text))
            && self.age.is_none_or(is_old)
    }
}

impl DeadLetter {
    /// What the message waits for. `None` if the letter is closed.
    pub fn waits_for(&self) -> Option<WaitsFor> {
        match &self.state {
            LetterState::Parked => Some(WaitsFor::of(self.attempts, self.again_at)),
            LetterState::Retrying => Some(WaitsFor::Delivery),
            LetterState::Resolved(_) | LetterState::Discarded(_) => None,
        }
    }
}

impl DeadLetters {
    /// The letters that a query selects, in the order in which their messages were first set aside. Letters are read as
    /// the caller asks for them.
    pub fn select<'a>(&'a self, query: &'a LetterQuery) -> impl Stream<Item = Result<DeadLetter>> + Send + 'a {
        let steps = self.store.category_messages(&self.category, Read::default());
        steps.try_filter_map(move |step| async move { self.selected(query, &step).await })
    }

    /// The letter that begins with this step, if the query selects it.
    async fn selected(&self, query: &LetterQuery, step: &Message) -> Result<Option<DeadLetter>> {
        if !matches!(Step::of(step), Some(Step::Parked { .. })) {
            return Ok(None);
        }
        let Some(letter) = self.read(&step.stream).await?.letter else { return Ok(None) };
        // A letter has several steps of this kind, and is selected at the first.
        if letter.first_parked != step.position {
            return Ok(None);
        }
        let now = if query.age.is_some() { self.store.now().await? } else { Timestamp::UNIX_EPOCH };
        Ok(query.selects(&letter, now).then_some(letter))
    }

    /// The number of letters that a query selects.
    ///
    /// # Errors
    /// As [`DeadLetters::list`].
    pub async fn count(&self, query: &LetterQuery) -> Result<u64> {
        let mut count = 0;
        let mut letters = std::pin::pin!(self.select(query));
        while letters.try_next().await?.is_some() {
            count += 1;
        }
        if count == 0 {
            self.assert_consumer_has_run().await?;
        }
        Ok(count)
    }

    /// Requests another delivery of each message that a query selects and that is set aside. Returns the number of
    /// requests. If this ends half way, call it again: letters whose delivery was requested are passed over.
    ///
    /// # Errors
    /// As [`DeadLetters::list`].
    pub async fn retry_all(&self, query: &LetterQuery) -> Result<u64> {
        let mut requests = 0;
        let mut letters = std::pin::pin!(self.select(query));
        while let Some(letter) = letters.try_next().await? {
            requests += u64::from(self.retry(&letter).await?);
        }
        Ok(requests)
    }

    /// Discards each message that a query selects and that is set aside. Returns their number.
    ///
    /// # Errors
    /// As [`DeadLetters::list`].
    pub async fn discard_all(&self, query: &LetterQuery, why: &str) -> Result<u64> {
        let mut discarded = 0;
        let mut letters = std::pin::pin!(self.select(query));
        while let Some(letter) = letters.try_next().await? {
            discarded += u64::from(self.discard(&letter, why).await?);
        }
        Ok(discarded)
    }
}

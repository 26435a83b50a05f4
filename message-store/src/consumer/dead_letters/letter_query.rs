//! Selects letters, for operators: list, count, retry and discard them a part at a time.
//!
//! Problem: a bad deployment can set aside a hundred thousand messages. An operator must retry them without holding all
//! of them in memory, and if the retry ends half way, the next one must go on. Fix: the letters are read in the order
//! in which they were begun, a page at a time, and the decisions on a page are appended before the next page is read.
//! Why none is decided twice: a decision is appended at the version that was read, and a letter that waits no longer is
//! not selected.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;

use super::ErrorClass;
use super::letter::{DeadLetter, DeadLetters, LetterState};
use super::letter_pages::LetterPages;
use crate::Result;
use crate::store::Checkpoint;

/// The number of letters that are decided on before the next are read.
const PAGE: usize = 256;
/// The number of entities on whose letters is decided at the same time.
const DECISIONS: usize = 32;

/// Selects letters of a consumer ([`DeadLetters::of`]). Without conditions, it selects all that are open.
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
    error_class: Option<ErrorClass>,
    age: Option<Duration>,
    since: Option<Timestamp>,
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

    /// Only letters whose error has this class.
    pub fn error_class(mut self, error_class: ErrorClass) -> Self {
        self.error_class = Some(error_class);
        self
    }

    /// Only letters whose messages were last set aside at least this long ago, by the database's clock.
    pub fn older_than(mut self, age: Duration) -> Self {
        self.age = Some(age);
        self
    }

    /// Only letters whose messages were last set aside at this time or later, by the database's clock.
    pub fn since(mut self, time: Timestamp) -> Self {
        self.since = Some(time);
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
            && self.error_class.is_none_or(|wanted| letter.error_class == Some(wanted))
            && self.age.is_none_or(is_old)
            && self.since.is_none_or(|since| letter.parked_at >= since)
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
    /// The letters that a query selects, in the order in which their messages were set aside. A page of letters is read
    /// at a time, as the caller asks for them.
    ///
    /// The read begins at the newest checkpoint of the letters, which lists those that were open there. Only a query
    /// for closed letters reads all letters.
    pub fn select<'a>(&'a self, query: &'a LetterQuery) -> impl Stream<Item = Result<DeadLetter>> + Send + 'a {
        stream::once(self.checkpoint_for(query))
            .map_ok(move |checkpoint| self.selected_from(checkpoint, query))
            .try_flatten()
    }

    async fn checkpoint_for(&self, query: &LetterQuery) -> Result<Checkpoint> {
        let newest = if query.is_closed { None } else { self.checkpoints.newest(&self.store).await? };
        Ok(newest.unwrap_or(Checkpoint::BEGINNING))
    }

    /// The letters that a checkpoint lists, and those that were opened after it.
    pub(super) fn selected_from<'a>(
        &'a self,
        checkpoint: Checkpoint,
        query: &'a LetterQuery,
    ) -> impl Stream<Item = Result<DeadLetter>> + Send + 'a {
        stream::try_unfold(LetterPages::after(checkpoint), move |mut pages| async move {
            let Some(page) = pages.next(self).await? else { return Ok::<_, crate::Error>(None) };
            let now = if query.age.is_some() { self.store.now().await? } else { Timestamp::UNIX_EPOCH };
            let selected: Vec<_> = page.into_iter().filter(|letter| query.selects(letter, now)).map(Ok).collect();
            Ok(Some((stream::iter(selected), pages)))
        })
        .try_flatten()
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
        self.decide_all(query, async |letter: &DeadLetter| self.retry(letter).await).await
    }

    /// Discards each message that a query selects and that is set aside. Returns their number.
    ///
    /// # Errors
    /// As [`DeadLetters::list`].
    pub async fn discard_all(&self, query: &LetterQuery, why: &str) -> Result<u64> {
        self.decide_all(query, async |letter: &DeadLetter| self.discard(letter, why).await).await
    }

    /// Decides on the letters that a query selects, a page at a time: on those of one entity in order, and on those of
    /// different entities at the same time. Returns the number of letters that the decision has changed.
    async fn decide_all(&self, query: &LetterQuery, decide: impl AsyncFn(&DeadLetter) -> Result<bool>) -> Result<u64> {
        let mut changed = 0;
        let mut letters = std::pin::pin!(self.select(query));
        loop {
            let page: Vec<DeadLetter> = letters.by_ref().take(PAGE).try_collect().await?;
            if page.is_empty() {
                return Ok(changed);
            }
            let mut entities: HashMap<&str, Vec<&DeadLetter>> = HashMap::new();
            for letter in &page {
                entities.entry(letter.letter.stream.cardinal_id().unwrap_or_default()).or_default().push(letter);
            }
            let decide_entity = async |letters: Vec<&DeadLetter>| {
                let mut changed = 0;
                for letter in letters {
                    changed += u64::from(decide(letter).await?);
                }
                Ok::<u64, crate::Error>(changed)
            };
            let decisions = stream::iter(entities.into_values()).map(decide_entity).buffer_unordered(DECISIONS);
            changed += decisions.try_fold(0, async |sum, changed| Ok(sum + changed)).await?;
        }
    }
}

//! The part of a store that checks conditions of appends, and reads the messages that they concern.

use async_trait::async_trait;

use crate::store::{Condition, LookedThrough, Query};
use crate::{DEFAULT_BATCH, Message, Result};

/// Conditions of appends ([`AppendRequest::unless`](crate::AppendRequest::unless)), and reads of the messages that they
/// concern. A store that has this part checks conditions in [`append`](crate::MessageStore::append) and
/// [`append_once`](crate::store::Deduplication::append_once).
///
/// To decide on the messages that match a query, read them, decide, and append on the condition that no other message
/// matches after the positions up to which the read looked:
///
/// ```
/// use message_store::store::{Conditions as _, QueryItem};
/// use message_store::{Append, AppendRequest, Category, Json, Metadata, NewMessage, StreamName, Tag, connect};
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let store = connect("sqlite::memory:").await?;
/// let conditions = store.conditions().ok_or("this store has no conditions")?;
/// let course = Tag::new("course:rust")?;
/// let query = QueryItem::of(Category::new("enrolment")?).types(["Enrolled"]).tag(course.clone());
///
/// let enrolled = conditions.all_matches(&query.clone().into()).await?;
/// if enrolled.messages.len() < 30 {
///     let message = NewMessage::new("Enrolled", Json::NULL).with_metadata(&Metadata::new().tag(course))?;
///     let append = Append::to(StreamName::new("enrolment-7")?).message(message);
///     store.append(AppendRequest::from(append).unless(query.after(enrolled.looked_through))).await?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[async_trait]
pub trait Conditions: Send + Sync {
    /// Reads messages that make the condition fail: those that match its query after its positions, in the order of their
    /// global positions. It returns at most `limit` messages, and no more bytes than the store's [limits](crate::MessageStore::limits) allow.
    ///
    /// The messages and the positions come from one view of the store. Two reads, one for the messages and one for the
    /// position, could miss what is written between them.
    ///
    /// # Errors
    /// [`TooLarge`](crate::Error::TooLarge) for a query with too many parts, and the errors of a read.
    async fn matches(&self, condition: &Condition, limit: usize) -> Result<Matches>;

    /// Reads all messages that match the query.
    ///
    /// # Errors
    /// As [`matches`](Self::matches).
    async fn all_matches(&self, query: &Query) -> Result<Matches> {
        let (mut condition, mut all) = (Condition::from(query.clone()), Vec::new());
        loop {
            let Matches { mut messages, looked_through, has_more } = self.matches(&condition, DEFAULT_BATCH).await?;
            all.append(&mut messages);
            if !has_more {
                return Ok(Matches { messages: all, looked_through, has_more });
            }
            condition.after = looked_through;
        }
    }
}

/// The messages that match a query.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct Matches {
    /// In the order of global positions.
    pub messages: Vec<Message>,
    /// The read looked at every message of a category up to its position here. No message that the read did not see can
    /// appear there later.
    pub looked_through: LookedThrough,
    /// The read ended at its limit. Others may match after these positions.
    pub has_more: bool,
}

impl Matches {
    /// The messages that a read has found, the positions up to which it looked, and whether it ended at its limit.
    pub fn new(messages: Vec<Message>, looked_through: LookedThrough, has_more: bool) -> Self {
        Self { messages, looked_through, has_more }
    }
}

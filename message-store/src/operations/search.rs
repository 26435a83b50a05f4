//! Search: messages by category, entity, types, tags, time and text, a page at a time.
//!
//! Problem: a search through millions of messages takes minutes, and an operator wants to see something now. Fix: a page
//! ends when it has enough messages, or has looked far enough. It says how far it has looked, and the next page begins
//! there.

use std::sync::Arc;

use jiff::Timestamp;

use crate::store::{QueryItem, position_before};
use crate::{Batch, Category, Filter, GlobalPosition, Json, Message, MessageStore, Read, Result, Tag};

/// The number of messages at which one read looks.
const BATCH: usize = 1_000;
/// The default of [`Search::look_at`].
const LOOK_AT: usize = 20_000;

/// A search for messages. Every condition that is set must be true.
///
/// With a category and an entity or tags, the search finds the messages by an index. Otherwise it reads the messages of the
/// category, or of the store, in the order of their global positions.
///
/// ```
/// use message_store::operations::Search;
/// use message_store::{Append, Category, Json, NewMessage, StreamName, connect};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let store = connect("sqlite::memory:").await?;
/// let deposited = NewMessage::new("Deposited", Json::parse(r#"{"amount":5,"note":"rent"}"#)?);
/// store.append(Append::to(StreamName::new("account-7")?).message(deposited).into()).await?;
/// let page = Search::of(&store).category(Category::new("account")?).text("rent").page(10).await?;
/// assert_eq!((page.messages.len(), page.is_end), (1, true));
/// # Ok::<(), message_store::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Search {
    store: Arc<dyn MessageStore>,
    category: Option<Category>,
    entity: Option<String>,
    types: Vec<String>,
    tags: Vec<Tag>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    text: Option<String>,
    after: GlobalPosition,
    look_at: usize,
}

/// A page of what a search has found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SearchPage {
    /// In the order of their global positions.
    pub messages: Vec<Message>,
    /// The search has looked at all messages up to this global position. The next page begins [after](Search::after) it.
    pub looked_through: GlobalPosition,
    /// The last global position that the search will look at.
    pub end: GlobalPosition,
    /// No later page has messages, as of now.
    pub is_end: bool,
}

impl Search {
    /// A search for all messages.
    pub fn of(store: &Arc<dyn MessageStore>) -> Self {
        Self {
            store: Arc::clone(store),
            category: None,
            entity: None,
            types: Vec::new(),
            tags: Vec::new(),
            since: None,
            until: None,
            text: None,
            after: GlobalPosition::ZERO,
            look_at: LOOK_AT,
        }
    }

    /// Requires this category.
    pub fn category(mut self, category: Category) -> Self {
        self.category = Some(category);
        self
    }

    /// Requires this cardinal id: `7` for the streams `account-7` and `account-7+log`.
    pub fn entity(mut self, id: impl Into<String>) -> Self {
        self.entity = Some(id.into());
        self
    }

    /// Requires one of these types.
    pub fn types(mut self, types: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.types = types.into_iter().map(Into::into).collect();
        self
    }

    /// Requires a tag, in addition to those that the search already requires.
    pub fn tag(mut self, tag: Tag) -> Self {
        self.tags.push(tag);
        self
    }

    /// Requires this time or a later one.
    pub fn since(mut self, time: Timestamp) -> Self {
        self.since = Some(time);
        self
    }

    /// Requires a time before this one.
    pub fn until(mut self, time: Timestamp) -> Self {
        self.until = Some(time);
        self
    }

    /// Requires that the text of the data or of the metadata, which is JSON, contains this. Upper and lower case differ.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Begins after this global position. Default: at the first message.
    pub fn after(mut self, position: GlobalPosition) -> Self {
        self.after = position;
        self
    }

    /// The number of messages, about, at which a page looks before it ends without having found enough. Default: 20,000.
    pub fn look_at(mut self, messages: usize) -> Self {
        self.look_at = messages.max(1);
        self
    }

    /// Reads the next page, of at most so many messages.
    ///
    /// # Errors
    /// The errors of a read. On a standby, only a search in a category is possible.
    pub async fn page(&self, limit: usize) -> Result<SearchPage> {
        let end = match self.until {
            Some(until) => position_before(&*self.store, self.category.as_ref(), until).await?,
            None => self.store.given_out(self.category.as_ref()).await?,
        };
        let begin = match self.since {
            Some(since) => position_before(&*self.store, self.category.as_ref(), since).await?.max(self.after),
            None => self.after,
        };
        let mut page = SearchPage { messages: Vec::new(), looked_through: begin, end, is_end: begin >= end };
        let mut left = self.look_at;
        while !page.is_end && page.messages.len() < limit && left > 0 {
            let (found, looked_through, is_last) = self.part(page.looked_through, left.min(BATCH)).await?;
            left = left.saturating_sub(BATCH);
            page.looked_through = looked_through.min(end).max(page.looked_through);
            page.is_end = is_last || looked_through >= end;
            for message in found.into_iter().filter(|message| message.global_position <= end && self.is_found(message))
            {
                if page.messages.len() == limit {
                    break;
                }
                page.messages.push(message);
            }
            if page.messages.len() == limit
                && let Some(last) = page.messages.last().filter(|last| last.global_position < page.looked_through)
            {
                (page.looked_through, page.is_end) = (last.global_position, false);
            }
        }
        Ok(page)
    }

    /// Messages after a position, how far the read has looked, and whether it was at the end.
    async fn part(&self, after: GlobalPosition, look_at: usize) -> Result<(Vec<Message>, GlobalPosition, bool)> {
        let is_narrow = self.entity.is_some() || !self.tags.is_empty();
        if let (Some(category), Some(conditions)) = (&self.category, self.store.conditions().filter(|_| is_narrow)) {
            let mut item = QueryItem::of(category.clone()).types(self.types.clone());
            (item.cardinal_id, item.tags) = (self.entity.clone(), self.tags.clone());
            let found = conditions.matches(&item.after(after), look_at).await?;
            let through = found.messages.last().map_or(after, |last| last.global_position);
            return Ok((found.messages, through, !found.has_more));
        }
        let filter = Filter::default().message_types(self.types.clone());
        let read = Read::from(after.next()).limit(look_at).filter(filter);
        let Batch { messages, looked_through } = match &self.category {
            Some(category) => self.store.read_category(category, read).await?,
            None => self.store.read_all(read).await?,
        };
        Ok((messages, looked_through, looked_through <= after))
    }

    fn is_found(&self, message: &Message) -> bool {
        let contains = |json: &Json, text: &str| json.as_str().is_some_and(|json| json.contains(text));
        self.since.is_none_or(|since| message.time >= since)
            && self.until.is_none_or(|until| message.time < until)
            && self.entity.as_deref().is_none_or(|id| message.stream.cardinal_id() == Some(id))
            && self
                .text
                .as_deref()
                .is_none_or(|text| contains(&message.data, text) || contains(&message.metadata, text))
            && self.tags.iter().all(|tag| message.decode_metadata().tags.contains(tag))
    }
}

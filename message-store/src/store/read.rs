//! What is asked of a read, and what it returns.

use crate::{Category, Error, GlobalPosition, Limits, Message, Metadata, Position, Result};

/// Messages in one batch, unless said otherwise.
pub const DEFAULT_BATCH: usize = 1_000;

/// A read of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct StreamRead {
    /// Where to begin; the first message of the stream (forwards) or the last (backwards) when `None`.
    pub from: Option<Position>,
    /// Whether to go towards lower positions.
    pub backwards: bool,
    /// How many messages at most.
    pub limit: usize,
}

impl StreamRead {
    /// Towards higher positions, beginning with this one.
    pub fn forwards_from(position: Position) -> Self {
        Self { from: Some(position), backwards: false, limit: DEFAULT_BATCH }
    }

    /// Towards lower positions, beginning with the last message.
    pub fn backwards() -> Self {
        Self { from: None, backwards: true, limit: DEFAULT_BATCH }
    }

    /// Towards lower positions, beginning with this one.
    pub fn backwards_from(position: Position) -> Self {
        Self { from: Some(position), backwards: true, limit: DEFAULT_BATCH }
    }

    /// At most this many messages.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

impl Default for StreamRead {
    fn default() -> Self {
        Self::forwards_from(Position::FIRST)
    }
}

/// A read of a category, or of all messages: in the order of global positions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct Read {
    /// The lowest global position wanted.
    pub from: GlobalPosition,
    /// How many messages at most.
    pub limit: usize,
    /// Which messages.
    pub filter: Filter,
}

impl Read {
    /// Beginning with this global position.
    pub fn from(position: GlobalPosition) -> Self {
        Self { from: position, limit: DEFAULT_BATCH, filter: Filter::default() }
    }

    /// At most this many messages.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// How many messages to look at: with a filter, enough that a small limit does not mean many small reads.
    pub fn look_at(&self) -> usize {
        if self.filter.is_empty() { self.limit } else { self.limit.max(DEFAULT_BATCH) }
    }

    /// Only messages that pass this filter.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }
}

impl Default for Read {
    fn default() -> Self {
        Self::from(GlobalPosition::FIRST)
    }
}

/// Which messages a read returns. Every condition that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct Filter {
    /// The category of the message's `correlationStreamName`.
    pub correlation: Option<Category>,
    /// The message's entity belongs to this member of a consumer group.
    pub member: Option<GroupMember>,
    /// The message's type is one of these; any type when empty.
    pub message_types: Vec<String>,
}

impl Filter {
    /// Only messages correlated with a stream of this category.
    pub fn correlation(mut self, category: Category) -> Self {
        self.correlation = Some(category);
        self
    }

    /// Only messages of this member's share.
    pub fn member(mut self, member: GroupMember) -> Self {
        self.member = Some(member);
        self
    }

    /// Only messages of these types.
    pub fn message_types(mut self, types: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.message_types = types.into_iter().map(Into::into).collect();
        self
    }

    /// Whether every message passes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether this message passes.
    pub fn passes(&self, message: &Message) -> bool {
        (self.message_types.is_empty() || self.message_types.contains(&message.message_type))
            && self.member.is_none_or(|member| message.stream.cardinal_hash().is_some_and(|hash| member.takes(hash)))
            && self.correlation.as_ref().is_none_or(|category| correlated(message, category))
    }
}

/// Metadata that cannot be read names no correlation, as in SQL.
fn correlated(message: &Message, category: &Category) -> bool {
    Metadata::from_json(&message.metadata)
        .correlation_stream_name
        .is_some_and(|stream| stream.split_once('-').map_or(&*stream, |(category, _)| category) == category.as_str())
}

/// One member of a consumer group: the entities whose id hashes to `member`, modulo `size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupMember {
    member: u16,
    size: u16,
}

impl GroupMember {
    /// Member `member` (0-based) of a group of `size`.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless `member < size`, and for a size above 32,767 (Message DB's bound).
    pub fn new(member: u16, size: u16) -> Result<Self> {
        if member >= size || i16::try_from(size).is_err() {
            let reason = format!("member {member} of {size}: the member must be below the size, and that below 32768");
            return Err(Error::invalid("consumer group", reason));
        }
        Ok(Self { member, size })
    }

    /// This member's number, 0-based.
    pub fn number(self) -> u16 {
        self.member
    }

    /// The size of the group.
    pub fn size(self) -> u16 {
        self.size
    }

    pub(crate) fn takes(self, hash: i64) -> bool {
        hash.unsigned_abs() % u64::from(self.size) == u64::from(self.member)
    }
}

/// Messages, and how far the read looked to find them.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct Batch {
    /// The messages, in the order of global positions.
    pub messages: Vec<Message>,
    /// Every message up to here was looked at: also those the filter left out. The next read begins after it.
    pub looked_through: GlobalPosition,
}

impl Batch {
    /// These messages, and how far the read looked.
    pub fn new(messages: Vec<Message>, looked_through: GlobalPosition) -> Self {
        Self { messages, looked_through }
    }

    /// For backends: the answer to a read that found these messages (those that pass its filter, in order), and looked
    /// at all others up to a position, or at none. What is beyond the read's limit is cut off.
    pub fn of(mut passing: Vec<Message>, last_looked_at: Option<GlobalPosition>, read: &Read) -> Self {
        let mut looked_through = last_looked_at.unwrap_or(read.from.previous());
        if passing.len() > read.limit {
            passing.truncate(read.limit);
            looked_through = passing.last().map_or(read.from.previous(), |last| last.global_position);
        }
        Self { messages: passing, looked_through }
    }

    /// For backends: as much of it as one batch may have.
    pub fn within(self, limits: &Limits) -> Self {
        let Self { messages, looked_through } = self;
        let count = messages.len();
        let messages = limits.cut(messages);
        // What was cut off has not been looked at.
        let last = messages.last().map(|last| last.global_position).filter(|_| messages.len() < count);
        Self { looked_through: last.unwrap_or(looked_through), messages }
    }

    /// Whether there was nothing to look at: the reader has caught up.
    pub fn is_at_end(&self, read: &Read) -> bool {
        self.looked_through < read.from
    }
}

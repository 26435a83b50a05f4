//! Reads: their settings, their filters, and the batches that they return.

use std::collections::BTreeSet;

use crate::variant::stored_types;
use crate::{Category, Error, GlobalPosition, Limits, Message, Metadata, Position, Result, StreamName, Upcaster};

/// The default limit of a read, in messages.
pub const DEFAULT_BATCH: usize = 1_000;

/// A read of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct StreamRead {
    /// The position at which the read begins. `None`: at the first message when reading forwards, at the last when
    /// reading backwards.
    pub from: Option<Position>,
    /// Whether the read goes to lower positions.
    pub backwards: bool,
    /// The greatest number of messages. The store's [limits](Limits) apply too.
    pub limit: usize,
}

impl StreamRead {
    /// A read to higher positions that begins at this one.
    pub fn forwards_from(position: Position) -> Self {
        Self { from: Some(position), backwards: false, limit: DEFAULT_BATCH }
    }

    /// A read to lower positions that begins at the last message.
    pub fn backwards() -> Self {
        Self { from: None, backwards: true, limit: DEFAULT_BATCH }
    }

    /// A read to lower positions that begins at this one.
    pub fn backwards_from(position: Position) -> Self {
        Self { from: Some(position), backwards: true, limit: DEFAULT_BATCH }
    }

    /// Sets the greatest number of messages. Default: [`DEFAULT_BATCH`].
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

/// What a read of a stream returned.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StreamBatch {
    /// The messages, in the order of the read.
    pub messages: Vec<Message>,
    /// The stream had no further message in that direction when it was read. `false` if that is not known.
    pub is_end: bool,
}

impl StreamBatch {
    /// The result of a read.
    pub fn new(messages: Vec<Message>, is_end: bool) -> Self {
        Self { messages, is_end }
    }
}

/// A read of a category or of all messages, in the order of global positions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct Read {
    /// The lowest global position that the read looks at.
    pub from: GlobalPosition,
    /// The greatest number of messages. The store's [limits](Limits) apply too.
    pub limit: usize,
    /// The messages that are returned, of all that the read looks at.
    pub filter: Filter,
    /// Whether the read looks at archived messages too. If not, it returns what is still in the table of messages.
    pub with_archive: bool,
}

impl Read {
    /// A read that begins at this global position.
    pub fn from(position: GlobalPosition) -> Self {
        Self { from: position, limit: DEFAULT_BATCH, filter: Filter::default(), with_archive: true }
    }

    /// Sets the greatest number of messages. Default: [`DEFAULT_BATCH`].
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Leaves out the messages that were [archived](crate::store::Archive). A reader that begins below them does not see
    /// them, and is not told.
    pub fn without_archive(mut self) -> Self {
        self.with_archive = false;
        self
    }

    /// For backends: the number of messages to look at. With a filter it is at least [`DEFAULT_BATCH`], so that a small
    /// limit does not cause many small reads.
    pub fn look_at(&self) -> usize {
        if self.filter.is_empty() { self.limit } else { self.limit.max(DEFAULT_BATCH) }
    }

    /// Sets the filter. Default: every message passes.
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

/// The messages that a read returns. A message passes if every condition that is set is true.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[must_use]
#[non_exhaustive]
pub struct Filter {
    /// The message's `correlationStreamName` is of this category.
    pub correlation: Option<Category>,
    /// The message's cardinal id belongs to this member of a consumer group.
    pub member: Option<GroupMember>,
    /// The message's cardinal id belongs to one of these slots of an elastic consumer group. Not both this and `member`.
    pub slots: Option<Slots>,
    /// The message's type is one of these. Empty: any type.
    pub message_types: Vec<String>,
}

impl Filter {
    /// Requires a correlation with a stream of this category.
    pub fn correlation(mut self, category: Category) -> Self {
        self.correlation = Some(category);
        self
    }

    /// Requires a cardinal id that belongs to this member.
    pub fn member(mut self, member: GroupMember) -> Self {
        self.member = Some(member);
        self
    }

    /// Requires a cardinal id that belongs to one of these slots.
    pub fn slots(mut self, slots: Slots) -> Self {
        self.slots = Some(slots);
        self
    }

    /// Requires one of these types.
    pub fn message_types(mut self, types: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.message_types = types.into_iter().map(Into::into).collect();
        self
    }

    /// Also lets messages pass whose types these upcasters lead to one of the required types: its earlier names, and types
    /// that are split into it.
    pub fn widened_by(mut self, upcasters: &[Upcaster]) -> Self {
        let types = stored_types(upcasters, self.message_types.iter().map(String::as_str));
        self.message_types = types.into_iter().map(str::to_owned).collect();
        self
    }

    /// Whether no condition is set, so that every message passes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the message passes.
    pub fn passes(&self, message: &Message) -> bool {
        (self.message_types.is_empty() || self.message_types.contains(&message.message_type))
            && self.member.is_none_or(|member| message.stream.cardinal_hash().is_some_and(|hash| member.takes(hash)))
            && self.slots.as_ref().is_none_or(|slots| slots.takes(message.stream.cardinal_hash()))
            && self.correlation.as_ref().is_none_or(|category| correlated(message, category))
    }
}

/// Whether the message's correlation is this stream.
pub(crate) fn is_correlated_with(message: &Message, stream: &StreamName) -> bool {
    message.metadata.text().contains("correlationStreamName")
        && Metadata::from_json(&message.metadata).correlation_stream_name.as_deref() == Some(stream.as_str())
}

/// Metadata that cannot be decoded has no correlation, as in the SQL functions.
fn correlated(message: &Message, category: &Category) -> bool {
    Metadata::from_json(&message.metadata)
        .correlation_stream_name
        .is_some_and(|stream| stream.split_once('-').map_or(&*stream, |(category, _)| category) == category.as_str())
}

/// One member of a consumer group: the streams for which the absolute value of the hash of the cardinal id, modulo
/// `size`, is `member`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupMember {
    member: u16,
    size: u16,
}

impl GroupMember {
    /// The member with the number `member`, from 0, of a group of `size`.
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

    /// The member's number, from 0.
    pub fn number(self) -> u16 {
        self.member
    }

    /// The number of members, 1 to 32,767.
    pub fn size(self) -> u16 {
        self.size
    }

    pub(crate) fn takes(self, hash: i64) -> bool {
        hash.unsigned_abs() % u64::from(self.size) == u64::from(self.member)
    }
}

/// Slots of an elastic consumer group. A stream belongs to the slot that is the absolute value of the hash of its cardinal
/// id, modulo their number. Streams without a cardinal id belong to slot 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slots {
    count: u16,
    numbers: BTreeSet<u16>,
}

impl Slots {
    /// These of `count` slots.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless every number is below the count, and for a count above 32,767.
    pub fn new(numbers: impl IntoIterator<Item = u16>, count: u16) -> Result<Self> {
        let numbers: BTreeSet<u16> = numbers.into_iter().collect();
        if numbers.last().is_some_and(|last| *last >= count) || count == 0 || i16::try_from(count).is_err() {
            let reason = format!("{numbers:?} of {count}: each must be below the count, and that below 32768");
            return Err(Error::invalid("slots", reason));
        }
        Ok(Self { count, numbers })
    }

    /// The number of all slots of the group.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// The numbers of these slots, in order.
    pub fn numbers(&self) -> impl Iterator<Item = u16> {
        self.numbers.iter().copied()
    }

    /// Whether these slots have the streams with this hash of the cardinal id.
    pub fn takes(&self, hash: Option<i64>) -> bool {
        self.numbers.contains(&slot_of(hash, self.count))
    }
}

/// The slot, of `count`, of the streams with this hash of the cardinal id.
pub(crate) fn slot_of(hash: Option<i64>, count: u16) -> u16 {
    let number = hash.unwrap_or_default().unsigned_abs() % u64::from(count.max(1));
    u16::try_from(number).unwrap_or_default()
}

/// The messages that a read returned, and the position up to which it looked.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct Batch {
    /// In the order of global positions.
    pub messages: Vec<Message>,
    /// The read looked at every message up to this position, including those that did not pass the filter. The next
    /// read begins after it.
    pub looked_through: GlobalPosition,
}

impl Batch {
    /// A batch of these messages, from a read that looked up to this position.
    pub fn new(messages: Vec<Message>, looked_through: GlobalPosition) -> Self {
        Self { messages, looked_through }
    }

    /// For backends: the result of a read that found the messages `passing` (those that pass its filter, in order), and
    /// looked at all others up to `last_looked_at`, or at none. Messages beyond the read's limit are removed.
    pub fn of(mut passing: Vec<Message>, last_looked_at: Option<GlobalPosition>, read: &Read) -> Self {
        let mut looked_through = last_looked_at.unwrap_or(read.from.previous());
        if passing.len() > read.limit {
            passing.truncate(read.limit);
            looked_through = passing.last().map_or(read.from.previous(), |last| last.global_position);
        }
        Self { messages: passing, looked_through }
    }

    /// For backends: removes the messages that exceed the limits of one batch.
    pub fn within(self, limits: &Limits) -> Self {
        let Self { messages, looked_through } = self;
        let count = messages.len();
        let messages = limits.cut(messages);
        // A removed message counts as not looked at, so that the next read returns it.
        let last = messages.last().map(|last| last.global_position).filter(|_| messages.len() < count);
        Self { looked_through: last.unwrap_or(looked_through), messages }
    }

    /// Whether there was no message to look at: the reader has caught up.
    pub fn is_at_end(&self, read: &Read) -> bool {
        self.looked_through < read.from
    }
}

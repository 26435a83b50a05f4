//! The start-up report: what a consumer reads, from where, and which handler handles it.

use std::fmt;

use crate::{Category, GlobalPosition, GroupMember, StreamName};

/// What a consumer does, said when it starts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StartupReport {
    /// The category it reads.
    pub category: Category,
    /// The store it reads.
    pub store: String,
    /// Its handler.
    pub handler: &'static str,
    /// The message types that the handler knows.
    pub message_types: Vec<&'static str>,
    /// Everything up to here is handled already.
    pub handled_through: GlobalPosition,
    /// Where its position is kept.
    pub position_stream: StreamName,
    /// Only messages correlated with this category.
    pub correlation: Option<Category>,
    /// Only this share of the entities.
    pub member: Option<GroupMember>,
    /// The category's stream without an id, when it holds messages and a group reads the category: no member reads
    /// them.
    pub unread_stream: Option<StreamName>,
    /// How many messages are handled at a time.
    pub concurrency: usize,
}

impl fmt::Display for StartupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Consumer of {}", self.category)?;
        writeln!(f, "  store        {}", self.store)?;
        writeln!(f, "  handler      {} ({})", self.handler, self.message_types.join(", "))?;
        writeln!(f, "  starts after global position {} (kept in {})", self.handled_through, self.position_stream)?;
        if let Some(correlation) = &self.correlation {
            writeln!(f, "  correlation  {correlation}")?;
        }
        if let Some(member) = self.member {
            writeln!(f, "  group        member {} of {}", member.number(), member.size())?;
        }
        if let Some(stream) = &self.unread_stream {
            writeln!(f, "  unread       the messages of {stream}: a stream without an id belongs to no member")?;
        }
        write!(f, "  concurrency  {} entities at a time, each in order", self.concurrency)
    }
}

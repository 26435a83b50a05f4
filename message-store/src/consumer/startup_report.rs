//! The start-up report: the category that a consumer reads, its first position, and its handler.

use std::fmt;

use crate::{Category, GlobalPosition, GroupMember, StreamName};

/// The settings with which a consumer starts. The consumer logs them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StartupReport {
    #[allow(missing_docs)]
    pub category: Category,
    /// The store's description, without secrets.
    pub store: String,
    /// The name of the handler.
    pub handler: &'static str,
    /// The message types that the handler knows.
    pub message_types: Vec<&'static str>,
    /// The global position up to which all messages were handled before the start.
    pub handled_through: GlobalPosition,
    /// The stream in which the position is saved.
    pub position_stream: StreamName,
    /// The consumer reads only messages that are correlated with this category.
    pub correlation: Option<Category>,
    /// The consumer reads only this member's share of the entities.
    pub member: Option<GroupMember>,
    /// The name of this member of an elastic group.
    pub elastic_member: Option<String>,
    /// The category's stream without an id, if it has messages and a group reads the category. No member reads these
    /// messages.
    pub unread_stream: Option<StreamName>,
    /// The number of messages that are handled at the same time.
    pub concurrency: usize,
}

impl fmt::Display for StartupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Consumer of {}", self.category)?;
        writeln!(f, "  store        {}", self.store)?;
        writeln!(f, "  handler      {} ({})", self.handler, self.message_types.join(", "))?;
        writeln!(f, "  starts after global position {} (saved in {})", self.handled_through, self.position_stream)?;
        if let Some(correlation) = &self.correlation {
            writeln!(f, "  correlation  {correlation}")?;
        }
        if let Some(member) = self.member {
            writeln!(f, "  group        member {} of {}", member.number(), member.size())?;
        }
        if let Some(member) = &self.elastic_member {
            writeln!(f, "  group        member {member:?} of an elastic group")?;
        }
        if let Some(stream) = &self.unread_stream {
            writeln!(f, "  unread       the messages of {stream}: no member of a group reads a stream without an id")?;
        }
        write!(f, "  concurrency  {} entities at a time, each in order", self.concurrency)
    }
}

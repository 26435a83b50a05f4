//! The recent commands of an entity, and their first events. Most repeats arrive soon after the first delivery, and
//! these need no look-up in the store.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{GlobalPosition, MessageId, MessageRef, Place, Position, StreamName};

/// The number of commands that are remembered for an entity.
const CAPACITY: usize = 32;

/// The most recent commands for which an entity has events. A command that is missing here may have been handled
/// earlier.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recent(VecDeque<RecentCommand>);

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "InContent", into = "InContent")]
struct RecentCommand {
    /// The command: the number of its mark among the entity's marks, and its position in that origin.
    mark: usize,
    cause: GlobalPosition,
    /// The first event of the command.
    id: MessageId,
    place: Place,
}

/// A recent command in the content of a snapshot: without names, because there are many of them.
#[derive(Serialize, Deserialize)]
struct InContent(usize, GlobalPosition, MessageId, Position, GlobalPosition);

impl From<InContent> for RecentCommand {
    fn from(InContent(mark, cause, id, position, global_position): InContent) -> Self {
        Self { mark, cause, id, place: Place { position, global_position } }
    }
}

impl From<RecentCommand> for InContent {
    fn from(RecentCommand { mark, cause, id, place }: RecentCommand) -> Self {
        Self(mark, cause, id, place.position, place.global_position)
    }
}

impl Recent {
    /// Remembers the first event of a command. Further events of the same command change nothing.
    pub(crate) fn record(&mut self, mark: usize, cause: GlobalPosition, id: MessageId, place: Place) {
        if self.0.iter().any(|command| command.mark == mark && command.cause == cause) {
            return;
        }
        if self.0.len() == CAPACITY {
            self.0.pop_front();
        }
        self.0.push_back(RecentCommand { mark, cause, id, place });
    }

    /// The first event of a command. `stream` is the entity's stream.
    pub(crate) fn find(&self, mark: usize, cause: GlobalPosition, stream: &StreamName) -> Option<MessageRef> {
        let command = self.0.iter().rev().find(|command| command.mark == mark && command.cause == cause)?;
        let RecentCommand { id, place: Place { position, global_position }, .. } = *command;
        Some(MessageRef { id, stream: stream.clone(), position, global_position })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Position;

    #[test]
    fn recent_commands_are_found_with_their_first_event() {
        let mut recent = Recent::default();
        let stream = StreamName::new("account-1").unwrap();
        let place = |at: i64| Place { position: Position::new(at), global_position: GlobalPosition::new(100 + at) };
        for at in 0..40 {
            recent.record(0, GlobalPosition::new(at), MessageId::new(), place(2 * at));
            // A second event of the same command.
            recent.record(0, GlobalPosition::new(at), MessageId::new(), place(2 * at + 1));
        }
        let found = |mark, cause| recent.find(mark, GlobalPosition::new(cause), &stream);
        assert_eq!(found(0, 39).unwrap().position, Position::new(78));
        assert_eq!(found(0, 8).unwrap().position, Position::new(16));
        assert!(found(0, 7).is_none(), "the oldest commands are forgotten");
        assert!(found(1, 39).is_none(), "another mark");
    }
}

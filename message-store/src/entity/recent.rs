//! The latest commands of an entity, and where their events stand: most repeats come soon, and need no look-up.

use std::collections::VecDeque;

use crate::{GlobalPosition, MessageId, MessageRef, Place, StreamName};

/// How many commands are remembered of an entity.
const REMEMBERED: usize = 32;

/// Commands that an entity has events of. What is not in it may have been handled all the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Recent(VecDeque<Handled>);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Handled {
    /// The command: the number of its mark among the entity's, and its position in that origin.
    mark: usize,
    cause: GlobalPosition,
    /// Its first event.
    id: MessageId,
    place: Place,
}

impl Recent {
    /// Remembers the first event of a command; further ones of the same command change nothing.
    pub(crate) fn record(&mut self, mark: usize, cause: GlobalPosition, id: MessageId, place: Place) {
        if self.0.iter().any(|handled| handled.mark == mark && handled.cause == cause) {
            return;
        }
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(Handled { mark, cause, id, place });
    }

    /// The first event of a command, in the entity's stream.
    pub(crate) fn find(&self, mark: usize, cause: GlobalPosition, stream: &StreamName) -> Option<MessageRef> {
        let handled = self.0.iter().rev().find(|handled| handled.mark == mark && handled.cause == cause)?;
        let Handled { id, place: Place { position, global_position }, .. } = *handled;
        Some(MessageRef { id, stream: stream.clone(), position, global_position })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Position;

    #[test]
    fn the_latest_commands_are_found_by_their_first_event() {
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
        assert!(found(0, 7).is_none(), "it is not remembered for ever");
        assert!(found(1, 39).is_none(), "another mark");
    }
}

//! Switches that replace one protection by a wrong one, to show that a test fails without the protection.

use std::sync::Arc;

use crate::handling::{
    Behaviour, CommandHandler, CommandStatus, Decider, Evidence, ProcessHandler, ProcessManager, Protections, Runtime,
};
use crate::{MessageId, MessageRef, Position, StreamName};

/// A protection of [`CommandHandler`] and [`ProcessHandler`] that a test switches off ([`CommandHandler::plant`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlantedBug {
    /// A command at or below the mark counts as processed, without a look-up. A late command is lost.
    MarkAlone,
    /// As `MarkAlone`, with one mark for all origins, as in Eventide. A command of another category or store is lost
    /// too.
    OneMark,
    /// There are no marks and no derived ids. A repeat is carried out again.
    NoSequences,
    /// There are no reservations. Another message with the same intent is carried out again.
    NoReservation,
    /// Events are written without the condition of their command.
    NoCondition,
    /// A decision on the messages that match is written without a condition.
    MatchesNotHeld,
    /// After a conflict or a lost answer, the command is not decided again.
    NoSecondDecision,
    /// A decision that writes nothing counts even if the remembered entity is stale.
    RememberedNothing,
    /// The tenth conflict in a row is an error.
    TenAttempts,
    /// The copy of a first hop is ignored. The command and its copy are both carried out.
    CopyIgnored,
}

impl<D: Decider> CommandHandler<D> {
    /// Switches a protection off.
    #[must_use]
    pub fn plant(mut self, bug: PlantedBug) -> Self {
        Arc::get_mut(&mut self.runtime).expect("the handler is not cloned yet").plant(bug);
        self
    }
}

impl<P: ProcessManager> ProcessHandler<P> {
    /// Switches a protection off, before the handler is cloned.
    #[must_use]
    pub fn plant(mut self, bug: PlantedBug) -> Self {
        Arc::get_mut(&mut self.runtime).expect("the handler is not cloned yet").plant(bug);
        self
    }
}

impl<B: Behaviour> Runtime<B> {
    fn plant(&mut self, bug: PlantedBug) {
        let sound = Protections::ALL;
        self.protections = match bug {
            PlantedBug::MarkAlone => Protections { classify: |found| Ok(by_mark_alone(found)), ..sound },
            PlantedBug::OneMark => Protections { classify: |found| Ok(by_one_mark(found)), ..sound },
            PlantedBug::NoSequences => Protections {
                classify: |_| Ok(CommandStatus::New),
                derive_id: |_, _, _, _, _| MessageId::new(),
                ..sound
            },
            PlantedBug::NoReservation => Protections { intent: |_| None, ..sound },
            PlantedBug::NoCondition => Protections { unless: |_, _| None, ..sound },
            PlantedBug::MatchesNotHeld => Protections { hold: |_, _| None, ..sound },
            PlantedBug::NoSecondDecision => Protections { pause: |_, _| None, ..sound },
            PlantedBug::RememberedNothing => Protections { is_current: |_, _| true, ..sound },
            PlantedBug::TenAttempts => Protections {
                pause: |contention, version| contention.pause(version).filter(|_| contention.losses < 10),
                ..sound
            },
            PlantedBug::CopyIgnored => Protections { replace: |_, _| {}, ..sound },
        };
    }
}

fn by_mark_alone(found: &Evidence<'_>) -> CommandStatus {
    if found.marks.is_new(found.handler, found.sequence) { CommandStatus::New } else { passed(found) }
}

fn by_one_mark(found: &Evidence<'_>) -> CommandStatus {
    let mark = found.marks.marks().iter().map(|mark| mark.sequence.global_position).max();
    let is_new = mark.is_none_or(|mark| found.sequence.global_position > mark);
    if is_new { CommandStatus::New } else { passed(found) }
}

/// The answer of a mark alone, without a look-up of events: processed, with an invented first event.
fn passed(found: &Evidence<'_>) -> CommandStatus {
    let origin = &found.sequence.origin;
    CommandStatus::Processed(MessageRef {
        id: MessageId::new(),
        stream: StreamName::from_database(origin.category.as_str()),
        position: Position::FIRST,
        global_position: found.sequence.global_position,
    })
}

//! Protections switched off, one at a time, so that a test can show that it would notice.

use crate::Sequence;
use crate::entity::Sequences;

/// A protection of [`CommandHandler`](crate::handling::CommandHandler) to be switched off. For tests of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(not(feature = "testing"), allow(dead_code))]
pub enum PlantedBug {
    /// At or below the mark counts as processed, without a look-up: a late command is lost.
    MarkAlone,
    /// As `MarkAlone`, with one mark for all origins, as in Eventide: another category or store loses commands too.
    OneMark,
    /// Neither marks nor derived ids: a repeat is carried out again.
    NoSequences,
    /// No reservation: another message with the same intent is carried out again.
    NoReservation,
    /// A conflict or a lost answer is not decided again.
    NoSecondDecision,
    /// A decision that writes nothing counts on whatever was remembered.
    RememberedNothing,
    /// A conflict that comes a tenth time is an error, and no pause comes before it.
    TenAttempts,
    /// A first hop's copy counts for nothing: its command is carried out beside it.
    CopyIgnored,
}

impl PlantedBug {
    /// Whether the message was processed, in the opinion of the bug; `None` when it has none.
    pub(crate) fn judge(self, sequences: &Sequences, handler: &str, sequence: &Sequence) -> Option<bool> {
        match self {
            Self::NoSequences => Some(false),
            Self::MarkAlone => Some(!sequences.is_new(handler, sequence)),
            Self::OneMark => {
                let mark = sequences.marks().iter().map(|mark| mark.sequence.global_position).max();
                Some(mark.is_some_and(|mark| sequence.global_position <= mark))
            }
            Self::NoReservation
            | Self::NoSecondDecision
            | Self::RememberedNothing
            | Self::TenAttempts
            | Self::CopyIgnored => None,
        }
    }
}

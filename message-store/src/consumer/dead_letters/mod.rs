//! Dead letters: records of messages that could not be handled. The consumer sets such a message aside and goes on.
//!
//! Problem: when a message that was set aside is retried, it is below the marks of its entity, and a toolkit that
//! relies on marks drops it. Fix: a late command is handled (see [`crate::handling::CommandHandler`]), so a retry
//! delivers the original message.
//!
//! Each letter has its own stream, `{category}+deadLetter[+identifier]-{entity}+{message id}`. Its cardinal id is the
//! entity, and its messages are the steps of the letter. An operator's decision is appended at the version that the
//! operator has read, so if two operators decide at the same time, one decision is recorded.
//!
//! A letter stays when the consumer's position is reset. If its message is then delivered again, an open letter still
//! waits for the operator, and a discarded message is not handled. A resolved message is handled again, which writes
//! nothing new.

mod attempt;
mod attempts;
mod consumer_has_run;
mod delays;
mod delivery;
mod edited_retry;
mod error_class;
mod letter;
mod letter_cache;
mod letter_checkpoints;
mod letter_pages;
mod letter_progress;
mod letter_query;
mod park;
mod redelivery;
mod refresh;
mod retry;
mod set_aside;
mod step;
mod time_outs;
mod unresolved_letters;

pub(super) use attempts::Failure;
pub(super) use delivery::Delivery;
pub(super) use error_class::Classed;
pub use error_class::ErrorClass;
pub use letter::LetterFailure;
pub use letter::{DeadLetter, DeadLetters, LetterState};
pub use letter_query::{LetterQuery, WaitsFor};
pub(super) use redelivery::Redelivery;
pub use retry::Retried;
pub(super) use set_aside::SetAside;

/// What a consumer does with a message that it cannot handle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The consumer stops before the message, with an error that names it.
    #[default]
    Stop,
    /// The consumer sets the message aside and goes on, also with later messages of its entity.
    Park,
    /// The consumer sets the message aside, and all later messages of its entity too, in order. It goes on with the
    /// other entities.
    Hold,
}

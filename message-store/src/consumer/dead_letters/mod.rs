//! Dead letters: messages that could not be handled, set aside so that others can go on.
//!
//! Problem: a message that is set aside and tried again later lies below the marks of its entity by then, and a toolkit
//! that goes by marks alone drops it. Here a late command is handled (see [`crate::handling::CommandHandler`]), so
//! trying the original again is sound. What is set aside is written to
//! `{category}+deadLetter[+identifier]-{entity}+{message id}`: one stream a message, the cardinal id is the entity. Its
//! last message says how it stands; each step is appended at the version that it follows, so that what two operators
//! ask for at once is done once.
//!
//! A letter outlives the position: when its message is delivered again, an open letter still waits for the operator, a
//! discarded one stays discarded, and only what was resolved is handled again, which changes nothing.

mod attempt;
mod attempts;
mod consumer_has_run;
mod found;
mod known;
mod learning;
mod letter;
mod park;
mod parking;
mod redelivery;
mod retry;
mod set_aside;
mod standing;
mod step;
mod time_outs;

pub use letter::{DeadLetter, DeadLetters, LetterState};
pub(super) use parking::Parking;
pub(super) use redelivery::Redelivery;
pub use retry::Retried;
pub(super) use set_aside::SetAside;

/// What a consumer does with a message that it cannot handle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It stops, before the message, with an error that names it.
    #[default]
    Stop,
    /// It sets the message aside and goes on, also with later messages of its entity.
    Park,
    /// It sets the message aside, and every later message of its entity behind it, in order, and goes on with the
    /// others.
    Hold,
}

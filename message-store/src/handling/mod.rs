//! Handling messages: deciders, which are pure, and handlers, which may do anything. Each message has exactly one
//! effect, in layers.
//!
//! | what comes twice | what catches it | [`Outcome`](crate::Outcome) |
//! |---|---|---|
//! | the same message, delivered again | its [`Sequence`](crate::Sequence) against the entity's [`Sequences`](crate::entity::Sequences), then the [`derived_id`](crate::derived_id) of its first event | `AlreadyProcessed` |
//! | another message with the same intent | its [`Reservation`](crate::intents::Reservation) | `Duplicate`, or `Conflict` when it says something else |
//! | a request from outside, sent again within a window | its [`Key`](crate::Key), by [`Once`](crate::intents::Once) | [`Answer::Duplicate`](crate::intents::Answer::Duplicate), or `Conflict` |
//! | a call to a system that remembers nothing | the [`Guard`], which asks before it calls again | [`Guarded`] |
//! | the same append, sent again because its answer was lost | message ids, in the store | [`already_written`](crate::Appended::already_written) |
//!
//! And what must *not* be caught: a late command. Below the mark of its origin, but never carried out, it is told apart
//! from a repeat by its derived id, and handled.

mod added_fields;
mod command_handler;
mod contention;
mod context;
mod decider;
mod delay_buffer;
mod delivery;
mod effects;
mod guard;
mod guarded;
mod handler;
mod lease;
mod protections;
mod standing;

pub use command_handler::CommandHandler;
pub(crate) use contention::{Contention, wait};
pub use context::Context;
pub use decider::Decider;
#[cfg(feature = "testing")]
pub use delay_buffer::DelayBug;
pub use delay_buffer::{DelayBuffer, Delayed, Keep};
pub(crate) use effects::{events_of, search};
#[cfg(feature = "testing")]
pub use guard::GuardBug;
pub use guard::{CallError, External, Found, Guard};
pub use guarded::Guarded;
pub use handler::Handler;
pub(crate) use protections::Protections;
#[cfg(feature = "testing")]
pub(crate) use standing::{Evidence, Standing};

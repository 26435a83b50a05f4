//! Handling messages. Deciders are pure functions; handlers may have any effect. A message has exactly one effect, and
//! each kind of repeat has its own protection.
//!
//! | repeat | protection | [`Outcome`](crate::Outcome) |
//! |---|---|---|
//! | the same message, delivered again | its [`Sequence`](crate::Sequence) against the entity's [`Sequences`](crate::entity::Sequences), then the [`derived_id`](crate::derived_id) of its first event | `AlreadyProcessed` |
//! | another message with the same intent | its [`Reservation`](crate::intents::Reservation) | `Duplicate`, or `Conflict` if its content differs |
//! | a request from outside, sent again within a window | its [`Key`](crate::Key), by [`Once`](crate::intents::Once) | [`Answer::Duplicate`](crate::intents::Answer::Duplicate), or `Conflict` |
//! | a call to a system that does not recognise repeats | the [`Guard`], which searches before it calls again | [`Guarded`] |
//! | the same append, sent again because its answer was lost | message ids, in the store | [`already_written`](crate::Appended::already_written) |
//!
//! A late command must *not* be treated as a repeat. Its sequence is below the mark of its origin, but it was never
//! carried out. The derived id shows the difference, and the command is handled.

mod added_fields;
mod behaviour;
mod boundary;
mod command_handler;
mod command_status;
mod contention;
mod context;
mod decider;
mod delay_buffer;
mod effects;
mod execute;
mod fault;
mod followed;
mod guard;
mod guarded;
mod handler;
mod lease;
mod process_handler;
mod process_manager;
mod protections;
mod reaction;
mod received_command;
mod runtime;
mod shutdown;
mod timers;

pub use command_handler::CommandHandler;
#[cfg(feature = "testing")]
pub(crate) use command_status::{CommandStatus, Evidence};
pub(crate) use contention::{Contention, wait};
pub use context::Context;
pub use decider::Decider;
#[cfg(feature = "testing")]
pub use delay_buffer::DelayBug;
pub use delay_buffer::{DelayBuffer, Delayed, Keep};
pub(crate) use effects::{events_of, find_by_stamps};
pub use execute::Executed;
pub use fault::Fault;
#[cfg(feature = "testing")]
pub use guard::GuardBug;
pub use guard::{CallError, External, Found, Guard};
pub use guarded::Guarded;
pub use handler::Handler;
pub use process_handler::ProcessHandler;
pub use process_manager::ProcessManager;
pub(crate) use protections::Protections;
pub use reaction::Reaction;
#[cfg(feature = "testing")]
pub(crate) use reaction::ReactionParts;
pub use shutdown::Shutdown;
#[cfg(feature = "testing")]
pub(crate) use {behaviour::Behaviour, runtime::Runtime};

//! Exactly one effect per intent, in layers.
//!
//! | what comes twice | what catches it | [`Outcome`] |
//! |---|---|---|
//! | the same message, delivered again | its [`Sequence`] against the entity's [`Sequences`], then the [`derived_id`] of its first event | `AlreadyProcessed` |
//! | another message with the same intent | its [`Reservation`] | `Duplicate`, or `Conflict` when it says something else |
//! | a request from outside, sent again within a window | its [`Key`], by [`Once`] | [`Answer::Duplicate`], or `Conflict` |
//! | a call to a system that remembers nothing | the [`Guard`], which asks before it calls again | [`Guarded`] |
//! | the same append, sent again because its answer was lost | message ids, in the store | [`already_written`](crate::Appended::already_written) |
//!
//! And what must *not* be caught: a late command. Below the mark of its origin, but never carried out, it is told apart
//! from a repeat by its derived id, and handled.

mod delay_buffer;
mod derived_id;
mod guard;
mod hold;
mod intent;
mod key;
mod lease;
mod once;
mod outcome;
mod recent;
mod reservation;
mod sequence;
mod stamped;
mod window;

#[cfg(feature = "testing")]
pub use delay_buffer::DelayBug;
pub use delay_buffer::{DelayBuffer, Delayed, Keep};
pub use derived_id::derived_id;
#[cfg(feature = "testing")]
pub use guard::GuardBug;
pub use guard::{CallError, External, Found, Guard, Guarded};
pub use hold::Hold;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) use hold::{Holds, name_for_locks, until_free};
pub use intent::Intent;
pub(crate) use key::shortened;
pub use key::{Key, MAX_KEY_BYTES};
pub use once::{Answer, Claim, DEFAULT_SWEEP, Once, Seen};
pub use outcome::Outcome;
pub(crate) use recent::Recent;
pub(crate) use reservation::{Holder, cause_of};
pub use reservation::{RESERVED, Reservation, reserve};
pub use sequence::{Mark, Origin, Sequence, Sequences};
pub(crate) use sequence::{place_of, places_of, sequence_of, stamp_of};
pub use stamped::Stamped;
pub use window::Window;

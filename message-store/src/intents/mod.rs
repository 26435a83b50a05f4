//! Intents: if several messages ask for one thing, the first has its effect, and the others are repeats.
//!
//! A [`Reservation`] of an [`Intent`] finds the repeat when a sender writes a new message for the same thing. [`Once`]
//! finds the repeat of a request from outside, by its [`Key`](crate::Key), within a [`Window`](crate::store::Window).

mod intent;
mod keys;
mod lease;
mod once;
mod reservation;
mod turns;

pub use intent::Intent;
#[cfg(feature = "testing")]
pub(crate) use keys::keys;
pub use once::{Answer, DEFAULT_SWEEP, Once};
pub use reservation::{RESERVED, Reservation, reserve};
pub(crate) use reservation::{ReservedBy, cause_of};

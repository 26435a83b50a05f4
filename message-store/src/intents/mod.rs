//! Intents: of several messages that mean one thing, the first has its effect.
//!
//! A sender that tries again with a new message is caught by the [`Reservation`] of its [`Intent`]; a request from
//! outside that comes again within a [`Window`](crate::store::Window), by its [`Key`](crate::Key), with [`Once`].

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
pub(crate) use reservation::{Holder, cause_of};
pub use reservation::{RESERVED, Reservation, reserve};

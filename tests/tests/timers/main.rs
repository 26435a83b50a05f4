//! Timers: set with the reaction that asks for them, and fired once.
#![allow(missing_docs, clippy::unwrap_used)]

mod many;
mod reactions;
mod services;

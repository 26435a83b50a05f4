//! Moves of a component to another store.
#![allow(missing_docs)]

mod at_random;
mod copied_origins;
mod exported;
mod met_again;
mod to_another_store;
mod verified;

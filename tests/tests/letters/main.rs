//! Dead letters: set aside, shown, decided, moved, and never lost.
#![allow(missing_docs)]

mod after_moves;
mod archived;
mod at_random;
mod checkpoints;
mod copied;
mod delivered_again;
mod many;
mod queries;
mod set_aside;

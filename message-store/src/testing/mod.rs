//! Tools for tests of components and backends (feature `testing`). Components need no database for their tests.
//!
//! Everything here panics when an expectation is not met, as tests do.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

pub mod conformance;
mod faulty;
mod golden;
#[cfg(feature = "sqlite")]
mod kit;
mod planted_bug;
mod timers;

pub use faulty::FaultyStore;
pub use golden::Golden;
#[cfg(feature = "sqlite")]
pub use kit::{
    Given, GivenMessages, GivenProcess, GivenStored, When, WhenApplied, WhenHandled, WhenReceived, WrittenTo,
    assert_snapshots, given, given_messages, given_process, given_stored, message_in, written_to,
};
pub use planted_bug::PlantedBug;
pub use timers::fire_timers;

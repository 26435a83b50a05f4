//! Tools for tests of components and backends (feature `testing`). Components need no database for their tests.
//!
//! Everything here panics when an expectation is not met, as tests do.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

pub mod conformance;
mod faulty;
#[cfg(feature = "sqlite")]
mod kit;
mod planted_bug;

pub use faulty::FaultyStore;
#[cfg(feature = "sqlite")]
pub use kit::{
    Given, GivenMessages, GivenProcess, When, WhenApplied, WhenReceived, given, given_messages, given_process,
};
pub use planted_bug::PlantedBug;

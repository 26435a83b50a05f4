//! Tools for tests of components and backends (feature `testing`). Components need no database for their tests.
//!
//! Everything here panics when an expectation is not met, as tests do.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

pub mod conformance;
mod faulty;
#[cfg(feature = "sqlite")]
mod kit;
mod planted_bug;
mod timers;

pub use faulty::FaultyStore;
#[cfg(feature = "sqlite")]
pub use kit::{Given, GivenProcess, When, WhenReceived, given, given_process};
pub use planted_bug::PlantedBug;
pub use timers::fire_timers;

//! For testing: components without a database of their own, and backends against the contract. (Feature `testing`.)
//!
//! Everything here panics when an expectation does not hold, as tests do.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

pub mod conformance;
mod faulty;
#[cfg(feature = "sqlite")]
mod kit;
mod planted_bug;

pub use faulty::FaultyStore;
#[cfg(feature = "sqlite")]
pub use kit::{Given, When, given};
pub use planted_bug::PlantedBug;

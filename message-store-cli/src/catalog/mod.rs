//! The commands that say what a store contains.

mod look;
mod stats;
mod streams;
mod types;

pub(crate) use stats::Stats;
pub(crate) use streams::Streams;
pub(crate) use types::Types;

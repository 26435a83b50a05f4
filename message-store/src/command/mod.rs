//! Handling messages: deciders, which are pure, and handlers, which may do anything; one way to write for both.

mod case;
mod contention;
mod context;
mod decide;
mod decider;
mod explain;
mod handler;
#[cfg_attr(not(feature = "testing"), allow(unreachable_pub))]
mod planted_bug;
mod stamp;

pub(crate) use contention::Contention;
pub use context::Context;
pub use decide::Decide;
pub use decider::Decider;
pub use explain::{Fact, Story};
pub use handler::Handler;
#[cfg(feature = "testing")]
pub use planted_bug::PlantedBug;
#[cfg(not(feature = "testing"))]
pub(crate) use planted_bug::PlantedBug;

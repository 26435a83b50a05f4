//! Consumers: read a category, hand each message to a handler, remember how far all is handled.

mod attempt;
mod dead_letters;
mod names;
mod pace;
mod partitions;
mod pause;
#[cfg_attr(not(feature = "testing"), allow(unreachable_pub))]
mod planted_bug;
mod position_store;
#[cfg_attr(not(feature = "testing"), allow(unreachable_pub))]
mod process;
mod running;
mod settings;
mod sheet;
mod suspects;
mod tally;
mod work;

pub use dead_letters::{DeadLetter, DeadLetters, LetterState, OnFailure};
#[cfg(feature = "testing")]
pub use planted_bug::PlantedBug;
#[cfg(not(feature = "testing"))]
pub(crate) use planted_bug::PlantedBug;
#[cfg(feature = "testing")]
pub use process::Process;
pub use running::Running;
pub use settings::Consumer;
pub use sheet::Sheet;
pub use tally::Tally;

//! Consumers: read a category, hand each message to a handler, remember how far all is handled.

mod attempt;
mod dead_letters;
mod names;
mod partitions;
mod position_store;
mod running;
mod settings;
mod sheet;
mod tally;
mod work;

pub use dead_letters::{DeadLetter, DeadLetters, LetterState, OnFailure};
pub use running::Running;
pub use settings::Consumer;
pub use sheet::Sheet;
pub use tally::Tally;

//! The contract of message stores, and what it speaks of.

mod append;
mod claim;
mod deduplication;
mod extension;
mod history;
mod hold;
mod message_store;
mod read;
mod step_stream;
mod wake_up;
mod window;

pub use append::{Append, AppendRequest, Appended, Place};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) use append::{Stored, written_before};
pub use claim::{Claim, ClaimRecord, WhenHeld};
pub use deduplication::Deduplication;
pub use extension::MessageStoreExt;
pub use history::History;
pub use hold::Hold;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) use hold::{Holds, name_for_locks, until_free};
pub use message_store::MessageStore;
pub use read::{Batch, DEFAULT_BATCH, Filter, GroupMember, Read, StreamRead};
pub(crate) use step_stream::{End, LastStep, NewStep, Overtaken, StepStream};
pub use wake_up::{WakeUp, WakeUps};
pub use window::Window;

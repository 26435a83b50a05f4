//! The contract of message stores, and the types in it.

mod append;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod append_metrics;
mod backlog;
mod checkpoints;
mod claim;
mod deduplication;
mod extension;
mod history;
mod leases;
mod message_store;
mod read;
mod read_models;
mod step_stream;
mod subscription;
mod wake_up;
mod window;

pub use append::{Append, AppendRequest, Appended, Place, Stored, written_before};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) use append_metrics::AppendMetrics;
pub use backlog::Backlog;
pub(crate) use checkpoints::{Checkpoint, Checkpoints, WhenToCheckpoint};
pub use claim::{Claim, ClaimRecord};
pub use deduplication::Deduplication;
pub use extension::MessageStoreExt;
pub use history::History;
pub use leases::{Fence, GroupRecord, Leases, MemberRecord, Membership, SlotRecord, SlotSave};
pub use message_store::MessageStore;
pub(crate) use read::slot_of;
pub use read::{Batch, DEFAULT_BATCH, Filter, GroupMember, Read, Slots, StreamRead};
#[cfg(feature = "testing")]
pub use read_models::ReadModelBug;
pub use read_models::{
    Advanced, Moved, OnApplyFailure, ReadModel, ReadModelVersion, ReadModels, Skipped, SqlTransaction, SqlValue,
    Update, VersionState,
};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) use read_models::{Database, OwnTransaction, Statements, Work, of_categories};
pub(crate) use step_stream::{End, LastStep, NewStep, Overtaken, StepStream};
pub use subscription::Subscription;
pub use wake_up::{WakeUp, WakeUps};
pub use window::Window;

//! The contract of message stores, and the types in it.

mod append;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod append_metrics;
mod archive;
mod backlog;
mod checkpoints;
mod claim;
mod condition;
mod conditions;
mod deduplication;
mod erasure;
mod extension;
mod history;
mod leases;
mod message_store;
mod position_before;
mod query;
mod read;
mod read_models;
mod service_reports;
mod snapshots;
mod standby_reads;
mod step_stream;
mod subscription;
mod timers;
mod wake_up;
mod window;

pub use append::{Append, AppendRequest, Appended, Place, Stored, written_before};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) use append_metrics::AppendMetrics;
pub use archive::{Archive, ArchiveRun, lacks_archived};
pub use backlog::Backlog;
pub(crate) use checkpoints::{Checkpoint, Checkpoints, WhenToCheckpoint};
pub use claim::{Claim, ClaimRecord};
#[cfg(feature = "sqlite")]
pub(crate) use condition::ConditionPart;
pub use condition::{Condition, LookedThrough};
pub use conditions::{Conditions, Matches};
pub use deduplication::Deduplication;
pub use erasure::{Erasure, ErasureRun, ErasureTarget, Redaction};
pub use extension::MessageStoreExt;
pub use history::{History, HistoryChange, LostMessage};
pub use leases::{Fence, GroupRecord, Leases, MemberRecord, Membership, SlotRecord, SlotSave};
pub use message_store::MessageStore;
pub(crate) use position_before::position_before;
pub use query::{MAX_QUERY_PARTS, Query, QueryItem};
pub use read::{Batch, DEFAULT_BATCH, Filter, GroupMember, Read, Slots, StreamBatch, StreamRead};
pub(crate) use read::{is_correlated_with, slot_of};
#[cfg(feature = "testing")]
pub use read_models::ReadModelBug;
pub use read_models::{
    Advanced, Moved, OnApplyFailure, ReadModel, ReadModelVersion, ReadModels, Skipped, SqlTransaction, SqlValue,
    Update, VersionState,
};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) use read_models::{Database, OwnTransaction, Statements, Work, of_categories};
pub use service_reports::{Connections, SavedReport, ServiceReports};
pub use snapshots::{Snapshot, SnapshotKey, Snapshots};
pub use standby_reads::StandbyReads;
pub(crate) use step_stream::{End, LastStep, NewStep, Overtaken, StepStream};
pub use subscription::Subscription;
#[cfg(feature = "postgres")]
pub(crate) use timers::LONGEST;
pub use timers::{Due, IfWaiting, Timer, TimerChange, TimerChanged, TimerKey, TimerQuery, Timers};
pub use wake_up::{WakeUp, WakeUps};
pub use window::Window;

//! Consumers. A consumer reads a category, delivers each message to a handler, and saves the position up to which it
//! has handled all messages. An updater does the same for a read model.

mod backoff;
#[allow(clippy::module_inception)]
mod consumer;
mod consumer_handle;
mod consumer_loop;
mod consumer_metrics;
mod consumer_status;
mod counted;
mod dead_letters;
mod deliver;
mod groups;
mod handled_through;
mod member;
mod names;
mod outages;
mod outcome_counts;
mod pace;
mod partitions;
mod pauses;
#[cfg_attr(not(feature = "testing"), allow(unreachable_pub))]
mod planted_bug;
mod position_store;
mod positions;
#[cfg_attr(not(feature = "testing"), allow(unreachable_pub))]
mod process;
mod sampling;
mod saved_progress;
mod settings;
mod startup_report;
mod suspects;
mod updater;
mod waits;

pub(crate) use backoff::Backoff;
pub use consumer::Consumer;
pub use consumer_handle::ConsumerHandle;
pub use consumer_status::ConsumerStatus;
pub use dead_letters::{
    DeadLetter, DeadLetters, ErrorClass, LetterFailure, LetterQuery, LetterState, OnFailure, Retried, WaitsFor,
};
pub use groups::{ElasticGroup, GroupStatus, SlotStatus};
pub use outages::Outage;
pub use outcome_counts::{OutcomeCounts, Repeat};
pub use pauses::{Pause, Pauses};
#[cfg(feature = "testing")]
pub use planted_bug::PlantedBug;
#[cfg(not(feature = "testing"))]
pub(crate) use planted_bug::PlantedBug;
pub use positions::{MoveTo, Positions, SavedPosition};
#[cfg(feature = "testing")]
pub use process::Process;
pub use startup_report::StartupReport;
pub use updater::{Updater, UpdaterHandle, UpdaterProgress, UpdaterStatus};

//! The store on SQLite, in a file or in memory. One thread writes, and several connections read at the same time.

mod append;
mod archive;
mod archive_changes;
mod blocking;
mod erasure;
mod erasure_changes;
mod failure;
mod lease_changes;
mod leases;
mod location;
mod matches;
mod migrate;
mod once;
mod open;
mod options;
mod read;
mod read_models;
mod readers;
mod report_changes;
mod service_reports;
mod snapshot_changes;
mod snapshots;
mod store;
mod timer_changes;
mod timers;
mod turns;
mod writer;

pub use options::SqliteOptions;
pub use store::SqliteStore;

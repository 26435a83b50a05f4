//! The store on PostgreSQL. It has Message DB's table and its own functions.

mod append;
mod append_apart;
mod append_one;
mod append_within;
mod archive;
mod batch_read;
mod check;
mod connection;
mod connections;
mod erasure;
mod failure;
mod foreign_transactions;
mod group_commit;
mod history;
mod horizon;
mod hosts;
mod indexes;
mod installation;
mod large_rows;
mod leases;
mod listen;
mod look_up;
mod matches;
mod message_db;
mod migrate;
mod migrations;
mod once;
mod open;
mod options;
mod planted_bug;
mod pool;
mod pooler;
mod prepared;
mod probes;
mod read;
mod read_models;
mod reconnects;
mod replication;
mod row;
mod rows;
mod schema;
mod sent_condition;
mod service_reports;
mod session;
mod silence;
mod snapshots;
mod sql_condition;
mod sql_value;
mod standby;
mod state;
mod statements;
mod store;
mod timer_changes;
mod timers;
mod tls;
#[cfg(feature = "tls")]
mod verification;

pub use check::{Check, CheckedItem, check};
pub use foreign_transactions::{OpenTransaction, open_transactions};
pub use installation::Installation;
pub use migrate::{adopt, migrate};
pub use options::PostgresOptions;
#[cfg(feature = "testing")]
pub use planted_bug::PlantedBug;
#[cfg(not(feature = "testing"))]
pub(crate) use planted_bug::PlantedBug;
pub use sql_condition::allow_sql_condition;
pub use store::PostgresStore;
/// The driver, in the version of [`PostgresStore::append_within`].
pub use tokio_postgres;

//! The SQLite store: a file, or memory. One thread writes, several read beside it.

mod blocking;
mod failure;
mod location;
mod migrate;
mod once;
mod open;
mod options;
mod read;
mod read_models;
mod readers;
mod store;
mod writer;

pub use options::SqliteOptions;
pub use store::SqliteStore;

//! The SQLite store: a file, or memory. One thread writes, several read beside it.

mod blocking;
mod failure;
mod location;
mod migrate;
mod once;
mod open;
mod options;
mod read;
mod readers;
mod store;
mod view;
mod writer;

pub use options::SqliteOptions;
pub use rusqlite::Transaction;
pub use store::SqliteStore;
pub use view::View;

//! The SQLite store: a file, or memory. One thread writes, several read beside it.

mod blocking;
mod failure;
mod location;
mod migrate;
mod once;
mod read;
mod readers;
mod store;
mod view;
mod writer;

pub use rusqlite::Transaction;
pub use store::SqliteStore;
pub use view::View;

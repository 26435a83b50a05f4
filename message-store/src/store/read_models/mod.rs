//! An optional part of a store: read models, in tables of the author's own in the same database.
//!
//! Problem: if a read model is changed before its position is saved, a crash between the two applies a message twice.
//! If it is changed afterwards, a crash loses the message. Fix: one transaction does both. Why two processes that update
//! one read model do no harm: each transaction locks the position first, and goes on only if the position is the one from
//! which its messages were read, and the version is in the state in which it was found. So a process that stood still
//! changes nothing after another has gone on.
//!
//! Versions: a new version is built beside the one that serves, and never passes it, so all that it applies has been
//! applied before, and has had its effects. The switch locks both positions, applies the last messages up to that of the
//! version that serves, and exchanges the two, in one transaction. So no reader sees an older state than before, and each
//! message has its effects once.

mod advance;
mod apply;
mod begin;
mod database;
mod moved;
mod operate;
#[cfg_attr(not(feature = "testing"), allow(unreachable_pub))]
mod planted_bug;
mod read_model;
#[allow(clippy::module_inception)]
mod read_models;
mod sql_value;
mod statements;
mod switch;
mod tables;
mod update;
mod version;

#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) use database::{Database, OwnTransaction, Work, of_categories};
pub use moved::Moved;
#[cfg(feature = "testing")]
pub use planted_bug::ReadModelBug;
#[cfg(not(feature = "testing"))]
use planted_bug::ReadModelBug;
pub use read_model::ReadModel;
pub use read_models::ReadModels;
pub use sql_value::{SqlTransaction, SqlValue};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) use statements::Statements;
pub use update::{Advanced, OnApplyFailure, Update};
pub use version::{ReadModelVersion, Skipped, VersionState};

//! Read models: versions, effects, failures, waits, and the updaters that keep them up to date.
#![allow(missing_docs)]

mod effects;
mod failures;
mod kit;
mod processes;
mod several_categories;
mod updaters;
mod versions;
mod waiting;

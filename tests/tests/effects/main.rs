//! Exactly one effect for each intent: decisions, sequences, reservations, guards, and the memory of entities.
#![allow(missing_docs, clippy::unwrap_used, clippy::default_trait_access)]

mod changed_messages;
mod chaos;
mod contention;
mod decisions;
mod deduplication;
mod delays;
mod entities;
mod executions;
mod explanations;
mod guards;
mod memory_behind;
mod other_writers;
mod processes;
mod repeats_in_batches;
mod reservations;
mod scenarios;
mod sequences;
mod snapshots;
mod uniqueness;

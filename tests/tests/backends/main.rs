//! The contract of a store, on each backend: the conformance suite, and what it does not ask.
#![allow(missing_docs)]

mod boundaries;
mod bounded_reads;
mod conditions_in_batches;
mod conformance_postgres;
mod conformance_sqlite;
mod contract_sketches;
mod database_errors;
mod given_up_calls;
mod group_commit;
mod large_messages;
mod lost_answers;
mod many_conditions;
mod sizes;
mod sqlite_files;
mod sqlite_turns;
mod statements_agree;
mod subscriptions;

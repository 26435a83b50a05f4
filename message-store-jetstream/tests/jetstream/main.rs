//! Tests of the store on NATS JetStream. They start servers of their own: see `message_store_tests::nats`.
#![allow(missing_docs, clippy::unwrap_used)]

mod answers;
mod boundaries;
mod boundaries_in_faults;
mod conformance;
mod console;
mod dead_letters;
mod elastic_groups;
mod faults;
mod foreign_answers;
mod foreign_records;
mod full_log;
mod given_up;
mod harm;
mod killed_in_a_batch;
mod leases;
mod ledger;
mod memory;
mod memory_behind;
mod missing_answers;
mod names;
mod opening;
mod parts;
mod racers;
mod restored_log;
mod secured;

//! Tests of the store on NATS JetStream. They start servers of their own: see `message_store_tests::nats`.
#![allow(missing_docs, clippy::unwrap_used)]

mod answers;
mod boundaries;
mod conformance;
mod faults;
mod memory;
mod opening;
mod secured;

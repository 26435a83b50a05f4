//! Tests of the store on NATS JetStream. They start servers of their own: see [`server`].
#![allow(missing_docs, clippy::unwrap_used)]

mod cluster;
mod conformance;
mod faults;
mod server;

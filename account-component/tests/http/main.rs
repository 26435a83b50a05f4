//! The service over HTTP, on both stores. Every answer is checked against the service's own description.
#![allow(clippy::unwrap_used)]

mod client;
mod described;
mod preconditions;
mod requests;
mod served;
mod transfers;

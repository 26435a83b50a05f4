//! The conformance suite on the PostgreSQL store.
#![allow(missing_docs)]

message_store::conformance_tests!(message_store_tests::subjects::Postgres::new().await);

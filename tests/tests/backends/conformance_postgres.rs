//! The conformance suite on the PostgreSQL store, directly and through a pooler.
#![allow(missing_docs)]

mod direct {
    message_store::conformance_tests!(message_store_tests::subjects::Postgres::new().await);
}

mod behind_pooler {
    message_store::conformance_tests!(message_store_tests::subjects::Postgres::behind_pooler().await);
}

//! The conformance suite on the SQLite store, in a file and in memory.
#![allow(missing_docs)]

mod file {
    message_store::conformance_tests!(message_store_tests::subjects::SqliteFile::new().await);
}

mod memory {
    message_store::conformance_tests!(message_store_tests::subjects::SqliteMemory::new().await);
}

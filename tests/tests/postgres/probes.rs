//! What a store tries at its start, and refuses.
#![allow(missing_docs, clippy::unwrap_used)]

use message_store::postgres::{PlantedBug, PostgresOptions};
use message_store::{Error, connect};
use message_store_tests::postgres::TestDatabase;

/// The twin of the probe: with locks that two sessions can take, the store is not opened.
#[tokio::test]
async fn a_server_whose_locks_do_not_exclude_is_refused() {
    let database = TestDatabase::create().await;
    let options = || PostgresOptions::from_url(database.url()).unwrap();
    options().open().await.unwrap();
    let refused = options().plant(PlantedBug::LocksExcludeNobody).open().await.err().unwrap();
    assert!(matches!(refused, Error::Unsupported { .. }), "{refused}");
    assert!(refused.to_string().contains("advisory locks do not exclude"), "{refused}");
}

#[tokio::test]
async fn a_sequence_from_which_sessions_draw_in_advance_is_refused() {
    let database = TestDatabase::create().await;
    for (change, text) in [("CACHE 32", "draws 32 positions in advance"), ("CACHE 1 INCREMENT 2", "count up by one")] {
        database.execute(&format!("ALTER SEQUENCE message_store.messages_global_position_seq {change}")).await;
        let refused = connect(database.url()).await.err().unwrap();
        assert!(matches!(refused, Error::Schema { .. }), "{refused}");
        assert!(refused.to_string().contains(text), "{refused}");
    }
}

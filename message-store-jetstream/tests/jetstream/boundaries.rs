//! Conditions of appends that race, through several servers: of writers with one boundary, one writes.

use std::sync::Arc;

use futures_util::future::join_all;
use message_store::store::QueryItem;
use message_store::{
    Append, AppendRequest, Category, Error, GlobalPosition, Json, MessageStore, NewMessage, Read, StreamName,
};
use message_store_jetstream::{JetstreamOptions, JetstreamStore, PlantedBug};
use message_store_tests::nats::Cluster;
use message_store_tests::random::setting;

const RACERS: usize = 64;

/// Lets racers of two handles append, each unless a message of either category stands behind a position. Returns the greatest
/// number of messages that one round has written.
async fn race(bug: Option<PlantedBug>, rounds: u64) -> usize {
    let url = Cluster::shared().store();
    let open = async || {
        let options = JetstreamOptions::from_url(&url).unwrap();
        let options = bug.into_iter().fold(options, JetstreamOptions::plant);
        Arc::new(JetstreamStore::open_with(options).await.unwrap()) as Arc<dyn MessageStore>
    };
    let stores = [open().await, open().await];
    let categories = ["x", "y"].map(|name| Category::new(name).unwrap());
    let (mut after, mut most) = (GlobalPosition::ZERO, 0);
    for round in 0..rounds {
        let racers = (0..RACERS).map(|racer| {
            let stream = StreamName::new(format!("{}-{round}n{racer}", categories[racer % 2])).unwrap();
            let query = QueryItem::of(categories[0].clone()).or_of(categories[1].clone());
            let append = Append::to(stream).message(NewMessage::new("Taken", Json::NULL));
            let request = AppendRequest::from(append).unless(query.after(after));
            let store = Arc::clone(&stores[racer / 2 % 2]);
            tokio::spawn(async move { store.append(request).await })
        });
        for raced in join_all(racers).await {
            let raced = raced.unwrap();
            assert!(matches!(raced, Ok(_) | Err(Error::ConditionFailed { .. })), "{raced:?}");
        }
        let written = stores[0].read_all(Read::from(after.next())).await.unwrap().messages;
        assert!(!written.is_empty(), "nobody wrote in round {round}");
        most = most.max(written.len());
        after = written[written.len() - 1].global_position;
    }
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_racers_with_one_boundary_one_writes_in_each_round() {
    assert_eq!(race(None, setting("MESSAGE_STORE_NATS_ROUNDS").unwrap_or(10)).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twin_with_conditions_that_are_checked_before_the_append_several_write() {
    assert!(race(Some(PlantedBug::ConditionsAreCheckedBefore), 1).await > 1);
}

//! Racers with one boundary while servers are killed and paused, and connections are cut: in each round one of them writes, and
//! all of them know who. `MESSAGE_STORE_NATS_FAULTS` names the faults (see [`faults`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use message_store::store::QueryItem;
use message_store::{
    Append, AppendRequest, Category, Error, GlobalPosition, Json, MessageStore, NewMessage, Read, StreamName,
};
use message_store_jetstream::JetstreamStore;
use message_store_tests::nats::{Cluster, Flush};
use message_store_tests::random::Random;

use super::harm::{Proxied, faults};

const RACERS: usize = 12;
const HANGS: Duration = Duration::from_mins(3);

/// Appends until it is known whether the request was written.
async fn settled(store: &dyn MessageStore, request: AppendRequest) -> bool {
    let begun = Instant::now();
    loop {
        match store.append(request.clone()).await {
            Ok(_) => return true,
            Err(Error::ConditionFailed { .. }) => return false,
            Err(error) => assert!(error.is_transient() && begun.elapsed() < HANGS, "{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_racers_with_one_boundary_one_writes_also_while_servers_are_killed() {
    let named = std::env::var("MESSAGE_STORE_NATS_FAULTS");
    let faults = faults(named.as_deref().unwrap_or("leader-killed,leader-paused"));
    let mut proxied = Proxied::new(Cluster::start(Flush::Later)).await;
    let url = proxied.url(&proxied.cluster.store());
    let mut handles = Vec::new();
    for _ in 0..3 {
        handles.push(Arc::new(JetstreamStore::open(&url).await.unwrap()) as Arc<dyn MessageStore>);
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&is_over);
    let rounds = tokio::spawn(async move {
        let category = Category::new("place").unwrap();
        let (mut after, mut round) = (GlobalPosition::ZERO, 0);
        while !ended.load(Ordering::SeqCst) {
            let racers = (0..RACERS).map(|racer| {
                let stream = StreamName::new(format!("place-{round}n{racer}")).unwrap();
                let append = Append::to(stream).message(NewMessage::new("Taken", Json::NULL));
                let request = AppendRequest::from(append).unless(QueryItem::of(category.clone()).after(after));
                let store = Arc::clone(&handles[racer % handles.len()]);
                tokio::spawn(async move { settled(&*store, request).await })
            });
            let told = join_all(racers).await.into_iter().filter(|is_written| *is_written.as_ref().unwrap()).count();
            let written = loop {
                match handles[0].read_all(Read::from(after.next())).await {
                    // A leader that was paused may answer with what it knew.
                    Ok(batch) if batch.messages.is_empty() => {}
                    Ok(batch) => break batch.messages,
                    Err(error) => assert!(error.is_transient(), "{error}"),
                }
            };
            assert_eq!((told, written.len()), (1, 1), "in round {round}: {written:?}");
            after = written[0].global_position;
            round += 1;
        }
        round
    });
    // No fault depends on how far the racers are.
    proxied.harm(&url, &mut Random(7), &faults, &AtomicBool::new(false)).await;
    is_over.store(true, Ordering::SeqCst);
    println!("{} rounds during {} faults", rounds.await.unwrap(), faults.len());
}

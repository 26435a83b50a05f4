//! Racers of several processes on three servers: of those that want one thing, one gets it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use message_store::store::{Claim, Window};
use message_store::{
    Append, AppendRequest, Appended, Error, ExpectedVersion, Json, Key, MessageId, MessageStore, NewMessage, Position,
    Read, StreamName,
};
use message_store_jetstream::JetstreamStore;
use message_store_tests::nats::Cluster;

const RACERS: usize = 64;
const ROUNDS: usize = 5;

/// Handles of one store. Each remembers what it has seen by itself.
async fn handles() -> Vec<Arc<dyn MessageStore>> {
    let url = Cluster::shared().store();
    let mut handles = Vec::new();
    for _ in 0..4 {
        handles.push(Arc::new(JetstreamStore::open(&url).await.unwrap()) as Arc<dyn MessageStore>);
    }
    handles
}

/// Lets racers append at once, in turns of the handles.
async fn race(
    handles: &[Arc<dyn MessageStore>],
    request: impl Fn(usize) -> AppendRequest,
) -> Vec<Result<Appended, Error>> {
    let racers = (0..RACERS).map(|racer| {
        let (store, request) = (Arc::clone(&handles[racer % handles.len()]), request(racer));
        tokio::spawn(async move { store.append(request).await })
    });
    join_all(racers).await.into_iter().map(Result::unwrap).collect()
}

fn stream(name: String) -> StreamName {
    StreamName::new(name).unwrap()
}

async fn count(store: &dyn MessageStore) -> usize {
    store.read_all(Read::default().limit(1_000)).await.unwrap().messages.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_racers_with_one_id_for_different_streams_one_writes() {
    let handles = handles().await;
    for round in 0..ROUNDS {
        let id = MessageId::new();
        let raced = race(&handles, |racer| {
            let message = NewMessage::new("Taken", Json::NULL).with_id(id);
            Append::to(stream(format!("place-{round}n{racer}"))).message(message).into()
        });
        let raced = raced.await;
        let written = raced.iter().filter(|result| result.is_ok()).count();
        let refused = raced.iter().filter(|result| matches!(result, Err(Error::IdConflict { .. }))).count();
        assert_eq!((written, refused), (1, RACERS - 1), "{raced:?}");
        assert_eq!(count(&*handles[0]).await, round + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racers_with_the_same_message_get_the_same_place_and_one_has_written_it() {
    let handles = handles().await;
    for round in 0..ROUNDS {
        let message = NewMessage::new("Taken", Json::NULL).with_id(MessageId::new());
        let raced =
            race(&handles, |_| Append::to(stream(format!("place-{round}"))).message(message.clone()).into()).await;
        let appended: Vec<_> = raced.into_iter().map(Result::unwrap).collect();
        assert_eq!(appended.iter().filter(|appended| !appended.already_written).count(), 1);
        assert!(appended.iter().all(|one| one.written == appended[0].written));
        assert_eq!(count(&*handles[0]).await, round + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_racers_at_one_version_of_one_stream_among_others_one_writes() {
    let handles = handles().await;
    for round in 0..ROUNDS {
        let raced = race(&handles, |racer| {
            let own = Append::to(stream(format!("own-{round}n{racer}"))).message(NewMessage::new("Tried", Json::NULL));
            let expected = if round == 0 {
                ExpectedVersion::NoStream
            } else {
                ExpectedVersion::Exact(Position::new(i64::try_from(round).unwrap() - 1))
            };
            let shared = Append::to(stream("shared-1".to_owned())).expecting(expected);
            vec![own, shared.message(NewMessage::new("Taken", Json::NULL))].into()
        });
        let raced = raced.await;
        let written = raced.iter().filter(|result| result.is_ok()).count();
        let refused = raced.iter().filter(|result| matches!(result, Err(Error::WrongExpectedVersion { .. }))).count();
        assert_eq!((written, refused), (1, RACERS - 1), "{raced:?}");
        assert_eq!(count(&*handles[0]).await, 2 * (round + 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_racers_for_one_key_one_takes_it_and_the_others_get_its_answer() {
    let handles = handles().await;
    for round in 0..ROUNDS {
        let racers = (0..RACERS).map(|racer| {
            let store = Arc::clone(&handles[racer % handles.len()]);
            tokio::spawn(async move {
                let key = Key::new(format!("webhook {round}")).unwrap();
                let claim = Claim::new("hooks", key, "f", Window::of(Duration::from_hours(1)).unwrap());
                let append =
                    Append::to(stream(format!("place-{round}n{racer}"))).message(NewMessage::new("Taken", Json::NULL));
                store.deduplication().unwrap().append_once(&claim, append.into(), Json::encode(&racer).unwrap()).await
            })
        });
        let raced: Vec<_> = join_all(racers).await.into_iter().map(|raced| raced.unwrap().unwrap()).collect();
        let winners: Vec<_> = raced.iter().enumerate().filter(|(_, record)| record.is_none()).collect();
        let [(winner, None)] = winners[..] else { panic!("{winners:?}") };
        let answer = Json::encode(&winner).unwrap();
        assert!(raced.iter().flatten().all(|record| record.result == answer), "{raced:?}");
        assert_eq!(count(&*handles[0]).await, round + 1);
    }
}

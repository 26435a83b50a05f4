//! Names with any bytes, also those that mean something in a subject of NATS, are kept as they are.

use std::time::Duration;

use message_store::store::{Claim, Due, Membership, Snapshot, SnapshotKey, TimerChange, TimerKey, TimerQuery, Window};
use message_store::{
    Append, ExpectedVersion, GlobalPosition, Json, Key, MessageStore, NewMessage, Position, Read, StreamName,
    StreamRead,
};
use message_store_jetstream::JetstreamStore;
use message_store_tests::nats::Server;

/// Stream names; each is another stream.
fn names() -> Vec<String> {
    let mut names: Vec<_> = [
        "a",
        "a-",
        "a-+",
        "a-+b",
        "a-b",
        "a-b+",
        "a-b+c",
        "a-b+c+d",
        "a-b-c",
        "a-b.c",
        "a-b c",
        "a-b*",
        "a-b>",
        "a.b-c",
        "a*-c",
        ">-1",
        "*-*",
        ".",
        "..-..",
        " ",
        " - ",
        "a:b:c-1",
        "a:b-1+2",
        "=",
        "==-==",
        "=-=",
        "a=2D-b",
        "$JS.API-1",
        "A-b",
        "ä-ö+ü",
        "\t-\r\n",
        "\u{7f}-\u{1}",
        "\u{1f980}-\u{1f980}",
        "a-%2F",
        "m.i.c.d-1",
    ]
    .map(str::to_owned)
    .into();
    for sign in [".", ">", "*", "\u{1f980}"] {
        names.push(sign.repeat(255 / sign.len()));
        names.push(format!("a-{}", sign.repeat(253 / sign.len())));
    }
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_stream_name_is_kept_and_is_another_stream() {
    let url = Server::shared().store();
    let store = JetstreamStore::open(&url).await.unwrap();
    let streams: Vec<_> = names().iter().map(|name| StreamName::new(name).unwrap()).collect();
    for stream in &streams {
        let data = Json::encode(stream.as_str()).unwrap();
        let append = Append::to(stream.clone()).expecting(ExpectedVersion::NoStream);
        store.append(append.message(NewMessage::new("Named", data)).into()).await.unwrap();
    }
    // By a process that remembers nothing.
    let store = JetstreamStore::open(&url).await.unwrap();
    let mut categories: Vec<_> = streams.iter().map(StreamName::category).collect();
    categories.sort_unstable();
    categories.dedup();
    assert_eq!(store.categories(None, 1_000).await.unwrap(), categories);
    let all = store.read_all(Read::default().limit(1_000)).await.unwrap().messages;
    assert_eq!(all.iter().map(|message| message.stream.clone()).collect::<Vec<_>>(), streams);
    for stream in &streams {
        let read = store.read_stream(stream, StreamRead::default()).await.unwrap();
        let [message] = &read[..] else { panic!("{stream:?}: {read:?}") };
        assert_eq!(message.data.decode::<String>().unwrap(), stream.as_str());
        assert_eq!(store.message(message.id).await.unwrap().unwrap().stream, *stream);
        let in_category = store.read_category(&stream.category(), Read::default().limit(1_000)).await.unwrap().messages;
        let expected = streams.iter().filter(|other| other.category() == stream.category());
        assert!(in_category.iter().map(|message| &message.stream).eq(expected), "{stream:?}");
        let backlog = store.backlog(&stream.category(), GlobalPosition::ZERO).await.unwrap();
        assert_eq!(backlog.messages, in_category.len() as u64);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_name_of_a_key_a_timer_a_group_and_a_snapshot_is_kept() {
    let url = Server::shared().store();
    let store = JetstreamStore::open(&url).await.unwrap();
    let (keys, timers) = (store.deduplication().unwrap(), store.timers().unwrap());
    let (leases, snapshots) = (store.leases().unwrap(), store.snapshots().unwrap());
    let in_an_hour = Due::After(Duration::from_hours(1));
    for name in names() {
        let stream = StreamName::new(&name).unwrap();
        let claim = Claim::new(&name, Key::new(&name).unwrap(), "f", Window::of(Duration::from_hours(1)).unwrap());
        let result = Json::encode(&name).unwrap();
        assert_eq!(keys.append_once(&claim, Vec::<Append>::new().into(), result.clone()).await.unwrap(), None);
        assert_eq!(keys.record(&claim).await.unwrap().unwrap().result, result);
        let key = TimerKey::new(stream.clone(), name.clone());
        let set = TimerChange::set(key, in_an_hour, stream.clone(), NewMessage::new("TimeOut", Json::NULL));
        timers.change(vec![set]).await.unwrap();
        leases.create_group(&name, vec![result.clone()]).await.unwrap();
        assert!(leases.renew(&Membership::new(&name, &name), Duration::from_hours(1), true).await.unwrap());
        let group = leases.group(&name).await.unwrap();
        assert_eq!((group.members[0].name.as_str(), &group.slots[0].progress), (name.as_str(), &result));
        let key = SnapshotKey { stream, projection: name.clone(), fingerprint: name.clone() };
        let snapshot = Snapshot { position: Position::FIRST, content: name.clone() };
        snapshots.save(&key, &snapshot, store.history()).await.unwrap();
        assert_eq!(snapshots.load(&key).await.unwrap(), Some(snapshot));
    }
    let mut expected = names();
    expected.sort_unstable();
    assert_eq!(leases.groups().await.unwrap(), expected);
    let listed = timers.list(TimerQuery::new().limit(1_000)).await.unwrap();
    let mut listed: Vec<_> =
        listed.into_iter().map(|timer| (timer.key.stream.as_str().to_owned(), timer.key.name)).collect();
    listed.sort_unstable();
    assert_eq!(listed, expected.iter().map(|name| (name.clone(), name.clone())).collect::<Vec<_>>());
    for name in names() {
        snapshots.remove(&StreamName::new(&name).unwrap()).await.unwrap();
    }
}

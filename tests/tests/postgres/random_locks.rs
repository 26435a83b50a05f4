//! Random appends of several processes, while other sessions lock categories, callers go away and ids repeat.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use message_store::{
    Append, Appended, Error, ExpectedVersion, Json, MessageId, MessageStore, NewMessage, Position, StreamName, Version,
    connect,
};
use message_store_tests::message_db::connect as client;
use message_store_tests::postgres::TestDatabase;
use message_store_tests::random::{Random, setting};

const STORES: usize = 3;
const CALLERS: usize = 24;
const CALLS: usize = 25;
const CATEGORIES: usize = 5;

type Answer = (Vec<Append>, Option<Result<Appended, Error>>);

fn request(random: &mut Random) -> Vec<Append> {
    let mut categories: Vec<usize> = (0..=random.below(3)).map(|_| random.below(CATEGORIES)).collect();
    categories.sort_unstable();
    categories.dedup();
    let append = |category: usize, random: &mut Random| {
        let stream = StreamName::new(format!("c{category}-{}", random.below(4))).unwrap();
        let messages = (0..=random.below(2)).map(|_| NewMessage::new("T", Json::parse("{\"a\":1}").unwrap()));
        let expected = match random.below(6) {
            0 => ExpectedVersion::NoStream,
            1 => ExpectedVersion::from(Version::at(Position::new(i64::try_from(random.below(20)).unwrap()))),
            _ => ExpectedVersion::Any,
        };
        Append::to(stream).expecting(expected).messages(messages)
    };
    categories.into_iter().map(|category| append(category, random)).collect()
}

/// One caller: some appends, of which some are repeated, and some are given up.
async fn call(store: Arc<dyn MessageStore>, mut random: Random) -> Vec<Answer> {
    let mut answers: Vec<Answer> = Vec::new();
    for _ in 0..CALLS {
        let repeated = (!answers.is_empty() && random.below(5) == 0).then(|| answers[answers.len() - 1].0.clone());
        let appends = repeated.unwrap_or_else(|| request(&mut random));
        let answer = store.append(appends.clone().into());
        let patience = if random.below(8) == 0 { random.below(20) as u64 } else { 60_000 };
        let answer = tokio::time::timeout(Duration::from_millis(patience), answer).await;
        assert!(answer.is_ok() || patience < 60_000, "an append was never answered: {appends:?}");
        answers.push((appends, answer.ok()));
    }
    answers
}

async fn run(seed: u64) {
    let database = TestDatabase::create().await;
    let mut random = Random(seed);
    let stores = join_all((0..STORES).map(|_| connect(database.url()))).await;
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let store = Arc::clone(stores[caller % STORES].as_ref().unwrap());
            tokio::spawn(call(store, Random(seed ^ ((caller as u64 + 1) << 32))))
        })
        .collect();
    // A session that keeps a category for a while, again and again, and one that writes as Message DB's clients do.
    let locker = client(database.url(), None).await;
    let mut foreign = 0;
    while callers.iter().any(|caller| !caller.is_finished()) {
        let (category, pause) = (random.below(CATEGORIES), random.below(160));
        let write =
            format!("SELECT message_store.write_message(gen_random_uuid()::varchar, 'c{category}-1', 'F', '{{}}')");
        locker.batch_execute(&format!("BEGIN; {write}")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(pause as u64)).await;
        let is_kept = random.below(2) == 0;
        locker.batch_execute(if is_kept { "COMMIT" } else { "ROLLBACK" }).await.unwrap();
        foreign += i64::from(is_kept);
    }
    let answers: Vec<Answer> =
        join_all(callers).await.into_iter().flat_map(|answers| answers.expect("no caller panics")).collect();

    let rows = "SELECT id, stream_name, position, global_position FROM message_store.messages ORDER BY global_position";
    let mut places: HashMap<MessageId, (String, i64, i64)> = HashMap::new();
    let mut streams: BTreeMap<String, i64> = BTreeMap::new();
    for row in locker.query(rows, &[]).await.unwrap() {
        let (stream, position): (String, i64) = (row.get(1), row.get(2));
        let next = streams.entry(stream.clone()).or_default();
        assert_eq!(position, *next, "seed {seed}: {stream} has a gap, or its global positions are out of order");
        *next += 1;
        places.insert(MessageId::from_uuid(row.get(0)), (stream, position, row.get(3)));
    }
    let mut written_ids = 0;
    let mut is_counted: HashMap<MessageId, bool> = HashMap::new();
    for (appends, answer) in &answers {
        let messages =
            || appends.iter().flat_map(|append| append.messages.iter().map(|message| (&append.stream, message.id)));
        let found: Vec<_> = messages().map(|(_, id)| places.get(&id)).collect();
        assert!(
            found.iter().all(Option::is_some) || found.iter().all(Option::is_none),
            "seed {seed}: half of an append is written: {appends:?}"
        );
        if let Some(Ok(appended)) = answer {
            for (((stream, _), found), told) in messages().zip(&found).zip(&appended.written) {
                let (name, position, global_position) = found.expect("an acknowledged message is there");
                assert_eq!(name, stream.as_str());
                assert_eq!(
                    (*position, *global_position),
                    (told.position.get(), told.global_position.get()),
                    "seed {seed}"
                );
            }
        }
        let is_repeat =
            answers.iter().filter(|(other, _)| other[0].messages[0].id == appends[0].messages[0].id).count() > 1;
        if let (Some(Err(error)), false) = (answer, is_repeat) {
            assert!(matches!(error, Error::WrongExpectedVersion { .. }), "seed {seed}: {error:?}");
            assert!(found.iter().all(Option::is_none), "seed {seed}: a refused append is written: {error}");
        }
        if found.iter().all(Option::is_some) && is_counted.insert(appends[0].messages[0].id, true).is_none() {
            written_ids += found.len();
        }
    }
    assert_eq!(i64::try_from(places.len()).unwrap(), i64::try_from(written_ids).unwrap() + foreign, "seed {seed}");
}

/// `LOCKS_SEED` chooses the first seed, and `LOCKS_RUNS` the number of runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_appends_beside_locked_categories_have_one_right_answer_each() {
    let first = setting("LOCKS_SEED").unwrap_or(1);
    for seed in first..first + setting("LOCKS_RUNS").unwrap_or(2) {
        run(seed).await;
    }
}

//! How long each screen takes on a large store. Run it alone, in release mode:
//!
//! ```sh
//! target/debug/postgres-for-tests cargo test --release -p message-store-console --test console -- --ignored --nocapture measured
//! ```
//!
//! `CONSOLE_MESSAGES` sets the number of messages (default 1,000,000).

use std::time::{Duration, Instant};

use message_store::operations::Search;
use message_store::{Append, Json, NewMessage, StreamName, connect};
use message_store_tests::postgres::TestDatabase;
use message_store_tests::random::setting;

use super::seeded::{Client, Seeded, Store, seed};

/// The number of messages of an append, which are those of one stream.
const STREAM: usize = 1_000;
/// How often each screen is opened.
const TIMES: usize = 21;

async fn fill(store: &Store, messages: usize) {
    let append = async |number: usize| {
        let stream = StreamName::new(format!("account0-filled{number}")).unwrap();
        let data = |at: usize| format!(r#"{{"depositId":"{number}/{at}","accountId":"{number}","amount":7.50}}"#);
        let messages = (0..STREAM).map(|at| NewMessage::new("Deposited", Json::parse(data(at)).unwrap()));
        store.append(messages.fold(Append::to(stream), Append::message).into()).await.map(drop)
    };
    for number in 0..messages / STREAM {
        append(number).await.unwrap();
    }
}

/// The median of the times that a call takes.
async fn median(mut call: impl AsyncFnMut()) -> Duration {
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let begun = Instant::now();
        call().await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    times[TIMES / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measured() {
    let messages = usize::try_from(setting("CONSOLE_MESSAGES").unwrap_or(1_000_000)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let database = TestDatabase::create().await;
    for url in [format!("sqlite:{}", folder.path().join("store.db").display()), database.url().to_owned()] {
        let store = connect(&url).await.unwrap();
        fill(&store, messages).await;
        let Seeded { deposits, .. } = seed(store.clone()).await;
        if !url.starts_with("sqlite") {
            database.execute("VACUUM ANALYZE message_store.messages").await;
        }
        let (client, kind) = (Client::new(&store), url.split(':').next().unwrap().to_owned());
        let message = format!("/messages/{}", deposits[0].id);
        let paths = [
            "/",
            "/categories",
            "/categories/account0",
            "/streams/account0-filled7",
            "/entities/account0-filled7",
            "/entities/account-7",
            &message,
            "/search",
            "/search?category=account0&text=none",
            "/consumers",
            "/dead-letters",
            "/repeats",
            "/tail",
        ];
        for path in paths {
            let time = median(async || drop(client.page(path).await)).await;
            println!("{kind}, {messages} messages: {path:<40} {:>8.1} ms", time.as_secs_f64() * 1_000.0);
        }
    }
}

/// The first page of a search among 10 million messages on PostgreSQL, as `message-store search` looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measured_search() {
    let messages = setting("SEARCH_MESSAGES").unwrap_or(10_000_000);
    let database = TestDatabase::create().await;
    let store = connect(database.url()).await.unwrap();
    for first in (0..messages).step_by(1_000_000) {
        let last = messages.min(first + 1_000_000) - 1;
        let fill = format!(
            "INSERT INTO message_store.messages (id, stream_name, position, type, data, metadata)
             SELECT gen_random_uuid(), 'account-' || (n / 10), n % 10, 'Deposited',
               jsonb_build_object('depositId', 'd' || n, 'amount', 7.50), jsonb_build_object('n', n)
             FROM generate_series({first}::bigint, {last}::bigint) AS n"
        );
        database.execute(&fill).await;
    }
    database.execute("VACUUM ANALYZE message_store.messages").await;
    let search = || Search::of(&store).look_at(20_000);
    let account = || message_store::Category::new("account").unwrap();
    let searches = [
        ("everything", search()),
        ("a text that no message has", search().text("nothing")),
        ("a text of the last message", search().text(format!("d{}\"", messages - 1))),
        ("a type that no message has, in a category", search().category(account()).types(["Opened"])),
        ("an entity of a category", search().category(account()).entity("900000")),
        ("the last minute", search().since(message_store::Timestamp::now() - jiff::SignedDuration::from_mins(1))),
    ];
    for (what, search) in searches {
        let time = median(async || drop(search.page(50).await.unwrap())).await;
        println!("postgres, {messages} messages: first page of {what}: {:.1} ms", time.as_secs_f64() * 1_000.0);
    }
}

//! What each screen shows, and its filters.

use axum::http::StatusCode;
use message_store::{Append, Json, NewMessage, StreamName, connect};
use message_store_console::Console;
use message_store_tests::accounts::Account;

use super::seeded::{Client, Seeded, on_both_stores};

fn assert_shows(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "{part:?} is not in {page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_screens_show_the_store() {
    on_both_stores(async |seeded: &Seeded| {
        let client = Client::new(&seeded.store);
        let id = |message: &message_store::Message| message.id.to_string();
        let overview = client.page("/").await;
        assert_shows(&overview, &["dead-letters", "accounts", "ended", "account:command", "duplicate"]);
        assert_shows(&client.page("/categories").await, &["account:command", "accountTransaction", "of consumers"]);
        let category = client.page("/categories/account:command").await;
        assert_shows(&category, &["DepositOnce", "account:command-7", "account:command-8", "6 messages"]);
        assert_shows(&client.page("/streams/account-7").await, &["Deposited", "amount", "&quot;amount&quot;"]);
        assert_shows(
            &client.page(&format!("/messages/{}", id(&seeded.deposits[0]))).await,
            &["<svg", "Deposited", "noon"],
        );
        assert_shows(
            &client.page("/consumers").await,
            &["account:command+position", "copy", "already processed", "stopped"],
        );
        assert_shows(&client.page("/dead-letters").await, &[&id(&seeded.parked[0]), "account:command-8", "set aside"]);
        assert_shows(&client.page("/repeats").await, &[&id(&seeded.repeat), &id(&seeded.deposits[1]), "duplicate"]);
        assert_shows(&client.page("/tail").await, &["refresh", "Deposited"]);
        assert_shows(&client.page("/search").await, &["Looked through", "Deposited"]);
        assert_shows(&client.page("/style.css").await, &["prefers-color-scheme"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_filter_is_in_the_url() {
    on_both_stores(async |seeded: &Seeded| {
        let client = Client::new(&seeded.store);
        let found = client.page("/search?category=account%3Acommand&type=DepositOnce&entity=7&text=d3&since=2020-01-01T00:00:00Z&until=&tag=").await;
        assert_shows(&found, &[&seeded.deposits[2].id.to_string()]);
        assert!(!found.contains(&seeded.deposits[0].id.to_string()));
        let none = client.page("/search?until=2020-01-01T00:00:00Z").await;
        assert!(!none.contains("Deposited"));
        assert!(!client.page("/consumers?category=other").await.contains("account:command"));
        assert!(client.page("/tail?category=account&paused=yes").await.contains("Deposited"));
        assert!(!client.page("/dead-letters?type=Other").await.contains("account:command-8"));
        assert!(!client.page("/repeats?outcome=conflict").await.contains(&seeded.repeat.id.to_string()));
        assert!(!client.page("/tail?category=account&paused=yes").await.contains("account:command-7"));
        assert!(!client.page("/tail?paused=yes").await.contains("refresh"));
        let by_id = client.get(&format!("/search?id={}", seeded.parked[0].id)).await;
        assert_eq!(by_id.headers["location"], format!("/messages/{}", seeded.parked[0].id));
        // Pages of a stream.
        assert!(!client.page("/streams/account-7?from=2").await.contains("?version=0"));
        assert_shows(&client.page("/categories/account:command?through=1").await, &["1 to 1 of"]);
        for (path, status) in [
            ("/search?since=noon", StatusCode::BAD_REQUEST),
            ("/search?after=many", StatusCode::BAD_REQUEST),
            ("/streams/none-1", StatusCode::NOT_FOUND),
            ("/entities/none-1", StatusCode::NOT_FOUND),
            ("/messages/none", StatusCode::BAD_REQUEST),
            ("/messages/01a22e4b-17ee-73c9-bb91-1f8d03f158e9", StatusCode::NOT_FOUND),
            ("/nowhere", StatusCode::NOT_FOUND),
            ("/search?type=%00", StatusCode::BAD_REQUEST),
            ("/categories/none", StatusCode::NOT_FOUND),
            (&format!("/categories/{}", "a".repeat(300)), StatusCode::BAD_REQUEST),
            (&format!("/search?category={}", "a".repeat(300)), StatusCode::BAD_REQUEST),
        ] {
            assert_eq!(client.get(path).await.status, status, "{path}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entity_is_shown_at_any_version() {
    on_both_stores(async |seeded: &Seeded| {
        let client = Client::new(&seeded.store);
        let last = client.page("/entities/account-7").await;
        assert_shows(
            &last,
            &["By the projection", "<dt>balance</dt><dd><code>23</code>", "<code>12</code> → ", "version 2"],
        );
        let second = client.page("/entities/account-7?version=1").await;
        assert_shows(&second, &["<dt>balance</dt><dd><code>12</code>", "After", "Before"]);
        let first = client.page("/entities/account-7?version=0").await;
        assert_shows(&first, &["<dt>balance</dt><dd><code>5</code>"]);
        // Without a projection, the fields of the events.
        let plain = Client::of(Console::new(&seeded.store));
        assert_shows(
            &plain.page("/entities/account-7?version=1").await,
            &["no projection is known", "<dt>amount</dt><dd><code>7</code>"],
        );
        let hidden = Client::of(Console::new(&seeded.store).projection::<Account>().hide_data(true));
        for path in
            ["/entities/account-7", "/streams/account-7", "/search", &format!("/messages/{}", seeded.deposits[0].id)]
        {
            let page = hidden.page(path).await;
            assert!(page.contains("hidden") && !page.contains("noon") && !page.contains("<code>23</code>"), "{page}");
        }
        assert_eq!(hidden.get("/search?text=d3").await.status, StatusCode::BAD_REQUEST);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_entities_and_messages_make_no_large_page() {
    let store = connect("sqlite::memory:").await.unwrap();
    let fields: Vec<String> =
        (0..1_200).map(|number| format!(r#""{}{number}":"{}""#, "f".repeat(200), "&".repeat(500))).collect();
    let large = || NewMessage::new("T<".repeat(100), Json::parse(format!("{{{}}}", fields.join(","))).unwrap());
    for number in 0..60 {
        let stream = StreamName::new(format!("wide-{}", "&".repeat(240))).unwrap();
        let first = large();
        let id = first.id;
        store.append(Append::to(stream.clone()).message(first).into()).await.unwrap();
        if number == 59 {
            let client = Client::new(&store);
            let encoded = stream.as_str().replace('&', "%26");
            for path in [
                format!("/streams/{encoded}"),
                format!("/entities/{encoded}"),
                format!("/messages/{id}"),
                "/tail".to_owned(),
                "/search".to_owned(),
                "/categories/wide".to_owned(),
            ] {
                // (The client refuses what is too large.)
                client.page(&path).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entity_with_many_events_and_fields_is_shown_soon() {
    let store = connect("sqlite::memory:").await.unwrap();
    let stream = StreamName::new("grown-1").unwrap();
    for part in 0..10 {
        let event = |at: usize| {
            NewMessage::new(
                "Grown",
                Json::parse(format!(r#"{{"a{part}x{at}":1,"b{part}x{at}":2,"last":{at}}}"#)).unwrap(),
            )
        };
        store.append((0..1_000).map(event).fold(Append::to(stream.clone()), Append::message).into()).await.unwrap();
    }
    let client = Client::new(&store);
    // The work grows with the events, and not with their product with the fields: that took minutes.
    assert_shows(&client.page("/entities/grown-1").await, &["version 9999", "The first 100 of 20001 fields"]);
    assert_shows(&client.page("/entities/grown-1?version=5000").await, &["version 5000", "After"]);
}

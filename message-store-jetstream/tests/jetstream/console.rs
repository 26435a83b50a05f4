//! The console on this store: its screens show it, and its actions change it.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use message_store::consumer::{DeadLetters, LetterState, OnFailure, Pauses};
use message_store::{GlobalPosition, MessageStore};
use message_store_console::Console;
use message_store_jetstream::JetstreamStore;
use message_store_tests::accounts::{Account, Command, send};
use message_store_tests::marked::Marked;
use message_store_tests::nats::Server;
use tower::ServiceExt as _;

/// A client of a console.
struct Client(Router);

impl Client {
    async fn send(&self, line: &str, body: String) -> (StatusCode, String) {
        let (method, path) = line.split_once(' ').unwrap();
        let request = Request::builder().method(method).uri(path).header("host", "localhost:8090");
        let request = request.header("origin", "http://localhost:8090");
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let response = self.0.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    /// The page, which must show these parts.
    async fn page(&self, path: &str, parts: &[&str]) -> String {
        let (status, page) = self.send(&format!("GET {path}"), String::new()).await;
        assert_eq!(status, StatusCode::OK, "{path}: {page}");
        for part in parts {
            assert!(page.contains(part), "{part:?} is not in {path}: {page}");
        }
        page
    }

    /// Does what a form of the console asks for.
    async fn act(&self, action: &str, fields: &str) {
        let page = self.page("/consumers", &[]).await;
        let token = page.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        let (status, page) =
            self.send(&format!("POST /actions/{action}"), format!("form={token}&sure=yes&{fields}")).await;
        assert_eq!(status, StatusCode::SEE_OTHER, "{action}: {page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_screens_show_the_store_and_its_actions_change_it() {
    let store: Arc<dyn MessageStore> = Arc::new(JetstreamStore::open(&Server::shared().store()).await.unwrap());
    let deposit = send(&store, "account:command", "7", &Command::Deposit { amount: 23 }).await;
    let parked = [
        send(&store, "account:command", "8", &Command::Deposit { amount: 1 }).await,
        send(&store, "account:command", "9", &Command::Deposit { amount: 1 }).await,
    ];
    let handler = Marked::new(&store, None);
    for message in &parked {
        handler.fail(message);
    }
    let mut consumer = handler.start(&store, OnFailure::Park).await;
    consumer.wait_for(parked[1].global_position).await.unwrap();
    let _ = consumer.stop().await.unwrap();

    let client = Client(Console::new(&store).projection::<Account>().allow_actions(true).router());
    let [first, second] = parked.each_ref().map(|message| message.id.to_string());
    client.page("/", &["dead-letters", "account:command"]).await;
    client.page("/categories", &["account:command", "of consumers"]).await;
    client.page("/categories/account:command", &["account:command-7", "3 messages"]).await;
    client.page("/streams/account-7", &["Deposited"]).await;
    client.page("/entities/account-7", &["<dt>balance</dt><dd><code>23</code>"]).await;
    client.page(&format!("/messages/{}", deposit.id), &["<svg", "Deposited"]).await;
    client.page("/consumers", &["account:command+position"]).await;
    client.page("/dead-letters", &[&first, &second, "set aside"]).await;
    client.page("/search?category=account", &["Deposited"]).await;
    client.page("/tail", &["Deposited"]).await;

    let letters = DeadLetters::of(&store, "account:command", None).unwrap();
    let of = |id: &str| format!("category=account%3Acommand&identifier=&message={id}");
    client.act("retry", &of(&first)).await;
    client.act("discard", &format!("{}&why=a+test", of(&second))).await;
    let state = async |number: usize| letters.show(parked[number].id).await.unwrap().unwrap().state;
    assert_eq!(state(0).await, LetterState::Retrying);
    assert_eq!(state(1).await, LetterState::Discarded("a test".to_owned()));
    client.act("pause", "category=account%3Acommand&identifier=&why=look").await;
    let pauses = Pauses::of(&store, "account:command", None).unwrap();
    assert_eq!(pauses.current().await.unwrap().unwrap().reason, "look");
    client.act("resume", "category=account%3Acommand&identifier=").await;
    client.act("reset", "category=account%3Acommand&identifier=&to=0").await;
    let positions = message_store::consumer::Positions::of(&store, "account:command").unwrap();
    assert_eq!(positions.get(None, None).await.unwrap().position, GlobalPosition::ZERO);
}

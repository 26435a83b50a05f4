//! A store with a bit of everything, and a client of its console.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use message_store::consumer::{Consumer, OnFailure};
use message_store::service::Service;
use message_store::{Message, MessageStore, connect};
use message_store_console::Console;
use message_store_tests::accounts::{Account, Command, member, send};
use message_store_tests::marked::Marked;
use message_store_tests::postgres::TestDatabase;
use tower::ServiceExt as _;

pub(crate) type Store = Arc<dyn MessageStore>;

/// What was written.
pub(crate) struct Seeded {
    pub(crate) store: Store,
    /// Three deposits, of which the second is repeated by another message.
    pub(crate) deposits: Vec<Message>,
    pub(crate) repeat: Message,
    /// Two deposits that were set aside.
    pub(crate) parked: [Message; 2],
}

pub(crate) async fn seed(store: Store) -> Seeded {
    let once = |id: &str, amount| Command::DepositOnce { deposit_id: id.to_owned(), amount, time: "noon".to_owned() };
    let mut deposits = Vec::new();
    for (id, amount) in [("d1", 5), ("d2", 7), ("d3", 11)] {
        deposits.push(send(&store, "account:command", "7", &once(id, amount)).await);
    }
    let repeat = send(&store, "account:command", "7", &once("d2", 7)).await;
    let parked = [
        send(&store, "account:command", "8", &Command::Deposit { amount: 1 }).await,
        send(&store, "account:command", "9", &Command::Deposit { amount: 1 }).await,
    ];
    let handler = Marked::new(&store, None);
    for deposit in &parked {
        handler.fail(deposit);
    }
    let mut consumer = handler.start(&store, OnFailure::Park).await;
    consumer.wait_for(parked[1].global_position).await.unwrap();
    let _ = consumer.stop().await.unwrap();
    let consumer = Consumer::new("account:command", member(&store, None)).identifier("copy");
    let service = Service::new(&store).name("accounts").consumer(consumer).start().await.unwrap();
    while service.consumers()[0].handled_through() < parked[1].global_position {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    // Its last report has the repeats.
    service.stop();
    service.ended().await.unwrap();
    Seeded { store, deposits, repeat, parked }
}

pub(crate) async fn on_both_stores(test: impl AsyncFn(&Seeded)) {
    let folder = tempfile::tempdir().unwrap();
    let database = TestDatabase::create().await;
    for url in [format!("sqlite:{}", folder.path().join("store.db").display()), database.url().to_owned()] {
        test(&seed(connect(&url).await.unwrap()).await).await;
    }
}

pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// A client of a console.
pub(crate) struct Client(Router);

impl Client {
    pub(crate) fn new(store: &Store) -> Self {
        Self::of(Console::new(store).projection::<Account>())
    }

    pub(crate) fn of(console: Console) -> Self {
        Self(console.router())
    }

    pub(crate) async fn send(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answered {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.0.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert!(bytes.len() < 150_000, "{line} has {} bytes", bytes.len());
        Answered { status, headers, body: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answered {
        self.send(&format!("GET {path}"), &[("host", "localhost:8090")], "").await
    }

    /// The page, which must be there.
    pub(crate) async fn page(&self, path: &str) -> String {
        let answered = self.get(path).await;
        assert_eq!(answered.status, StatusCode::OK, "{path}: {}", answered.body);
        answered.body
    }
}

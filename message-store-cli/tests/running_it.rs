//! Runs every command of the guide's page "Running it", in the order of the page, on a new database.
#![allow(clippy::unwrap_used)]

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use message_store::consumer::{Consumer, ConsumerHandle, DeadLetters, ElasticGroup, LetterState, OnFailure};
use message_store::handling::{Context, Handler};
use message_store::store::{ReadModel, SqlTransaction};
use message_store::{
    Append, Category, GlobalPosition, Json, Message, MessageStore, NewMessage, Outcome, Source, StreamName, connect,
};
use message_store_tests::postgres::{LocalServer, Purpose, servers_are_left_out};

const PAGE: &str = include_str!("../../docs/guide/src/running-it.md");

/// Fails each message, until the provider is back.
#[derive(Clone, Debug)]
struct Provider {
    name: &'static str,
    is_back: Arc<AtomicBool>,
}

#[async_trait]
impl Handler for Provider {
    fn name(&self) -> &'static str {
        self.name
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec!["Deposit"]
    }

    async fn handle(&self, _: &Message, _: &Context<'_>) -> Result<Outcome, Source> {
        if self.is_back.load(Ordering::SeqCst) { Ok(Outcome::Ignored) } else { Err("connection refused".into()) }
    }
}

struct Balances;

#[async_trait]
impl ReadModel for Balances {
    fn name(&self) -> &'static str {
        "balances"
    }

    async fn apply(&self, _: &mut dyn SqlTransaction, _: &Message) -> Result<(), Source> {
        Ok(())
    }
}

/// Writes to the table of the page.
struct OwnBalances;

#[async_trait]
impl ReadModel for OwnBalances {
    fn name(&self) -> &'static str {
        "own balances"
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        let sql = "INSERT INTO balances (account, balance) VALUES ($1, 0) ON CONFLICT DO NOTHING";
        transaction.execute(sql, &[message.stream.id().into()]).await?;
        Ok(())
    }
}

/// A service that has run for a while: with dead letters, a consumer that has stopped, and a read model.
struct Service {
    store: Arc<dyn MessageStore>,
    runs: ConsumerHandle,
    /// The letters, in the order of their messages. The last two are those of account 123.
    letters: Vec<Message>,
}

impl Service {
    async fn start(url: &str) -> Self {
        let store = connect(url).await.unwrap();
        let mut letters = Vec::new();
        for account in ["1", "2", "3", "123", "123"] {
            let message = NewMessage::new("Deposit", Json::parse(r#"{"amount":50}"#).unwrap());
            let id = message.id;
            let stream = StreamName::new(format!("account:command-{account}")).unwrap();
            store.append(Append::to(stream).message(message).into()).await.unwrap();
            letters.push(store.message(id).await.unwrap().unwrap());
        }
        let end = letters.last().unwrap().global_position;
        let provider = Provider { name: "provider", is_back: Arc::default() };
        let consumer = Consumer::new("account:command", provider.clone()).on_failure(OnFailure::Park).max_attempts(1);
        let mut runs = consumer.start(&store).await.unwrap();
        runs.wait_for(end).await.unwrap();
        provider.is_back.store(true, Ordering::SeqCst);
        let audit = Provider { name: "audit", ..provider };
        let audit = Consumer::new("account:command", audit).identifier("audit").start(&store).await;
        wait_and_stop(audit.unwrap(), end).await;
        let balances: Arc<dyn ReadModel> = Arc::new(Balances);
        store.read_models().unwrap().update(&balances, &Category::new("account:command").unwrap()).await.unwrap();
        Self { store, runs, letters }
    }

    async fn state(&self, number: usize) -> LetterState {
        let letters = DeadLetters::of(&self.store, "account:command", None).unwrap();
        letters.show(self.letters[number].id).await.unwrap().unwrap().state
    }
}

async fn wait_and_stop(mut consumer: ConsumerHandle, end: GlobalPosition) {
    consumer.wait_for(end).await.unwrap();
    let _ = consumer.stop().await.unwrap();
}

/// The commands of the page: the blocks for a shell.
fn blocks(page: &str) -> Vec<&str> {
    page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The ids that stand for letters, in the order in which they come first.
fn ids(page: &str) -> Vec<&str> {
    let mut ids = Vec::new();
    for word in page.split_whitespace() {
        if word.len() == 36 && word.matches('-').count() == 4 && !ids.contains(&word) {
            ids.push(word);
        }
    }
    ids
}

/// A shell in which the page's commands run. The database and its server stand for those of the page.
struct Shell {
    folder: tempfile::TempDir,
    path: std::ffi::OsString,
    server: tokio_postgres::Config,
    exported: String,
}

impl Shell {
    fn new(server: &LocalServer) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_message-store")).parent().unwrap().to_owned();
        let places = [program, server.programs().to_owned()].into_iter();
        let rest = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(places.chain(std::env::split_paths(&rest))).unwrap();
        let (folder, server) = (tempfile::tempdir().unwrap(), server.url().parse().unwrap());
        Self { folder, path, server, exported: String::new() }
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.server.get_ports()[0])
    }

    /// Runs a block. Its variables stay for the blocks after it.
    fn run(&mut self, block: &str) -> Result<String, String> {
        let block = block.replace("postgres://localhost/", &self.url(""));
        let script = format!("set -euo pipefail\n{}{block}", self.exported);
        let output = Command::new("bash")
            .args(["-c", &script])
            .current_dir(self.folder.path())
            .env_remove("MESSAGE_STORE_URL")
            .env_remove("MESSAGE_STORE_CONTEXT")
            .env("MESSAGE_STORE_CONTEXTS", "none.toml")
            .envs([("PGHOST", "127.0.0.1"), ("PGUSER", "postgres")])
            .env("PGPORT", self.server.get_ports()[0].to_string())
            .env("PATH", &self.path)
            .output()
            .unwrap();
        self.exported.extend(block.lines().filter(|line| line.starts_with("export ")).map(|line| format!("{line}\n")));
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap());
        }
        Err(format!("{block}\n{}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// Runs the commands of a page. Returns the service in whose store they have run.
async fn run_page(page: &str, server: &LocalServer) -> Result<Service, String> {
    let mut shell = Shell::new(server);
    let mut service = None;
    for block in blocks(page) {
        if service.is_none() && block.contains("dead-letters list") {
            service = Some(Service::start(&shell.url("bank")).await);
        }
        let mut block = block.to_owned();
        if let Some(Service { letters, .. }) = &service {
            for (id, letter) in ids(page).into_iter().zip(letters) {
                block = block.replace(id, &letter.id.to_string());
            }
        }
        let printed = tokio::task::block_in_place(|| shell.run(&block))?;
        println!("{block}{printed}");
    }
    let identity = async |database: &str| connect(&shell.url(database)).await.unwrap().store_id();
    assert_ne!(identity("bank").await, identity("bank_copy").await);
    let as_service = shell.url("bank").replace("postgres@", "bank_service@");
    let stream = StreamName::new("account-9").unwrap();
    let append = Append::to(stream).message(NewMessage::new("Opened", Json::NULL));
    let store = connect(&as_service).await.unwrap();
    let opened = store.append(append.into()).await.unwrap().written[0].global_position;
    // It may also read, save positions and update read models.
    let handler = Provider { name: "as the service", is_back: Arc::new(AtomicBool::new(true)) };
    let consumer = Consumer::new("account", handler).identifier("service").elastic_group(ElasticGroup::new());
    let mut consumer = consumer.start(&store).await.unwrap();
    consumer.wait_for(opened).await.unwrap();
    let _ = consumer.stop().await.unwrap();
    let balances: Arc<dyn ReadModel> = Arc::new(OwnBalances);
    store.read_models().unwrap().update(&balances, &Category::new("account").unwrap()).await.unwrap();
    service.ok_or_else(|| "the page has no dead letters".to_owned())
}

async fn with_server<T>(test: impl AsyncFnOnce(&LocalServer) -> T) -> T {
    let server = LocalServer::start(Purpose::Measuring).await.unwrap();
    let result = AssertUnwindSafe(test(&server)).catch_unwind().await;
    server.stop().unwrap();
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_page_works_in_its_order() {
    if servers_are_left_out() {
        return;
    }
    with_server(async |server| {
        assert_eq!(ids(PAGE).len(), 2);
        let service = run_page(PAGE, server).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(matches!(service.state(0).await, LetterState::Resolved(_)), "{:?}", service.state(0).await);
        for discarded in [1, 3, 4] {
            let state = service.state(discarded).await;
            assert!(matches!(state, LetterState::Discarded { .. }), "{discarded}: {state:?}");
        }
        assert!(!matches!(service.state(2).await, LetterState::Resolved(_) | LetterState::Discarded { .. }));
        let edited = service.store.last_message(&service.letters[1].stream, None).await.unwrap().unwrap();
        assert_eq!(edited.data.as_str(), Some(r#"{"amount": 5}"#));
        service.runs.stop().await.unwrap();
    })
    .await;
}

/// The twin: a command that the program does not have is noticed.
#[tokio::test(flavor = "multi_thread")]
async fn twin_a_wrong_command_on_the_page_is_noticed() {
    if servers_are_left_out() {
        return;
    }
    with_server(async |server| {
        let wrong = PAGE.replacen("message-store check\n", "message-store checks\n", 1);
        let error = run_page(&wrong, server).await.err().unwrap();
        assert!(error.contains("unrecognized subcommand 'checks'"), "{error}");
    })
    .await;
}

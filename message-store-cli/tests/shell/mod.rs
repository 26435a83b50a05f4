//! Runs the program as an operator does, on each store.
#![allow(dead_code)]

use std::process::{Command, Output};
use std::sync::Arc;

use async_trait::async_trait;
use message_store::handling::{Context, Handler};
use message_store::{Message, MessageStore, Openers, Outcome, Source};
#[cfg(feature = "jetstream")]
use message_store_tests::nats::Server;
use message_store_tests::postgres::TestDatabase;
use serde_json::Value;

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_message-store"));
    command.env_remove("MESSAGE_STORE_URL").env_remove("MESSAGE_STORE_CONTEXT");
    command.env("MESSAGE_STORE_CONTEXTS", "/nonexistent/contexts.toml");
    command
}

/// One store.
pub(crate) struct Shell(pub(crate) String);

impl Shell {
    /// Opens the store.
    pub(crate) async fn open(&self) -> Arc<dyn MessageStore> {
        let openers = Openers::default();
        #[cfg(feature = "jetstream")]
        let openers = message_store_jetstream::register(openers);
        openers.open(&self.0).await.unwrap()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        program().args(arguments).env("MESSAGE_STORE_URL", &self.0).output().unwrap()
    }

    /// Runs the program, which must succeed. Returns its standard output.
    pub(crate) fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Vec<Value> {
        serde_json::from_str(&self.succeeds(&[arguments, &["-o", "json"]].concat())).unwrap()
    }

    /// Runs the program, which must end with this code. Returns its standard error.
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

pub(crate) fn types(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["type"].as_str().unwrap()).collect()
}

/// On the stores with SQL: they have an archive, and global positions without gaps.
pub(crate) async fn on_sql_stores(test: impl AsyncFn(&Shell)) {
    let folder = tempfile::tempdir().unwrap();
    let shell = Shell(format!("sqlite:{}", folder.path().join("store.db").display()));
    shell.succeeds(&["migrate"]);
    test(&shell).await;
    let database = TestDatabase::create().await;
    test(&Shell(database.url().to_owned())).await;
}

pub(crate) async fn on_each_store(test: impl AsyncFn(&Shell)) {
    on_sql_stores(&test).await;
    #[cfg(feature = "jetstream")]
    if let Some(server) = Server::shared_unless_left_out() {
        let shell = Shell(server.store());
        shell.succeeds(&["migrate"]);
        test(&shell).await;
    }
}

/// A handler that ignores every message.
pub(crate) struct Nothing;

#[async_trait]
impl Handler for Nothing {
    fn name(&self) -> &'static str {
        "Nothing"
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec![]
    }

    async fn handle(&self, _: &Message, _: &Context<'_>) -> Result<Outcome, Source> {
        Ok(Outcome::Ignored)
    }
}

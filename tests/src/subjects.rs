//! The backends, as subjects of the conformance suite.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use message_store::testing::conformance::{Cannot, Subject};
use message_store::{Append, MessageId, MessageStore, connect};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio_postgres::{Client, NoTls};

use crate::postgres::{Pooler, TestDatabase, poolers_are_left_out};

/// A store on a new PostgreSQL database.
#[derive(Debug)]
pub struct Postgres {
    database: TestDatabase,
    store: Arc<dyn MessageStore>,
    pooler: Option<Pooler>,
}

impl Postgres {
    /// Makes the store.
    pub async fn new() -> Self {
        Self::of(TestDatabase::create().await).await
    }

    /// Opens a store on this database.
    pub async fn of(database: TestDatabase) -> Self {
        let store = connect(&with_password(database.url())).await.unwrap();
        Self::with(database, store)
    }

    /// The subject for this database and a store that is open on it.
    pub fn with(database: TestDatabase, store: Arc<dyn MessageStore>) -> Self {
        Self { database, store, pooler: None }
    }

    /// Makes the store, and opens it through a pooler that hands out transactions.
    pub async fn behind_pooler() -> Self {
        if poolers_are_left_out() {
            return Self::new().await;
        }
        let database = TestDatabase::create().await;
        let pooler = Pooler::start(database.url(), 4, false).await;
        let store = connect(&with_password(&pooler.url(database.url()).unwrap())).await.unwrap();
        Self { database, store, pooler: Some(pooler) }
    }

    /// The URL with which the store is opened.
    fn url(&self) -> String {
        self.pooler
            .as_ref()
            .map_or_else(|| self.database.url().to_owned(), |pooler| pooler.url(self.database.url()).unwrap())
    }

    async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(self.database.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

/// A URL with a password. A server that needs no password ignores it.
fn with_password(url: &str) -> String {
    match password_in(url) {
        Some(_) => url.to_owned(),
        None => url.replacen('@', ":the-password-of-tests@", 1),
    }
}

fn password_in(url: &str) -> Option<String> {
    let config: tokio_postgres::Config = url.parse().unwrap();
    config.get_password().map(|password| String::from_utf8_lossy(password).into_owned())
}

#[async_trait]
impl Subject for Postgres {
    fn store(&self) -> Arc<dyn MessageStore> {
        Arc::clone(&self.store)
    }

    async fn reopen(&self) -> Result<Arc<dyn MessageStore>, Cannot> {
        Ok(connect(&self.url()).await.unwrap())
    }

    async fn append_slowly(&self, append: Append, meanwhile: BoxFuture<'_, ()>, commit: bool) -> Result<(), Cannot> {
        let mut client = self.client().await;
        let transaction = client.transaction().await.unwrap();
        for message in append.messages {
            let sql = "SELECT message_store.write_message($1::text::varchar, $2, $3, $4::text::jsonb, $5::text::jsonb)";
            let (id, data, metadata) = (message.id.to_string(), message.data.as_str(), message.metadata.as_str());
            let stream = append.stream.as_str();
            transaction.execute(sql, &[&id, &stream, &message.message_type, &data, &metadata]).await.unwrap();
        }
        meanwhile.await;
        if commit {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        Ok(())
    }

    async fn delete(&self, message: MessageId) -> Result<(), Cannot> {
        self.database.execute(&format!("DELETE FROM message_store.messages WHERE id = '{message}'")).await;
        Ok(())
    }

    fn password(&self) -> Result<String, Cannot> {
        password_in(&with_password(&self.url())).ok_or(Cannot("the server's URL names no user"))
    }
}

/// A store in a new SQLite file.
#[derive(Debug)]
pub struct SqliteFile {
    folder: TempDir,
    store: Arc<dyn MessageStore>,
}

impl SqliteFile {
    /// Makes the store.
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = connect(&Self::url(&folder)).await.unwrap();
        Self { folder, store }
    }

    fn url(folder: &TempDir) -> String {
        format!("sqlite:{}", folder.path().join("store.db").display())
    }
}

#[async_trait]
impl Subject for SqliteFile {
    fn store(&self) -> Arc<dyn MessageStore> {
        Arc::clone(&self.store)
    }

    async fn reopen(&self) -> Result<Arc<dyn MessageStore>, Cannot> {
        Ok(connect(&Self::url(&self.folder)).await.unwrap())
    }

    async fn append_slowly(&self, append: Append, meanwhile: BoxFuture<'_, ()>, commit: bool) -> Result<(), Cannot> {
        let path = self.folder.path().join("store.db");
        let ((drawn, are_drawn), (go_on, may_go_on)) = (oneshot::channel(), oneshot::channel());
        let work = move || {
            let mut connection = rusqlite::Connection::open(path)?;
            connection.busy_timeout(Duration::from_mins(1))?;
            let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            for message in &append.messages {
                transaction.execute(
                    "INSERT INTO messages (position, time, stream_name, category, type, data, metadata, id) VALUES \
                     ((SELECT coalesce(max(position), -1) + 1 FROM messages WHERE stream_name = ?1), 0, ?1, ?2, ?3, ?4, ?5, ?6)",
                    (
                        append.stream.as_str(),
                        append.stream.category().as_str(),
                        &message.message_type,
                        message.data.as_str(),
                        message.metadata.as_str(),
                        message.id.as_uuid().as_bytes(),
                    ),
                )?;
            }
            let _ = drawn.send(());
            let _ = may_go_on.blocking_recv();
            if commit { transaction.commit() } else { transaction.rollback() }
        };
        let working = tokio::task::spawn_blocking(work);
        // If it cannot draw positions, it closes the channel. Its result then has the error.
        if are_drawn.await.is_ok() {
            meanwhile.await;
        }
        let _ = go_on.send(());
        working.await.unwrap().unwrap();
        Ok(())
    }

    async fn delete(&self, message: MessageId) -> Result<(), Cannot> {
        let connection = rusqlite::Connection::open(self.folder.path().join("store.db")).unwrap();
        connection.busy_timeout(Duration::from_mins(1)).unwrap();
        connection.execute("DELETE FROM messages WHERE id = ?1", [message.as_uuid().as_bytes()]).unwrap();
        Ok(())
    }
}

const ALONE: Cannot = Cannot("a store in memory has one connection, and no other process can open it");

/// A SQLite store in memory.
#[derive(Debug)]
pub struct SqliteMemory {
    store: Arc<dyn MessageStore>,
}

impl SqliteMemory {
    /// Makes the store.
    pub async fn new() -> Self {
        Self { store: connect("sqlite::memory:").await.unwrap() }
    }
}

#[async_trait]
impl Subject for SqliteMemory {
    fn store(&self) -> Arc<dyn MessageStore> {
        Arc::clone(&self.store)
    }

    async fn reopen(&self) -> Result<Arc<dyn MessageStore>, Cannot> {
        Err(ALONE)
    }

    async fn append_slowly(&self, _append: Append, _meanwhile: BoxFuture<'_, ()>, _commit: bool) -> Result<(), Cannot> {
        Err(ALONE)
    }
}

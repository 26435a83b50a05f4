//! The databases of a private server: with this library's schema, with Message DB's, and for plain SQL.

use std::path::Path;

use anyhow::{Context as _, Result};
use message_store::postgres::PostgresStore;
use message_store_tests::message_db;
use tokio_postgres::{Client, NoTls};

/// One server with a database for each side.
pub struct Databases {
    server: String,
    /// The folder of Message DB's own files; `None` to use the substitute.
    message_db: Option<std::path::PathBuf>,
}

impl Databases {
    pub fn new(server: &str, message_db: Option<&Path>) -> Self {
        Self { server: server.to_owned(), message_db: message_db.map(Path::to_owned) }
    }

    /// The description of the server, in one line.
    pub async fn server_is(&self) -> Result<String> {
        let client = connect(&self.server).await?;
        let setting = async |name: &str| -> Result<String> {
            Ok(client.query_one("SELECT current_setting($1)", &[&name]).await?.try_get(0)?)
        };
        let (version, fsync, commit) =
            (setting("server_version").await?, setting("fsync").await?, setting("synchronous_commit").await?);
        Ok(format!("PostgreSQL {version}, fsync {fsync}, synchronous_commit {commit}"))
    }

    /// Creates an empty database with this library's schema. Returns its URL.
    pub async fn ours(&self, name: &str) -> Result<String> {
        let url = self.empty(name).await?;
        drop(PostgresStore::open(&url).await?);
        Ok(url)
    }

    /// Creates an empty database with Message DB's schema. Returns its URL.
    pub async fn message_db(&self, name: &str) -> Result<String> {
        let url = self.empty(name).await?;
        message_db::install(&url, self.message_db.as_deref()).await?;
        Ok(url)
    }

    /// The description of the Message DB in use: the original or the substitute.
    pub fn message_db_is(&self) -> &'static str {
        if self.message_db.is_some() {
            "Message DB's own SQL"
        } else {
            "a substitute for Message DB's SQL (npm or its package is missing)"
        }
    }

    pub async fn empty(&self, name: &str) -> Result<String> {
        let client = connect(&self.server).await?;
        client.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
        client.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0")).await?;
        let (head, _) = self.server.rsplit_once('/').context("the server's URL has no path")?;
        Ok(format!("{head}/{name}"))
    }
}

pub async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Opens `count` connections.
pub async fn connections(url: &str, count: usize) -> Result<Vec<std::sync::Arc<Client>>> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        clients.push(std::sync::Arc::new(connect(url).await?));
    }
    Ok(clients)
}

/// Empties the table, so that every round starts in the same state.
pub async fn clear(url: &str) -> Result<()> {
    Ok(connect(url).await?.batch_execute("TRUNCATE message_store.messages").await?)
}

/// The number of messages in each stream of [`fill`].
pub const STREAM_SIZE: usize = 1_000;

/// The name of a stream that [`fill`] fills.
pub fn filled_stream(number: usize) -> String {
    format!("account0-filled{number}")
}

/// The messages that fill a table, without their global positions.
const FILLING: &str = "gen_random_uuid(), 'account0-filled' || (n / 1000), n % 1000, 'Deposited', \
  jsonb_build_object('depositId', gen_random_uuid(), 'accountId', n, 'amount', '7.50', 'time', '2026-01-01T00:00:00.000Z'), \
  jsonb_build_object('correlationStreamName', 'transfer-' || n, 'causationMessageGlobalPosition', n) \
  FROM generate_series($1::bigint, $2::bigint) AS n";

/// Inserts `rows` messages of one category, in streams of [`STREAM_SIZE`] messages.
pub async fn fill(url: &str, rows: usize) -> Result<()> {
    let sql = "INSERT INTO message_store.messages (id, stream_name, position, type, data, metadata) SELECT";
    fill_by(&[&format!("{sql} {FILLING}")], url, rows).await?;
    Ok(connect(url).await?.batch_execute("VACUUM ANALYZE message_store.messages").await?)
}

/// As [`fill`], but all messages except the last of each stream are in the archive.
pub async fn fill_archive(url: &str, rows: usize) -> Result<()> {
    let in_archive = "INSERT INTO message_store.archived_messages \
               (global_position, id, stream_name, position, type, data, metadata) SELECT n + 1,";
    let last = "WITH last AS (DELETE FROM message_store.archived_messages \
                 WHERE position = 999 AND global_position BETWEEN $1::bigint + 1 AND $2::bigint + 1 RETURNING *) \
               INSERT INTO message_store.messages SELECT * FROM last";
    let client = connect(url).await?;
    // The indexes are built afterwards, which takes less time.
    let indexes = "SELECT indexname::text, indexdef FROM pg_indexes \
                   WHERE tablename = 'archived_messages' AND indexname <> 'archived_messages_pkey'";
    let indexes = client.query(indexes, &[]).await?;
    for index in &indexes {
        client.batch_execute(&format!("DROP INDEX message_store.{}", index.get::<_, &str>(0))).await?;
    }
    fill_by(&[&format!("{in_archive} {FILLING}"), last], url, rows).await?;
    for index in &indexes {
        client.batch_execute(index.get(1)).await?;
    }
    client.execute("SELECT setval('message_store.messages_global_position_seq', $1)", &[&(rows as i64)]).await?;
    for table in ["messages", "archived_messages"] {
        client.batch_execute(&format!("VACUUM ANALYZE message_store.{table}")).await?;
    }
    Ok(())
}

/// Executes statements for the numbers of the first and the last row of each part.
async fn fill_by(statements: &[&str], url: &str, rows: usize) -> Result<()> {
    let client = connect(url).await?;
    for first in (0..rows).step_by(100_000) {
        let last = rows.min(first + 100_000) - 1;
        for sql in statements {
            client.execute(*sql, &[&(first as i64), &(last as i64)]).await?;
        }
    }
    Ok(())
}

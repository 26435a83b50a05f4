//! A database that Message DB has installed.

use std::path::Path;

use anyhow::{Context as _, Result};
use tokio_postgres::{Client, Config, NoTls};

use crate::postgres::TestDatabase;

/// The folder `database` of a Message DB package, to test with the original instead of our likeness of it.
pub const MESSAGE_DB: &str = "MESSAGE_STORE_TEST_MESSAGE_DB";

/// The original's files, in the order in which it installs them.
const FILES: [&str; 28] = [
    "schema/message-store.sql",
    "extensions/pgcrypto.sql",
    "tables/messages.sql",
    "types/message.sql",
    "functions/message-store-version.sql",
    "functions/hash-64.sql",
    "functions/acquire-lock.sql",
    "functions/category.sql",
    "functions/is-category.sql",
    "functions/id.sql",
    "functions/cardinal-id.sql",
    "functions/stream-version.sql",
    "functions/write-message.sql",
    "functions/get-stream-messages.sql",
    "functions/get-category-messages.sql",
    "functions/get-last-stream-message.sql",
    "indexes/messages-id.sql",
    "indexes/messages-stream.sql",
    "indexes/messages-category.sql",
    "views/stream-summary.sql",
    "views/type-summary.sql",
    "views/stream-type-summary.sql",
    "views/type-stream-summary.sql",
    "views/category-type-summary.sql",
    "views/type-category-summary.sql",
    "roles/message-store.sql",
    "privileges/schema.sql",
    "privileges/table.sql",
];

/// A database with Message DB's own schema: the original where [`MESSAGE_DB`] names it, else our likeness.
///
/// # Panics
/// When it cannot be made.
pub async fn message_db() -> TestDatabase {
    let database = TestDatabase::create_empty().await;
    let folder = std::env::var_os(MESSAGE_DB);
    install(database.url(), folder.as_ref().map(Path::new)).await.unwrap_or_else(|error| panic!("{error:#}"));
    database
}

/// Installs Message DB's schema in an empty database: the original from the folder `database` of its package, or our likeness.
///
/// # Errors
/// When a file cannot be read or carried out; the text names it.
pub async fn install(url: &str, folder: Option<&Path>) -> Result<()> {
    let client = connect(url, None).await;
    let Some(folder) = folder else {
        return client.batch_execute(include_str!("message_db.sql")).await.context("our likeness of Message DB");
    };
    client.batch_execute("SET search_path = message_store, public").await?;
    for file in FILES.iter().chain(&["privileges/sequence.sql", "privileges/functions.sql", "privileges/views.sql"]) {
        let path = folder.join(file);
        let sql = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        client.batch_execute(&sql).await.with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// A connection as Message DB's clients make it: as the given role, with the schema on the search path.
///
/// # Panics
/// When it cannot be made.
pub async fn connect(url: &str, role: Option<&str>) -> Client {
    let mut config: Config = url.parse().unwrap();
    if let Some(role) = role {
        config.options(format!("-c role={role} -c search_path=message_store,public"));
    }
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Writes as Message DB's clients do, and returns the position.
///
/// # Errors
/// The server's.
pub async fn write_message(client: &Client, stream: &str, data: &str) -> Result<i64, tokio_postgres::Error> {
    let sql = "SELECT message_store.write_message(gen_random_uuid()::varchar, $1, 'Foreign', $2::text::jsonb)";
    Ok(client.query_one(sql, &[&stream, &data]).await?.get(0))
}

//! Databases with Message DB's own schema.

use std::path::Path;

use anyhow::{Context as _, Result};
use tokio_postgres::{Client, Config, NoTls};

use crate::postgres::TestDatabase;

/// The environment variable with the folder `database` of a Message DB package. If it is set, tests use the original
/// instead of the substitute.
pub const MESSAGE_DB: &str = "MESSAGE_STORE_TEST_MESSAGE_DB";

/// The environment variable with a folder that contains a folder for each release (`1.2.0/database`).
pub const MESSAGE_DB_VERSIONS: &str = "MESSAGE_STORE_TEST_MESSAGE_DB_VERSIONS";

/// The original's files, in the order in which it installs them.
const FILES: [&str; 31] = [
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
    "privileges/sequence.sql",
    "privileges/functions.sql",
    "privileges/views.sql",
];

/// The releases with different schemas. They differ in the order of columns, and in the arguments of
/// `get_last_stream_message`.
pub const VERSIONS: [&str; 6] = ["1.1.6", "1.2.0", "1.2.3", "1.2.4", "1.2.6", "1.3.0"];

/// The newest of [`VERSIONS`].
pub const NEWEST: &str = "1.3.0";

/// A database with Message DB's own schema: the original if [`MESSAGE_DB`] names it, else the substitute.
///
/// # Panics
/// Panics if it cannot be made.
pub async fn message_db() -> TestDatabase {
    let database = TestDatabase::create_empty().await;
    let folder = std::env::var_os(MESSAGE_DB);
    install(database.url(), folder.as_ref().map(Path::new)).await.unwrap_or_else(|error| panic!("{error:#}"));
    database
}

/// A database with the schema of a release: the original if [`MESSAGE_DB_VERSIONS`] names a folder that has it, else
/// the substitute.
///
/// # Panics
/// Panics if it cannot be made.
pub async fn message_db_of(version: &str) -> TestDatabase {
    let database = TestDatabase::create_empty().await;
    let original =
        std::env::var_os(MESSAGE_DB_VERSIONS).map(|folder| Path::new(&folder).join(version).join("database"));
    let client = connect(database.url(), None).await;
    let installed = match original.filter(|folder| folder.is_dir()) {
        Some(folder) => carry_out(&client, &folder, &FILES).await,
        None => install_likeness(&client, version).await,
    };
    installed.unwrap_or_else(|error| panic!("{error:#}"));
    database
}

/// Installs Message DB's schema in an empty database: the original from the folder `database` of its package, or the
/// substitute.
///
/// # Errors
/// Returns an error that names the file if a file cannot be read or run.
pub async fn install(url: &str, folder: Option<&Path>) -> Result<()> {
    let client = connect(url, None).await;
    match folder {
        Some(folder) => carry_out(&client, folder, &FILES).await,
        None => install_likeness(&client, NEWEST).await,
    }
}

/// Runs Message DB's scripts for functions and privileges in a database that already has functions.
///
/// # Panics
/// Panics if a script fails.
pub async fn install_over(url: &str) {
    let client = connect(url, None).await;
    let installed = match std::env::var_os(MESSAGE_DB) {
        Some(folder) => {
            let files =
                FILES.into_iter().filter(|file| file.starts_with("functions/") || file.starts_with("privileges/"));
            carry_out(&client, Path::new(&folder), &files.collect::<Vec<_>>()).await
        }
        None => run(&client, &[FUNCTIONS, LAST_MESSAGE, PRIVILEGES], NEWEST).await,
    };
    installed.unwrap_or_else(|error| panic!("{error:#}"));
}

async fn carry_out(client: &Client, folder: &Path, files: &[&str]) -> Result<()> {
    client.batch_execute("SET search_path = message_store, public").await?;
    for file in files {
        let path = folder.join(file);
        let sql = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        client.batch_execute(&sql).await.with_context(|| path.display().to_string())?;
    }
    Ok(())
}

const TYPE: &str = include_str!("message_db_sql/type.sql");
const FUNCTIONS: &str = include_str!("message_db_sql/functions.sql");
const LAST_MESSAGE: &str = include_str!("message_db_sql/last_message.sql");
const INDEXES_AND_VIEWS: &str = include_str!("message_db_sql/indexes_and_views.sql");
const PRIVILEGES: &str = include_str!("message_db_sql/privileges.sql");

async fn install_likeness(client: &Client, version: &str) -> Result<()> {
    let table = match version {
        "1.1.6" | "1.2.0" | "1.2.3" => include_str!("message_db_sql/table_before_1_2_4.sql"),
        _ => include_str!("message_db_sql/table.sql"),
    };
    let last_message = match version {
        NEWEST => LAST_MESSAGE,
        _ => include_str!("message_db_sql/last_message_before_1_3.sql"),
    };
    let scripts = ["CREATE SCHEMA message_store", table, TYPE, FUNCTIONS, last_message, INDEXES_AND_VIEWS, PRIVILEGES];
    run(client, &scripts, version).await
}

async fn run(client: &Client, scripts: &[&str], version: &str) -> Result<()> {
    client.batch_execute("SET search_path = message_store, public").await?;
    for script in scripts {
        client
            .batch_execute(&script.replace("{version}", version))
            .await
            .context("installing the substitute for Message DB")?;
    }
    Ok(())
}

/// Connects as Message DB's clients do: with the given role, and with the schema on the search path.
///
/// # Panics
/// Panics if it cannot be made.
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
/// Returns the server's error.
pub async fn write_message(client: &Client, stream: &str, data: &str) -> Result<i64, tokio_postgres::Error> {
    let sql = "SELECT message_store.write_message(gen_random_uuid()::varchar, $1, 'Foreign', $2::text::jsonb)";
    Ok(client.query_one(sql, &[&stream, &data]).await?.get(0))
}

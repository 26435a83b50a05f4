//! Stores that a test changes with SQL: time passes for their keys, messages are deleted, identities are cloned.

use rusqlite::Connection;

use crate::postgres::TestDatabase;

/// A new store that a test can change with SQL.
#[derive(Debug)]
pub enum AgeingStore {
    /// A PostgreSQL database.
    Postgres(TestDatabase),
    /// The folder of a SQLite file.
    Sqlite(tempfile::TempDir),
}

impl AgeingStore {
    /// Makes a new PostgreSQL database.
    pub async fn postgres() -> Self {
        Self::Postgres(TestDatabase::create().await)
    }

    /// Makes a temporary folder for a new SQLite file.
    ///
    /// # Panics
    /// Panics if the folder cannot be created.
    pub fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    /// The URL with which the store is opened.
    pub fn url(&self) -> String {
        match self {
            Self::Postgres(database) => database.url().to_owned(),
            Self::Sqlite(folder) => format!("sqlite:{}", folder.path().join("store.db").display()),
        }
    }

    /// Runs the SQL for the store's backend.
    ///
    /// # Panics
    /// Panics if the SQL fails.
    pub async fn execute(&self, postgres: &str, sqlite: &str) {
        match self {
            Self::Postgres(database) => database.execute(postgres).await,
            Self::Sqlite(_) => self.sqlite_connection().execute_batch(sqlite).unwrap(),
        }
    }

    /// Deletes the messages that an SQL condition names.
    ///
    /// # Panics
    /// Panics if the database cannot be reached.
    pub async fn delete_messages(&self, condition: &str) {
        let delete = |table: &str| format!("DELETE FROM {table} WHERE {condition}");
        self.execute(&delete("message_store.messages"), &delete("messages")).await;
    }

    /// Restores the store to the time at which this position was the last.
    ///
    /// # Panics
    /// Panics if the database cannot be reached.
    pub async fn restore(&self, last: message_store::GlobalPosition) {
        self.delete_messages(&format!("global_position > {last}")).await;
        let postgres = format!("SELECT setval('message_store.messages_global_position_seq', {last})");
        let sqlite = format!("UPDATE sqlite_sequence SET seq = {last} WHERE name = 'messages'");
        self.execute(&postgres, &sqlite).await;
    }

    /// Makes the keys of a scope older by this many milliseconds.
    ///
    /// # Panics
    /// Panics if the database cannot be reached.
    pub async fn pass(&self, scope: &str, milliseconds: i64) {
        match self {
            Self::Postgres(database) => {
                let sql = format!(
                    "UPDATE message_store.deduplication SET seen_at = seen_at - interval '{milliseconds} ms', \
                     expires_at = expires_at - interval '{milliseconds} ms' WHERE scope = '{scope}'"
                );
                database.execute(&sql).await;
            }
            Self::Sqlite(_) => {
                let sql =
                    "UPDATE deduplication SET seen_at = seen_at - ?1, expires_at = expires_at - ?1 WHERE scope = ?2";
                self.sqlite_connection().execute(sql, (milliseconds * 1_000, scope)).unwrap();
            }
        }
    }

    /// The number of stored keys, expired or not.
    ///
    /// # Panics
    /// Panics if the database cannot be reached.
    pub async fn keys(&self) -> i64 {
        match self {
            Self::Postgres(database) => {
                let client = crate::message_db::connect(database.url(), None).await;
                client.query_one("SELECT count(*) FROM message_store.deduplication", &[]).await.unwrap().get(0)
            }
            Self::Sqlite(_) => {
                let connection = self.sqlite_connection();
                connection.query_row("SELECT count(*) FROM deduplication", [], |row| row.get(0)).unwrap()
            }
        }
    }

    fn sqlite_connection(&self) -> Connection {
        let connection = Connection::open(self.url().trim_start_matches("sqlite:")).unwrap();
        connection.busy_timeout(std::time::Duration::from_mins(1)).unwrap();
        connection
    }
}

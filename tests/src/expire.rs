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
                    "UPDATE message_store.deduplication SET taken_at = taken_at - interval '{milliseconds} ms', \
                     expires_at = expires_at - interval '{milliseconds} ms' WHERE scope = '{scope}'"
                );
                database.execute(&sql).await;
            }
            Self::Sqlite(_) => {
                let sql =
                    "UPDATE deduplication SET taken_at = taken_at - ?1, expires_at = expires_at - ?1 WHERE scope = ?2";
                self.sqlite_connection().execute(sql, (milliseconds * 1_000, scope)).unwrap();
            }
        }
    }

    /// Ends all leases of keys now.
    ///
    /// # Panics
    /// Panics if the database cannot be reached.
    pub async fn end_leases(&self) {
        let postgres = "UPDATE message_store.key_leases SET ends_at = clock_timestamp()";
        self.execute(postgres, "UPDATE key_leases SET ends_at = 0").await;
    }

    /// The number of leases of keys that have ended.
    ///
    /// # Panics
    /// Panics if the database cannot be reached.
    pub async fn ended_leases(&self) -> i64 {
        self.count("message_store.key_leases WHERE ends_at <= clock_timestamp()", "key_leases WHERE ends_at = 0").await
    }

    /// The number of leases of keys, including those that have ended.
    ///
    /// # Panics
    /// Panics if the database cannot be reached.
    pub async fn leases(&self) -> i64 {
        self.count("message_store.key_leases", "key_leases").await
    }

    /// The first row of a query: two numbers.
    ///
    /// # Panics
    /// Panics if the database cannot be reached.
    pub async fn row(&self, sql: &str) -> Option<(i64, i64)> {
        match self {
            Self::Postgres(database) => {
                let client = crate::message_db::connect(database.url(), None).await;
                client.query_opt(sql, &[]).await.unwrap().map(|row| (row.get(0), row.get(1)))
            }
            Self::Sqlite(_) => {
                let connection = self.sqlite_connection();
                connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).ok()
            }
        }
    }

    /// The number of remembered keys, including expired ones.
    ///
    /// # Panics
    /// Panics if the database cannot be reached.
    pub async fn keys(&self) -> i64 {
        self.count("message_store.deduplication", "deduplication").await
    }

    /// The number of rows of a table, by its names in the two backends.
    async fn count(&self, postgres: &str, sqlite: &str) -> i64 {
        let sql = |table: &str| format!("SELECT count(*) FROM {table}");
        match self {
            Self::Postgres(database) => {
                let client = crate::message_db::connect(database.url(), None).await;
                client.query_one(&sql(postgres), &[]).await.unwrap().get(0)
            }
            Self::Sqlite(_) => self.sqlite_connection().query_row(&sql(sqlite), [], |row| row.get(0)).unwrap(),
        }
    }

    fn sqlite_connection(&self) -> Connection {
        let connection = Connection::open(self.url().trim_start_matches("sqlite:")).unwrap();
        connection.busy_timeout(std::time::Duration::from_mins(1)).unwrap();
        connection
    }
}

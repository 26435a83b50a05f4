//! The PostgreSQL store: Message DB's table, our append.

mod append;
mod check;
mod connection;
mod failure;
mod group_commit;
mod history;
mod hold;
mod installation;
mod listen;
mod look_up;
mod message_db;
mod migrate;
mod once;
mod options;
mod planted_bug;
mod pool;
mod read;
mod schema;
mod session;
mod state;
mod view;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio_postgres::Row;

use crate::idempotence::{Claim, Hold, Holds, Seen, until_free};
use crate::wake_up::Bells;
use crate::{
    Append, Appended, Batch, Category, Error, GlobalPosition, History, Json, Limits, Message, MessageId, MessageStore,
    Read, Result, StoreId, StreamName, StreamRead, Version, WakeUp,
};
use connection::Connection;
use failure::backend;
use group_commit::GroupCommit;
use history::Histories;
use listen::Listener;
use look_up::LookUp;
use migrate::Scope;
use pool::Pool;
use session::Session;

pub use check::{Check, Finding, check};
pub use installation::Installation;
pub use options::PostgresOptions;
#[cfg(feature = "testing")]
pub use planted_bug::PlantedBug;
#[cfg(not(feature = "testing"))]
pub(crate) use planted_bug::PlantedBug;
pub use tokio_postgres::Transaction;
pub use view::View;

/// A store on PostgreSQL.
///
/// Connections are taken from a pool of 16 ([`PostgresOptions`] says otherwise); up to 12 more append, one listens, and one holds the
/// keys of [`Once`](crate::idempotence::Once), each made when it is needed. They are not encrypted: reach a distant server through a
/// tunnel, or over a network you trust.
///
/// In a database where Message DB has installed its own schema, and nobody has adopted it ([`migrate`]), its functions are
/// used: the contract holds, but an append takes a round trip a message, and all messages cannot be read at once
/// ([`Error::Unsupported`]).
pub struct PostgresStore {
    pool: Pool,
    place: String,
    limits: Limits,
    /// The functions are Message DB's own.
    is_message_db: bool,
    histories: Arc<Histories>,
    bells: Arc<Bells>,
    listener: Listener,
    group_commit: GroupCommit,
    look_up: LookUp,
    holds: Holds,
    hold_session: Arc<Session>,
    rotating: tokio::sync::Mutex<()>,
}

/// Makes or upgrades the schema in the database that a URL names, and puts right what [`check`] finds wrong with its functions, roles and
/// rights. Message DB's own schema is left as it is, or, with `adopt`, upgraded in place, in one transaction: every message keeps its id
/// and positions, and Message DB's clients go on as before. Returns what was found.
///
/// No lock is waited for longer than 50 ms: all is undone then, and tried again for a minute. What cannot be put right is logged as a
/// warning, such as a role that this user may not create.
///
/// # Errors
/// [`Error::Invalid`] when the table is not as Message DB makes it: the text says how it differs. [`Error::Backend`] when the schema cannot
/// be made, or a function cannot be put right. Nothing is changed then.
pub async fn migrate(url: &str, adopt: bool) -> Result<Installation> {
    let scope = if adopt { Scope::Adopt } else { Scope::Ours };
    migrate::migrate(&mut PostgresOptions::from_url(url)?.connect().await?, scope).await
}

impl PostgresStore {
    /// Opens the store that a `postgres://` URL names, and makes or upgrades its schema.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a URL that cannot be read; [`Error::Backend`] as [`PostgresOptions::open`].
    pub async fn open(url: &str) -> Result<Self> {
        PostgresOptions::from_url(url)?.open().await
    }

    /// Rings for readers here and in other processes.
    fn ring(&self, streams: &[StreamName]) {
        self.bells.ring_for(streams);
        self.listener.tell(streams.iter());
    }

    /// Refuses what Message DB's own schema has no room for.
    fn assert_ours(&self, what: &str) -> Result<()> {
        if !self.is_message_db {
            return Ok(());
        }
        let what = format!("{what} in Message DB's own schema; upgrade it with `migrate --adopt`");
        Err(Error::Unsupported { store: self.place.clone(), what })
    }
}

/// Allows the sessions of a database to paste a condition into Message DB's reads, once they have set
/// `message_store.sql_condition`. Only the schema's owner may. Whoever may read then can run any query with the rights they have.
///
/// # Errors
/// [`Error::Backend`] when the schema is not ours, or not this user's.
pub async fn allow_sql_condition(url: &str) -> Result<()> {
    let client = PostgresOptions::from_url(url)?.connect().await?;
    let sql = "UPDATE message_store.sql_condition SET allowed = true";
    client.execute(sql, &[]).await.map_err(backend("allowing SQL conditions")).map(|_| ())
}

/// A column of a row.
fn get<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, column: usize) -> Result<T> {
    row.try_get(column).map_err(|error| Error::backend("reading a row", false, error))
}

#[async_trait]
impl MessageStore for PostgresStore {
    fn store_id(&self) -> StoreId {
        self.histories.store_id()
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn describe(&self) -> String {
        self.place.clone()
    }

    async fn append(&self, appends: Vec<Append>) -> Result<Appended> {
        self.append_in(self.history(), appends).await
    }

    fn history(&self) -> History {
        self.histories.current()
    }

    async fn append_in(&self, history: History, appends: Vec<Append>) -> Result<Appended> {
        crate::append::validate(&appends, &self.limits)?;
        let streams: Vec<StreamName> = appends.iter().map(|append| append.stream.clone()).collect();
        let appended = if self.is_message_db {
            self.pool
                .with(async |connection| {
                    if connection.history() != history {
                        return Err(Error::HistoryChanged { store: self.place.clone() });
                    }
                    message_db::append(connection, &appends).await
                })
                .await?
        } else {
            self.group_commit.append(history, appends).await?
        };
        self.ring(&streams);
        Ok(appended)
    }

    async fn given_out(&self) -> Result<GlobalPosition> {
        self.pool.with(async |connection| read::given_out(connection).await).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.pool.with(async |connection| read::now(connection).await).await
    }

    async fn read_stream(&self, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
        self.pool.with(async |connection| read::stream(connection, stream, &read, &self.limits).await).await
    }

    async fn read_category(&self, category: &Category, read: Read) -> Result<Batch> {
        self.pool.with(async |connection| read::category(connection, category, &read, &self.limits).await).await
    }

    async fn read_all(&self, read: Read) -> Result<Batch> {
        // Its writers publish no bound of what they are about to write.
        self.assert_ours("reading all messages")?;
        self.pool.with(async |connection| read::all(connection, &self.place, &read, &self.limits).await).await
    }

    async fn last_message(&self, stream: &StreamName, message_type: Option<&str>) -> Result<Option<Message>> {
        self.pool.with(async |connection| read::last(connection, stream, message_type).await).await
    }

    async fn version(&self, stream: &StreamName) -> Result<Version> {
        self.pool.with(async |connection| read::version(connection, stream).await).await
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>> {
        self.look_up.message(id).await
    }

    async fn hold(&self, claim: &Claim, waits: bool) -> Result<Option<Hold>> {
        self.assert_ours("de-duplication")?;
        let Some(held) = self.holds.hold(claim, waits).await else { return Ok(None) };
        let lock = until_free(waits, || hold::try_hold(&self.hold_session, claim)).await?;
        Ok(lock.map(|lock| Hold::new((lock, held))))
    }

    async fn append_once(&self, claim: &Claim, appends: Vec<Append>, result: Json) -> Result<Option<Seen>> {
        self.assert_ours("de-duplication")?;
        if !appends.is_empty() {
            crate::append::validate(&appends, &self.limits)?;
        }
        let seen =
            self.pool.with(async |connection| once::append_once(connection, claim, &appends, &result).await).await?;
        if seen.is_none() {
            let streams: Vec<StreamName> = appends.into_iter().map(|append| append.stream).collect();
            self.ring(&streams);
        }
        Ok(seen)
    }

    async fn seen(&self, claim: &Claim) -> Result<Option<Seen>> {
        self.assert_ours("de-duplication")?;
        self.pool.with(async |connection| once::seen(connection, claim).await).await
    }

    async fn sweep(&self, batch: u32) -> Result<u64> {
        self.assert_ours("de-duplication")?;
        self.pool.with(async |connection| once::sweep(connection, batch).await).await
    }

    async fn wake_up(&self, category: Option<&Category>) -> Result<WakeUp> {
        self.listener.listen();
        Ok(self.bells.listen(category))
    }

    async fn rotate_store_id(&self) -> Result<StoreId> {
        self.assert_ours("rotating the identity")?;
        // One after the other: the handle's identity is the one that was written last.
        let _rotating = self.rotating.lock().await;
        let id = StoreId::random();
        let sql = "UPDATE message_store.store_identity SET store_id = $1";
        let rotate = async |connection: &mut Connection| {
            connection.execute(sql, &[&id.as_uuid()]).await.map_err(backend("rotating the store's identity"))
        };
        self.pool.with(rotate).await?;
        self.histories.rotated(id);
        Ok(id)
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("place", &self.place).finish_non_exhaustive()
    }
}

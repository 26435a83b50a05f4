//! Connections of a pool.
//!
//! Problem: a caller that gives up drops the future that waits for an answer, but the statement continues. The next
//! user of that connection would wait for it. Fix: a connection returns to its pool only when its user calls
//! [`Connection::give_back`], after all answers have arrived. If the user drops it without that call, it leaves the
//! pool at once, its statement is cancelled, and it is closed. Why it is right: if a user forgets the call, the pool
//! opens another connection, and no other caller has to wait. A read that stops before the last row
//! ([`Rows`](super::rows::Rows)) leaves a statement in the same way, and its connection is closed as well.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::Object;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{CancelToken, Client, Row, Transaction};

use super::PlantedBug;
use super::history::Histories;
use super::pooler::begin;
use super::prepared::Prepared;
use super::session::{Session, Sessions};
use super::silence::Watch;
use super::tls::{self, Tls};
use crate::{GlobalPosition, History, MessageId};

/// The pauses between two requests to cancel a statement. After the last, the connection is closed.
const CANCEL_PAUSES: [Duration; 5] = [
    Duration::from_millis(2),
    Duration::from_millis(20),
    Duration::from_millis(200),
    Duration::from_secs(2),
    Duration::from_secs(10),
];
/// The time within which the server must accept a request to cancel.
const CANCEL_WITHIN: Duration = Duration::from_secs(30);

/// A connection with its prepared statements.
#[derive(Debug)]
pub(super) struct Connection {
    /// `None` after it was given back.
    object: Option<Object<Sessions>>,
    /// Whether rows of a statement may still arrive.
    pub(super) has_unread_rows: bool,
    history: History,
    histories: Arc<Histories>,
    runtime: Handle,
}

impl Connection {
    /// A connection from the pool of a history.
    pub(super) fn lent(object: Object<Sessions>, history: History, histories: &Arc<Histories>) -> Self {
        let (histories, runtime) = (Arc::clone(histories), Handle::current());
        Self { object: Some(object), has_unread_rows: false, history, histories, runtime }
    }

    /// Returns the connection to its pool, unless rows may still arrive on it. All other answers must have arrived.
    pub(super) fn give_back(mut self) {
        self.session().watch.is_answered();
        // Its transaction has ended, and behind a pooler, the process now works for others.
        self.session().watch.is_in_transaction_of(0);
        if !self.has_unread_rows {
            self.object = None;
        }
    }

    /// Whether it is open and belongs to the current history.
    pub(super) fn is_current(&self) -> bool {
        !self.session().is_closed() && self.history == self.histories.current()
    }

    /// The history that its server had when it was verified.
    pub(super) fn history(&self) -> History {
        self.history
    }

    /// The host, port and database.
    pub(super) fn place(&self) -> String {
        self.histories.place().to_owned()
    }

    /// Records the highest global position of an answer.
    pub(super) fn record_seen(&self, position: Option<GlobalPosition>) {
        self.histories.record_seen(self.history, position);
    }

    /// Records a message of an answer.
    pub(super) fn record_message(&self, id: MessageId, position: GlobalPosition) {
        self.histories.record_message(self.history, id, position);
    }

    /// Whether a protection is switched off.
    pub(super) fn has(&self, bug: PlantedBug) -> bool {
        self.histories.has(bug)
    }

    /// Prepares a statement, once for each session.
    pub(super) async fn prepare_cached(&self, sql: &'static str) -> Result<Prepared, tokio_postgres::Error> {
        let session = self.session();
        session.watch.is_asked();
        match &session.behind_pooler {
            Some(pooler) => pooler.types.prepare(&session.client, sql).await,
            None => session.client.prepare_cached(sql).await.map(Prepared::Named),
        }
    }

    /// Prepares several statements, for a transaction.
    pub(super) async fn prepare_all<const N: usize>(
        &self,
        statements: [&'static str; N],
    ) -> Result<[Prepared; N], tokio_postgres::Error> {
        let prepared = futures_util::future::try_join_all(statements.map(|sql| self.prepare_cached(sql))).await?;
        prepared.try_into().map_err(|_| unreachable!("there are as many as were asked for"))
    }

    pub(super) async fn query(
        &self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        self.prepare_cached(sql).await?.query(self, parameters).await
    }

    pub(super) async fn query_one(
        &self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, tokio_postgres::Error> {
        self.prepare_cached(sql).await?.query_one(self, parameters).await
    }

    pub(super) async fn query_opt(
        &self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, tokio_postgres::Error> {
        self.prepare_cached(sql).await?.query_opt(self, parameters).await
    }

    pub(super) async fn execute(
        &self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, tokio_postgres::Error> {
        self.prepare_cached(sql).await?.execute(self, parameters).await
    }

    /// Begins a transaction.
    pub(super) async fn transaction(&mut self) -> Result<Transaction<'_>, tokio_postgres::Error> {
        begin(self).await
    }

    /// Begins to write. Behind a pooler, it begins a transaction, because only within one does the server stay the same.
    /// Returns whether the server still has the history of this connection. If not, nothing may be written.
    ///
    /// Behind a pooler, locks are waited for no longer than `lock_timeout`, in milliseconds. Elsewhere, the session has
    /// that limit.
    pub(super) async fn begin_writing(&self, lock_timeout: Option<&str>) -> Result<bool, tokio_postgres::Error> {
        let Some(pooler) = &self.session().behind_pooler else { return Ok(true) };
        let begun = self.histories.begin(self, &pooler.limits(lock_timeout)).await;
        let begun = begun.map(|history| history.is_some_and(|history| self.is_of(history)));
        if !matches!(begun, Ok(true)) {
            self.end_writing(false).await?;
        }
        begun
    }

    /// Whether a history that was found is that of this connection.
    fn is_of(&self, history: History) -> bool {
        history == self.history || self.histories.has(PlantedBug::PoolersChangeServers)
    }

    /// What a transaction asks, to find out whether its server has the history of this connection.
    pub(super) fn history_question(&self) -> HistoryQuestion {
        let histories = self.is_behind_pooler().then(|| Arc::clone(&self.histories));
        HistoryQuestion { histories, history: self.history }
    }

    pub(super) fn is_behind_pooler(&self) -> bool {
        self.session().behind_pooler.is_some()
    }

    /// Ends what [`begin_writing`](Self::begin_writing) began. Commits if all is well.
    pub(super) async fn end_writing(&self, is_well: bool) -> Result<(), tokio_postgres::Error> {
        if !self.is_behind_pooler() {
            return Ok(());
        }
        if is_well {
            return self.batch_execute("COMMIT").await;
        }
        // If this fails, the connection is lost, and the transaction with it.
        let _ = self.batch_execute("ROLLBACK").await;
        Ok(())
    }

    /// The watch of the connection, for calls of a transaction, which do not go through the connection.
    pub(super) fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.session().watch)
    }

    /// Whether a commit since the last call did not wait for the standby to the end.
    pub(super) fn takes_cut_wait(&self) -> bool {
        self.session().watch.takes_cut_wait() && !self.has(PlantedBug::CutWaitsUnnoticed)
    }

    fn session(&self) -> &Session {
        let Some(session) = &self.object else { unreachable!("give_back takes the connection by value") };
        session
    }
}

/// Whether a transaction has the history of its connection. Without a pooler it has, and nothing is asked.
pub(super) struct HistoryQuestion {
    histories: Option<Arc<Histories>>,
    history: History,
}

impl HistoryQuestion {
    /// Asks in the transaction of this session.
    pub(super) async fn is_same(&self, session: &Client) -> Result<bool, tokio_postgres::Error> {
        match &self.histories {
            Some(histories) => Ok(histories.verify(session).await? == Some(self.history)),
            None => Ok(true),
        }
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        let session = self.session();
        session.watch.is_asked();
        session
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Client {
        let Some(session) = &mut self.object else { unreachable!("give_back takes the connection by value") };
        session.watch.is_asked();
        session
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        if self.histories.has(PlantedBug::AbandonedConnectionsStay) {
            return;
        }
        let session = Object::take(object);
        session.watch.is_answered();
        if !session.is_closed() || session.watch.was_silent() {
            self.runtime.spawn(cancel(session));
        }
    }
}

/// Sends requests to cancel the running statement until it is answered, and then closes the connection. A request that
/// arrives before its statement cancels nothing, so requests are repeated.
///
/// Behind a pooler, it only closes the connection, and the pooler that of the server: `PgBouncer` 1.18 crashes
/// (`bad client state: 0`) when a request is closed by its sender, as the driver does, before it was passed on.
async fn cancel(client: Session) {
    if client.behind_pooler.is_some() && !client.watch.was_silent() {
        return;
    }
    let token = client.cancel_token();
    // The server answers this after every statement that was sent before it.
    let mut answered = std::pin::pin!(client.simple_query(""));
    // A silent connection is closed already. Its session in the server may still be working.
    if client.watch.was_silent() {
        if client.behind_pooler.is_none() {
            request_cancel(&token, &client.tls).await;
        }
        if let Some(process) = client.watch.process()
            && timeout(CANCEL_WITHIN, end_session(&client, process)).await.is_err()
        {
            tracing::debug!(target: "message_store::postgres", process, "the session of a silent connection could not be ended in time");
        }
        return;
    }
    for pause in CANCEL_PAUSES {
        if timeout(pause, &mut answered).await.is_ok() {
            return;
        }
        request_cancel(&token, &client.tls).await;
    }
}

/// Ends the server's session of a silent connection, over a connection of its own.
async fn end_session(silent: &Session, process: i32) {
    const END_SESSION: &str = include_str!("sql/end_session.sql");
    let ended = async {
        let (client, messages) = tls::connect(&silent.config, &silent.tls).await?;
        let driver = tokio::spawn(tls::drive(messages));
        let ended = client.query(END_SESSION, &[&process]).await;
        driver.abort();
        ended
    };
    if let Err(error) = ended.await {
        tracing::debug!(target: "message_store::postgres", process, error = crate::chain(&error), "the session of a silent connection could not be ended");
    }
}

async fn request_cancel(token: &CancelToken, tls: &Tls) {
    match timeout(CANCEL_WITHIN, tls::cancel(token, tls)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(target: "message_store::postgres", error = crate::chain(&error), "a statement could not be cancelled");
        }
        Err(_) => tracing::debug!(target: "message_store::postgres", "a statement could not be cancelled in time"),
    }
}

//! A primary and a standby that take turns at two ports.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::sleep;
use tokio_postgres::Client;

use super::local::{End, LocalServer, Purpose};
use super::server::connect;

/// The time for which the primary is left as it is after the standby was promoted.
const DEPOSED_FOR: Duration = Duration::from_secs(1);
/// The number of attempts to see a state of a server, 10 ms apart.
const LOOKS: u32 = 3_000;

/// How the standby follows the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standby {
    /// A commit waits for it.
    Synchronous,
    /// No commit waits for it.
    Asynchronous,
}

/// What happens to the primary when the standby is promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It stops as in a crash, before the promotion.
    Immediate,
    /// All its processes are killed, before the promotion.
    Killed,
    /// It runs on beside the new primary for a moment, and is killed then.
    Deposed,
    /// Its processes stand still. It is killed some time after the promotion.
    Frozen,
}

/// A primary and its standby.
#[derive(Debug)]
pub struct Pair {
    /// The server that takes writes.
    pub primary: LocalServer,
    /// The server that follows it.
    pub standby: LocalServer,
    kind: Standby,
    ports: [u16; 2],
}

impl Pair {
    /// Starts both.
    ///
    /// # Errors
    /// Returns an error if a server does not start.
    pub async fn start(kind: Standby) -> Result<Self> {
        let primary = LocalServer::start(Purpose::Tests).await?;
        if kind == Standby::Synchronous {
            // A new primary has the setting too: its commits wait for the next standby.
            let client = connect(primary.url()).await?;
            client.batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'walreceiver'").await?;
            client.batch_execute("SELECT pg_reload_conf()").await?;
        }
        let standby = primary.standby(Purpose::Tests).await?;
        let ports = [primary.port(), standby.port()];
        let pair = Self { primary, standby, kind, ports };
        pair.until_followed().await?;
        Ok(pair)
    }

    /// One URL with both hosts: a session must be able to write.
    pub fn url(&self) -> String {
        let [first, second] = self.ports;
        format!("postgres://postgres@127.0.0.1:{first},127.0.0.1:{second}/postgres?target_session_attrs=read-write")
    }

    /// Promotes the standby in place of the primary, and makes the next standby at the port of the old primary.
    ///
    /// # Errors
    /// Returns an error if a server does not do what it should.
    pub async fn fail_over(self, fault: Fault) -> Result<Self> {
        let Self { primary, standby, kind, ports } = self;
        let port = primary.port();
        let promoted = Self::promote(primary, &standby, fault).await?;
        promoted.stop()?;
        let next = standby.standby_at(port, Purpose::Tests).await?;
        let pair = Self { primary: standby, standby: next, kind, ports };
        pair.until_followed().await?;
        Ok(pair)
    }

    /// Promotes the standby in place of the primary, whose processes have ended then.
    async fn promote(mut primary: LocalServer, standby: &LocalServer, fault: Fault) -> Result<LocalServer> {
        match fault {
            Fault::Immediate => primary.end(End::Immediate)?,
            Fault::Killed => primary.end(End::KillAll)?,
            Fault::Deposed => {}
            Fault::Frozen => primary.freeze()?,
        }
        standby.promote()?;
        if matches!(fault, Fault::Deposed | Fault::Frozen) {
            sleep(DEPOSED_FOR).await;
            primary.end(End::KillAll)?;
        }
        Ok(primary)
    }

    /// From now on, no commit waits for the standby.
    ///
    /// # Errors
    /// Returns an error if the primary does not answer.
    pub async fn primary_does_not_wait(&self) -> Result<()> {
        let client = connect(self.primary.url()).await?;
        client.batch_execute("ALTER SYSTEM SET synchronous_standby_names = ''").await?;
        client.batch_execute("SELECT pg_reload_conf()").await?;
        until(&client, "SELECT current_setting('synchronous_standby_names') = ''").await
    }

    /// Makes the standby receive nothing more.
    ///
    /// # Errors
    /// Returns an error if it does not stop.
    pub async fn hold_back(&self) -> Result<()> {
        let client = connect(self.standby.url()).await?;
        client.batch_execute("ALTER SYSTEM SET primary_conninfo = ''").await?;
        client.batch_execute("SELECT pg_reload_conf()").await?;
        until(&client, "SELECT count(*) = 0 FROM pg_stat_wal_receiver").await
    }

    /// Stops both.
    ///
    /// # Errors
    /// Returns an error if a folder cannot be removed.
    pub fn stop(self) -> Result<()> {
        let stopped = self.standby.stop();
        self.primary.stop()?;
        stopped
    }

    /// Waits until the standby follows, and, if it is synchronous, commits wait for it.
    ///
    /// # Errors
    /// Returns an error if it does not follow.
    pub async fn until_followed(&self) -> Result<()> {
        let state = match self.kind {
            Standby::Synchronous => "sync",
            Standby::Asynchronous => "async",
        };
        let sql = format!(
            "SELECT count(*) > 0 FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = '{state}'"
        );
        until(&connect(self.primary.url()).await?, &sql).await
    }
}

/// Waits until a query is true.
async fn until(client: &Client, sql: &str) -> Result<()> {
    for _ in 0..LOOKS {
        if client.query_one(sql, &[]).await?.try_get(0).context("a condition")? {
            return Ok(());
        }
        sleep(Duration::from_millis(10)).await;
    }
    ensure!(false, "this did not become true: {sql}");
    Ok(())
}

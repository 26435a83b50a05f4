//! Creates, upgrades and repairs the schema.
//!
//! Problem 1: two processes that migrate an empty database at once both fail. Fix: an advisory lock of the migrating
//! transaction, taken only if there is something to change. Problem 2: while a statement waits for a lock on the table,
//! every writer waits behind it. Fix: a short `lock_timeout`. When it ends, the migration is rolled back, the
//! transactions that keep the locks are logged, and the migration starts again.

use std::time::{Duration, Instant};

use tokio_postgres::Client;
use tokio_postgres::error::{DbError, SqlState};

use super::failure::backend;
use super::installation::{Installation, assert_message_db};
use super::migrations::{Failed, newest_version};
use super::pooler::{begin, in_transaction};
use super::row::get;
use super::state::{Observation, roles_that_insert, state};
use super::{PostgresOptions, indexes, schema};
use crate::{Error, Result};

/// The key of the advisory lock: the bytes of `msg_migr`. Other programs are unlikely to use it.
const LOCK: i64 = 0x6d73_675f_6d69_6772;
/// Limits how long a statement waits for a lock.
const LOCK_TIMEOUT: &str = include_str!("sql/set_lock_timeout.sql");
/// The pause before the migration starts again.
const PAUSE: Duration = Duration::from_millis(250);
/// How long the migration is repeated, and how long the last part of an adoption waits for older transactions.
const GIVE_UP_AFTER: Duration = Duration::from_mins(1);

const TAKE_LOCK: &str = include_str!("sql/lock.sql");
const MAY_MAKE_SCHEMA: &str = include_str!("sql/may_make_schema.sql");
const HOLDERS: &str = include_str!("sql/holders.sql");
const TRANSACTIONS_UNDER_WAY: &str = include_str!("sql/transactions_under_way.sql");
const REVOKE_INSERTS: &str = include_str!("sql/revoke_inserts.sql");

/// Creates or upgrades the schema in the database that a URL names, and repairs the functions, roles and rights with
/// which [`check`](super::check) finds a problem. Message DB's own schema is not changed. Returns the installation
/// before the call.
///
/// A statement waits for a lock for at most 50 ms. Then the migration is rolled back and started again, for up to a
/// minute. A problem that this user cannot repair, such as a role that it may not create, is logged as a warning.
///
/// # Errors
/// [`Error::Backend`] when the schema cannot be created, and [`Error::Schema`] when a function cannot be repaired.
/// Nothing is changed then.
pub async fn migrate(url: &str) -> Result<Installation> {
    let mut options = PostgresOptions::from_url(url)?;
    let mut client = options.connect_first().await?;
    match in_transaction(&mut client, Installation::find).await? {
        found @ Installation::MessageDb => Ok(found),
        found => {
            let found = carry_out(&mut client, found, &options.place()).await?;
            indexes::build(&options, &mut client).await?;
            Ok(found)
        }
    }
}

/// As [`migrate`], and upgrades Message DB's own schema in place, in one transaction. Every message keeps its id and
/// positions, and Message DB's clients continue to work.
///
/// # Errors
/// As [`migrate`]; [`Error::Invalid`] when the table differs from the one that Message DB creates. The text contains
/// the differences. Nothing is changed then.
pub async fn adopt(url: &str) -> Result<Installation> {
    let mut options = PostgresOptions::from_url(url)?;
    let mut client = options.connect_first().await?;
    let found = in_transaction(&mut client, Installation::find).await?;
    let found = carry_out(&mut client, found, &options.place()).await?;
    indexes::build(&options, &mut client).await?;
    Ok(found)
}

/// Prepares the schema for an open store: creates a missing one, and refuses one that must be upgraded or repaired. An
/// existing one is not changed.
pub(super) async fn open(client: &mut Client, place: &str, creates: bool) -> Result<Installation> {
    let schema = |problem: String| Error::Schema { store: place.to_owned(), problem };
    let look = async |client: &Client| {
        let found = Installation::find(client).await?;
        match found {
            Installation::MessageDb => {}
            Installation::Nothing if !creates => return Err(schema("it is missing".to_owned())),
            Installation::Nothing => {
                let row = client.query_one(MAY_MAKE_SCHEMA, &[]).await.map_err(backend("looking for a right"))?;
                if !get::<bool>(&row, 0)? {
                    return Err(schema("it is missing, and this user may not create it".to_owned()));
                }
            }
            Installation::Ours { version, newest } if version < newest => {
                return Err(schema(format!("it is version {version}, and this library needs version {newest}")));
            }
            Installation::Ours { .. } => {
                report(problems(client, found).await?, place)?;
                for (index, problem) in indexes::look(client).await? {
                    if let Some(problem) = problem {
                        tracing::warn!(target: "message_store::postgres", "{index}: {problem}");
                    }
                }
            }
        }
        Ok(found)
    };
    let found = in_transaction(client, look).await?;
    if found == Installation::Nothing {
        carry_out(client, found, place).await?;
    }
    Ok(found)
}

/// Creates, upgrades or repairs the schema if necessary.
async fn carry_out(client: &mut Client, found: Installation, place: &str) -> Result<Installation> {
    let is_due =
        async |client: &Client| Ok(is_to_be_made(client, found).await? || !roles_that_insert(client).await?.is_empty());
    if in_transaction(client, is_due).await? {
        make(client).await?;
        revoke_inserts(client).await?;
    }
    let look = async |client: &Client| report(problems(client, Installation::find(client).await?).await?, place);
    in_transaction(client, look).await?;
    Ok(found)
}

/// Whether a part of the schema is missing, old, or wrong in a way that can be repaired.
async fn is_to_be_made(client: &Client, found: Installation) -> Result<bool> {
    Ok(!found.is_current() || problems(client, found).await?.iter().any(|seen| seen.is_repairable))
}

/// Logs the problems of a schema, and refuses it if the store would break a promise because of one.
fn report(problems: Vec<Observation>, place: &str) -> Result<()> {
    for Observation { what, problem, is_serious, .. } in problems {
        let problem = problem.unwrap_or_default();
        if is_serious {
            return Err(Error::Schema { store: place.to_owned(), problem: format!("{what}: {problem}") });
        }
        tracing::warn!(target: "message_store::postgres", "{what}: {problem}");
    }
    Ok(())
}

/// The problems of this library's schema.
async fn problems(client: &Client, found: Installation) -> Result<Vec<Observation>> {
    if !found.is_current() {
        return Ok(Vec::new());
    }
    Ok(state(client).await?.into_iter().filter(|seen| seen.problem.is_some()).collect())
}

async fn make(client: &mut Client) -> Result<()> {
    let context = "creating the schema message_store; nothing was changed";
    let began = Instant::now();
    loop {
        let error = match try_to_make(client).await {
            Ok(None) => return Ok(()),
            Ok(Some(found)) => {
                tracing::info!(target: "message_store::postgres", from = %found, to = newest_version(), "the schema message_store is current");
                return Ok(());
            }
            Err(Failed::Other(error)) => return Err(error),
            Err(Failed::Server(error)) => error,
        };
        if !error.as_db_error().is_some_and(is_in_the_way) {
            return Err(backend(context)(error));
        }
        let look = async |client: &Client| {
            let row = client.query_one(HOLDERS, &[]).await.map_err(backend("looking for open transactions"))?;
            get::<Option<String>>(&row, 0)
        };
        let holders = in_transaction(client, look).await?.unwrap_or_else(|| "a transaction that has ended".to_owned());
        if began.elapsed() > GIVE_UP_AFTER {
            let text = format!("{error}. These transactions have locks in the schema: {holders}");
            return Err(Error::backend(context, true, text));
        }
        tracing::warn!(target: "message_store::postgres", %error, %holders, "the schema message_store is locked; the migration starts again");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Makes the schema in one transaction. Returns what was found, or `None` if another process has made it meanwhile.
async fn try_to_make(client: &mut Client) -> Result<Option<Installation>, Failed> {
    let transaction = begin(client).await?;
    transaction.execute(TAKE_LOCK, &[&LOCK]).await?;
    let found = Installation::find(transaction.client()).await?;
    if !is_to_be_made(transaction.client(), found).await? {
        return Ok(None);
    }
    if found == Installation::MessageDb {
        assert_message_db(transaction.client()).await?;
    }
    transaction.batch_execute(LOCK_TIMEOUT).await?;
    schema::make(&transaction, found).await?;
    transaction.commit().await?;
    Ok(Some(found))
}

/// Whether another transaction has a lock that this one needs, or has changed the same function or role.
fn is_in_the_way(error: &DbError) -> bool {
    [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED].contains(error.code())
        || error.message() == "tuple concurrently updated"
}

/// The last part of an adoption: revokes the right to INSERT from the writers. A call of Message DB's own
/// `write_message` that began before the function was replaced still needs the right, so this waits until all
/// transactions of that time have ended.
async fn revoke_inserts(client: &mut Client) -> Result<()> {
    if in_transaction(client, roles_that_insert).await?.is_empty() {
        return Ok(());
    }
    let began = Instant::now();
    let old = in_transaction(client, transactions_under_way).await?;
    while in_transaction(client, transactions_under_way).await?.iter().any(|transaction| old.contains(transaction)) {
        if began.elapsed() > GIVE_UP_AFTER {
            tracing::warn!(
                target: "message_store::postgres",
                "a transaction that began before the adoption is still open: migrate again to revoke the right to INSERT"
            );
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let context = "revoking direct writes";
    let revoke = async |client: &Client| {
        client.execute(TAKE_LOCK, &[&LOCK]).await.map_err(backend(context))?;
        for role in roles_that_insert(client).await? {
            client.batch_execute(&REVOKE_INSERTS.replace("{role}", &role)).await.map_err(backend(context))?;
        }
        Ok(())
    };
    in_transaction(client, revoke).await
}

async fn transactions_under_way(client: &Client) -> Result<Vec<String>> {
    let row = client.query_one(TRANSACTIONS_UNDER_WAY, &[]).await.map_err(backend("looking for open transactions"))?;
    Ok(get::<Option<Vec<String>>>(&row, 0)?.unwrap_or_default())
}

//! The schema that is installed in a database: none, Message DB's, or this library's.

use std::fmt;

use tokio_postgres::Client;
use uuid::Uuid;

use super::failure::backend;
use super::migrations::{applied_version, newest_version};
use super::row::get;
use crate::{Error, Result, StoreId};

const INSTALLATION: &str = include_str!("sql/installation.sql");
const DIFFERENCES: &str = include_str!("sql/message_db_differences.sql");
const MESSAGE_DB_STORE_ID: &str = include_str!("sql/message_db_store_id.sql");

/// The schema that is installed in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Installation {
    /// There is no table `message_store.messages`.
    Nothing,
    /// Message DB's own table and functions. `message-store migrate --adopt` upgrades them.
    MessageDb,
    /// This library's schema.
    Ours {
        /// The version of its tables.
        version: i32,
        /// The version to which this library would upgrade it.
        newest: i32,
    },
}

impl Installation {
    /// Whether it is this library's schema, at the version that this library needs or a later one.
    pub fn is_current(self) -> bool {
        matches!(self, Self::Ours { version, newest } if version >= newest)
    }

    pub(super) async fn find(client: &Client) -> Result<Self> {
        let row = client.query_one(INSTALLATION, &[]).await.map_err(backend("looking for the schema message_store"))?;
        let version = if get(&row, 1)? { applied_version(client).await? } else { None };
        Ok(match version {
            Some(version) => Self::Ours { version, newest: newest_version() },
            None if get(&row, 0)? => Self::MessageDb,
            None => Self::Nothing,
        })
    }
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("no message store"),
            Self::MessageDb => f.write_str("Message DB's own schema"),
            Self::Ours { version, .. } => write!(f, "our schema, version {version}"),
        }
    }
}

/// The differences between the table and Message DB's table, in words.
pub(super) async fn differences(client: &Client) -> Result<Vec<String>> {
    let rows = client.query(DIFFERENCES, &[]).await.map_err(backend("comparing message_store.messages"))?;
    rows.iter().map(|row| get(row, 0)).collect()
}

/// Refuses a table that is not Message DB's.
pub(super) async fn assert_message_db(client: &Client) -> Result<()> {
    let differences = differences(client).await?;
    if differences.is_empty() {
        return Ok(());
    }
    let reason = format!("message_store.messages is not Message DB's: {}. Nothing was changed", differences.join("; "));
    Err(Error::invalid("database", reason))
}

/// The identity of a store that Message DB created. Message DB stores none, so it is derived from the server and the
/// database.
pub(super) async fn message_db_store_id(client: &Client) -> Result<StoreId> {
    let row = client.query_one(MESSAGE_DB_STORE_ID, &[]).await.map_err(backend("identifying the store"))?;
    get::<Uuid>(&row, 0).map(StoreId::from_uuid)
}

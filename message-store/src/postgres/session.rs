//! A connection apart from the pool: made when it is needed, and again when it was lost.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_postgres::{Client, Statement};

use super::PostgresOptions;
use crate::Result;

#[derive(Debug)]
pub(super) struct Session {
    options: PostgresOptions,
    connected: Mutex<Option<Arc<Connected>>>,
}

/// A connection, and what it has prepared. Those who share it are served in the order in which they ask.
pub(super) struct Connected {
    client: Client,
    statements: Mutex<HashMap<&'static str, Statement>>,
}

impl Session {
    pub(super) fn new(options: PostgresOptions) -> Self {
        Self { options, connected: Mutex::default() }
    }

    pub(super) async fn connected(&self) -> Result<Arc<Connected>> {
        let mut connected = self.connected.lock().await;
        match &*connected {
            Some(connected) if !connected.is_closed() => Ok(Arc::clone(connected)),
            _ => {
                let client = self.options.connect().await?;
                Ok(Arc::clone(connected.insert(Arc::new(Connected { client, statements: Mutex::default() }))))
            }
        }
    }
}

impl Connected {
    pub(super) async fn prepare_cached(&self, sql: &'static str) -> Result<Statement, tokio_postgres::Error> {
        let mut statements = self.statements.lock().await;
        if let Some(statement) = statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        statements.insert(sql, statement.clone());
        Ok(statement)
    }
}

impl Deref for Connected {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl std::fmt::Debug for Connected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connected").finish_non_exhaustive()
    }
}

//! Prepared statements, and what replaces them behind a pooler.
//!
//! Problem: a prepared statement belongs to a session of the server. Behind a pooler that hands out transactions, the
//! next transaction of a connection has another session, in which the statement is missing, or is that of another
//! program with the same name. Fix: there, each statement is sent without a name, in one message, with the types of its
//! parameters. Why the types are known: the server is asked for them once for each text, in one round trip, which the
//! pooler gives one session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_postgres::types::{Oid, ToSql, Type};
use tokio_postgres::{Client, Error, Row, RowStream, SimpleQueryMessage, Statement};
use uuid::Uuid;

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A statement that can be sent.
#[derive(Clone, Debug)]
pub(super) enum Prepared {
    /// It is prepared in the session.
    Named(Statement),
    /// It is sent whole, with the types of its parameters.
    Whole(&'static str, Arc<[Type]>),
}

impl Prepared {
    pub(super) async fn query(&self, client: &Client, parameters: Parameters<'_>) -> Result<Vec<Row>, Error> {
        match self {
            Self::Named(statement) => client.query(statement, parameters).await,
            Self::Whole(sql, types) => client.query_typed(sql, &typed(parameters, types)).await,
        }
    }

    pub(super) async fn query_one(&self, client: &Client, parameters: Parameters<'_>) -> Result<Row, Error> {
        match self {
            Self::Named(statement) => client.query_one(statement, parameters).await,
            Self::Whole(sql, types) => client.query_typed_one(sql, &typed(parameters, types)).await,
        }
    }

    pub(super) async fn query_opt(&self, client: &Client, parameters: Parameters<'_>) -> Result<Option<Row>, Error> {
        match self {
            Self::Named(statement) => client.query_opt(statement, parameters).await,
            Self::Whole(sql, types) => client.query_typed_opt(sql, &typed(parameters, types)).await,
        }
    }

    pub(super) async fn execute(&self, client: &Client, parameters: Parameters<'_>) -> Result<u64, Error> {
        match self {
            Self::Named(statement) => client.execute(statement, parameters).await,
            Self::Whole(sql, types) => client.execute_typed(sql, &typed(parameters, types)).await,
        }
    }

    /// The rows, as they arrive.
    pub(super) async fn rows(&self, client: &Client, parameters: Parameters<'_>) -> Result<RowStream, Error> {
        match self {
            Self::Named(statement) => client.query_raw(statement, parameters.iter().copied()).await,
            Self::Whole(sql, types) => client.query_typed_raw(sql, typed(parameters, types)).await,
        }
    }
}

fn typed<'a>(parameters: Parameters<'a>, types: &[Type]) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    parameters.iter().copied().zip(types.iter().cloned()).collect()
}

/// The types of the parameters of each statement that was sent behind a pooler.
#[derive(Debug, Default)]
pub(super) struct ParameterTypes(Mutex<HashMap<&'static str, Arc<[Type]>>>);

impl ParameterTypes {
    pub(super) async fn prepare(&self, client: &Client, sql: &'static str) -> Result<Prepared, Error> {
        if let Some(types) = self.known(sql) {
            return Ok(Prepared::Whole(sql, types));
        }
        let types: Arc<[Type]> = ask(client, sql).await?.into();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(sql, Arc::clone(&types));
        Ok(Prepared::Whole(sql, types))
    }

    fn known(&self, sql: &str) -> Option<Arc<[Type]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned()
    }
}

/// Asks the server for the types of a statement's parameters. The statement gets a name that no other program has.
async fn ask(client: &Client, sql: &str) -> Result<Vec<Type>, Error> {
    let name = format!("message_store_{}", Uuid::new_v4().simple());
    let question = include_str!("sql/parameter_types.sql").replace("{name}", &name).replace("{sql}", sql);
    let answers = client.simple_query(&question).await?;
    let oids = answers.iter().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    // A type that the driver does not know is refused when a parameter is written for it.
    let known = |oid: &str| oid.parse::<Oid>().ok().and_then(Type::from_oid).unwrap_or(Type::UNKNOWN);
    Ok(oids.unwrap_or_default().split_whitespace().map(known).collect())
}

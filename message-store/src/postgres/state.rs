//! Checks the functions, the roles, their rights, and the sequence of global positions.

use tokio_postgres::Client;

use super::failure::backend;
use super::row::get;
use super::schema::FUNCTIONS;
use crate::Result;

const STATE: &str = include_str!("sql/state.sql");
const SEQUENCE: &str = include_str!("sql/sequence.sql");
const DRAWS: &str = include_str!("sql/draws.sql");
const ROLES_THAT_INSERT: &str = include_str!("sql/roles_that_insert.sql");

/// One checked object.
pub(super) struct Observation {
    pub(super) what: String,
    pub(super) problem: Option<String>,
    /// The store breaks a promise until this is repaired.
    pub(super) is_serious: bool,
    /// This connection's user may repair it.
    pub(super) is_repairable: bool,
    /// It is a missing function.
    pub(super) is_missing: bool,
}

pub(super) async fn state(client: &Client) -> Result<Vec<Observation>> {
    let rows = client.query(STATE, &[&FUNCTIONS]).await.map_err(backend("comparing the schema message_store"))?;
    let seen = rows.iter().map(|row| {
        let (what, problem) = (get(row, 0)?, get(row, 1)?);
        Ok(Observation {
            what,
            problem,
            is_serious: get(row, 2)?,
            is_repairable: get(row, 3)?,
            is_missing: get(row, 4)?,
        })
    });
    seen.collect()
}

/// The problem of the sequence of global positions. `None` if it is as it should be.
pub(super) async fn sequence_problem(client: &Client) -> Result<Option<String>> {
    let row = client.query_one(SEQUENCE, &[]).await.map_err(backend("reading the sequence of global positions"))?;
    match get(&row, 0)? {
        None => problem_of_draws(client).await,
        problem => Ok(problem),
    }
}

/// The problem of the order in which sessions draw from the sequence. `None` if there is none.
pub(super) async fn problem_of_draws(client: &Client) -> Result<Option<String>> {
    let row = client.query_opt(DRAWS, &[]).await.map_err(backend("looking at the sequence of global positions"))?;
    row.map(|row| get(&row, 0)).transpose().map(Option::flatten)
}

/// The roles that may write to the table without the functions, as SQL writes their names.
pub(super) async fn roles_that_insert(client: &Client) -> Result<Vec<String>> {
    let rows = client.query(ROLES_THAT_INSERT, &[]).await.map_err(backend("reading privileges"))?;
    rows.iter().map(|row| get(row, 0)).collect()
}

//! Whether the functions, the roles and their rights are as they should be.

use tokio_postgres::Client;

use super::failure::backend;
use super::row::get;
use super::schema::FUNCTIONS;
use crate::Result;

const STATE: &str = include_str!("sql/state.sql");
const SEQUENCE: &str = include_str!("sql/sequence.sql");
const ROLES_THAT_INSERT: &str = include_str!("sql/roles_that_insert.sql");

/// One thing that was looked at.
pub(super) struct Observation {
    pub(super) what: String,
    pub(super) problem: Option<String>,
    /// The store keeps its promises only when this is put right.
    pub(super) is_serious: bool,
    /// This connection's user may put it right.
    pub(super) is_mendable: bool,
    /// It is a function that is not there.
    pub(super) is_missing: bool,
}

pub(super) async fn state(client: &Client) -> Result<Vec<Observation>> {
    let rows = client.query(STATE, &[&FUNCTIONS]).await.map_err(backend("comparing the schema message_store"))?;
    let seen = rows.iter().map(|row| {
        let (what, problem) = (get(row, 0)?, get(row, 1)?);
        Ok(Observation { what, problem, is_serious: get(row, 2)?, is_mendable: get(row, 3)?, is_missing: get(row, 4)? })
    });
    seen.collect()
}

/// What is wrong with the sequence of global positions.
pub(super) async fn sequence_problem(client: &Client) -> Result<Option<String>> {
    get(&client.query_one(SEQUENCE, &[]).await.map_err(backend("reading the sequence of global positions"))?, 0)
}

/// The roles that may write past the functions, as SQL writes their names.
pub(super) async fn roles_that_insert(client: &Client) -> Result<Vec<String>> {
    let rows = client.query(ROLES_THAT_INSERT, &[]).await.map_err(backend("reading privileges"))?;
    rows.iter().map(|row| get(row, 0)).collect()
}

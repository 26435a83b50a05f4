//! Reports the installed, missing and changed objects of a database.

use std::fmt;

use tokio_postgres::Client;

use super::PostgresOptions;
use super::failure::backend;
use super::indexes;
use super::installation::{Installation, differences};
use super::pooler::in_transaction;
use super::row::get;
use super::standby;
use super::state::{Observation, roles_that_insert, sequence_problem, state};
use crate::Result;

/// One checked object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckedItem {
    /// The object, in words, such as `function write_message`.
    pub what: String,
    /// The missing or wrong part. `None` if the object is as it should be.
    pub problem: Option<String>,
}

/// A report of a database: the installed schema and its problems.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Check {
    /// The host, port and database.
    pub place: String,
    /// The installed schema.
    pub installation: Installation,
    /// The checked objects.
    pub findings: Vec<CheckedItem>,
}

impl Check {
    /// Whether no object has a problem.
    pub fn is_well(&self) -> bool {
        self.findings.iter().all(|finding| finding.problem.is_none())
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.installation)?;
        for CheckedItem { what, problem } in &self.findings {
            match problem {
                None => write!(f, "\n  ok       {what}")?,
                Some(problem) => write!(f, "\n  PROBLEM  {what}: {problem}")?,
            }
        }
        Ok(())
    }
}

/// Checks the database that a URL names. It changes nothing.
///
/// # Errors
/// [`Error::Invalid`](crate::Error::Invalid) for a URL that cannot be read, [`Error::Backend`](crate::Error::Backend)
/// when the server does not answer.
pub async fn check(url: &str) -> Result<Check> {
    let mut options = PostgresOptions::from_url(url)?;
    options.tell_primary_from_standby()?;
    let mut client = options.connect_first().await?;
    let (installation, mut findings) = in_transaction(&mut client, look).await?;
    if options.reads_categories_from_standby() && matches!(installation, Installation::Ours { .. }) {
        let (what, problem) = standby::look(options.clone(), &client).await?;
        findings.push(CheckedItem { what, problem });
    }
    Ok(Check { place: options.place(), installation, findings })
}

async fn look(client: &Client) -> Result<(Installation, Vec<CheckedItem>)> {
    let installation = Installation::find(client).await?;
    let mut findings = Vec::new();
    let mut note = |what: String, problem: Option<String>| findings.push(CheckedItem { what, problem });

    for setting in ["fsync", "synchronous_commit"] {
        let value: String = one(client, include_str!("sql/setting.sql"), setting).await?;
        let problem = (value == "off").then(|| "it is off: a power loss can lose acknowledged messages".to_owned());
        note(setting.to_owned(), problem);
    }
    match installation {
        Installation::Nothing => note("schema".to_owned(), Some("it is missing; create it with `migrate`".to_owned())),
        Installation::MessageDb => {
            note(
                "schema".to_owned(),
                Some("it is not this library's; upgrade it with `message-store migrate --adopt`".to_owned()),
            );
        }
        Installation::Ours { version, newest } if version < newest => {
            note("schema".to_owned(), Some(format!("the newest version is {newest}; upgrade it with `migrate`")));
        }
        Installation::Ours { .. } => note("schema".to_owned(), None),
    }
    if installation != Installation::Nothing {
        let differences = differences(client).await?;
        note("table messages".to_owned(), (!differences.is_empty()).then(|| differences.join("; ")));
        // Message DB's functions are not checked: the store can do without those that are missing.
        let is_ours = installation != Installation::MessageDb;
        for Observation { what, problem, is_missing, .. } in state(client).await? {
            if is_ours || is_missing {
                note(what, problem);
            }
        }
        if is_ours {
            for (index, problem) in indexes::look(client).await? {
                note(index, problem);
            }
        }
        note("sequence of global positions".to_owned(), sequence_problem(client).await?);
        let inserting = roles_that_insert(client).await?;
        let problem = format!(
            "{} may INSERT into the table or change its sequence, past the lock and the version check; revoke it with `migrate`",
            inserting.join(", ")
        );
        note("rights on the table".to_owned(), (!inserting.is_empty()).then_some(problem));
    }
    Ok((installation, findings))
}

async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(client: &Client, sql: &str, text: &str) -> Result<T> {
    get(&client.query_one(sql, &[&text]).await.map_err(backend("checking the database"))?, 0)
}

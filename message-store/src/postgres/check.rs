//! The doctor: what is installed in a database, what is missing, and what it costs.

use std::fmt;

use tokio_postgres::Client;

use super::failure::backend;
use super::installation::{Installation, differences};
use super::migrate::role_may_insert;
use super::{PostgresOptions, get};
use crate::Result;

/// The functions that Message DB's clients call.
const MESSAGE_DB_FUNCTIONS: [&str; 12] = [
    "acquire_lock(varchar)",
    "cardinal_id(varchar)",
    "category(varchar)",
    "get_category_messages(varchar, bigint, bigint, varchar, bigint, bigint, varchar)",
    "get_last_stream_message(varchar, varchar)",
    "get_stream_messages(varchar, bigint, bigint, varchar)",
    "hash_64(varchar)",
    "id(varchar)",
    "is_category(varchar)",
    "message_store_version()",
    "stream_version(varchar)",
    "write_message(varchar, varchar, varchar, jsonb, jsonb, bigint)",
];

/// What we add to them, and what is not to be had without.
const OUR_FUNCTIONS: [(&str, &str); 2] = [
    (
        "append_messages(text[], bigint[], integer[], integer[], bigint[], integer[], integer[], integer[], integer[], uuid[], text[], jsonb[], jsonb[])",
        "an append takes a round trip a message",
    ),
    ("horizon()", "all messages cannot be read"),
];

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub what: String,
    /// What is wrong with it, if anything is.
    pub problem: Option<String>,
}

/// What is installed in a database, and what is wrong with it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Check {
    /// Which database.
    pub place: String,
    /// What is installed there.
    pub installation: Installation,
    /// One by one.
    pub findings: Vec<Finding>,
}

impl Check {
    /// Whether nothing is wrong.
    pub fn is_well(&self) -> bool {
        self.findings.iter().all(|finding| finding.problem.is_none())
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.installation)?;
        for Finding { what, problem } in &self.findings {
            match problem {
                None => write!(f, "\n  ok       {what}")?,
                Some(problem) => write!(f, "\n  PROBLEM  {what}: {problem}")?,
            }
        }
        Ok(())
    }
}

/// Looks at the database that a URL names, and changes nothing.
///
/// # Errors
/// [`Error::Invalid`](crate::Error::Invalid) for a URL that cannot be read, [`Error::Backend`](crate::Error::Backend) when the server does not answer.
pub async fn check(url: &str) -> Result<Check> {
    let options = PostgresOptions::from_url(url)?;
    let client = options.connect().await?;
    let installation = Installation::find(&client).await?;
    let mut findings = Vec::new();
    let mut note = |what: String, problem: Option<String>| findings.push(Finding { what, problem });

    for setting in ["fsync", "synchronous_commit"] {
        let value: String = one(&client, "SELECT current_setting($1)", setting).await?;
        let problem =
            (value == "off").then(|| "it is off: acknowledged messages can be lost with the power".to_owned());
        note(setting.to_owned(), problem);
    }
    match installation {
        Installation::Nothing => note("schema".to_owned(), Some("it is not there; make it with `migrate`".to_owned())),
        Installation::MessageDb => {
            note("schema".to_owned(), Some("it is not ours; upgrade it with `migrate --adopt`".to_owned()));
        }
        Installation::Ours { version, newest } if version < newest => {
            note("schema".to_owned(), Some(format!("version {newest} is out; upgrade it with `migrate`")));
        }
        Installation::Ours { .. } => note("schema".to_owned(), None),
    }
    if installation != Installation::Nothing {
        let differences = differences(&client).await?;
        note("table messages".to_owned(), (!differences.is_empty()).then(|| differences.join("; ")));
        for function in MESSAGE_DB_FUNCTIONS {
            let problem = (!exists(&client, function).await?).then(|| "it is missing".to_owned());
            note(format!("function {function}"), problem);
        }
        for (function, cost) in OUR_FUNCTIONS {
            let problem = (!exists(&client, function).await?).then(|| format!("it is missing: {cost}"));
            note(format!("function {function}"), problem);
        }
        let may_insert = role_may_insert(&client).await?;
        let problem =
            may_insert.then(|| "it may INSERT into the table, past the lock and the version check".to_owned());
        note("role message_store".to_owned(), problem);
    }
    Ok(Check { place: options.place(), installation, findings })
}

async fn exists(client: &Client, function: &str) -> Result<bool> {
    one(client, "SELECT to_regprocedure('message_store.' || $1) IS NOT NULL", function).await
}

async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(client: &Client, sql: &str, text: &str) -> Result<T> {
    get(&client.query_one(sql, &[&text]).await.map_err(backend("checking the database"))?, 0)
}

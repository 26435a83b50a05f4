//! Making, upgrading, adopting and looking over a store.

use anyhow::{Context as _, Result, bail};
use message_store::postgres::{self, Installation};
use message_store::{MessageStore as _, sqlite::SqliteStore};

#[derive(Debug, clap::Args)]
pub(crate) struct Migrate {
    /// The store: `postgres://…` or `sqlite:PATH`
    #[arg(long, value_name = "URL", env = "ACCOUNT_STORE", hide_env_values = true)]
    store: String,

    /// Upgrade a database that Message DB has installed, in place: every message keeps its id and positions, and its clients go
    /// on as before
    #[arg(long)]
    adopt: bool,

    /// Allow sessions of this database to paste SQL conditions into reads, as Message DB does when its setting is on
    #[arg(long)]
    allow_sql_condition: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The store: `postgres://…` or `sqlite:PATH`
    #[arg(long, value_name = "URL", env = "ACCOUNT_STORE", hide_env_values = true)]
    store: String,
}

impl Migrate {
    pub(crate) async fn run(self) -> Result<()> {
        if let Some(path) = self.store.strip_prefix("sqlite:") {
            let store = SqliteStore::open(path).await?;
            println!("{}: the schema is current", store.describe());
            return Ok(());
        }
        let found = postgres::migrate(&self.store, self.adopt).await.context("nothing was migrated")?;
        match found {
            Installation::MessageDb if !self.adopt => {
                bail!("found {found}, and left it as it is; say --adopt to upgrade it in place")
            }
            found if found.is_current() => println!("found {found}: it is current"),
            found => println!("found {found}; the schema is current now"),
        }
        if self.allow_sql_condition {
            postgres::allow_sql_condition(&self.store).await?;
            println!("SQL conditions are allowed to sessions that set message_store.sql_condition");
        }
        Ok(())
    }
}

impl Check {
    pub(crate) async fn run(self) -> Result<()> {
        if let Some(path) = self.store.strip_prefix("sqlite:") {
            if !std::fs::exists(path)? {
                bail!("there is no file {path}");
            }
            let store = SqliteStore::open(path).await?;
            println!("{}: the schema is current", store.describe());
            return Ok(());
        }
        let report = postgres::check(&self.store).await?;
        println!("{report}");
        if !report.is_well() {
            bail!("there are problems");
        }
        Ok(())
    }
}

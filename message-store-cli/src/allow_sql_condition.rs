//! `message-store allow-sql-condition`: allows SQL conditions in reads, as Message DB does when its setting is on.

use anyhow::{Result, bail};
use message_store::postgres;

#[derive(Debug, clap::Args)]
pub(crate) struct AllowSqlCondition {
    /// The store: `postgres://…`
    #[arg(long, value_name = "URL", env = "MESSAGE_STORE", hide_env_values = true)]
    store: String,
}

impl AllowSqlCondition {
    pub(crate) async fn run(self) -> Result<()> {
        if self.store.starts_with("sqlite:") {
            bail!("only a store on PostgreSQL has SQL conditions; the URL must begin with postgres://");
        }
        postgres::allow_sql_condition(&self.store).await?;
        println!("SQL conditions are allowed to sessions that set message_store.sql_condition");
        Ok(())
    }
}

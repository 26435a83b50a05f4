//! `message-store allow-sql-condition`: allows SQL conditions in reads, as Message DB does when its setting is on.

use anyhow::{Result, bail};
use message_store::postgres;

use crate::open::{Backend, StoreUrl};
use crate::output::line;

#[derive(Debug, clap::Args)]
pub(crate) struct AllowSqlCondition {
    #[command(flatten)]
    store: StoreUrl,
}

impl AllowSqlCondition {
    pub(crate) async fn run(self) -> Result<()> {
        let url = self.store.url()?;
        if Backend::of(&url)? != Backend::Postgres {
            bail!("only a store on PostgreSQL has SQL conditions; the URL must begin with postgres://");
        }
        postgres::allow_sql_condition(&url).await?;
        line(format_args!("SQL conditions are allowed to sessions that set message_store.sql_condition"))?;
        Ok(())
    }
}

//! A server that the tests did not start. At the end, the tests remove the databases that they made in it.

use anyhow::{Context as _, Result};

use super::DATABASE_URL;
use super::database::TEST_PREFIX;
use super::server::connect;

/// A server named by its URL.
#[derive(Debug)]
pub struct GivenServer {
    url: String,
}

impl GivenServer {
    pub(super) async fn from_environment() -> Result<Self> {
        let url = std::env::var(DATABASE_URL).with_context(|| format!("{DATABASE_URL} is not set"))?;
        connect(&url).await.with_context(|| format!("the server that {DATABASE_URL} names does not answer"))?;
        Ok(Self { url })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) async fn clean_up(self) -> Result<()> {
        let client = connect(&self.url).await?;
        // The databases of this process and of its child processes, by process id.
        let sql = "SELECT datname FROM pg_database WHERE datname LIKE $1 || '%' AND NOT datistemplate";
        for row in client.query(sql, &[&TEST_PREFIX]).await? {
            let name: String = row.try_get(0)?;
            client.batch_execute(&format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)")).await?;
        }
        Ok(())
    }
}

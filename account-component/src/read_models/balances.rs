//! The balance of each account.

use std::sync::Arc;

use async_trait::async_trait;
use message_store::store::{ReadModel, SqlTransaction};
use message_store::{Message, MessageStore, Result, Source};

use super::{money, of, stored, text};
use crate::{Event, Money};

/// The balance of each account that has deposits or withdrawals.
///
/// Each version has a table of its own, and readers use the view `account_balances`. When [`apply`](ReadModel::apply) changes,
/// raise [`VERSION`](Self::VERSION): the new table is filled while the old one serves.
#[derive(Clone, Debug)]
pub struct Balances {
    version: u32,
}

impl Balances {
    /// The version of this code.
    pub const VERSION: u32 = 1;

    /// Another version, as an earlier or a later release has it.
    pub fn of_version(version: u32) -> Self {
        Self { version }
    }

    /// The balance of an account; 0.00 if the read model has none.
    ///
    /// # Errors
    /// The store's errors.
    pub async fn balance(store: &Arc<dyn MessageStore>, account_id: &str) -> Result<Money> {
        let sql = "SELECT balance FROM account_balances WHERE account = $1";
        let rows = of(store)?.query(sql, &[account_id.into()]).await?;
        rows.first().map_or(Ok(Money::ZERO), |row| money(row, 0))
    }

    /// All accounts with their balances, in the order of their ids.
    ///
    /// # Errors
    /// The store's errors.
    pub async fn all(store: &Arc<dyn MessageStore>) -> Result<Vec<(String, Money)>> {
        let rows = of(store)?.query("SELECT account, balance FROM account_balances ORDER BY account", &[]).await?;
        rows.iter().map(|row| Ok((text(row, 0)?, money(row, 1)?))).collect()
    }

    fn table(version: u32) -> String {
        format!("account_balances_{version}")
    }
}

impl Default for Balances {
    fn default() -> Self {
        Self::of_version(Self::VERSION)
    }
}

#[async_trait]
impl ReadModel for Balances {
    fn name(&self) -> &'static str {
        "account_balances"
    }

    fn version(&self) -> u32 {
        self.version
    }

    async fn create(&self, transaction: &mut dyn SqlTransaction) -> Result<(), Source> {
        let table = Self::table(self.version);
        let sql = format!("CREATE TABLE IF NOT EXISTS {table} (account TEXT PRIMARY KEY, balance BIGINT NOT NULL)");
        transaction.execute(&sql, &[]).await?;
        Ok(())
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        let (account_id, change) = match message.decode_variant()? {
            Some(Event::Deposited { account_id, amount, .. }) => (account_id, amount),
            Some(Event::Withdrawn { account_id, amount, .. }) => (account_id, Money::ZERO - amount),
            // Other events change no balance, and others may write messages of other types.
            _ => return Ok(()),
        };
        let table = Self::table(self.version);
        let sql = format!(
            "INSERT INTO {table} (account, balance) VALUES ($1, $2)
             ON CONFLICT (account) DO UPDATE SET balance = {table}.balance + excluded.balance"
        );
        transaction.execute(&sql, &[account_id.into(), stored(change)?]).await?;
        Ok(())
    }

    async fn switch(&self, transaction: &mut dyn SqlTransaction) -> Result<(), Source> {
        transaction.execute("DROP VIEW IF EXISTS account_balances", &[]).await?;
        let sql = format!("CREATE VIEW account_balances AS SELECT account, balance FROM {}", Self::table(self.version));
        transaction.execute(&sql, &[]).await?;
        Ok(())
    }

    async fn remove(&self, transaction: &mut dyn SqlTransaction, version: u32) -> Result<(), Source> {
        transaction.execute(&format!("DROP TABLE IF EXISTS {}", Self::table(version)), &[]).await?;
        Ok(())
    }
}

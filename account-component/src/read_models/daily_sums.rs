//! The money that was moved on each day.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use message_store::store::{ReadModel, SqlTransaction};
use message_store::{Message, MessageStore, Result, Source};

use super::{money, of, stored, text};
use crate::{Event, Money};

/// The sums of the deposits and withdrawals of each day, of all accounts. A day is one in UTC, by the times of the commands.
#[derive(Clone, Debug)]
pub struct DailySums {
    version: u32,
}

/// The sums of a day.
#[derive(Clone, Debug, PartialEq)]
pub struct DailySum {
    /// Such as `2026-11-30`.
    pub day: String,
    #[allow(missing_docs)]
    pub deposits: Money,
    #[allow(missing_docs)]
    pub withdrawals: Money,
}

impl DailySums {
    /// The version of this code.
    pub const VERSION: u32 = 1;

    /// Another version, as an earlier or a later release has it.
    pub fn of_version(version: u32) -> Self {
        Self { version }
    }

    /// All days on which money was moved, in order.
    ///
    /// # Errors
    /// The store's errors.
    pub async fn all(store: &Arc<dyn MessageStore>) -> Result<Vec<DailySum>> {
        let sql = "SELECT day, deposits, withdrawals FROM account_daily_sums ORDER BY day";
        let rows = of(store)?.query(sql, &[]).await?;
        let sum =
            |row: &Vec<_>| Ok(DailySum { day: text(row, 0)?, deposits: money(row, 1)?, withdrawals: money(row, 2)? });
        rows.iter().map(sum).collect()
    }

    fn table(version: u32) -> String {
        format!("account_daily_sums_{version}")
    }
}

impl Default for DailySums {
    fn default() -> Self {
        Self::of_version(Self::VERSION)
    }
}

#[async_trait]
impl ReadModel for DailySums {
    fn name(&self) -> &'static str {
        "account_daily_sums"
    }

    fn version(&self) -> u32 {
        self.version
    }

    async fn create(&self, transaction: &mut dyn SqlTransaction) -> Result<(), Source> {
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS {} (day TEXT PRIMARY KEY, deposits BIGINT NOT NULL, withdrawals BIGINT NOT NULL)",
            Self::table(self.version)
        );
        transaction.execute(&sql, &[]).await?;
        Ok(())
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        let (time, deposited, withdrawn) = match message.decode_variant()? {
            Some(Event::Deposited { time, amount, .. }) => (time, amount, Money::ZERO),
            Some(Event::Withdrawn { time, amount, .. }) => (time, Money::ZERO, amount),
            _ => return Ok(()),
        };
        let (table, day) = (Self::table(self.version), time.to_zoned(TimeZone::UTC).date().to_string());
        let sql = format!(
            "INSERT INTO {table} (day, deposits, withdrawals) VALUES ($1, $2, $3)
             ON CONFLICT (day) DO UPDATE SET deposits = {table}.deposits + excluded.deposits,
               withdrawals = {table}.withdrawals + excluded.withdrawals"
        );
        transaction.execute(&sql, &[day.into(), stored(deposited)?, stored(withdrawn)?]).await?;
        Ok(())
    }

    async fn switch(&self, transaction: &mut dyn SqlTransaction) -> Result<(), Source> {
        transaction.execute("DROP VIEW IF EXISTS account_daily_sums", &[]).await?;
        let table = Self::table(self.version);
        let sql = format!("CREATE VIEW account_daily_sums AS SELECT day, deposits, withdrawals FROM {table}");
        transaction.execute(&sql, &[]).await?;
        Ok(())
    }

    async fn remove(&self, transaction: &mut dyn SqlTransaction, version: u32) -> Result<(), Source> {
        transaction.execute(&format!("DROP TABLE IF EXISTS {}", Self::table(version)), &[]).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use message_store::testing::given_messages;

    use super::*;
    use crate::read_models::Balances;

    fn deposited(amount: &str, time: &str) -> Event {
        let (amount, time) = (amount.parse().unwrap(), time.parse().unwrap());
        Event::Deposited { deposit_id: "d".into(), account_id: "1".into(), amount, time }
    }

    #[test]
    fn deposits_are_summed_by_day_and_by_account() {
        let events = || {
            given_messages()
                .in_stream("account-1", deposited("1.50", "2026-11-29T23:59:59Z"))
                .in_stream("account-1", deposited("2.25", "2026-11-30T00:00:00Z"))
                .in_stream(
                    "account-1",
                    Event::Closed { account_id: "1".into(), time: "2026-11-30T00:00:00Z".parse().unwrap() },
                )
                .in_stream("account-1", deposited("10", "2026-11-30T01:00:00Z"))
        };
        events().when_applied(DailySums::default()).then(
            "SELECT day, deposits FROM account_daily_sums ORDER BY day",
            [vec!["2026-11-29".into(), 150.into()], vec!["2026-11-30".into(), 1_225.into()]],
        );
        events()
            .when_applied(Balances::default())
            .then("SELECT account, balance FROM account_balances", [vec!["1".into(), 1_375.into()]]);
    }
}

//! Read models: tables that are kept from the events of accounts, for queries. No command is decided on them.
//!
//! Read [`Balances`] first. [`DailySums`] is another one of the same kind.

mod balances;
mod daily_sums;

use std::sync::Arc;

use message_store::consumer::Updater;
use message_store::store::{ReadModels, SqlValue};
use message_store::{Error, MessageStore, Result, Source};

use crate::Money;

pub use balances::Balances;
pub use daily_sums::{DailySum, DailySums};

/// The category of the events.
const EVENTS: &str = "account";

/// The updaters of both read models. They are not started yet.
pub fn updaters() -> [Updater; 2] {
    [Updater::new(EVENTS, Balances::default()), Updater::new(EVENTS, DailySums::default())]
}

/// The read models of the store.
fn of(store: &Arc<dyn MessageStore>) -> Result<&dyn ReadModels> {
    store.read_models().ok_or_else(|| Error::Unsupported { store: store.describe(), what: "read models".to_owned() })
}

/// An amount as SQL stores it: exact, in hundredths.
fn stored(amount: Money) -> Result<SqlValue, Source> {
    Ok(i64::try_from(amount.hundredths())?.into())
}

/// The text in this column.
fn text(row: &[SqlValue], column: usize) -> Result<String> {
    match row.get(column) {
        Some(SqlValue::Text(text)) => Ok(text.clone()),
        other => Err(Error::invalid("column", format!("{other:?} is no text"))),
    }
}

/// The amount in this column.
fn money(row: &[SqlValue], column: usize) -> Result<Money> {
    match row.get(column) {
        Some(SqlValue::Integer(hundredths)) => Ok(Money::from_hundredths(*hundredths)),
        other => Err(Error::invalid("column", format!("{other:?} is no amount"))),
    }
}

//! The transaction in the author's hand, and the values of its statements.

use async_trait::async_trait;

use crate::{Result, Source};

/// A transaction of the store's database. Write parameters as `$1`, `$2`, … (in SQLite also as `?1`, `?2`, …).
#[async_trait]
pub trait SqlTransaction: Send {
    /// Executes a statement. Returns the number of rows that it has changed.
    ///
    /// # Errors
    /// The database's error.
    async fn execute(&mut self, sql: &str, parameters: &[SqlValue]) -> Result<u64, Source>;

    /// Executes a query and returns its rows.
    ///
    /// # Errors
    /// The database's error; a column type that [`SqlValue`] does not have (cast it to text).
    async fn query(&mut self, sql: &str, parameters: &[SqlValue]) -> Result<Vec<Vec<SqlValue>>, Source>;
}

/// A value of a statement or a row. Values of other types, such as exact numbers, times, UUIDs and JSON, are text.
#[derive(Clone, Debug, PartialEq)]
pub enum SqlValue {
    /// SQL's `NULL`.
    Null,
    /// In SQLite a number, 0 or 1.
    Boolean(bool),
    /// 64 bits, signed.
    Integer(i64),
    /// A binary floating-point number, 64 bits.
    Float(f64),
    /// UTF-8 text.
    Text(String),
    /// PostgreSQL's `bytea`, SQLite's `BLOB`.
    Bytes(Vec<u8>),
}

impl From<bool> for SqlValue {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<i64> for SqlValue {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for SqlValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for SqlValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for SqlValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Vec<u8>> for SqlValue {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for SqlValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

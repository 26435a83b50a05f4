//! Decoding of columns.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::{Error, Result};

/// Decodes a column by its number, from 0.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T> {
    row.try_get(column).map_err(|error| Error::backend("reading a row", false, error))
}

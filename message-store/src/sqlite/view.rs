//! Read models in tables of your own, in the same file.
//!
//! Problem: a view that is changed before its position is saved sees a message twice after a crash, and after it, not at all. Fix: both are one
//! transaction.

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};

use super::blocking::blocking;
use super::failure::backend;
use super::location::Location;
use super::{SqliteStore, read};
use crate::{Category, Error, GlobalPosition, Limits, Message, Read, Result, Source};

/// A read model that messages are applied to, each once.
///
/// A view that is also changed from elsewhere, or rebuilt beside the old one, guards each row by the version it shows:
/// `INSERT … ON CONFLICT (id) DO UPDATE SET … WHERE view.version < excluded.version`.
pub trait View: Send + Sync + 'static {
    /// Its name: the name of its position. Another name is another view, from the beginning.
    fn name(&self) -> &str;

    /// Applies a message, in the transaction that also says that it was.
    ///
    /// # Errors
    /// Whatever keeps it from being applied: nothing of its batch is, then.
    fn apply(&self, transaction: &Transaction<'_>, message: &Message) -> Result<(), Source>;
}

impl SqliteStore {
    /// Applies to a view what it has not seen of a category. How many messages that were.
    ///
    /// # Errors
    /// [`Error::Handler`] with what the view said; the store's errors. The view is then as it was after the last whole batch.
    pub async fn update_view<V: View>(&self, view: std::sync::Arc<V>, category: &Category) -> Result<usize> {
        let mut applied = 0;
        loop {
            let (view, category, limits) = (std::sync::Arc::clone(&view), category.clone(), self.limits);
            let work = move |connection: &Connection| update(connection, &*view, &category, &limits);
            let part = match self.place.clone() {
                Location::Memory => self.readers.read(work).await?,
                // The readers of a file cannot write.
                place @ Location::File(_) => blocking(move || work(&place.connect()?)).await?,
            };
            match part {
                None => return Ok(applied),
                Some(part) => applied += part,
            }
        }
    }
}

/// One batch; `None` when there is nothing left.
fn update(connection: &Connection, view: &dyn View, category: &Category, limits: &Limits) -> Result<Option<usize>> {
    let context = || backend("updating a view");
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate).map_err(context())?;
    let sql = include_str!("sql/view_position.sql");
    let position: Option<i64> =
        transaction.query_row(sql, [view.name()], |row| row.get(0)).optional().map_err(context())?;
    let read = Read::from(GlobalPosition::new(position.unwrap_or_default()).next());
    let batch = read::category(&transaction, category, &read, limits)?;
    if batch.is_at_end(&read) {
        return Ok(None);
    }
    for message in &batch.messages {
        view.apply(&transaction, message).map_err(|error| Error::handler(message, error))?;
    }
    let sql = include_str!("sql/save_view_position.sql");
    transaction.execute(sql, (view.name(), batch.looked_through.get())).map_err(context())?;
    transaction.commit().map_err(context())?;
    Ok(Some(batch.messages.len()))
}

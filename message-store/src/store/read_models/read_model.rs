//! A read model, as its author writes it.

use async_trait::async_trait;

use super::SqlTransaction;
use crate::{Message, Source};

/// A read model: tables that are kept from messages. Each message is applied once.
///
/// A change of its code that changes what its tables show needs a new [`version`](Self::version). The new version is built
/// beside the old one, from the first message on, while readers see the old one, and then replaces it. So each version has
/// tables of its own (for example `balances_2`), and readers use a view that [`switch`](Self::switch) replaces.
///
/// Every method must write only with its transaction, and must not call the store: a store in memory has one connection,
/// which the transaction uses. On PostgreSQL, the server ends a transaction that waits 10 s for its next statement.
#[async_trait]
pub trait ReadModel: Send + Sync + 'static {
    /// The name under which the position is saved. A new name begins a new read model at the first message.
    fn name(&self) -> &str;

    /// The version of the code and of the tables, from 1. All read models of one name are versions of one model.
    fn version(&self) -> u32 {
        1
    }

    /// Creates the tables of this version. It is called once, before the first message of the version. Not needed if the
    /// tables are created elsewhere.
    ///
    /// # Errors
    /// Any error. The version does not begin then.
    async fn create(&self, transaction: &mut dyn SqlTransaction) -> Result<(), Source> {
        let _ = transaction;
        Ok(())
    }

    /// Applies a message, in the transaction that also saves the position. It gets every message of its categories, also
    /// those of other writers and of unknown types. [`Message::decode_variant`] returns `None` for a type that an enum does
    /// not have.
    ///
    /// # Errors
    /// Any error. The transaction is rolled back then, and no message of the batch is applied.
    async fn apply(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source>;

    /// As [`apply`](Self::apply), for a message that was erased ([`Erasing`](crate::operations::Erasing)): its data is
    /// gone. Such a message has no effects. The default changes nothing.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    async fn apply_erased(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        let _ = (transaction, message);
        Ok(())
    }

    /// Does what must happen once for each message, whatever version applies it, such as a row in an outbox. It is called
    /// after [`apply`](Self::apply), in the same transaction, and not for messages that another version has applied while it
    /// served, nor again after the position was set back. A new read model has the effects of all messages.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    async fn effects(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        let _ = (transaction, message);
        Ok(())
    }

    /// Shows this version to readers, for example by a view. It is called in the transaction in which the version begins to
    /// serve: for the first version after [`create`](Self::create), for a later one when it has caught up.
    ///
    /// # Errors
    /// Any error. The old version serves on then.
    async fn switch(&self, transaction: &mut dyn SqlTransaction) -> Result<(), Source> {
        let _ = transaction;
        Ok(())
    }

    /// Drops the tables of a version of this model, which may be another one than this
    /// ([`ReadModels::drop_version`](super::ReadModels::drop_version)).
    ///
    /// # Errors
    /// Any error. The version is not dropped then.
    async fn remove(&self, transaction: &mut dyn SqlTransaction, version: u32) -> Result<(), Source> {
        let _ = (transaction, version);
        Ok(())
    }
}

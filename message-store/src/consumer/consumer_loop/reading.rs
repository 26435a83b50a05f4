//! Reading: the next batch is read while handlers handle the one before.

use std::collections::HashMap;
use std::sync::Arc;

use super::ConsumerLoop;
use crate::consumer::deliver::Deliver;
use crate::consumer::partitions::Cursor;
use crate::store::Slots;
use crate::{Batch, Category, Error, Filter, MessageId, MessageStore, Outcome, Read, Result, StreamName, WakeUp};

/// The messages that a consumer reads: the store, the category, the filter, and the wake-up for new messages.
pub(in crate::consumer) struct Subscription {
    pub(in crate::consumer) store: Arc<dyn MessageStore>,
    pub(in crate::consumer) category: Category,
    pub(in crate::consumer) filter: Filter,
    pub(in crate::consumer) wake_up: WakeUp,
    /// The stream with the consumer's position, which is also the name of its group.
    pub(in crate::consumer) positions: StreamName,
}

/// The messages of a read.
pub(super) struct NewMessages {
    pub(super) batch: Batch,
    pub(super) cursor: Cursor,
    /// The repeats among the messages, with their outcomes. `None` if no repeats were looked for.
    pub(super) repeats: Option<HashMap<MessageId, Outcome>>,
}

impl<D: Deliver> ConsumerLoop<D> {
    /// Reads the next batch, and the changes of letters. `is_woken` means that a wake-up has ended the wait, so new
    /// messages are likely.
    pub(super) fn read(
        &self,
        cursor: Cursor,
        is_woken: bool,
    ) -> Result<impl Future<Output = Result<NewMessages>> + Send + use<D>> {
        let (store, category) = (Arc::clone(&self.subscription.store), self.subscription.category.clone());
        let filter = self.filter(&cursor)?;
        let read = Read::from(cursor.after.next()).limit(self.pace.batch).filter(filter);
        let (outages, set_aside) = (self.outages.clone(), self.set_aside.clone());
        if let Some(set_aside) = &set_aside {
            set_aside.set_handled_through(self.partitions.handled_through());
        }
        // A message that may have ended the process is delivered alone, also if it was handled before.
        let asks_for_repeats = self.expects_repeats && self.suspects.is_none();
        let delivery = asks_for_repeats.then(|| Arc::clone(&self.delivery));
        let read = async move || {
            let Some(set_aside) = &set_aside else { return store.read_category(&category, read.clone()).await };
            if is_woken {
                // Both reads run at the same time, to save a round trip. A later change of a letter has its own
                // wake-up.
                let (batch, refreshed) =
                    tokio::join!(store.read_category(&category, read.clone()), set_aside.refresh());
                refreshed?;
                if set_aside.waits_for_messages().await {
                    set_aside.refresh().await?;
                }
                return batch;
            }
            let batch = store.read_category(&category, read.clone()).await?;
            if !batch.messages.is_empty() {
                set_aside.refresh().await?;
            }
            Ok(batch)
        };
        Ok(async move {
            let mut call = outages.call();
            let batch = loop {
                match read().await {
                    Err(error @ Error::HistoryChanged { .. }) => return Err(error),
                    Err(error) if Error::is_transient(&error) && call.again(&error).await => {}
                    result => break result?,
                }
            };
            call.answered();
            let repeats = match &delivery {
                Some(delivery) if !batch.messages.is_empty() => Some(delivery.repeats(&batch.messages).await),
                _ => None,
            };
            Ok(NewMessages { batch, cursor, repeats })
        })
    }

    /// The filter of a read: the consumer's own, and the slots that it reads. A member that reads all slots needs no
    /// filter for them.
    fn filter(&self, cursor: &Cursor) -> Result<Filter> {
        let filter = self.subscription.filter.clone();
        match self.role.owned() {
            Some(owned) if cursor.slots.len() < usize::from(owned.count()) => {
                let numbers = cursor.slots.iter().map(|(number, _)| *number);
                Ok(filter.slots(Slots::new(numbers, owned.count())?))
            }
            _ => Ok(filter),
        }
    }
}

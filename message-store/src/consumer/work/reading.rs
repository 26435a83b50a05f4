//! Reading the next batch, ahead of the handlers.

use std::sync::Arc;

use super::Work;
use crate::consumer::deliver::Deliver;
use crate::consumer::pause::Pause;
use crate::{Batch, Category, Error, Filter, MessageStore, Read, Result, WakeUp};

/// The category, the filter and the store that the consumer reads.
pub(in crate::consumer) struct Source {
    pub(in crate::consumer) store: Arc<dyn MessageStore>,
    pub(in crate::consumer) category: Category,
    pub(in crate::consumer) filter: Filter,
    pub(in crate::consumer) wake_up: WakeUp,
}

impl<D: Deliver> Work<D> {
    /// Reads the next batch, and what has become of letters. `is_woken`: messages have come, and are waited for.
    pub(super) fn read(&self, is_woken: bool) -> impl Future<Output = Result<Batch>> + Send + use<D> {
        let (store, category) = (Arc::clone(&self.source.store), self.source.category.clone());
        let read =
            Read::from(self.partitions.read_through().next()).limit(self.pace.batch).filter(self.source.filter.clone());
        let (retries, set_aside) = (self.pace.retries, self.set_aside.clone());
        let handled_through = self.partitions.handled_through();
        let read = async move || {
            let Some(set_aside) = &set_aside else { return store.read_category(&category, read.clone()).await };
            if is_woken {
                // Both at once: what becomes of a letter from here on is told by a wake-up of its own.
                let (batch, refreshed) =
                    tokio::join!(store.read_category(&category, read.clone()), set_aside.refresh(handled_through));
                refreshed?;
                if set_aside.waits_for_messages().await {
                    set_aside.refresh(handled_through).await?;
                }
                return batch;
            }
            let batch = store.read_category(&category, read.clone()).await?;
            if !batch.messages.is_empty() {
                set_aside.refresh(handled_through).await?;
            }
            Ok(batch)
        };
        async move {
            let mut pause = Pause::new(retries);
            loop {
                match read().await {
                    Err(error @ Error::HistoryChanged { .. }) => return Err(error),
                    Err(error) if Error::is_transient(&error) && pause.again(&error).await => {}
                    result => return result,
                }
            }
        }
    }
}

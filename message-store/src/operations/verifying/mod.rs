//! Verification: reads a whole store, such as a restored backup, and says what is wrong in it.
//!
//! Problem: a disk, an index or a person can damage a store, and a backup can lack a part. Nothing shows it until a reader
//! meets it. Fix: read everything, category by category, and compare it with what the toolkit guarantees. Why messages that
//! are written meanwhile are no false alarm: only messages up to the last position that the store had given out at the
//! beginning are compared, and every cause has a lower position than its effects.

mod defect;
mod seen;

use std::sync::Arc;

use crate::consumer::Positions;
use crate::store::TimerQuery;
use crate::{Category, GlobalPosition, Message, MessageStore, Read, Result};

pub use defect::Defect;
use seen::{Seen, SeenInCategory};

/// The number of categories, timers or messages of one read.
const PAGE: usize = 1_000;

/// Compares a store with what the toolkit guarantees.
///
/// It reads the whole store, and keeps about 50 bytes for each message in memory.
///
/// ```
/// use message_store::operations::Verifying;
/// use message_store::{Append, Json, NewMessage, StreamName, connect};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let store = connect("sqlite::memory:").await?;
/// let deposited = NewMessage::new("Deposited", Json::NULL);
/// store.append(Append::to(StreamName::new("account-7")?).message(deposited).into()).await?;
/// let mut defects = Vec::new();
/// let verified = Verifying::of(&store).run(|defect| defects.push(defect), |_| {}).await?;
/// assert_eq!((verified.messages, defects.len()), (1, 0));
/// # Ok::<(), message_store::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Verifying {
    store: Arc<dyn MessageStore>,
}

/// How much of a store was compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    #[allow(missing_docs)]
    pub messages: u64,
    #[allow(missing_docs)]
    pub streams: u64,
    #[allow(missing_docs)]
    pub categories: u64,
    /// The timers that wait.
    pub timers: u64,
    /// The category that was read last, and the position up to which it was read.
    pub at: Option<(Category, GlobalPosition)>,
    /// The defects that were found.
    pub defects: u64,
}

impl Verifying {
    /// A verification of this store.
    pub fn of(store: &Arc<dyn MessageStore>) -> Self {
        Self { store: Arc::clone(store) }
    }

    /// Reads the store. Shows each defect to `found`, and the progress to `progress` from time to time.
    ///
    /// # Errors
    /// The errors of a read.
    pub async fn run(self, mut found: impl FnMut(Defect), mut progress: impl FnMut(&Verified)) -> Result<Verified> {
        let mut verified = Verified::default();
        let mut count = 0;
        let mut found = |defect| {
            count += 1;
            found(defect);
        };
        let end = self.store.given_out(None).await?;
        let mut seen = Seen::new(self.store.store_id());
        let mut after = None;
        loop {
            let page = self.store.categories(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            for category in page {
                verified.categories += 1;
                self.category(&category, end, (&mut seen, &mut verified), &mut found, &mut progress).await?;
                self.positions(&category, end, &mut found).await?;
            }
        }
        seen.compare_ids_and_causes(&mut found);
        self.timers(&mut verified, &mut found).await?;
        verified.defects = count;
        Ok(verified)
    }

    async fn category(
        &self,
        category: &Category,
        end: GlobalPosition,
        (seen, verified): (&mut Seen, &mut Verified),
        found: &mut impl FnMut(Defect),
        progress: &mut impl FnMut(&Verified),
    ) -> Result<()> {
        let mut in_category = SeenInCategory::default();
        let mut read = Read::default().limit(PAGE);
        loop {
            let batch = self.store.read_category(category, read.clone()).await?;
            if batch.is_at_end(&read) || read.from > end {
                break;
            }
            read.from = batch.looked_through.next();
            for message in batch.messages.iter().take_while(|message| message.global_position <= end) {
                verified.messages += 1;
                let metadata = message.decode_metadata();
                in_category.compare(message, &metadata, seen.here, found);
                seen.note(message, metadata);
            }
            verified.at = Some((category.clone(), batch.looked_through));
            progress(verified);
        }
        verified.streams += in_category.streams.len() as u64;
        for (stream, last) in &in_category.streams {
            let version = self.store.version(stream).await?;
            if version.position() < Some(last.position) {
                let (stream, last) = (stream.clone(), last.position);
                found(Defect::StreamEndsBefore { stream, last, version });
            }
        }
        Ok(())
    }

    /// The positions of the consumers of a category.
    async fn positions(&self, category: &Category, end: GlobalPosition, found: &mut impl FnMut(Defect)) -> Result<()> {
        let Some(of) = category.as_str().strip_suffix("+position") else { return Ok(()) };
        for saved in Positions::of(&self.store, of)?.list().await? {
            // A consumer that runs may have handled what was written after the beginning.
            if saved.position > end && saved.position > self.store.given_out(None).await? {
                found(Defect::PositionBeyondEnd { consumer: saved.stream, position: saved.position, end });
            }
        }
        Ok(())
    }

    async fn timers(&self, verified: &mut Verified, found: &mut impl FnMut(Defect)) -> Result<()> {
        let Some(timers) = self.store.timers() else { return Ok(()) };
        let mut query = TimerQuery::new().limit(PAGE);
        loop {
            let page = timers.list(query.clone()).await?;
            let Some(last) = page.last() else { return Ok(()) };
            query = query.after(last);
            for timer in page {
                verified.timers += 1;
                let written: Option<Message> = self.store.message(timer.id()).await?;
                if let Some(written) = written {
                    found(Defect::FiredTimerWaits { timer: timer.key, message: written.reference() });
                }
            }
        }
    }
}

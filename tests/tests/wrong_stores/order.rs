//! Stores whose readers skip or stall, and whose position and clock are wrong.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use message_store::{AppendRequest, Appended, Batch, Category, GlobalPosition, MessageStore, Read, Result};

use super::wrong::{Wrong, read_right};

wrong_stores! {
    /// As long as its writer waits for the answer. Readers pass it.
    AMessageIsHiddenWhileItIsWritten(Mutex<BTreeSet<GlobalPosition>>) breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            let appended = store.append(request).await?;
            let places: Vec<_> = appended.written.iter().map(|place| place.global_position).collect();
            self.0.lock().unwrap().extend(&places);
            tokio::time::sleep(Duration::from_millis(2)).await;
            self.0.lock().unwrap().retain(|hidden| !places.contains(hidden));
            Ok(appended)
        }
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            let hidden = self.0.lock().unwrap().clone();
            let mut batch = read_right(store, category, read).await?;
            batch.messages.retain(|message| !hidden.contains(&message.global_position));
            Ok(batch)
        }
    }
    ARollbackStallsReaders(AtomicBool) breaks [] {
        fn rolled_back(&self) {
            self.0.store(true, Ordering::SeqCst);
        }
        async fn read(&self, store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
            // The position that was given up stands behind the first message in the rule that reads on a fresh handle's store.
            let limit = if self.0.load(Ordering::SeqCst) { 1.min(read.limit) } else { read.limit };
            read_right(store, category, read.limit(limit)).await
        }
    }
    AnEmptyStoreHasGivenOutAPosition breaks [] {
        async fn given_out(&self, store: &dyn MessageStore) -> Result<GlobalPosition> {
            Ok(store.given_out().await?.max(GlobalPosition::FIRST))
        }
    }
    WhatWasGivenOutLagsBehind breaks [] {
        async fn given_out(&self, store: &dyn MessageStore) -> Result<GlobalPosition> {
            Ok(store.given_out().await?.previous().max(GlobalPosition::ZERO))
        }
    }
    WhatWasGivenOutRunsAhead breaks [] {
        async fn given_out(&self, store: &dyn MessageStore) -> Result<GlobalPosition> {
            let given_out = store.given_out().await?;
            Ok(if given_out == GlobalPosition::ZERO { given_out } else { given_out.next() })
        }
    }
    WhatWasGivenOutIsTheLastThatStands(AtomicBool) breaks [] {
        fn deleted(&self) {
            self.0.store(true, Ordering::SeqCst);
        }
        async fn given_out(&self, store: &dyn MessageStore) -> Result<GlobalPosition> {
            let given_out = store.given_out().await?;
            Ok(if self.0.load(Ordering::SeqCst) { given_out.previous() } else { given_out })
        }
    }
    TheClockGoesTwiceAsFast(OnceLock<Timestamp>) breaks [] {
        async fn now(&self, store: &dyn MessageStore) -> Result<Timestamp> {
            let now = store.now().await?;
            let first = *self.0.get_or_init(|| now);
            Ok(now + now.duration_since(first))
        }
    }
}

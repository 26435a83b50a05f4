//! Stores that remember keys for too long or not long enough, and sweep others.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use message_store::store::{Claim, ClaimRecord, Window};
use message_store::{AppendRequest, Json, MessageStore, Result};

use super::wrong::{Wrong, keys};

fn an_hour() -> Window {
    Window::of(Duration::from_hours(1)).unwrap()
}

fn with(claim: &Claim, window: Window) -> Claim {
    Claim { window, ..claim.clone() }
}

fn not_sliding(claim: &Claim) -> Claim {
    with(claim, Window::of(claim.window.lifetime()).unwrap())
}

wrong_stores! {
    AShortWindowEndsAtOnce breaks [] {
        async fn record(&self, store: &dyn MessageStore, claim: &Claim) -> Result<Option<ClaimRecord>> {
            let record = keys(store).record(claim).await?;
            Ok(record.filter(|_| claim.window.lifetime() > Duration::from_mins(1)))
        }
    }
    AWindowNeverEnds breaks [] {
        async fn append_once(&self, store: &dyn MessageStore, claim: &Claim, request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>> {
            keys(store).append_once(&with(claim, an_hour()), request, result).await
        }
        async fn record(&self, store: &dyn MessageStore, claim: &Claim) -> Result<Option<ClaimRecord>> {
            keys(store).record(&with(claim, an_hour())).await
        }
    }
    EveryWindowIsProlongedByRepeats breaks [] {
        async fn record(&self, store: &dyn MessageStore, claim: &Claim) -> Result<Option<ClaimRecord>> {
            let window = if claim.window.is_sliding() { claim.window } else { an_hour().sliding() };
            keys(store).record(&with(claim, window)).await
        }
    }
    NoWindowSlides breaks [] {
        async fn append_once(&self, store: &dyn MessageStore, claim: &Claim, request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>> {
            keys(store).append_once(&not_sliding(claim), request, result).await
        }
        async fn record(&self, store: &dyn MessageStore, claim: &Claim) -> Result<Option<ClaimRecord>> {
            keys(store).record(&not_sliding(claim)).await
        }
    }
    AnAppendAgainPostponesNoEnd breaks [] {
        async fn append_once(&self, store: &dyn MessageStore, claim: &Claim, request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>> {
            keys(store).append_once(&not_sliding(claim), request, result).await
        }
    }
    ASlidingWindowNeverEnds breaks [] {
        async fn append_once(&self, store: &dyn MessageStore, claim: &Claim, request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>> {
            let window = if claim.window.is_sliding() { an_hour() } else { claim.window };
            keys(store).append_once(&with(claim, window), request, result).await
        }
    }
    ASweepForgetsEveryKey(AtomicBool) breaks [] {
        async fn record(&self, store: &dyn MessageStore, claim: &Claim) -> Result<Option<ClaimRecord>> {
            Ok(keys(store).record(claim).await?.filter(|_| !self.0.load(Ordering::SeqCst)))
        }
        async fn sweep(&self, store: &dyn MessageStore, batch: u32) -> Result<u64> {
            self.0.store(true, Ordering::SeqCst);
            keys(store).sweep(batch).await
        }
    }
    ASweepCountsItsBatch breaks [] {
        async fn sweep(&self, store: &dyn MessageStore, batch: u32) -> Result<u64> {
            let swept = keys(store).sweep(batch).await?;
            Ok(if swept > 0 { batch.into() } else { 0 })
        }
    }
    ASweepCountsWhatWasSweptBefore(AtomicU64) breaks [] {
        async fn sweep(&self, store: &dyn MessageStore, batch: u32) -> Result<u64> {
            let swept = keys(store).sweep(batch).await?;
            Ok(swept + self.0.fetch_add(swept, Ordering::SeqCst))
        }
    }
    ASweepIgnoresItsBatch breaks [] {
        async fn sweep(&self, store: &dyn MessageStore, _batch: u32) -> Result<u64> {
            keys(store).sweep(1_000).await
        }
    }
}

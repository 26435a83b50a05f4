//! Stores that remember keys for a wrong time, or sweep wrong keys.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use message_store::store::{Claim, Window};
use message_store::{AppendRequest, Json, Result};

use super::wrong::{Seen, Store, Wrong, keys};

fn an_hour() -> Window {
    Window::of(Duration::from_hours(1)).unwrap()
}

fn with(claim: &Claim, window: Window) -> Claim {
    changed!(claim.clone(), window = window)
}

fn not_sliding(claim: &Claim) -> Claim {
    with(claim, Window::of(claim.window.lifetime()).unwrap())
}

wrong_stores! {
    AShortWindowEndsAtOnce breaks [
        a_key_is_remembered_until_its_window_ends
        a_sliding_window_begins_anew_when_the_record_is_read
    ] {
        async fn record(&self, store: Store<'_>, claim: &Claim) -> Seen {
            let record = keys(store).record(claim).await?;
            Ok(record.filter(|_| claim.window.lifetime() > Duration::from_mins(1)))
        }
    }
    AWindowNeverEnds breaks [
        a_key_whose_window_has_ended_has_no_record
        a_key_whose_window_has_ended_can_be_taken_again
        a_window_is_not_prolonged_by_repeats
        a_sliding_window_ends_when_no_repeat_comes
        a_sweep_counts_the_keys_that_it_removes
        a_sweep_removes_no_more_keys_than_its_batch
    ] {
        async fn append_once(&self, store: Store<'_>, claim: &Claim, request: AppendRequest, result: Json) -> Seen {
            keys(store).append_once(&with(claim, an_hour()), request, result).await
        }
        async fn record(&self, store: Store<'_>, claim: &Claim) -> Seen {
            keys(store).record(&with(claim, an_hour())).await
        }
    }
    EveryWindowIsProlongedByRepeats breaks [a_window_is_not_prolonged_by_repeats] {
        async fn record(&self, store: Store<'_>, claim: &Claim) -> Seen {
            let window = if claim.window.is_sliding() { claim.window } else { an_hour().sliding() };
            keys(store).record(&with(claim, window)).await
        }
    }
    NoWindowSlides breaks [
        a_sliding_window_begins_anew_when_the_record_is_read
        a_sliding_window_begins_anew_when_an_append_is_repeated
    ] {
        async fn append_once(&self, store: Store<'_>, claim: &Claim, request: AppendRequest, result: Json) -> Seen {
            keys(store).append_once(&not_sliding(claim), request, result).await
        }
        async fn record(&self, store: Store<'_>, claim: &Claim) -> Seen {
            keys(store).record(&not_sliding(claim)).await
        }
    }
    AnAppendAgainPostponesNoEnd breaks [a_sliding_window_begins_anew_when_an_append_is_repeated] {
        async fn append_once(&self, store: Store<'_>, claim: &Claim, request: AppendRequest, result: Json) -> Seen {
            keys(store).append_once(&not_sliding(claim), request, result).await
        }
    }
    ASlidingWindowNeverEnds breaks [a_sliding_window_ends_when_no_repeat_comes] {
        async fn append_once(&self, store: Store<'_>, claim: &Claim, request: AppendRequest, result: Json) -> Seen {
            let window = if claim.window.is_sliding() { an_hour() } else { claim.window };
            keys(store).append_once(&with(claim, window), request, result).await
        }
    }
    ASweepForgetsEveryKey(AtomicBool) breaks [a_sweep_removes_no_key_that_is_remembered] {
        async fn record(&self, store: Store<'_>, claim: &Claim) -> Seen {
            Ok(keys(store).record(claim).await?.filter(|_| !self.0.load(Ordering::SeqCst)))
        }
        async fn sweep(&self, store: Store<'_>, batch: u32) -> Result<u64> {
            self.0.store(true, Ordering::SeqCst);
            keys(store).sweep(batch).await
        }
    }
    ASweepCountsItsBatch breaks [
        a_sweep_counts_the_keys_that_it_removes
        a_sweep_removes_no_more_keys_than_its_batch
    ] {
        async fn sweep(&self, store: Store<'_>, batch: u32) -> Result<u64> {
            let swept = keys(store).sweep(batch).await?;
            Ok(if swept > 0 { batch.into() } else { 0 })
        }
    }
    ASweepCountsWhatWasSweptBefore(AtomicU64) breaks [
        a_swept_key_is_not_swept_again
        a_sweep_removes_no_more_keys_than_its_batch
    ] {
        async fn sweep(&self, store: Store<'_>, batch: u32) -> Result<u64> {
            let swept = keys(store).sweep(batch).await?;
            Ok(swept + self.0.fetch_add(swept, Ordering::SeqCst))
        }
    }
    ASweepIgnoresItsBatch breaks [a_sweep_removes_no_more_keys_than_its_batch] {
        async fn sweep(&self, store: Store<'_>, _batch: u32) -> Result<u64> {
            keys(store).sweep(1_000).await
        }
    }
}

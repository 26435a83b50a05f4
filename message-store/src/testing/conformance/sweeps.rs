//! Rules of sweeps: they remove expired keys, in batches.

use super::keys::{claim, keys_of, take};
use super::windows::{short, wait_past};
use super::{Rule, Subject};
use crate::MessageStore;
use crate::store::Deduplication;

/// Takes three keys whose windows have ended, and one key whose window has not.
async fn three_expired_and_one_live(store: &dyn MessageStore, keys: &dyn Deduplication) {
    for key in ["k1", "k2", "k3"] {
        take(keys, &short(key)).await;
    }
    take(keys, &claim("live")).await;
    wait_past(store, store.now().await.unwrap()).await;
}

contract! {$ sweeps sweeps_tests {
    async fn a_sweep_removes_no_key_that_is_remembered(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        three_expired_and_one_live(&*store, keys).await;
        keys.sweep(100).await.unwrap();
        assert!(keys.record(&claim("live")).await.unwrap().is_some());
    }

    async fn a_sweep_counts_the_keys_that_it_removes(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        three_expired_and_one_live(&*store, keys).await;
        assert_eq!(keys.sweep(100).await.unwrap(), 3);
    }

    async fn a_swept_key_is_not_swept_again(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        three_expired_and_one_live(&*store, keys).await;
        keys.sweep(100).await.unwrap();
        assert_eq!(keys.sweep(100).await.unwrap(), 0);
    }

    async fn a_sweep_removes_no_more_keys_than_its_batch(subject) {
        let store = subject.store();
        let Some(keys) = keys_of(&*store) else { return };
        three_expired_and_one_live(&*store, keys).await;
        let mut swept = Vec::new();
        for _ in 0..3 {
            swept.push(keys.sweep(2).await.unwrap());
        }
        assert_eq!(swept, [2, 1, 0]);
    }
}}

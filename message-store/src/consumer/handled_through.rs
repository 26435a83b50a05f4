//! The position up to which a consumer has handled all messages, as its handle shows it.
//!
//! Problem: the position changes after nearly every message, and to wake a waiting caller at each change costs more than
//! the rest of the loop. Fix: a caller says for which position it waits, and is woken only when that is reached. Why no
//! wake-up is lost: the loop asks for the awaited position while it holds the lock of the value, and the caller reads the
//! value after it has said for what it waits. So either the caller reads the new value, or the loop sees what it waits
//! for.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::watch;

use crate::GlobalPosition;

/// The end that the consumer's loop uses.
#[derive(Debug)]
pub(super) struct HandledThrough {
    position: watch::Sender<GlobalPosition>,
    awaited: Arc<AtomicI64>,
}

/// The end that the handle uses.
#[derive(Clone, Debug)]
pub(super) struct HandledThroughReceiver {
    position: watch::Receiver<GlobalPosition>,
    /// The position for which a caller waits, or waited last.
    awaited: Arc<AtomicI64>,
}

/// Both ends, which begin at this position.
pub(super) fn handled_through(position: GlobalPosition) -> (HandledThrough, HandledThroughReceiver) {
    let (sender, receiver) = watch::channel(position);
    let awaited = Arc::new(AtomicI64::new(i64::MAX));
    (
        HandledThrough { position: sender, awaited: Arc::clone(&awaited) },
        HandledThroughReceiver { position: receiver, awaited },
    )
}

impl HandledThrough {
    pub(super) fn publish(&self, position: GlobalPosition) {
        self.position.send_if_modified(|published| {
            *published = position;
            position.get() >= self.awaited.load(Ordering::Relaxed)
        });
    }
}

impl HandledThroughReceiver {
    pub(super) fn position(&self) -> GlobalPosition {
        *self.position.borrow()
    }

    /// Waits until this position is reached. Returns false if the loop ended before.
    pub(super) async fn reaches(&mut self, position: GlobalPosition) -> bool {
        self.awaited.store(position.get(), Ordering::Relaxed);
        self.position.wait_for(|handled| *handled >= position).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_caller_is_woken_only_when_its_position_is_reached() {
        let at = GlobalPosition::new;
        let (loops, mut handle) = handled_through(at(3));
        assert!(handle.reaches(at(3)).await);
        let mut wakes = handle.position.clone();
        wakes.mark_unchanged();
        {
            let mut reaches = std::pin::pin!(handle.reaches(at(6)));
            assert!(reaches.as_mut().now_or_never().is_none());
            for position in [4, 5] {
                loops.publish(at(position));
                assert!(!wakes.has_changed().unwrap(), "{position}");
            }
            loops.publish(at(7));
            assert!(reaches.await);
        }
        assert_eq!(handle.position(), at(7));
        drop(loops);
        assert!(!handle.reaches(at(8)).await);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_up_is_lost() {
        let (loops, mut handle) = handled_through(GlobalPosition::ZERO);
        let publishing = tokio::task::spawn_blocking(move || {
            for position in 1..=200_000 {
                loops.publish(GlobalPosition::new(position));
            }
            loops
        });
        for position in (1..=200_000).step_by(7) {
            assert!(handle.reaches(GlobalPosition::new(position)).await);
        }
        publishing.await.unwrap();
    }
}

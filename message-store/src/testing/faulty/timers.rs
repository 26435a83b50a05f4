//! The timers of a faulty store: they fire by its clock.

use jiff::SignedDuration;

use async_trait::async_trait;

use super::{FaultyStore, lock, take};
use crate::store::{Due, Timer, TimerChange, TimerChanged, TimerQuery, Timers};
use crate::{Error, MessageStore as _, Result};

impl FaultyStore {
    fn right_timers(&self) -> Result<&dyn Timers> {
        let unsupported = || Error::Unsupported { store: self.describe(), what: "timers".to_owned() };
        self.assert_here()?;
        self.inner.timers().ok_or_else(unsupported)
    }

    /// Delays that begin at the time of this store's clock.
    pub(super) fn by_its_clock(&self, changes: &mut [TimerChange]) {
        let ahead = lock(&self.clock).ahead;
        for change in changes {
            if let TimerChange::Set { due: Due::After(delay), .. } | TimerChange::Move { due: Due::After(delay), .. } =
                change
            {
                *delay += ahead;
            }
        }
    }
}

#[async_trait]
impl Timers for FaultyStore {
    async fn change(&self, mut changes: Vec<TimerChange>) -> Result<Vec<TimerChanged>> {
        self.calls.step().await;
        self.by_its_clock(&mut changes);
        let changed = self.right_timers()?.change(changes).await?;
        self.calls.step().await;
        if take(&self.lose) {
            return Err(Error::CommitUnknown { cause: "a planted fault".into() });
        }
        Ok(changed)
    }

    async fn list(&self, mut query: TimerQuery) -> Result<Vec<Timer>> {
        let ahead = lock(&self.clock).ahead;
        query.due_within = query.due_within.map(|time| time + ahead);
        let mut timers = self.right_timers()?.list(query).await?;
        for timer in &mut timers {
            timer.due_in -= SignedDuration::try_from(ahead).unwrap();
        }
        Ok(timers)
    }

    async fn fire(&self, timers: &[Timer]) -> Result<usize> {
        self.calls.step().await;
        if let Some(stuck) = timers.iter().find(|timer| lock(&self.stuck_timers).contains(&timer.to)) {
            return Err(Error::invalid("timer", format!("a planted fault: nothing is written to {}", stuck.to)));
        }
        let fired = self.right_timers()?.fire(timers).await?;
        self.calls.step().await;
        if take(&self.lose) {
            return Err(Error::CommitUnknown { cause: "a planted fault".into() });
        }
        Ok(fired)
    }
}

//! Troubles of the store itself: its clock, its timers and its read models.

use std::time::Duration;

use super::{Trouble, TroubleKind};
use crate::store::TimerQuery;
use crate::{MessageStore, Result, Timestamp};

/// The difference of two clocks that is no trouble.
pub(super) const APART: Duration = Duration::from_secs(5);

pub(super) async fn look(store: &dyn MessageStore, patience: Duration) -> Result<Vec<Trouble>> {
    let mut troubles = Vec::new();
    troubles.extend(clock(store).await?);
    troubles.extend(timers(store, patience).await?);
    if let Some(read_models) = store.read_models() {
        for version in read_models.versions(None).await? {
            let Some(failure) = &version.failure else { continue };
            let what = format!("version {} of the read model {} has stopped: {failure}", version.version, version.name);
            let mend = "Mend the read model and start its service again, or let it pass such messages over \
                        (`OnApplyFailure::Skip`); `message-store read-models list` shows where it is";
            troubles.push(Trouble::new(TroubleKind::ReadModelStopped, what, mend));
        }
    }
    Ok(troubles)
}

/// Compares this machine's clock with the store's.
async fn clock(store: &dyn MessageStore) -> Result<Option<Trouble>> {
    let before = Timestamp::now();
    let stores = store.now().await?;
    let after = Timestamp::now();
    let apart = stores.duration_since(after).max(before.duration_since(stores));
    let apart = Duration::try_from(apart).unwrap_or_default();
    Ok((apart > APART).then(|| {
        let what = format!("the clock of {} and the clock here differ by {} s", store.describe(), apart.as_secs());
        Trouble::new(TroubleKind::ClocksApart, what, "Let both machines set their clocks by the network (NTP)")
    }))
}

async fn timers(store: &dyn MessageStore, patience: Duration) -> Result<Option<Trouble>> {
    let Some(timers) = store.timers() else { return Ok(None) };
    let due = timers.list(TimerQuery::new().due_within(Duration::ZERO).limit(1)).await?;
    let late = due.first().and_then(|timer| Some((timer, Duration::try_from(-timer.due_in).ok()?)));
    Ok(late.filter(|(_, late)| *late > patience).map(|(timer, late)| {
        let (name, stream, seconds) = (&timer.key.name, &timer.key.stream, late.as_secs());
        let what = format!("the timer {name} of {stream} has been due for {seconds} s and has not fired");
        let mend = "Start a service of this store, which fires them; `message-store timers list` shows all";
        Trouble::new(TroubleKind::TimersNotFired, what, mend)
    }))
}

//! Stores that keep timers wrongly.

use std::time::Duration;

use message_store::store::{Due, IfWaiting, Timer, TimerChange, TimerChanged, TimerQuery};
use message_store::{Append, AppendRequest, Appended, Category, Json, MessageId, NewMessage, Result, WakeUp};

use super::wrong::{Store, WaitingTimers, Wrong, timers};

/// The request without its timers, and the timers.
fn without_timers(request: &AppendRequest) -> (AppendRequest, Vec<TimerChange>) {
    (AppendRequest::from(request.appends().to_vec()), request.timers().to_vec())
}

wrong_stores! {
    ATimerFiresAgain breaks [
        a_timer_that_is_due_becomes_its_message_once
        a_timer_that_is_set_again_with_its_message_is_the_same_timer
        a_timer_that_changed_after_it_was_listed_does_not_fire
        a_timer_whose_message_was_written_before_is_removed
        timers_fire_once_for_several_processes
    ] {
        async fn fire_timers(&self, store: Store<'_>, listed: &[Timer]) -> Result<usize> {
            for timer in listed {
                let message = timer.message.clone().with_id(MessageId::new());
                store.append(Append::to(timer.to.clone()).message(message).into()).await?;
                timers(store).change(vec![TimerChange::Cancel { key: timer.key.clone() }]).await?;
            }
            Ok(listed.len())
        }
    }
    ATimerIsRemovedWithoutItsMessage breaks [
        a_timer_that_is_due_becomes_its_message_once
        at_most_one_timer_of_a_key_waits
        a_timer_that_is_set_again_with_its_message_is_the_same_timer
        a_timer_is_moved_and_cancelled_by_its_key
        a_timer_that_changed_after_it_was_listed_does_not_fire
        a_timer_whose_id_another_message_took_fires_under_another_id
        a_timer_whose_id_another_message_has_fires_under_another_id
        timers_fire_once_for_several_processes
        a_message_of_a_timer_wakes_readers
    ] {
        async fn fire_timers(&self, store: Store<'_>, listed: &[Timer]) -> Result<usize> {
            let cancel = listed.iter().map(|timer| TimerChange::Cancel { key: timer.key.clone() });
            let changed = timers(store).change(cancel.collect()).await?;
            Ok(changed.iter().filter(|changed| **changed == TimerChanged::Cancelled).count())
        }
    }
    EveryTimerIsDue breaks [a_timer_that_is_not_due_waits] {
        async fn list_timers(&self, timers: WaitingTimers<'_>, mut query: TimerQuery) -> Result<Vec<Timer>> {
            query.due_within = None;
            timers.list(query).await
        }
    }
    DelaysAreDoubled breaks [a_delay_counts_from_the_change_by_the_stores_clock] {
        async fn change_timers(&self, timers: WaitingTimers<'_>, mut changes: Vec<TimerChange>) -> Result<Vec<TimerChanged>> {
            for change in &mut changes {
                if let TimerChange::Set { due: Due::After(time), .. } = change {
                    *time *= 2;
                }
            }
            timers.change(changes).await
        }
    }
    TimersAreListedByName breaks [
        a_timer_that_is_not_due_waits
        timers_are_listed_by_the_time_at_which_they_are_due
    ] {
        async fn list_timers(&self, timers: WaitingTimers<'_>, query: TimerQuery) -> Result<Vec<Timer>> {
            let mut listed = timers.list(query).await?;
            listed.sort_by(|one, other| one.key.cmp(&other.key));
            Ok(listed)
        }
    }
    TheCategoryOfTimersIsIgnored breaks [timers_are_listed_by_the_time_at_which_they_are_due] {
        async fn list_timers(&self, timers: WaitingTimers<'_>, mut query: TimerQuery) -> Result<Vec<Timer>> {
            query.category = None;
            timers.list(query).await
        }
    }
    AWaitingTimerIsAlwaysReplaced breaks [at_most_one_timer_of_a_key_waits] {
        async fn change_timers(&self, timers: WaitingTimers<'_>, mut changes: Vec<TimerChange>) -> Result<Vec<TimerChanged>> {
            for change in &mut changes {
                if let TimerChange::Set { if_waiting, .. } = change {
                    *if_waiting = IfWaiting::Replace;
                }
            }
            timers.change(changes).await
        }
    }
    ATimerThatIsSetAgainIsAnother breaks [a_timer_that_is_set_again_with_its_message_is_the_same_timer] {
        async fn change_timers(&self, timers: WaitingTimers<'_>, mut changes: Vec<TimerChange>) -> Result<Vec<TimerChanged>> {
            let waiting = timers.list(TimerQuery::new()).await?;
            for change in &mut changes {
                if let TimerChange::Set { key, message, .. } = change
                    && waiting.iter().any(|timer| timer.key == *key && timer.id() == message.id)
                {
                    message.id = MessageId::new();
                }
            }
            timers.change(changes).await
        }
    }
    ACancelledTimerWaits breaks [
        a_timer_is_moved_and_cancelled_by_its_key
        a_timer_that_changed_after_it_was_listed_does_not_fire
        the_content_of_a_timers_message_is_redacted_only_if_it_has_the_id
        a_repeated_append_changes_no_timer
    ] {
        async fn change_timers(&self, timers: WaitingTimers<'_>, changes: Vec<TimerChange>) -> Result<Vec<TimerChanged>> {
            let mut results = Vec::new();
            for change in changes {
                results.push(match change {
                    TimerChange::Cancel { .. } => TimerChanged::Cancelled,
                    change => timers.change(vec![change]).await?[0],
                });
            }
            Ok(results)
        }
    }
    ARedactionSetsTheTimerAnew breaks [the_content_of_a_timers_message_is_redacted_only_if_it_has_the_id] {
        async fn change_timers(&self, timers: WaitingTimers<'_>, changes: Vec<TimerChange>) -> Result<Vec<TimerChanged>> {
            let mut results = Vec::new();
            for change in changes {
                let TimerChange::Redact { key, id, data, metadata } = change else {
                    results.extend(timers.change(vec![change]).await?);
                    continue;
                };
                let to = key.stream.clone();
                let mut message = NewMessage::new("Redacted", data).with_id(id);
                message.metadata = metadata;
                let due = Due::After(Duration::from_hours(1));
                let cancel = TimerChange::Cancel { key: key.clone() };
                timers.change(vec![cancel, TimerChange::set(key, due, to, message)]).await?;
                results.push(TimerChanged::Redacted);
            }
            Ok(results)
        }
    }
    ATimerFiresAsItIsNow breaks [a_timer_that_changed_after_it_was_listed_does_not_fire] {
        async fn fire_timers(&self, store: Store<'_>, listed: &[Timer]) -> Result<usize> {
            let all = timers(store).list(TimerQuery::new()).await?;
            let now: Vec<Timer> = all.into_iter().filter(|timer| listed.iter().any(|it| it.key == timer.key)).collect();
            timers(store).fire(&now).await
        }
    }
    AWrittenTimerWaits breaks [a_timer_whose_message_was_written_before_is_removed] {
        async fn fire_timers(&self, store: Store<'_>, listed: &[Timer]) -> Result<usize> {
            let mut unwritten = Vec::new();
            for timer in listed {
                let written = store.message(timer.id()).await?;
                if written.is_none_or(|written| written.stream != timer.to) {
                    unwritten.push(timer.clone());
                }
            }
            timers(store).fire(&unwritten).await
        }
    }
    ATakenIdEndsATimer breaks [
        a_timer_whose_id_another_message_took_fires_under_another_id
        a_timer_whose_id_another_message_has_fires_under_another_id
    ] {
        async fn fire_timers(&self, store: Store<'_>, listed: &[Timer]) -> Result<usize> {
            for timer in listed {
                if store.message(timer.id()).await?.is_some_and(|message| message.stream != timer.to) {
                    timers(store).change(vec![TimerChange::Cancel { key: timer.key.clone() }]).await?;
                }
            }
            timers(store).fire(listed).await
        }
    }
    TimersOfAppendsAreIgnored breaks [
        timers_of_an_append_change_with_its_messages
        a_timer_that_a_store_cannot_write_is_refused
    ] {
        async fn append_with_timers(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            store.append(without_timers(&request).0).await
        }
    }
    TimersOfAppendsAreSetBefore breaks [a_refused_append_changes_no_timer a_repeated_append_changes_no_timer] {
        async fn append_with_timers(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let (request, changes) = without_timers(&request);
            if !changes.is_empty() {
                timers(store).change(changes).await?;
            }
            store.append(request).await
        }
    }
    TimersAreNotChecked breaks [a_timer_that_a_store_cannot_write_is_refused] {
        async fn change_timers(&self, timers: WaitingTimers<'_>, mut changes: Vec<TimerChange>) -> Result<Vec<TimerChanged>> {
            for change in &mut changes {
                if let TimerChange::Set { message, .. } = change
                    && message.data.text().len() > 1_000
                {
                    message.data = Json::NULL;
                }
            }
            timers.change(changes).await
        }
    }
    /// Two processes fire one timer.
    ATimerFiresInEachProcess breaks [timers_fire_once_for_several_processes] {
        async fn fire_timers(&self, store: Store<'_>, listed: &[Timer]) -> Result<usize> {
            tokio::time::sleep(Duration::from_millis(u64::from(listed.len() > 5) * 50)).await;
            let fired = timers(store).fire(listed).await?;
            Ok(if listed.len() > 5 { listed.len() } else { fired })
        }
    }
    FiredTimersWakeNoReader breaks [
        a_message_of_a_timer_wakes_readers
    ] {
        async fn wake_up(&self, store: Store<'_>, category: Option<&Category>) -> Result<WakeUp> {
            match category {
                Some(category) if category.as_str() == "transfer:command" => Ok(WakeUp::never()),
                _ => store.wake_up(category).await,
            }
        }
    }
    AStoreWithoutTimersIgnoresThem breaks [a_store_without_timers_refuses_them] {
        fn has_timers(&self) -> bool {
            false
        }
        async fn append_with_timers(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            store.append(without_timers(&request).0).await
        }
    }
}

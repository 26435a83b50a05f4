//! Services fire timers.

use std::sync::Arc;
use std::time::Duration;

use message_store::service::Service;
use message_store::store::{Due, TimerChange, TimerKey, TimerQuery};
use message_store::testing::FaultyStore;
use message_store::{Json, MessageStore, NewMessage, StreamName};
use message_store_tests::accounts::messages_of;
use message_store_tests::on_both_stores;

type Store = Arc<dyn MessageStore>;

/// Longer than any pause.
const HANGS: Duration = Duration::from_mins(2);

async fn set(store: &Store, name: &str, to: &str, due: Duration) {
    let key = TimerKey::new(StreamName::new("order-1").unwrap(), name);
    let message = NewMessage::new("Remind", Json::NULL);
    let set = TimerChange::set(key, Due::After(due), StreamName::new(to).unwrap(), message);
    store.timers().unwrap().change(vec![set]).await.unwrap();
}

async fn until(condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(HANGS, wait).await.expect("the condition is never met");
}

async fn has_fired(store: &Store, timers: usize) {
    until(async || messages_of(store, "order:command").await.len() == timers).await;
}

on_both_stores! {
    async fn a_service_fires_timers_that_were_set_before_and_after_its_start(store) {
        set(&store, "before", "order:command-1", Duration::ZERO).await;
        let service = Service::new(&store).start().await.unwrap();
        has_fired(&store, 1).await;
        set(&store, "after", "order:command-1", Duration::from_millis(300)).await;
        set(&store, "later", "order:command-1", Duration::from_hours(1)).await;
        has_fired(&store, 2).await;
        assert!(service.health().is_ready, "{}", service.health());
        service.stop();
        service.ended().await.unwrap();
        set(&store, "stopped", "order:command-1", Duration::ZERO).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(messages_of(&store, "order:command").await.len(), 2);
    }

    async fn a_service_fires_no_timers_if_it_is_told_so(store) {
        set(&store, "a", "order:command-1", Duration::ZERO).await;
        let service = Service::new(&store).timers_every(None).start().await.unwrap();
        let firing = Service::new(&store).timers_every(Duration::from_millis(20));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(messages_of(&store, "order:command").await.is_empty());
        let firing = firing.start().await.unwrap();
        has_fired(&store, 1).await;
        for service in [service, firing] {
            service.stop();
            service.ended().await.unwrap();
        }
    }

    async fn a_timer_that_cannot_fire_keeps_no_other_from_firing_and_turns_health_red(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        faulty.refuse_timers_to(&["stuck:command-1"]);
        // More than are fired together, and before the others.
        for number in 0..150 {
            set(&shared, &format!("stuck {number}"), "stuck:command-1", Duration::ZERO).await;
        }
        for number in 0..30 {
            set(&shared, &format!("fires {number}"), "order:command-1", Duration::ZERO).await;
        }
        let service = Service::new(&shared).timers_every(Duration::from_millis(20)).start().await.unwrap();
        has_fired(&store, 30).await;
        until(async || service.health().to_string().contains("150 timers cannot fire")).await;
        let health = service.health();
        assert!(!health.is_ready && health.is_live && health.to_string().contains("stuck:command-1"), "{health}");
        faulty.refuse_timers_to(&[]);
        until(async || service.health().is_ready).await;
        assert_eq!(messages_of(&store, "stuck:command").await.len(), 150);
        assert!(store.timers().unwrap().list(TimerQuery::new()).await.unwrap().is_empty());
    }

    async fn timers_fire_after_an_outage_of_the_store(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let service = Service::new(&shared).timers_every(Duration::from_millis(20)).start().await.unwrap();
        faulty.set_unavailable(true);
        set(&store, "a", "order:command-1", Duration::ZERO).await;
        until(async || service.health().to_string().contains("no timer has fired since")).await;
        assert!(service.health().is_live);
        faulty.set_unavailable(false);
        has_fired(&store, 1).await;
        until(async || service.health().is_ready).await;
    }

    async fn a_timer_whose_answer_is_lost_fires_once(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        set(&shared, "a", "order:command-1", Duration::ZERO).await;
        faulty.lose_answers(1);
        let service = Service::new(&shared).timers_every(Duration::from_millis(20)).start().await.unwrap();
        until(async || faulty.answers_to_lose() == 0 && service.health().is_ready).await;
        assert_eq!(messages_of(&store, "order:command").await.len(), 1);
    }
}

//! When snapshots are taken and used.

use std::sync::Arc;

use message_store::entity::{EntityStore, Projection, SnapshotPolicy};
use message_store::handling::{ProcessHandler, ProcessManager, Reaction};
use message_store::testing::FaultyStore;
use message_store::{Message, OutcomeKind};
use message_store_tests::on_both_stores;
use serde::{Deserialize, Serialize};

use super::tally::{Event, Store, Tally, add, entities, handler};

on_both_stores! {
    async fn a_snapshot_is_taken_after_every_n_messages_and_not_before(store) {
        let handler = handler(&store, Some(4));
        for (number, saved) in [(0, 0), (0, 0), (0, 0), (0, 1), (0, 1), (0, 1), (0, 1), (0, 2)] {
            add(&store, &handler, "1", &[number]).await;
            assert_eq!(handler.entities().snapshot_counts().saved, saved);
        }
        // A cold load reads the snapshot, and counts on from it.
        let cold = entities(&store, 4);
        assert_eq!(*cold.fetch("1").await.unwrap(), *handler.entities().fetch("1").await.unwrap());
        cold.snapshots_written().await;
        let counts = cold.snapshot_counts();
        assert_eq!((counts.used, counts.saved, counts.discarded), (1, 0, 0));
    }

    async fn a_cold_load_reads_the_last_message_of_the_snapshot_and_what_follows(store) {
        add(&store, &handler(&store, Some(10)), "1", &[2; 13]).await;
        let counting = FaultyStore::new(&store);
        let counted: Store = Arc::clone(&counting) as Store;
        let read = async |every: Option<u32>| {
            let before = counting.messages_read();
            let entities = EntityStore::<Tally>::new(&counted);
            let entities = match every {
                Some(every) => entities.snapshots(SnapshotPolicy::every(every)),
                None => entities,
            };
            assert_eq!(entities.fetch("1").await.unwrap().state.sum, 26);
            counting.messages_read() - before
        };
        assert_eq!((read(None).await, read(Some(10)).await), (13, 4));
    }

    async fn a_stream_that_was_read_from_its_beginning_has_a_snapshot_afterwards(store) {
        add(&store, &handler(&store, None), "1", &[2; 5]).await;
        let reader = entities(&store, 5);
        reader.fetch("1").await.unwrap();
        reader.snapshots_written().await;
        assert_eq!(reader.snapshot_counts().saved, 1);
        reader.fetch("1").await.unwrap();
        reader.snapshots_written().await;
        assert_eq!(reader.snapshot_counts().saved, 1, "once");
    }

    async fn commands_before_and_after_a_snapshot_are_recognised_by_a_process_that_loads_it(store) {
        let sent = add(&store, &handler(&store, Some(3)), "1", &[2; 40]).await;
        let late = super::tally::send(&store, "1", 2).await;
        add(&store, &handler(&store, Some(3)), "1", &[2]).await;
        let cold = handler(&store, Some(3));
        for command in &sent {
            assert_eq!(cold.carry_out(command).await.unwrap().kind(), OutcomeKind::AlreadyProcessed);
        }
        let outcome = cold.carry_out(&late).await.unwrap();
        assert!(matches!(outcome, message_store::Outcome::Handled { late: true, .. }), "{outcome}");
        assert_eq!(cold.entities().fetch("1").await.unwrap().state.sum, 84);
        assert_eq!(cold.entities().snapshot_counts().discarded, 0);
    }

    async fn a_process_manager_has_snapshots_too(store) {
        let commands = add(&store, &handler(&store, None), "1", &[2; 6]).await;
        let process = ProcessHandler::<Copied>::new(&store).snapshots(SnapshotPolicy::every(2));
        for event in store.read_stream(&"tally-1".parse().unwrap(), Default::default()).await.unwrap() {
            assert_eq!(process.react(&event).await.unwrap().kind(), OutcomeKind::Handled);
        }
        process.processes().snapshots_written().await;
        assert!(process.processes().snapshot_counts().saved >= 1);
        let cold = ProcessHandler::<Copied>::new(&store).snapshots(SnapshotPolicy::every(2));
        assert_eq!(cold.processes().fetch("1").await.unwrap().state.0, commands.len() as u64);
        assert_eq!(cold.processes().snapshot_counts().used, 1);
    }

    async fn two_projections_of_one_stream_have_snapshots_of_their_own(store) {
        add(&store, &handler(&store, Some(2)), "1", &[2; 4]).await;
        let others = EntityStore::<Number>::new(&store).snapshots(SnapshotPolicy::every(2));
        assert_eq!(others.fetch("1").await.unwrap().state.0, 4);
        others.snapshots_written().await;
        let counts = |entities: &EntityStore<Number>| (entities.snapshot_counts().used, entities.snapshot_counts().discarded);
        let again = EntityStore::<Number>::new(&store).snapshots(SnapshotPolicy::every(2));
        assert_eq!((again.fetch("1").await.unwrap().state.0, counts(&again)), (4, (1, 0)));
        let tally = entities(&store, 2);
        assert_eq!((tally.fetch("1").await.unwrap().state.sum, tally.snapshot_counts().used), (8, 1));
    }

    async fn an_entity_without_messages_has_no_snapshot(store) {
        let entities = entities(&store, 1);
        assert_eq!(entities.fetch("nothing").await.unwrap().state, Tally::default());
        entities.snapshots_written().await;
        assert_eq!(entities.snapshot_counts(), Default::default());
    }
}

/// How many events a tally has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Number(u64);

impl Projection for Number {
    const CATEGORY: &'static str = "tally";
    type Event = Event;
    fn apply(&mut self, _: &Event) {
        self.0 += 1;
    }
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Copied(u64);

#[derive(Serialize, Deserialize)]
enum Seen {
    Seen {},
}

impl Projection for Copied {
    const CATEGORY: &'static str = "copied";
    type Event = Seen;
    fn apply(&mut self, _: &Seen) {
        self.0 += 1;
    }
}

impl ProcessManager for Copied {
    type Message = Event;
    fn process_id(message: &Message, _: &Event) -> Option<String> {
        message.stream.cardinal_id().map(str::to_owned)
    }
    fn react(&self, _: &Event) -> Reaction<Seen> {
        Reaction::event(Seen::Seen {})
    }
}

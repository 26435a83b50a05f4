//! Runs of a case: the command is delivered to a runtime on a new store in memory.

use std::sync::Arc;

use super::past::{assert_repeat_is_recognised, make_late, send, write_given};
use super::way::Way;
use crate::handling::{CommandHandler, Decider};
use crate::testing::PlantedBug;
use crate::{
    Category, ExpectedVersion, Message, MessageId, MessageStore, MessageStoreExt as _, NewMessage, Outcome, StreamName,
    StreamRead, connect,
};

/// If a case has many given events, the remembered entity has read at most this many, or misses at most this many.
const SHORT_PAST: usize = 8;

/// The messages of a case, and a protection that a test switches off.
pub(super) struct Run {
    pub(super) given: Vec<NewMessage>,
    /// The events of other entities.
    pub(super) others: Vec<(String, Vec<NewMessage>)>,
    pub(super) command: NewMessage,
    pub(super) bug: Option<PlantedBug>,
}

/// One way to deliver the command.
#[derive(Clone, Copy)]
pub(super) struct Delivery {
    pub(super) times: u32,
    /// Whether later commands of its origin were handled before.
    pub(super) is_late: bool,
    /// The number of given events that the runtime remembers. Another writer has written the others. `None`: it has
    /// read nothing.
    pub(super) knows: Option<usize>,
    /// The entity on which another command like it is decided afterwards. `None`: no other command follows.
    pub(super) again: Option<Again>,
}

/// Whether the entity for another command is the remembered one or is read.
#[derive(Clone, Copy)]
pub(super) enum Again {
    Remembered,
    Read,
}

impl Default for Delivery {
    fn default() -> Self {
        Self { times: 1, is_late: false, knows: None, again: None }
    }
}

impl Run {
    /// Delivers the command in every way. Returns the events that each way has led to.
    pub(super) async fn every_way<D: Decider>(self) -> Vec<(Way, Vec<Message>)> {
        let (once, late) = (Delivery::default(), Delivery { is_late: true, ..Delivery::default() });
        let mut ran = vec![
            (Way::Once, self.events::<D>(once).await),
            (Way::Twice, self.events::<D>(Delivery { times: 2, ..once }).await),
            (Way::Late, self.events::<D>(late).await),
        ];
        let length = self.given.len();
        // For many events, only the first and the last numbers.
        let known = (0..length).filter(|known| *known < SHORT_PAST || length - known <= SHORT_PAST);
        for known in known {
            let missed = self.given.len() - known;
            ran.push((Way::Behind { missed }, self.events::<D>(Delivery { knows: Some(known), ..once }).await));
            ran.push((Way::LateAndBehind { missed }, self.events::<D>(Delivery { knows: Some(known), ..late }).await));
        }
        let read = self.events::<D>(Delivery { again: Some(Again::Read), ..once }).await;
        let remembered = self.events::<D>(Delivery { again: Some(Again::Remembered), ..once }).await;
        ran.push((Way::AgainOnWhatIsRemembered { read }, remembered));
        ran
    }

    /// Delivers the command, and returns the events that were written for it.
    pub(super) async fn events<D: Decider>(&self, delivery: Delivery) -> Vec<Message> {
        let scene = Scene::<D>::of(self, delivery.knows).await;
        let command = scene.send(self.command.clone()).await;
        if delivery.is_late {
            make_late(scene.handler.entities(), &scene.stream, D::NAME, &command).await;
        }
        for time in 1..=delivery.times {
            assert_repeat_is_recognised(time, &scene.handler.carry_out(&command).await.unwrap());
        }
        if let Some(again) = delivery.again {
            let command = scene.send(self.command.clone().with_id(MessageId::new())).await;
            let another = matches!(again, Again::Read).then(|| self.handler::<D>(&scene.store));
            let _ = another.as_ref().unwrap_or(&scene.handler).carry_out(&command).await.unwrap();
        }
        scene.written().await.split_off(self.given.len())
    }

    /// Delivers the command, and so many times a repeat of it: to the same process or to another one. Returns the outcome
    /// of the repeat, and the events that were written for it.
    pub(super) async fn events_of_repeat<D: Decider>(
        &self,
        times: u32,
        repeat: NewMessage,
        is_apart: bool,
    ) -> (Outcome, Vec<Message>) {
        let scene = Scene::<D>::of(self, None).await;
        let _ = scene.handler.carry_out(&scene.send(self.command.clone()).await).await.unwrap();
        let before = scene.written().await.len();
        let repeat = scene.send(repeat).await;
        let another = is_apart.then(|| self.handler::<D>(&scene.store));
        let handler = another.as_ref().unwrap_or(&scene.handler);
        let outcome = handler.carry_out(&repeat).await.unwrap();
        for _ in 1..times {
            let _ = handler.carry_out(&repeat).await.unwrap();
        }
        (outcome, scene.written().await.split_off(before))
    }

    fn handler<D: Decider>(&self, store: &Arc<dyn MessageStore>) -> CommandHandler<D> {
        match self.bug {
            None => CommandHandler::new(store),
            Some(bug) => CommandHandler::new(store).plant(bug),
        }
    }
}

/// A store with the given messages, and a runtime.
struct Scene<D: Decider> {
    store: Arc<dyn MessageStore>,
    handler: CommandHandler<D>,
    stream: StreamName,
}

impl<D: Decider> Scene<D> {
    async fn of(run: &Run, knows: Option<usize>) -> Self {
        let store = connect("sqlite::memory:").await.unwrap();
        let handler = run.handler::<D>(&store);
        for (id, events) in run.others.iter().filter(|(_, events)| !events.is_empty()) {
            let stream = handler.entities().stream(id).unwrap();
            store.append_to(&stream, ExpectedVersion::Any, events.clone()).await.unwrap();
        }
        let stream = handler.entities().stream("1").unwrap();
        write_given(handler.entities(), &stream, &run.given, knows).await;
        Self { store, handler, stream }
    }

    /// Writes a command to the entity's command stream.
    async fn send(&self, command: NewMessage) -> Message {
        let stream = Category::new(format!("{}:command", D::CATEGORY)).unwrap().stream("1").unwrap();
        send(&*self.store, &stream, command).await
    }

    async fn written(&self) -> Vec<Message> {
        self.store.read_stream(&self.stream, StreamRead::default()).await.unwrap()
    }
}

//! Runs of a case: the command is delivered to a runtime on a new store in memory.

use super::past::{assert_repeat_is_recognised, make_late, write_given};
use super::way::Way;
use crate::handling::{CommandHandler, Decider};
use crate::testing::PlantedBug;
use crate::{Category, ExpectedVersion, Message, MessageId, MessageStoreExt as _, NewMessage, StreamRead, connect};

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
        let store = connect("sqlite::memory:").await.unwrap();
        let commands = Category::new(format!("{}:command", D::CATEGORY)).unwrap();
        let runtime = || match self.bug {
            None => CommandHandler::<D>::new(&store),
            Some(bug) => CommandHandler::<D>::new(&store).plant(bug),
        };
        let decide = runtime();
        let (stream, command_stream) = (decide.entities().stream("1").unwrap(), commands.stream("1").unwrap());
        for (id, events) in self.others.iter().filter(|(_, events)| !events.is_empty()) {
            let stream = decide.entities().stream(id).unwrap();
            store.append_to(&stream, ExpectedVersion::Any, events.clone()).await.unwrap();
        }
        write_given(decide.entities(), &stream, &self.given, delivery.knows).await;
        store.append_to(&command_stream, ExpectedVersion::Any, vec![self.command.clone()]).await.unwrap();
        let command = store.last_message(&command_stream, None).await.unwrap().unwrap();
        if delivery.is_late {
            make_late(decide.entities(), &stream, D::NAME, &command).await;
        }
        for time in 1..=delivery.times {
            assert_repeat_is_recognised(time, &decide.carry_out(&command).await.unwrap());
        }
        if let Some(again) = delivery.again {
            let another = self.command.clone().with_id(MessageId::new());
            store.append_to(&command_stream, ExpectedVersion::Any, vec![another]).await.unwrap();
            let command = store.last_message(&command_stream, None).await.unwrap().unwrap();
            let decide = if matches!(again, Again::Read) { runtime() } else { decide };
            let _ = decide.carry_out(&command).await.unwrap();
        }
        store.read_stream(&stream, StreamRead::default()).await.unwrap().split_off(self.given.len())
    }
}

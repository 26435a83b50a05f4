//! Deciders with preconditions, with ordered commands, and with events for repeats. Tests are named after the numbers
//! of the scenarios.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use async_trait::async_trait;
use message_store::consumer::Consumer;
use message_store::entity::Projection;
use message_store::handling::{CommandHandler, Context, Decider, Handler};
use message_store::intents::Intent;
use message_store::{
    Append, ExpectedVersion, Json, Message, MessageStore, MessageStoreExt as _, NewMessage, Outcome, OutcomeKind,
    Source, StreamName,
};
use message_store_tests::accounts::messages_of;
use message_store_tests::on_both_stores;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Command {
    /// Sets the limit if it equals `from`, the limit that the sender expects.
    Change { from: u64, to: u64 },
    /// Sets the limit. The command that was sent last must win.
    Set { to: u64 },
    /// Raises the limit, once for each request.
    Raise { request_id: String, by: u64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    LimitSet { to: u64 },
    PreconditionFailed { expected: u64, actual: u64 },
    Overtaken { to: u64 },
    RepeatRefused { request_id: String, is_conflict: bool },
}

#[derive(Clone, Debug, Default)]
struct Limit(u64);

impl Projection for Limit {
    const CATEGORY: &'static str = "limit";
    type Event = Event;

    fn apply(&mut self, event: &Event) {
        if let Event::LimitSet { to } = event {
            self.0 = *to;
        }
    }
}

impl Decider for Limit {
    type Command = Command;

    fn decide(&self, command: &Command) -> Vec<Event> {
        match *command {
            Command::Change { from, .. } if from != self.0 => {
                vec![Event::PreconditionFailed { expected: from, actual: self.0 }]
            }
            Command::Change { to, .. } | Command::Set { to } => vec![Event::LimitSet { to }],
            Command::Raise { by, .. } => vec![Event::LimitSet { to: self.0 + by }],
        }
    }

    fn decide_late(&self, command: &Command) -> Vec<Event> {
        match command {
            Command::Set { to } => vec![Event::Overtaken { to: *to }],
            _ => self.decide(command),
        }
    }

    fn decide_repeat(&self, command: &Command, repeat: &Outcome) -> Vec<Event> {
        match command {
            Command::Raise { request_id, .. } => {
                let is_conflict = matches!(repeat, Outcome::Conflict { .. });
                vec![Event::RepeatRefused { request_id: request_id.clone(), is_conflict }]
            }
            _ => vec![],
        }
    }

    fn intent(command: &Command) -> Option<Intent> {
        match command {
            Command::Raise { request_id, .. } => Some(Intent::new("limitRequest", [request_id.clone()])),
            _ => None,
        }
    }
}

async fn send(store: &Arc<dyn MessageStore>, command: Command) -> Message {
    let message = NewMessage::from_variant(&command).unwrap();
    let id = message.id;
    let stream = StreamName::new("limit:command-1").unwrap();
    store.append_to(&stream, ExpectedVersion::Any, vec![message]).await.unwrap();
    store.message(id).await.unwrap().unwrap()
}

async fn limit(store: &Arc<dyn MessageStore>) -> u64 {
    CommandHandler::<Limit>::new(store).entities().fetch("1").await.unwrap().state.0
}

/// A decider that divides by the number in the command.
#[derive(Clone, Debug, Default)]
struct Ratio;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Divide {
    By { divisor: f64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Divided {
    Quotient { value: Option<f64> },
}

impl Projection for Ratio {
    const CATEGORY: &'static str = "ratio";
    type Event = Divided;
    fn apply(&mut self, _: &Divided) {}
}

impl Decider for Ratio {
    type Command = Divide;
    fn decide(&self, Divide::By { divisor }: &Divide) -> Vec<Divided> {
        vec![Divided::Quotient { value: Some(1.0 / divisor) }]
    }
}

on_both_stores! {
    async fn an_event_with_a_number_that_is_not_finite_is_an_error_and_not_written(store) {
        let stream = StreamName::new("ratio:command-1").unwrap();
        for divisor in [0.0, 4.0] {
            let command = NewMessage::from_variant(&Divide::By { divisor }).unwrap();
            let id = command.id;
            store.append_to(&stream, ExpectedVersion::Any, vec![command]).await.unwrap();
            let outcome = CommandHandler::<Ratio>::new(&store).carry_out(&store.message(id).await.unwrap().unwrap()).await;
            match outcome {
                Err(error) => assert!(error.to_string().contains("inf is not finite"), "{error}"),
                Ok(outcome) => assert!(divisor > 0.0, "{outcome}"),
            }
        }
        let events = messages_of(&store, "ratio").await;
        let written: Vec<Divided> = events.iter().map(|event| event.decode_variant().unwrap().unwrap()).collect();
        assert_eq!(written, [Divided::Quotient { value: Some(0.25) }]);
    }

    async fn t47_a_false_precondition_is_refused_with_the_actual_value(store) {
        let decide = CommandHandler::<Limit>::new(&store);
        let first = send(&store, Command::Change { from: 0, to: 100 }).await;
        let second = send(&store, Command::Change { from: 0, to: 500 }).await;
        for message in [&first, &second, &second] {
            let _ = decide.carry_out(message).await.unwrap();
        }
        let events = messages_of(&store, "limit").await;
        let last: Event = events.last().unwrap().decode_variant().unwrap().unwrap();
        assert_eq!((events.len(), last), (2, Event::PreconditionFailed { expected: 0, actual: 100 }));
        assert_eq!(limit(&store).await, 100);
    }

    async fn t48_a_late_command_whose_order_matters_is_refused_for_good(store) {
        let decide = CommandHandler::<Limit>::new(&store);
        let set_500 = send(&store, Command::Set { to: 500 }).await;
        let set_100 = send(&store, Command::Set { to: 100 }).await;
        let _ = decide.carry_out(&set_100).await.unwrap();
        assert!(matches!(decide.carry_out(&set_500).await.unwrap(), Outcome::Handled { late: true, .. }));
        assert_eq!(limit(&store).await, 100, "the last one sent counts");
        for message in [&set_500, &set_100] {
            assert!(matches!(decide.carry_out(message).await.unwrap(), Outcome::AlreadyProcessed { .. }));
        }
    }

    async fn a_repeat_of_an_intent_can_be_an_event_and_is_reported_exactly_once(store) {
        struct Notifier;

        #[async_trait]
        impl Handler for Notifier {
            fn name(&self) -> &'static str { "Notifier" }
            fn message_types(&self) -> Vec<&'static str> { vec!["RepeatRefused"] }
            async fn handle(&self, message: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
                if message.message_type != "RepeatRefused" {
                    return Ok(Outcome::Unhandled);
                }
                let mail = NewMessage::new("SendMail", message.data.clone());
                Ok(context.write("mail", Append::to(StreamName::new("mail:command-1")?).message(mail)).await?)
            }
        }

        let raise = |by| Command::Raise { request_id: "r1".into(), by };
        let mut messages = Vec::new();
        for by in [10, 10, 99] {
            messages.push(send(&store, raise(by)).await);
        }
        let original = messages[0].reference();
        for delivery in 0..3 {
            // A process with an empty cache.
            let decide = CommandHandler::<Limit>::new(&store);
            for message in &messages {
                let outcome = decide.carry_out(message).await.unwrap();
                let first = delivery == 0;
                match (first, message.id) {
                    (true, id) if id == messages[0].id => assert!(matches!(outcome, Outcome::Handled { .. })),
                    (true, id) if id == messages[1].id => {
                        assert_eq!(outcome, Outcome::Duplicate { original: original.clone() });
                    }
                    (true, _) => assert_eq!(outcome, Outcome::Conflict { original: original.clone() }),
                    (false, _) => assert!(matches!(outcome, Outcome::AlreadyProcessed { .. }), "{outcome}"),
                }
            }
            // The notifier starts from the beginning each time.
            for event in messages_of(&store, "limit").await {
                let _ = Notifier.handle(&event, &Context::new(&store, Notifier.name(), &event)).await.unwrap();
            }
        }
        assert_eq!(limit(&store).await, 10);
        let mails = messages_of(&store, "mail:command").await;
        let conflicts: Vec<Json> = mails.into_iter().map(|mail| mail.data).collect();
        assert_eq!(conflicts.len(), 2);
        assert!(conflicts[1].text().contains("true"), "{conflicts:?}");
        // The same, with consumers.
        let mut consumer = Consumer::new("limit", Notifier).start(&store).await.unwrap();
        let last = messages_of(&store, "limit").await.last().unwrap().global_position;
        consumer.wait_for(last).await.unwrap();
        assert_eq!(consumer.stop().await.unwrap().of(OutcomeKind::AlreadyProcessed), 2);
    }
}

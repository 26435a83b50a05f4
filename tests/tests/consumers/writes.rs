//! The writes of handlers: each is stored once for its name, even if its first try failed, and separately from those of
//! other handlers.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use message_store::consumer::Consumer;
use message_store::entity::Projection;
use message_store::handling::{CommandHandler, Context, Decider, Handler};
use message_store::testing::FaultyStore;
use message_store::{
    Append, Error, ExpectedVersion, GroupMember, Json, Message, MessageStore, Metadata, NewMessage, Outcome, Source,
    StreamName, Version,
};
use message_store_tests::accounts::{Account, Command, Event, balance, member, messages_of, put, send, send_deposits};
use message_store_tests::on_both_stores;

type Store = Arc<dyn MessageStore>;

fn mail_stream(number: u32) -> StreamName {
    StreamName::new(format!("mail:command-{number}")).unwrap()
}

/// A message with different content at each call, as with a time.
fn mail(message_type: &str) -> NewMessage {
    NewMessage::new(message_type, Json::encode(&uuid::Uuid::new_v4()).unwrap())
}

fn to_mail(message_type: &str) -> Append {
    Append::to(mail_stream(1)).message(mail(message_type))
}

async fn cause(store: &Store) -> Message {
    send_deposits(store, "account:command", "1", 1).await.remove(0)
}

/// Writes until the write succeeds, and follows the advice of each error. The two tries have the given names.
async fn write_until_it_succeeds(store: &Store, cause: &Message, names: [&str; 2]) -> Outcome {
    let faulty = FaultyStore::new(store);
    let shared: Store = faulty.clone();
    let context = Context::new(&shared, "greeter", cause);
    // The answer is lost, and is lost again when the append is sent again.
    faulty.lose_answers(2);
    let lost = context.write(names[0], to_mail("Send")).await;
    assert!(matches!(lost, Err(Error::CommitUnknown { .. })), "{lost:?}");
    context.write(names[1], to_mail("Send")).await.unwrap()
}

/// Another writer is faster. The handler loads the stream and writes again, and then the message is delivered again.
async fn write_after_a_conflict(store: &Store, cause: &Message, names: [&str; 2]) {
    let other = Append::to(mail_stream(1)).message(mail("Other"));
    for delivery in 0..2 {
        let context = Context::new(store, "greeter", cause);
        let before = store.version(&mail_stream(1)).await.unwrap();
        if delivery == 0 {
            store.append(other.clone().into()).await.unwrap();
            let refused = context.write(names[0], to_mail("Send").expecting(before)).await;
            assert!(matches!(refused, Err(Error::WrongExpectedVersion { .. })), "{refused:?}");
        }
        let now = store.version(&mail_stream(1)).await.unwrap();
        let name = names[usize::from(delivery == 0)];
        let _ = context.write(name, to_mail("Send").expecting(now)).await.unwrap();
    }
}

async fn sent(store: &Store) -> usize {
    messages_of(store, "mail:command").await.iter().filter(|message| message.message_type != "Other").count()
}

/// A handler that writes to the account's stream, in addition to the account's decider.
struct Interest {
    name: &'static str,
    message_type: &'static str,
}

#[async_trait]
impl Handler for Interest {
    fn name(&self) -> &'static str {
        self.name
    }
    fn message_types(&self) -> Vec<&'static str> {
        vec!["Deposit"]
    }
    async fn handle(&self, message: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
        let data = Json::encode(&serde_json::json!({ "amount": 1 }))?;
        let append = Append::to(StreamName::new(format!("account-{}", message.stream.id().unwrap_or_default()))?);
        Ok(context.write("interest", append.message(NewMessage::new(self.message_type, data))).await?)
    }
}

const INTEREST: Interest = Interest { name: "interest", message_type: "Deposited" };

async fn handle(handler: &impl Handler, store: &Store, message: &Message) -> Result<Outcome, Source> {
    handler.handle(message, &Context::new(store, handler.name(), message)).await
}

/// A second decider on the streams of the first.
#[derive(Clone, Debug, Default)]
struct Bonus;

impl Projection for Bonus {
    const CATEGORY: &'static str = "account";
    type Event = Event;
    fn apply(&mut self, _: &Event) {}
}

impl Decider for Bonus {
    type Command = Command;
    const NAME: &'static str = "bonus";

    fn decide(&self, command: &Command) -> Vec<Event> {
        match command {
            Command::Deposit { .. } => vec![Event::Deposited { amount: 1_000 }],
            _ => vec![],
        }
    }
}

on_both_stores! {
    async fn a_write_whose_answers_were_lost_is_repeated_under_its_name_and_stored_once(store) {
        let cause = cause(&store).await;
        let outcome = write_until_it_succeeds(&store, &cause, ["greeting"; 2]).await;
        assert!(matches!(outcome, Outcome::Handled { events: 1, .. }), "it was this handling that wrote it: {outcome}");
        assert_eq!(sent(&store).await, 1);
    }

    async fn twin_with_a_new_name_for_each_try_every_try_is_stored(store) {
        let cause = cause(&store).await;
        let _ = write_until_it_succeeds(&store, &cause, ["first", "second"]).await;
        assert_eq!(sent(&store).await, 2);
    }

    async fn a_write_after_a_conflict_and_after_a_redelivery_is_stored_once(store) {
        let cause = cause(&store).await;
        write_after_a_conflict(&store, &cause, ["greeting"; 2]).await;
        assert_eq!(sent(&store).await, 1);
    }

    async fn twin_with_a_new_name_after_a_conflict_a_redelivery_writes_again(store) {
        let cause = cause(&store).await;
        write_after_a_conflict(&store, &cause, ["first", "second"]).await;
        assert_eq!(sent(&store).await, 2);
    }

    async fn a_first_delivery_whose_answer_was_lost_is_told_that_it_has_written(store) {
        let cause = cause(&store).await;
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let context = Context::new(&shared, "greeter", &cause);
        faulty.lose_answers(1);
        let outcome = context.write("greeting", to_mail("Send")).await.unwrap();
        assert!(matches!(outcome, Outcome::Handled { events: 1, .. }), "{outcome}");
        let outcome = Context::new(&shared, "greeter", &cause).write("greeting", to_mail("Send")).await.unwrap();
        assert!(matches!(outcome, Outcome::AlreadyProcessed { .. }), "{outcome}");
        assert_eq!(sent(&store).await, 1);
    }

    async fn a_write_that_its_caller_gave_up_is_repeated_under_its_name_and_stored_once(store) {
        let cause = cause(&store).await;
        let context = Context::new(&store, "greeter", &cause);
        let mut writes = 0;
        loop {
            let name = writes.to_string();
            writes += 1;
            // Begins a write, and drops it before its answer. (If the answer arrives at once, the write was not
            // dropped.)
            if context.write(&name, to_mail("Send")).now_or_never().is_none() {
                let _ = context.write(&name, to_mail("Send")).await.unwrap();
                break;
            }
        }
        assert_eq!(sent(&store).await, writes);
    }

    async fn two_writes_of_one_name_in_one_handling_are_refused(store) {
        let cause = cause(&store).await;
        let context = Context::new(&store, "greeter", &cause);
        let at_once = tokio::join!(context.write("mail", to_mail("Send")), context.write("mail", to_mail("Send")));
        let later = context.write("mail", to_mail("Send")).await;
        for refused in [at_once.1, later] {
            assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
        }
        assert!(matches!(at_once.0, Ok(Outcome::Handled { .. })));
        assert_eq!(sent(&store).await, 1);
    }

    async fn what_a_handler_sets_in_the_metadata_is_kept_beside_what_follows_from_its_message(store) {
        let inherited = r#"{"correlationStreamName":"case-1","properties":{"tenant":"north","tier":1}}"#;
        let cause = put(&store, "account:command-1", "Deposit", r#"{"amount":1}"#, inherited).await;
        let context = Context::new(&store, "greeter", &cause);
        let set = Metadata::new().property("tier", &2).unwrap().local_property("try", &1).unwrap().schema_version("2");
        let set = set.reply_to(&mail_stream(7));
        let with = Append::to(mail_stream(1)).message(mail("Send").with_metadata(&set).unwrap()).message(mail("Send"));
        let _ = context.write("greeting", with).await.unwrap();
        let written: Vec<_> = messages_of(&store, "mail:command").await.iter().map(Message::decode_metadata).collect();
        let [set, plain] = &written[..] else { panic!("{written:?}") };
        assert_eq!((set.properties["tenant"].text(), set.properties["tier"].text()), ("\"north\"", "2"));
        assert_eq!((set.local_properties["try"].text(), set.schema_version.as_deref()), ("1", Some("2")));
        assert_eq!(set.reply_stream_name.as_deref(), Some(mail_stream(7).as_str()));
        assert_eq!((plain.properties["tier"].text(), plain.reply_stream_name.as_deref()), ("1", None));
        for metadata in &written {
            assert_eq!(metadata.correlation_stream_name.as_deref(), Some("case-1"));
            assert!(metadata.follows(&cause, store.store_id()));
        }
        let other = messages_of(&store, "account:command").await.remove(0);
        let stolen = Metadata::follow(&other).property("tier", &3).unwrap();
        let _ = context.write("same cause", Append::to(mail_stream(1)).message(mail("Send").with_metadata(&stolen).unwrap())).await.unwrap();
        let sent = messages_of(&store, "mail:command").await.remove(0);
        let stolen = mail("Send").with_metadata(&Metadata::follow(&sent)).unwrap();
        let refused = context.write("other cause", Append::to(mail_stream(1)).message(stolen)).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
        // Nothing is under way under the name.
        let _ = context.write("other cause", to_mail("Send")).await.unwrap();
    }

    async fn a_handler_writes_to_several_streams_in_one_append(store) {
        let cause = cause(&store).await;
        let appends = || vec![to_mail("Send"), Append::to(mail_stream(2)).expecting(ExpectedVersion::NoStream).message(mail("Send"))];
        store.append(Append::to(mail_stream(2)).message(mail("Other")).into()).await.unwrap();
        let refused = Context::new(&store, "greeter", &cause).write("both", appends()).await;
        assert!(matches!(refused, Err(Error::WrongExpectedVersion { .. })), "{refused:?}");
        assert_eq!(store.version(&mail_stream(1)).await.unwrap(), Version::NO_STREAM, "all or none");
        let appends = || vec![to_mail("Send"), Append::to(mail_stream(2)).message(mail("Send"))];
        for delivery in 0..2 {
            let outcome = Context::new(&store, "greeter", &cause).write("both", appends()).await.unwrap();
            assert_eq!(matches!(outcome, Outcome::Handled { events: 2, .. }), delivery == 0, "{outcome}");
        }
        assert_eq!(sent(&store).await, 2);
    }

    async fn two_handlers_of_one_message_that_write_to_one_stream_both_write(store) {
        let cause = cause(&store).await;
        for handler in ["greeter", "accountant"] {
            let outcome = Context::new(&store, handler, &cause).write("mail", to_mail("Send")).await.unwrap();
            assert!(matches!(outcome, Outcome::Handled { .. }), "{handler}: {outcome}");
        }
        assert_eq!(sent(&store).await, 2);
    }

    async fn twin_of_two_handlers_with_one_name_the_second_ones_message_is_an_error_and_never_processed(store) {
        let cause = cause(&store).await;
        let _ = Context::new(&store, "mail", &cause).write("mail", to_mail("SendWelcome")).await.unwrap();
        let second = Context::new(&store, "mail", &cause).write("mail", to_mail("SendInvoice")).await;
        assert!(matches!(second, Err(Error::IdConflict { .. })), "{second:?}");
        assert_eq!(sent(&store).await, 1);
    }

    async fn a_handler_and_a_decider_that_write_to_one_entity_both_carry_a_command_out_and_neither_is_late(store) {
        let decide = member(&store, None);
        for message in send_deposits(&store, "account:command", "1", 2).await {
            let interest = handle(&INTEREST, &store, &message).await.unwrap();
            assert!(matches!(interest, Outcome::Handled { .. }), "{interest}");
            // With and without the entity in the cache.
            let _ = decide.entities().fetch("1").await.unwrap();
            let outcome = decide.carry_out(&message).await.unwrap();
            assert!(matches!(outcome, Outcome::Handled { late: false, .. }), "{outcome}");
            for repeat in [decide.carry_out(&message).await.unwrap(), handle(&INTEREST, &store, &message).await.unwrap()] {
                assert!(matches!(repeat, Outcome::AlreadyProcessed { .. }), "{repeat}");
            }
        }
        assert_eq!(balance(&store, "1").await, 4);
    }

    async fn two_deciders_of_one_category_both_carry_a_command_out(store) {
        let message = cause(&store).await;
        for delivery in 0..2 {
            for outcome in [
                CommandHandler::<Account>::new(&store).carry_out(&message).await.unwrap(),
                CommandHandler::<Bonus>::new(&store).carry_out(&message).await.unwrap(),
            ] {
                assert_eq!(matches!(outcome, Outcome::Handled { late: false, .. }), delivery == 0, "{outcome}");
            }
        }
        assert_eq!(balance(&store, "1").await, 1_001);
    }

    async fn another_handlers_message_under_the_id_of_an_event_is_an_error(store) {
        let message = cause(&store).await;
        // As a decider in another process with the same name and category would write.
        let outcome = member(&store, None).carry_out(&message).await.unwrap();
        assert!(matches!(outcome, Outcome::Handled { .. }));
        let id = messages_of(&store, "account").await.remove(0).id;
        let theirs = send(&store, "account:command", "2", &Command::Deposit { amount: 1 }).await;
        let taken = message_store::derived_id(theirs.id, "account", "", &StreamName::new("account-2").unwrap(), 0);
        assert_ne!(id, taken);
        let foreign = NewMessage::new("Deposited", Json::parse(r#"{"amount":7}"#).unwrap()).with_id(taken);
        store.append(Append::to(StreamName::new("account-2").unwrap()).message(foreign).into()).await.unwrap();
        let refused = member(&store, None).carry_out(&theirs).await;
        assert!(matches!(refused, Err(Error::IdConflict { .. })), "{refused:?}");
    }

    async fn a_message_of_another_writer_under_an_events_id_is_an_error_also_when_it_says_the_same(store) {
        let message = cause(&store).await;
        let account = StreamName::new("account-1").unwrap();
        let id = message_store::derived_id(message.id, "bonus", "", &account, 0);
        let forged = NewMessage::from_variant(&Event::Deposited { amount: 1_000 }).unwrap().with_id(id);
        store.append(Append::to(account).message(forged).into()).await.unwrap();
        let refused = CommandHandler::<Bonus>::new(&store).carry_out(&message).await;
        assert!(matches!(refused, Err(Error::IdConflict { .. })), "{refused:?}");
    }

    async fn a_second_handler_of_one_name_is_refused_in_one_process(store) {
        let running = Consumer::new("account:command", Interest { name: "account", message_type: "Deposited" }).start(&store).await.unwrap();
        let second = Consumer::new("account:command", member(&store, None)).identifier("second").start(&store).await;
        assert!(matches!(&second, Err(Error::Invalid { .. })), "{second:?}");
        let elsewhere = Consumer::new("teller:command", member(&store, None)).start(&store).await.unwrap();
        drop((running, elsewhere));
        let members = (0..2).map(|number| {
            let group = GroupMember::new(number, 2).unwrap();
            Consumer::new("account:command", member(&store, None)).identifier("second").group(group)
        });
        for member in members {
            // Keeps the value until the end of the test.
            std::mem::forget(member.start(&store).await.unwrap());
        }
    }
}

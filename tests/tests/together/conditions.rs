//! Conditions: beside reservations, the archive, other collations, and decisions that write nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use message_store::entity::Projection;
use message_store::handling::{CommandHandler, Decider};
use message_store::intents::Intent;
use message_store::store::{Query, QueryItem};
use message_store::*;
use message_store_tests::accounts::{messages_of, put};
use message_store_tests::message_db;
use message_store_tests::on_both_stores;
use message_store_tests::postgres::TestDatabase;
use serde::{Deserialize, Serialize};

use super::hooked::Hooked;
use super::{Store, archive};

fn tag(email: &str) -> Tag {
    Tag::new(format!("email:{email}")).unwrap()
}

mod member {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(super) enum Command {
        Join { reference: String, email: String },
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(super) enum Event {
        Joined { email: String },
    }
    #[derive(Clone, Default)]
    pub(super) struct Member {
        joined: bool,
    }
    impl Projection for Member {
        const CATEGORY: &'static str = "member";
        type Event = Event;
        fn apply(&mut self, _: &Event) {
            self.joined = true;
        }
    }
    impl Decider for Member {
        type Command = Command;
        fn decide(&self, Command::Join { email, .. }: &Command) -> Vec<Event> {
            vec![Event::Joined { email: email.clone() }]
        }
        fn intent(Command::Join { reference, .. }: &Command) -> Option<Intent> {
            Some(Intent::new("joinReference", [reference]).across_entities())
        }
        fn unless(&self, Command::Join { email, .. }: &Command) -> Option<Query> {
            Some(QueryItem::of(Category::new("member").unwrap()).tag(tag(email)).into())
        }
        fn tags(Event::Joined { email }: &Event) -> Vec<Tag> {
            vec![tag(email)]
        }
    }
}

mod user {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(super) enum Command {
        Register { email: String },
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(super) enum Event {
        Registered {
            email: String,
        },
        Released {
            email: String,
        },
        /// The user wants to hear of no refusals.
        Muted {},
        Rejected {},
    }
    #[derive(Clone, Default)]
    pub(super) struct User {
        registered: bool,
        muted: bool,
    }
    impl Projection for User {
        const CATEGORY: &'static str = "user";
        type Event = Event;
        fn apply(&mut self, event: &Event) {
            match event {
                Event::Registered { .. } => self.registered = true,
                Event::Released { .. } => self.registered = false,
                Event::Muted {} => self.muted = true,
                Event::Rejected {} => {}
            }
        }
    }
    impl Decider for User {
        type Command = Command;
        fn decide(&self, Command::Register { email }: &Command) -> Vec<Event> {
            vec![Event::Registered { email: email.clone() }]
        }
        fn unless(&self, Command::Register { email }: &Command) -> Option<Query> {
            let users = QueryItem::of(Category::new("user").unwrap()).types(["Registered", "Released"]);
            Some(users.tag(tag(email)).into())
        }
        fn decide_matched(&self, Command::Register { email }: &Command, found: &[Message]) -> Vec<Event> {
            let is_free = found.last().unwrap().message_type == "Released";
            match (is_free, self.muted) {
                (true, _) => vec![Event::Registered { email: email.clone() }],
                (false, false) => vec![Event::Rejected {}],
                (false, true) => vec![],
            }
        }
        fn tags(event: &Event) -> Vec<Tag> {
            match event {
                Event::Registered { email } | Event::Released { email } => vec![tag(email)],
                _ => vec![],
            }
        }
    }
}

async fn write(store: &Store, stream: &str, event: &impl Serialize, email: Option<&str>) {
    let mut message = NewMessage::from_variant(event).unwrap();
    if let Some(email) = email {
        message = message.with_metadata(&Metadata::new().tag(tag(email))).unwrap();
    }
    store.append(Append::to(StreamName::new(stream).unwrap()).message(message).into()).await.unwrap();
}

fn tagged(email: &str) -> NewMessage {
    NewMessage::new("Registered", Json::NULL).with_metadata(&Metadata::new().tag(tag(email))).unwrap()
}

fn users() -> QueryItem {
    QueryItem::of(Category::new("user").unwrap()).types(["Registered"])
}

on_both_stores! {
    /// "A repeat is answered, whatever matches."
    async fn another_message_with_a_reserved_intent_is_a_duplicate_also_if_the_firsts_event_matches(store) {
        let join = || NewMessage::from_variant(&member::Command::Join { reference: "r".into(), email: "ann".into() }).unwrap();
        let first = CommandHandler::<member::Member>::new(&store).execute("1", join()).await.unwrap();
        assert_eq!(first.events.len(), 1);
        let second = CommandHandler::<member::Member>::new(&store).execute("1", join()).await.unwrap();
        assert_eq!(second.outcome, Outcome::Duplicate { original: first.command.clone() });
        assert_eq!(second.events.len(), 1, "the events of the first");
        let other = CommandHandler::<member::Member>::new(&store).execute("2", join()).await.unwrap();
        assert_eq!(other.outcome, Outcome::Conflict { original: first.command });
        assert_eq!(other.events.len(), 0);
    }

    /// The matches were read before the entity was. Between the two the address was released, and then the user muted.
    /// At every moment the command leads to an event: refused before the release, registered after it.
    async fn a_decision_to_write_nothing_counts_only_on_matches_that_are_current(store) {
        use user::{Command, Event, User};
        write(&store, "user-1", &Event::Registered { email: "ann".into() }, Some("ann")).await;
        let hooked = Hooked::new(&store);
        *hooked.after_matches.lock().unwrap() = Some(Box::new(move |store| Box::pin(async move {
            write(&store, "user-1", &Event::Released { email: "ann".into() }, Some("ann")).await;
            write(&store, "user-2", &Event::Muted {}, None).await;
        })));
        let hooked: Store = hooked;
        let register = NewMessage::from_variant(&Command::Register { email: "ann".into() }).unwrap();
        let executed = CommandHandler::<User>::new(&hooked).execute("2", register).await.unwrap();
        assert_eq!(executed.events.len(), 1, "{:?}: the command is lost, and the address is free", executed.outcome);
    }

    /// "If one does, it reads all messages that match, and calls `decide_matched`."
    async fn a_command_for_which_decide_writes_nothing_is_decided_on_what_matches(store) {
        let taken = NewMessage::from_variant(&shy::Event::Taken {}).unwrap().with_metadata(&Metadata::new().tag(tag("ann"))).unwrap();
        store.append(Append::to(StreamName::new("shy-1").unwrap()).message(taken).into()).await.unwrap();
        let command = NewMessage::from_variant(&shy::Command::Take {}).unwrap();
        let executed = CommandHandler::<shy::Shy>::new(&store).execute("2", command).await.unwrap();
        assert_eq!(executed.events, [shy::Event::Refused {}]);
    }

    /// The rule was written by today's names. The message that breaks it was stored under an earlier one.
    async fn a_rule_across_entities_holds_after_a_rename(store) {
        let signed = NewMessage::new("SignedUp", Json::parse(r#"{"email":"ann"}"#).unwrap());
        let signed = signed.with_metadata(&Metadata::new().tag(tag("ann"))).unwrap();
        store.append(Append::to(StreamName::new("renamed-1").unwrap()).message(signed).into()).await.unwrap();
        let command = NewMessage::from_variant(&renamed::Command::Register { email: "ann".into() }).unwrap();
        let executed = CommandHandler::<renamed::User>::new(&store).execute("2", command).await.unwrap();
        assert!(executed.events.is_empty(), "{:?}: two users have one address", executed.events);
    }

    /// JSON may write a key with escapes.
    async fn a_tag_under_a_key_with_escapes_is_a_tag(store) {
        let message = NewMessage::new("Registered", Json::NULL)
            .with_metadata_json(Json::parse(r#"{"messageStore":{"ta\u0067s":["email:ann"]}}"#).unwrap());
        store.append(Append::to(StreamName::new("user-1").unwrap()).message(message).into()).await.unwrap();
        let found = store.last_message(&StreamName::new("user-1").unwrap(), None).await.unwrap().unwrap();
        assert!(QueryItem::of(Category::new("user").unwrap()).tag(tag("ann")).matches(&found));
        let append = Append::to(StreamName::new("user-2").unwrap()).message(tagged("ann"));
        let refused = store.append(AppendRequest::from(append).unless(users().tag(tag("ann")))).await;
        assert!(matches!(refused, Err(Error::ConditionFailed { .. })), "{refused:?}");
    }

    async fn archived_messages_make_a_condition_fail_and_archived_repeats_do_not(store) {
        let first = tagged("ann");
        let append = |stream: &str, message: &NewMessage| Append::to(StreamName::new(stream).unwrap()).message(message.clone());
        let request = |stream: &str, message: &NewMessage| AppendRequest::from(append(stream, message)).unless(users().tag(tag("ann")));
        store.append(request("user-1", &first)).await.unwrap();
        store.append(append("user-1", &NewMessage::new("Later", Json::NULL)).into()).await.unwrap();
        assert_eq!(archive(&store, "user").await, 1);
        let refused = store.append(request("user-2", &tagged("ann"))).await;
        assert!(matches!(refused, Err(Error::ConditionFailed { .. })), "{refused:?}");
        assert!(store.append(request("user-1", &first)).await.unwrap().already_written);
        // By the entity, and by the category alone; after a position below it, and above it.
        for query in [users().cardinal_id("1"), users(), users().cardinal_id("1").tag(tag("ann"))] {
            let by = |after: i64| AppendRequest::from(append("user-3", &NewMessage::new("X", Json::NULL)))
                .unless(query.clone().after(GlobalPosition::new(after)));
            assert!(matches!(store.append(by(0)).await, Err(Error::ConditionFailed { .. })));
            let matches = store.conditions().unwrap().all_matches(&query.clone().into()).await.unwrap();
            assert_eq!(matches.messages.len(), 1);
            assert!(store.append(by(1)).await.is_ok());
        }
    }

    async fn of_many_writers_of_one_tag_one_writes_while_the_category_is_archived(store) {
        let stop = Arc::new(AtomicBool::new(false));
        let archiver = tokio::spawn({
            let (store, stop) = (store.clone(), stop.clone());
            async move {
                while !stop.load(Ordering::SeqCst) {
                    archive(&store, "user").await;
                }
            }
        });
        for email in 0..12 {
            let email = email.to_string();
            let writers = (0..8).map(|writer| {
                let (store, email) = (store.clone(), email.clone());
                tokio::spawn(async move {
                    let stream = StreamName::new(format!("user-{writer}")).unwrap();
                    let request = AppendRequest::from(Append::to(stream).message(tagged(&email)));
                    match store.append(request.unless(users().tag(tag(&email)))).await {
                        Ok(_) => 1,
                        Err(Error::ConditionFailed { .. }) => 0,
                        Err(error) => panic!("{error}"),
                    }
                })
            });
            let written: usize = join_all(writers).await.into_iter().map(|written| written.unwrap()).sum();
            assert_eq!(written, 1, "{email}");
        }
        stop.store(true, Ordering::SeqCst);
        archiver.await.unwrap();
        assert_eq!(messages_of(&store, "user").await.len(), 12);
    }

    async fn a_condition_by_an_entity_finds_all_of_its_streams_and_no_others(store) {
        for stream in ["user-7", "user-7+log", "user-70", "user-7,x", "user-7-8", "users-7"] {
            put(&store, stream, "Registered", "{}", "{}").await;
        }
        let query = QueryItem::of(Category::new("user").unwrap()).cardinal_id("7");
        let found = store.conditions().unwrap().all_matches(&query.into()).await.unwrap();
        let streams: Vec<_> = found.messages.iter().map(|message| message.stream.as_str().to_owned()).collect();
        assert_eq!(streams, ["user-7", "user-7+log"]);
    }
}

/// A database of Message DB as operators make it: with a collation that is not C.
async fn adopted(collation: &str) -> Store {
    let maker = TestDatabase::create_empty().await;
    let name = format!("message_store_test_{}", Uuid::new_v4().simple());
    let client = message_db::connect(maker.url(), None).await;
    client
        .batch_execute(&format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8' LOCALE_PROVIDER icu ICU_LOCALE '{collation}'"
        ))
        .await
        .unwrap();
    let old: String = client.query_one("SELECT current_database()::text", &[]).await.unwrap().get(0);
    let url = maker.url().replace(&old, &name);
    message_db::install(&url, None).await.unwrap();
    message_store::postgres::adopt(&url).await.unwrap();
    connect(&url).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_an_adopted_database_with_another_collation_a_condition_by_an_entity_finds_all_of_its_streams() {
    let store = adopted("en-US").await;
    for stream in ["user-7", "user-7+log", "user-70"] {
        put(&store, stream, "Registered", "{}", "{}").await;
    }
    let query = || QueryItem::of(Category::new("user").unwrap()).cardinal_id("7");
    let found = store.conditions().unwrap().all_matches(&query().into()).await.unwrap();
    let streams: Vec<_> = found.messages.iter().map(|message| message.stream.as_str().to_owned()).collect();
    assert_eq!(streams, ["user-7", "user-7+log"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_an_adopted_database_with_another_collation_an_append_is_refused_by_a_message_of_the_entitys_other_stream() {
    let store = adopted("en-US").await;
    put(&store, "user-7+log", "Registered", "{}", "{}").await;
    let query = QueryItem::of(Category::new("user").unwrap()).cardinal_id("7");
    let append = Append::to(StreamName::new("user-8").unwrap()).message(NewMessage::new("X", Json::NULL));
    let refused = store.append(AppendRequest::from(append).unless(query)).await;
    assert!(matches!(refused, Err(Error::ConditionFailed { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_an_adopted_database_with_another_collation_categories_are_read_and_archived() {
    let store = adopted("en-US").await;
    for stream in ["user-1", "user-1", "User-1", "user:command-1", "user_-1", "users-1"] {
        put(&store, stream, "T", "{}", "{}").await;
    }
    assert_eq!(messages_of(&store, "user").await.len(), 2);
    assert_eq!(archive(&store, "user").await, 1);
    assert_eq!(messages_of(&store, "user").await.len(), 2);
    assert_eq!(messages_of(&store, "user:command").await.len(), 1);
}

mod shy {
    use super::*;
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(super) enum Command {
        Take {},
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(super) enum Event {
        Taken {},
        Refused {},
    }
    #[derive(Clone, Default)]
    pub(super) struct Shy;
    impl Projection for Shy {
        const CATEGORY: &'static str = "shy";
        type Event = Event;
        fn apply(&mut self, _: &Event) {}
    }
    impl Decider for Shy {
        type Command = Command;
        fn decide(&self, _: &Command) -> Vec<Event> {
            vec![]
        }
        fn unless(&self, _: &Command) -> Option<Query> {
            Some(QueryItem::of(Category::new("shy").unwrap()).tag(tag("ann")).into())
        }
        fn decide_matched(&self, _: &Command, _: &[Message]) -> Vec<Event> {
            vec![Event::Refused {}]
        }
    }
}

mod renamed {
    use super::*;
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(super) enum Command {
        Register { email: String },
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(super) enum Event {
        Registered { email: String },
    }
    #[derive(Clone, Default)]
    pub(super) struct User;
    impl Projection for User {
        const CATEGORY: &'static str = "renamed";
        const UPCASTERS: &'static [Upcaster] = &[Upcaster::rename(("SignedUp", 1), ("Registered", 1))];
        type Event = Event;
        fn apply(&mut self, _: &Event) {}
    }
    impl Decider for User {
        type Command = Command;
        fn decide(&self, Command::Register { email }: &Command) -> Vec<Event> {
            vec![Event::Registered { email: email.clone() }]
        }
        fn unless(&self, Command::Register { email }: &Command) -> Option<Query> {
            Some(QueryItem::of(Category::new("renamed").unwrap()).types(["Registered"]).tag(tag(email)).into())
        }
        fn tags(Event::Registered { email }: &Event) -> Vec<Tag> {
            vec![tag(email)]
        }
    }
}

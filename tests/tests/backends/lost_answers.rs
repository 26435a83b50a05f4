//! Appends whose answer is lost: messages that they wrote count as written now, and a result that is not known is
//! reported as unknown.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use message_store::intents::{Answer, Once};
use message_store::postgres::{PlantedBug, PostgresOptions, PostgresStore};
use message_store::testing::FaultyStore;
use message_store::{
    Append, Appended, Error, Json, Key, MessageStore, MessageStoreExt as _, NewMessage, StreamName, StreamRead,
};
use message_store_tests::cutting_proxy::CuttingProxy;
use message_store_tests::on_both_stores;
use message_store_tests::postgres::TestDatabase;

const MARK: &str = "cut-the-answer";

/// An append with the proxy's mark. The proxy drops the first answer to it.
fn marked() -> Vec<Append> {
    let data = Json::parse(format!(r#"{{"mark":"{MARK}"}}"#)).unwrap();
    vec![Append::to(StreamName::new("account-1").unwrap()).message(NewMessage::new("Deposited", data))]
}

struct Scene {
    database: TestDatabase,
    proxy: CuttingProxy,
    store: PostgresStore,
}

impl Scene {
    /// Opens a store behind a proxy. Another process writes the messages in `before` first.
    async fn after(before: &[Append], bug: Option<PlantedBug>) -> Self {
        let database = TestDatabase::create().await;
        if !before.is_empty() {
            PostgresStore::open(database.url()).await.unwrap().append(before.to_vec().into()).await.unwrap();
        }
        let config: tokio_postgres::Config = database.url().parse().unwrap();
        let proxy = CuttingProxy::start(format!("127.0.0.1:{}", config.get_ports()[0]), MARK).await;
        let mut options = PostgresOptions::from_url(&proxy.url(database.url())).unwrap();
        if let Some(bug) = bug {
            options = options.plant(bug);
        }
        let store = options.open().await.unwrap();
        Self { database, proxy, store }
    }
}

async fn first_append_with_a_lost_answer(bug: Option<PlantedBug>) -> Appended {
    let scene = Scene::after(&[], bug).await;
    let append = marked();
    let settled = scene.store.append(append.clone().into()).await.unwrap();
    assert_eq!(scene.proxy.cuts(), 1);
    // The next call returns `already_written`.
    let again = scene.store.append(append.clone().into()).await.unwrap();
    assert!(again.already_written);
    assert_eq!(again.written, settled.written);
    assert_eq!(scene.store.version(&append[0].stream).await.unwrap().get(), 0);
    settled
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_call_wrote_is_written_now_although_its_answer_was_lost() {
    assert!(!first_append_with_a_lost_answer(None).await.already_written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_lost_answers_count_as_before_a_first_append_is_told_that_it_was_written_before() {
    assert!(first_append_with_a_lost_answer(Some(PlantedBug::LostAnswersCountAsBefore)).await.already_written);
}

/// Appends messages that an earlier process has written, and loses the answer.
async fn repeated_append_with_a_lost_answer(bug: Option<PlantedBug>) -> Appended {
    let append = marked();
    let scene = Scene::after(&append, bug).await;
    let again = scene.store.append(append.into()).await.unwrap();
    assert_eq!(scene.proxy.cuts(), 1);
    again
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_an_earlier_process_wrote_is_written_before_although_an_answer_was_lost() {
    assert!(repeated_append_with_a_lost_answer(None).await.already_written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_lost_answers_count_as_now_a_repeated_append_is_told_that_it_was_first() {
    assert!(!repeated_append_with_a_lost_answer(Some(PlantedBug::LostAnswersCountAsNow)).await.already_written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_this_process_has_read_is_written_before_although_an_answer_was_lost() {
    let scene = Scene::after(&[], None).await;
    let append = marked();
    PostgresStore::open(scene.database.url()).await.unwrap().append(append.clone().into()).await.unwrap();
    assert_eq!(scene.store.read_stream(&append[0].stream, StreamRead::default()).await.unwrap().len(), 1);
    assert!(scene.store.append(append.into()).await.unwrap().already_written);
    assert_eq!(scene.proxy.cuts(), 1);
}

on_both_stores! {
    async fn what_a_settled_append_finds_written_is_written_now(store) {
        let faulty = FaultyStore::new(&store);
        faulty.lose_answers(1);
        let append = marked();
        assert!(!faulty.append_settled(append.clone()).await.unwrap().already_written);
        assert!(faulty.append_settled(append).await.unwrap().already_written);
    }

    async fn a_settled_append_whose_answers_are_all_lost_is_unknown(store) {
        let faulty = FaultyStore::new(&store);
        faulty.lose_answers(2);
        let lost = faulty.append_settled(marked()).await;
        assert!(matches!(lost, Err(Error::CommitUnknown { .. })), "{lost:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn when_the_second_attempt_of_a_settled_append_cannot_be_sent_the_first_stays_unknown() {
    let scene = Scene::after(&[], None).await;
    scene
        .store
        .append(Append::to(StreamName::new("account-2").unwrap()).message(NewMessage::new("A", Json::NULL)).into())
        .await
        .unwrap();
    scene.proxy.refuse();
    let append = marked();
    let answer = scene.store.append_settled(append.clone()).await;
    assert!(matches!(answer, Err(Error::CommitUnknown { .. })), "{answer:?}");
    // The error of the second call. It does not show whether the first call wrote the messages.
    let unsent = scene.store.append(append.clone().into()).await;
    assert!(matches!(unsent, Err(Error::Backend { transient: true, .. })), "{unsent:?}");
    let direct = PostgresStore::open(scene.database.url()).await.unwrap();
    assert!(direct.append(append.into()).await.unwrap().already_written);
}

/// The driver cannot encode a parameter, for example because the schema is older or newer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_append_that_cannot_be_encoded_was_not_written_and_the_error_says_so() {
    let database = TestDatabase::create().await;
    let store: Arc<dyn MessageStore> = message_store::connect(database.url()).await.unwrap();
    database
        .execute(
            "DO $$ DECLARE definition text; BEGIN \
               SELECT pg_get_functiondef(oid) INTO definition FROM pg_proc \
               WHERE proname = 'append_message' AND pronamespace = 'message_store'::regnamespace; \
               DROP FUNCTION message_store.append_message; \
               EXECUTE replace(definition, 'id uuid', 'id inet'); \
             END $$",
        )
        .await;
    let answer = store.append(marked().into()).await;
    assert!(matches!(answer, Err(Error::Backend { transient: false, .. })), "{answer:?}");
    let text = answer.unwrap_err().to_string();
    assert!(text.contains("nothing was written") && text.contains("error serializing parameter"), "{text}");
}

async fn run(store: &Arc<dyn MessageStore>, key: &str, appends: Vec<Append>) -> Result<Answer<u32>, Error> {
    let once = Once::new(store, "tests").unwrap();
    once.run(&Key::new(key).unwrap(), &Json::NULL, async || Ok::<_, Error>((appends.clone(), 7))).await
}

/// The proxy drops the answer to the statement that appends, so nothing is committed. From then on, the server is
/// unreachable.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn once_whose_answer_is_lost_and_cannot_be_asked_for_is_unknown() {
    let scene = Scene::after(&[], None).await;
    // One connection, which stays open while no other can be made.
    let options = PostgresOptions::from_url(&scene.proxy.url(scene.database.url())).unwrap();
    let store: Arc<dyn MessageStore> =
        Arc::new(options.reading_connections(1).notifications(false).open().await.unwrap());
    let _ = run(&store, "first", vec![]).await.unwrap();
    scene.proxy.refuse();
    let answer = run(&store, "second", marked()).await;
    assert_eq!(scene.proxy.cuts(), 1);
    assert!(matches!(answer, Err(Error::CommitUnknown { .. })), "{answer:?}");
}

//! Read models: each message once, and no row older than what it shows.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use message_store::consumer::Consumer;
use message_store::handling::{Context, Handler};
use message_store::store::{Fence, Membership, ReadModel, SqlTransaction, SqlValue};
use message_store::{
    Category, Error, ExpectedVersion, GlobalPosition, Json, Message, MessageStore, MessageStoreExt as _, NewMessage,
    Outcome, Source, StreamName, connect,
};
use message_store_tests::expire::AgeingStore;
use message_store_tests::postgres::TestDatabase;
use message_store_tests::{message_db, on_both_stores};
use tokio::time::timeout;

/// The balance of each account, and the version of the stream that it shows.
#[derive(Default)]
struct Balances {
    fails: AtomicBool,
}

// (The values are not in the order in which they are given.)
const UPSERT: &str = "INSERT INTO balances (version, account, balance) VALUES ($3, $1, $2) \
     ON CONFLICT (account) DO UPDATE SET balance = balances.balance + excluded.balance, version = excluded.version \
     WHERE balances.version < excluded.version";
const TABLE: &str =
    "CREATE TABLE balances (account TEXT PRIMARY KEY, balance BIGINT NOT NULL, version BIGINT NOT NULL)";

fn amount(message: &Message) -> i64 {
    message.decode_data().unwrap()
}

impl Balances {
    fn fail_at_the_third(&self, message: &Message) -> Result<(), Source> {
        if self.fails.load(Ordering::SeqCst) && message.position.get() == 2 {
            Err("a planted failure".into())
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl ReadModel for Balances {
    fn name(&self) -> &'static str {
        "balances"
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        let values = [message.stream.id().into(), amount(message).into(), message.position.get().into()];
        transaction.execute(UPSERT, &values).await?;
        self.fail_at_the_third(message)
    }
}

async fn deposit(store: &Arc<dyn MessageStore>, times: usize) {
    let stream = StreamName::new("account-1").unwrap();
    for _ in 0..times {
        let message = NewMessage::new("Deposited", Json::parse("10").unwrap());
        store.append_to(&stream, ExpectedVersion::Any, vec![message]).await.unwrap();
    }
}

fn account() -> Category {
    Category::new("account").unwrap()
}

fn balances(fails: bool) -> Arc<dyn ReadModel> {
    Arc::new(Balances { fails: fails.into() })
}

async fn update(store: &Arc<dyn MessageStore>, model: &Arc<dyn ReadModel>) -> message_store::Result<usize> {
    store.read_models().unwrap().update(model, &account()).await
}

async fn balance(place: &AgeingStore) -> Option<(i64, i64)> {
    place.row("SELECT balance, version FROM balances").await
}

async fn each_message_is_seen_once(place: AgeingStore) {
    let store = connect(&place.url()).await.unwrap();
    place.execute(TABLE, TABLE).await;
    deposit(&store, 5).await;
    let failed = update(&store, &balances(true)).await;
    assert!(matches!(failed, Err(Error::ReadModel { .. })), "{failed:?}");
    assert_eq!(balance(&place).await, None, "nothing of the batch is there");

    let updating = (0..4).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { update(&store, &balances(false)).await.unwrap() })
    });
    let mut applied = 0;
    for updating in updating.collect::<Vec<_>>() {
        applied += updating.await.unwrap();
    }
    assert_eq!((applied, balance(&place).await), (5, Some((50, 4))));
    // The read model is applied again from the beginning. The condition on the version prevents a second effect.
    place.execute("DELETE FROM message_store.read_models", "DELETE FROM read_models").await;
    assert_eq!(update(&store, &balances(false)).await.unwrap(), 5);
    assert_eq!(balance(&place).await, Some((50, 4)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_read_model_on_postgres_sees_each_message_once_whatever_fails_and_however_many_update_it() {
    each_message_is_seen_once(AgeingStore::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_read_model_on_sqlite_sees_each_message_once_whatever_fails_and_however_many_update_it() {
    each_message_is_seen_once(AgeingStore::sqlite()).await;
    let memory = connect("sqlite::memory:").await.unwrap();
    assert_eq!(update(&memory, &balances(false)).await.unwrap(), 0);
}

/// Creates its table, and panics `left` times.
#[derive(Default)]
struct Panics {
    left: AtomicUsize,
}

#[async_trait]
impl ReadModel for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        transaction.execute("CREATE TABLE IF NOT EXISTS seen (position BIGINT NOT NULL)", &[]).await?;
        transaction.execute("INSERT INTO seen (position) VALUES ($1)", &[message.position.get().into()]).await?;
        let is_due = self.left.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        assert!(!is_due, "a planted panic");
        let seen = transaction.query("SELECT count(*) FROM seen", &[]).await?;
        assert_eq!(seen[0][0], SqlValue::from(message.position.get() + 1), "a panic rolls its transaction back");
        Ok(())
    }
}

/// Counts the messages that are applied.
#[derive(Default)]
struct Counting(AtomicUsize);

#[async_trait]
impl ReadModel for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    async fn apply(&self, _: &mut dyn SqlTransaction, _: &Message) -> Result<(), Source> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

on_both_stores! {
    async fn a_read_model_that_is_set_back_applies_messages_again(store) {
        deposit(&store, 5).await;
        let counting = Arc::new(Counting::default());
        let model: Arc<dyn ReadModel> = counting.clone();
        let read_models = store.read_models().unwrap();
        assert!(read_models.positions().await.unwrap().is_empty());
        assert!(!read_models.set_position("counting", GlobalPosition::ZERO).await.unwrap());
        assert_eq!(update(&store, &model).await.unwrap(), 5);
        let positions = read_models.positions().await.unwrap();
        let account = Category::new("account").unwrap();
        let end = store.backlog(&account, GlobalPosition::ZERO).await.unwrap().end;
        assert_eq!(positions, [("counting".to_owned(), end)]);
        assert!(read_models.set_position("counting", GlobalPosition::ZERO).await.unwrap());
        assert_eq!(update(&store, &model).await.unwrap(), 5);
        assert_eq!(counting.0.load(Ordering::SeqCst), 10);
    }

    async fn a_read_model_that_panics_takes_no_connection_and_leaves_nothing(store) {
        // More panics than connections.
        let model: Arc<dyn ReadModel> = Arc::new(Panics { left: 40.into() });
        deposit(&store, 3).await;
        for _ in 0..40 {
            let (store, model) = (Arc::clone(&store), Arc::clone(&model));
            let updated = tokio::spawn(async move { update(&store, &model).await }).await;
            assert!(!matches!(updated, Ok(Ok(_))), "it panicked");
        }
        assert_eq!(update(&store, &model).await.unwrap(), 3);
    }
}

/// Writes a value of every kind, and reads it back.
struct Values;

#[async_trait]
impl ReadModel for Values {
    fn name(&self) -> &'static str {
        "values"
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, _: &Message) -> Result<(), Source> {
        let values =
            [SqlValue::Null, 7.into(), (-0.5).into(), "it's \u{e9}".into(), vec![0, 255, 92].into(), i64::MIN.into()];
        let insert = "INSERT INTO kinds (t, i, f, s, b, m) VALUES ($1, $2, $3, $4, $5, $6)";
        assert_eq!(transaction.execute(insert, &values).await?, 1);
        let read = transaction.query("SELECT t, i, f, s, b, m FROM kinds WHERE i = $1", &[7.into()]).await?;
        assert_eq!(read, [values.to_vec()]);
        // A missing parameter is an error, and not a panic.
        assert!(transaction.query("SELECT i FROM kinds WHERE i = $2", &[7.into()]).await.is_err());
        Err("nothing of this is kept".into())
    }
}

async fn values_are_kept(place: AgeingStore) {
    let store = connect(&place.url()).await.unwrap();
    let table =
        |bytes: &str| format!("CREATE TABLE kinds (t TEXT, i BIGINT, f DOUBLE PRECISION, s TEXT, b {bytes}, m BIGINT)");
    place.execute(&table("BYTEA"), &table("BLOB")).await;
    deposit(&store, 1).await;
    let model: Arc<dyn ReadModel> = Arc::new(Values);
    let error = update(&store, &model).await.unwrap_err().to_string();
    assert!(error.contains("nothing of this is kept"), "{error}");
}

#[tokio::test]
async fn values_of_statements_are_kept_on_postgres() {
    values_are_kept(AgeingStore::postgres().await).await;
}

#[tokio::test]
async fn values_of_statements_are_kept_on_sqlite() {
    values_are_kept(AgeingStore::sqlite()).await;
}

/// The transaction that last wrote each row of a position, and the place of the row.
async fn version_of_the_position(client: &tokio_postgres::Client) -> Vec<String> {
    let rows = client.query("SELECT xmin::text || ctid::text FROM message_store.read_models", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_update_on_postgres_that_finds_nothing_new_writes_nothing() {
    let database = TestDatabase::create().await;
    database.execute(TABLE).await;
    let store = connect(database.url()).await.unwrap();
    let client = message_db::connect(database.url(), None).await;
    let model = balances(false);
    assert_eq!(update(&store, &model).await.unwrap(), 0);
    assert!(version_of_the_position(&client).await.is_empty());
    deposit(&store, 2).await;
    assert_eq!(update(&store, &model).await.unwrap(), 2);
    let before = version_of_the_position(&client).await;
    assert_eq!(update(&store, &model).await.unwrap(), 0);
    assert_eq!(version_of_the_position(&client).await, before);
}

/// An earlier form of the statement at the beginning of an update. It writes the row even if nothing changes.
#[tokio::test]
async fn twin_an_upsert_of_an_unchanged_position_writes_its_row_again() {
    let database = TestDatabase::create().await;
    let client = message_db::connect(database.url(), None).await;
    let upsert = "INSERT INTO message_store.read_models AS p (name, global_position) VALUES ('balances', 0) \
                  ON CONFLICT (name) DO UPDATE SET global_position = p.global_position";
    client.batch_execute(upsert).await.unwrap();
    let before = version_of_the_position(&client).await;
    client.batch_execute(upsert).await.unwrap();
    assert_ne!(version_of_the_position(&client).await, before);
}

/// A read model that writes on its own connection instead of the transaction.
struct Beside(Balances, std::sync::Mutex<rusqlite::Connection>);

#[async_trait]
impl ReadModel for Beside {
    fn name(&self) -> &'static str {
        "balances"
    }

    async fn apply(&self, _: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        self.1.lock().unwrap().execute("UPDATE balances SET balance = balance + ?1", [amount(message)])?;
        self.0.fail_at_the_third(message)
    }
}

#[tokio::test]
async fn twin_when_a_read_model_writes_beside_its_transaction_a_batch_that_fails_is_counted_twice() {
    let store = connect("sqlite::memory:").await.unwrap();
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    connection.execute_batch("CREATE TABLE balances (balance BIGINT); INSERT INTO balances VALUES (0)").unwrap();
    deposit(&store, 5).await;
    let beside = Arc::new(Beside(Balances { fails: true.into() }, connection.into()));
    let model: Arc<dyn ReadModel> = beside.clone();
    update(&store, &model).await.unwrap_err();
    beside.0.fails.store(false, Ordering::SeqCst);
    assert_eq!(update(&store, &model).await.unwrap(), 5);
    let sql = "SELECT balance FROM balances";
    let balance: i64 = beside.1.lock().unwrap().query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(balance, 80, "not 50");
}

/// Looks at the settings of its own transaction.
struct Settings;

#[async_trait]
impl ReadModel for Settings {
    fn name(&self) -> &'static str {
        "settings"
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, _: &Message) -> Result<(), Source> {
        let sql = "SELECT name FROM pg_settings WHERE name LIKE 'enable\\_%' AND setting <> boot_val";
        let changed = transaction.query(sql, &[]).await?;
        assert_eq!(changed, Vec::<Vec<SqlValue>>::new());
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_statements_of_a_read_model_are_planned_as_in_other_sessions() {
    let database = TestDatabase::create().await;
    let store = connect(database.url()).await.unwrap();
    deposit(&store, 1).await;
    let model: Arc<dyn ReadModel> = Arc::new(Settings);
    assert_eq!(update(&store, &model).await.unwrap(), 1);
}

/// The owner of a slot loses it while it updates a read model.
struct Loses {
    store: Arc<dyn MessageStore>,
    member: Membership,
    is_fenced: bool,
}

#[async_trait]
impl ReadModel for Loses {
    fn name(&self) -> &'static str {
        "balances"
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        balances(false).apply(transaction, message).await?;
        // The lease ends before the commit.
        if self.is_fenced {
            let leases = self.store.leases().unwrap();
            assert!(leases.renew(&self.member, Duration::from_millis(1), true).await?);
            while !leases.group("g").await?.members.is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        Ok(())
    }
}

async fn updated_after_the_lease(place: &AgeingStore, is_lost: bool) -> Result<usize, Error> {
    let store = connect(&place.url()).await.unwrap();
    place.execute(TABLE, TABLE).await;
    deposit(&store, 2).await;
    let (leases, member) = (store.leases().unwrap(), Membership::new("g", "a"));
    leases.create_group("g", vec![Json::NULL]).await.unwrap();
    assert!(leases.renew(&member, Duration::from_hours(1), true).await.unwrap());
    let slot = leases.claim(&member, &leases.group("g").await.unwrap().slots).await.unwrap().remove(0);
    let fence = Fence::new(member.clone(), 0, slot.epoch);
    let model: Arc<dyn ReadModel> =
        Arc::new(Loses { store: connect(&place.url()).await.unwrap(), member, is_fenced: is_lost });
    store.read_models().unwrap().update_fenced(&model, &account(), Some(&fence)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_owner_of_a_slot_updates_a_read_model_with_its_fence() {
    for place in [AgeingStore::postgres().await, AgeingStore::sqlite()] {
        assert_eq!(updated_after_the_lease(&place, false).await.unwrap(), 2);
        assert_eq!(balance(&place).await, Some((20, 1)));
    }
}

/// (A SQLite file has one writer, so a lease cannot end within a transaction that updates a read model.)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_read_model_is_not_updated_after_the_lease() {
    let place = AgeingStore::postgres().await;
    let refused = updated_after_the_lease(&place, true).await;
    assert!(matches!(refused, Err(Error::SlotLost { .. })), "{refused:?}");
    assert_eq!(balance(&place).await, None);
}

/// Never returns.
struct Hangs;

#[async_trait]
impl ReadModel for Hangs {
    fn name(&self) -> &'static str {
        "hangs"
    }

    async fn apply(&self, _: &mut dyn SqlTransaction, _: &Message) -> Result<(), Source> {
        std::future::pending().await
    }
}

/// The caller gives up while the author's code waits for something that never comes. Others write.
async fn given_up(place: AgeingStore) {
    let store = connect(&place.url()).await.unwrap();
    deposit(&store, 1).await;
    let model: Arc<dyn ReadModel> = Arc::new(Hangs);
    assert!(timeout(Duration::from_millis(300), update(&store, &model)).await.is_err());
    deposit(&store, 1).await;
    let other = connect(&place.url()).await.unwrap();
    deposit(&other, 1).await;
}

/// In a runtime of its own, whose end waits for all threads that block.
fn in_own_runtime(work: impl Future<Output = ()> + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(work);
    drop(runtime);
}

#[test]
fn an_update_on_postgres_that_was_given_up_keeps_nobody_waiting() {
    in_own_runtime(async { given_up(AgeingStore::postgres().await).await });
}

#[test]
fn an_update_on_sqlite_that_was_given_up_keeps_nobody_waiting() {
    in_own_runtime(async { given_up(AgeingStore::sqlite()).await });
}

/// Updates a read model, as the handler of a consumer.
struct Updates(Arc<dyn ReadModel>);

#[async_trait]
impl Handler for Updates {
    fn name(&self) -> &'static str {
        "updates"
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec!["Deposited"]
    }

    async fn handle(&self, _: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
        context.store().read_models().ok_or("no read models")?.update(&self.0, &account()).await?;
        Ok(Outcome::Ignored)
    }
}

/// Waits in the database, once.
#[derive(Default)]
struct Sleeps(AtomicUsize);

#[async_trait]
impl ReadModel for Sleeps {
    fn name(&self) -> &'static str {
        "sleeps"
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, _: &Message) -> Result<(), Source> {
        if self.0.fetch_add(1, Ordering::SeqCst) == 0 {
            transaction.query("SELECT pg_sleep(60)::text", &[]).await?;
        }
        Ok(())
    }
}

/// The connection is lost within the author's code.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_consumer_waits_out_an_outage_that_hits_its_read_model() {
    let database = TestDatabase::create().await;
    let store = connect(database.url()).await.unwrap();
    deposit(&store, 3).await;
    let model = Arc::new(Sleeps::default());
    let mut consumer = Consumer::new("account", Updates(model.clone())).start(&store).await.unwrap();
    let (client, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE datname = current_database() AND state = 'active' AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()";
    while client.query_one(end, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let last = store.backlog(&account(), GlobalPosition::ZERO).await.unwrap().end;
    consumer.wait_for(last).await.unwrap();
    let _ = consumer.stop().await.unwrap();
    assert!(model.0.load(Ordering::SeqCst) >= 4, "the batch is applied again");
}

//! A synchronous standby that is away, and a primary that was deposed: what they lack is not acknowledged.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use message_store::postgres::{PlantedBug, PostgresOptions, PostgresStore};
use message_store::store::{Claim, Due, TimerChange, TimerKey, Window};
use message_store::{Append, AppendRequest, Error, Json, Key, MessageStore as _, NewMessage, Result};
use message_store_tests::message_db::connect;
use message_store_tests::postgres::{End, Pair, Standby, programs_are_left_out};
use tokio::time::timeout;

use crate::failover::account;

/// The time within which the server must answer. Its limit of a statement is lower.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// The time-out for events that must happen.
const COMES: Duration = Duration::from_mins(1);

/// What is written while the standby is away.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    /// As most appends.
    Append,
    /// Changes of timers are written apart from other appends.
    WithTimer,
    /// A key is taken with the append.
    Once,
}

const ALL: [Work; 3] = [Work::Append, Work::WithTimer, Work::Once];

/// A store on a pair of servers.
struct Scene {
    pair: Pair,
    store: Arc<PostgresStore>,
}

impl Scene {
    async fn new(kind: Standby, bug: Option<PlantedBug>) -> Self {
        let pair = Pair::start(kind).await.unwrap();
        let mut options = PostgresOptions::from_url(&pair.url()).unwrap().answer_within(ANSWER_WITHIN);
        if let Some(bug) = bug {
            options = options.plant(bug);
        }
        let store = Arc::new(options.open().await.unwrap());
        store.append(deposit(Work::Append)).await.unwrap();
        Self { pair, store }
    }

    /// Carries out the work while the standby is away. If it is to be cancelled, an operator does so when it waits for the
    /// standby.
    async fn without_a_standby(&mut self, work: Work, is_cancelled: bool) -> (AppendRequest, Result<()>) {
        self.pair.standby.end(End::Fast).unwrap();
        let request = deposit(work);
        let carried_out = tokio::spawn(carry_out(Arc::clone(&self.store), work, request.clone()));
        if is_cancelled {
            let operator = connect(self.pair.primary.url(), None).await;
            let sql = "SELECT count(pg_cancel_backend(pid)) > 0 FROM pg_stat_activity \
                       WHERE application_name = 'message-store' AND wait_event = 'SyncRep'";
            let cancelled = async { while !operator.query_one(sql, &[]).await.unwrap().get::<_, bool>(0) {} };
            timeout(COMES, cancelled).await.expect("the commit waits");
        }
        (request, timeout(COMES, carried_out).await.expect("there is an answer").unwrap())
    }

    async fn again(&self, work: Work, request: &AppendRequest) -> Result<()> {
        let again = carry_out(Arc::clone(&self.store), work, request.clone());
        timeout(COMES, again).await.expect("there is an answer")
    }
}

fn deposit(work: Work) -> AppendRequest {
    let request: AppendRequest = Append::to(account()).message(NewMessage::new("Deposited", Json::NULL)).into();
    if work != Work::WithTimer {
        return request;
    }
    let (key, message) = (TimerKey::new(account(), "reminder"), NewMessage::new("Reminded", Json::NULL));
    request.timer(TimerChange::set(key, Due::After(Duration::from_hours(1)), account(), message))
}

async fn carry_out(store: Arc<PostgresStore>, work: Work, request: AppendRequest) -> Result<()> {
    if work != Work::Once {
        return store.append(request).await.map(drop);
    }
    let claim = Claim::new("webhook", Key::new("k").unwrap(), "of the request", Window::default());
    store.deduplication().unwrap().append_once(&claim, request, Json::NULL).await.map(drop)
}

/// Nothing is acknowledged until the standby is back, whether the wait of the commit is cancelled or not, and the limit of a
/// statement does not end it.
async fn nothing_is_acknowledged_without_the_standby(is_cancelled: bool) {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    let mut scene = Scene::new(Standby::Synchronous, None).await;
    for work in ALL {
        let (request, result) = scene.without_a_standby(work, is_cancelled).await;
        assert!(matches!(result, Err(Error::CommitUnknown { .. })), "{work:?}: {result:?}");
        // The repeat may wait for the lock that the commit still has.
        let again = scene.again(work, &request).await;
        let may_be = matches!(again, Err(Error::CommitUnknown { .. } | Error::TimedOut { .. }));
        assert!(may_be, "{work:?}: {again:?}");
        scene.pair.standby.resume().await.unwrap();
        scene.pair.until_followed().await.unwrap();
        let acknowledged = async { while scene.again(work, &request).await.is_err() {} };
        timeout(COMES, acknowledged).await.expect("the standby is back");
    }
    // Each was written once.
    assert_eq!(scene.store.version(&account()).await.unwrap().get(), 3);
    scene.pair.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_the_synchronous_standby_is_away_the_answer_is_that_the_commit_is_unknown() {
    nothing_is_acknowledged_without_the_standby(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_whose_wait_for_the_standby_was_cancelled_is_unknown_and_so_is_its_repeat() {
    nothing_is_acknowledged_without_the_standby(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_repeats_wait_for_no_standby_messages_are_acknowledged_that_it_does_not_have() {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    for work in ALL {
        let mut scene = Scene::new(Standby::Synchronous, Some(PlantedBug::RepeatsWaitForNoStandby)).await;
        let (request, first) = scene.without_a_standby(work, true).await;
        assert!(matches!(first, Err(Error::CommitUnknown { .. })), "{work:?}: {first:?}");
        scene.again(work, &request).await.unwrap();
        scene.pair.stop().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_the_warning_is_not_noticed_a_cancelled_wait_acknowledges_the_messages() {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    for work in ALL {
        let mut scene = Scene::new(Standby::Synchronous, Some(PlantedBug::CutWaitsUnnoticed)).await;
        scene.without_a_standby(work, true).await.1.unwrap();
        scene.pair.stop().unwrap();
    }
}

/// The primary ends, the standby is promoted, and both end. Then only the old primary is started again. Returns what an
/// append says then.
async fn append_after_the_return_of_a_deposed_primary(bug: Option<PlantedBug>) -> (Scene, Result<()>) {
    let mut scene = Scene::new(Standby::Asynchronous, bug).await;
    scene.pair.primary.end(End::Immediate).unwrap();
    scene.pair.standby.promote().unwrap();
    let request = deposit(Work::Append);
    let appended = async { while scene.again(Work::Append, &request).await.is_err() {} };
    timeout(COMES, appended).await.expect("the standby is the primary now");
    scene.pair.standby.end(End::Fast).unwrap();
    scene.pair.primary.resume().await.unwrap();
    let mut result = scene.again(Work::Append, &deposit(Work::Append)).await;
    if matches!(result, Err(Error::HistoryChanged { .. })) {
        result = scene.again(Work::Append, &deposit(Work::Append)).await;
    }
    (scene, result)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deposed_primary_that_comes_back_is_not_used() {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    let (mut scene, refused) = append_after_the_return_of_a_deposed_primary(None).await;
    let error = refused.unwrap_err();
    assert!(error.is_transient(), "{error}");
    let history = scene.store.history();
    scene.pair.standby.resume().await.unwrap();
    let appended = async { while scene.again(Work::Append, &deposit(Work::Append)).await.is_err() {} };
    timeout(COMES, appended).await.expect("the new primary is used again");
    assert_eq!(scene.store.history(), history, "the deposed primary has begun no history");
    scene.pair.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_deposed_primaries_serve_an_append_is_acknowledged_that_the_new_primary_never_gets() {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    let (scene, acknowledged) =
        append_after_the_return_of_a_deposed_primary(Some(PlantedBug::DeposedPrimariesServe)).await;
    acknowledged.unwrap();
    scene.pair.stop().unwrap();
}

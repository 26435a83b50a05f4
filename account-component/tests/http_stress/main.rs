//! Requests over HTTP while connections are cut and servers are killed: the balances are those of a model.
//!
//! A fifth of the requests are sent again, and every request that was not answered. Two servers work on one PostgreSQL, and one on
//! one SQLite file. `ACCOUNT_REQUESTS` sets the number of requests (default 1,000; the long run uses 20,000), and
//! `ACCOUNT_REQUESTS_SEED` repeats a run.
#![allow(clippy::unwrap_used)]

mod client;
mod model;
mod servers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use account_component::{Event, Money};
use futures_util::TryStreamExt as _;
use futures_util::future::join_all;
use message_store::{Category, MessageStoreExt as _, Read, connect};
use message_store_tests::postgres::TestDatabase;
use message_store_tests::random::{Random, setting};

use model::{ACCOUNTS, Intent, Model, Path};
use servers::Servers;

/// The number of clients.
const CLIENTS: usize = 16;
/// How long no request may be answered before the run counts as hanging.
const HANGS: Duration = Duration::from_mins(3);

/// What clients share.
struct Run {
    servers: Servers,
    done: AtomicUsize,
    last_intent: AtomicU64,
    /// A client that makes up a new id when it sends a request again.
    bug: bool,
}

impl Run {
    /// Sends a request until it is answered, and now and then once more.
    async fn carry_out(&self, random: &mut Random, intent: &mut Intent, model: &mut Model) {
        let answered = self.answered(random, intent).await;
        model.apply(intent, &answered);
        if random.below(5) > 0 {
            return;
        }
        if self.bug {
            intent.id = format!("{}-again", intent.id);
        }
        let again = self.answered(random, intent).await;
        assert!(self.bug || intent.is_same(&answered, &again), "{intent:?}: {answered:?}, and then {again:?}");
    }

    async fn answered(&self, random: &mut Random, intent: &Intent) -> client::Answered {
        loop {
            let server = self.servers.address(random.below(usize::MAX));
            // The client goes away before it has sent everything, or before the answer.
            if random.below(20) == 0 {
                client::cut(server, &intent.request(), random.below(2) == 0).await;
            }
            match client::send(server, &intent.request()).await {
                // In flight: another server carries it out, or was killed while it did.
                Some(answered) if answered.status == 503 || answered.kind() == Some("/problems/request-in-flight") => {}
                Some(answered) => {
                    self.done.fetch_add(1, Ordering::Relaxed);
                    return answered;
                }
                None => {}
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn client(&self, mut random: Random, requests: usize) -> Model {
        let mut model = Model::default();
        for _ in 0..requests {
            let id = self.last_intent.fetch_add(1, Ordering::Relaxed);
            let mut intent = Intent::new(format!("i{id}"), &mut random);
            self.carry_out(&mut random, &mut intent, &mut model).await;
        }
        model
    }

    /// Kills a server with its requests under way, each time that a fifth of the requests are answered.
    async fn kill(&self, requests: usize) {
        for (kill, share) in (1..5).enumerate() {
            while self.done.load(Ordering::Relaxed) < requests * share / 5 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            self.servers.kill_and_start(kill).await;
        }
    }
}

/// Returns the differences from the model.
async fn run(url: &str, servers: usize, bug: bool) -> Vec<String> {
    let seed = setting("ACCOUNT_REQUESTS_SEED").unwrap_or(7);
    let requests = usize::try_from(setting("ACCOUNT_REQUESTS").unwrap_or(1_000)).unwrap();
    println!("ACCOUNT_REQUESTS_SEED={seed} ACCOUNT_REQUESTS={requests}");
    let servers = Servers::start(url, servers).await;
    let run = Arc::new(Run { servers, done: AtomicUsize::new(0), last_intent: AtomicU64::new(0), bug });
    for account in 0..ACCOUNTS {
        let opening = model::opening(account);
        while client::send(run.servers.address(0), &opening).await.is_none_or(|answered| answered.status != 201) {}
    }
    let clients = (0..CLIENTS).map(|client| {
        let (run, seed) = (Arc::clone(&run), seed * 1_000 + client as u64);
        tokio::spawn(async move { run.client(Random(seed), requests / CLIENTS).await })
    });
    let clients: Vec<_> = clients.collect();
    let killing = tokio::spawn({
        let run = Arc::clone(&run);
        async move { run.kill(requests).await }
    });
    let watching = tokio::spawn({
        let run = Arc::clone(&run);
        async move {
            let mut before = usize::MAX;
            while before != run.done.load(Ordering::Relaxed) {
                before = run.done.load(Ordering::Relaxed);
                tokio::time::sleep(HANGS).await;
            }
        }
    });
    let mut model = Model::default();
    let all = join_all(clients);
    tokio::select! {
        models = all => models.into_iter().for_each(|of_client| model.add(of_client.unwrap())),
        _ = watching => panic!("no request was answered for {HANGS:?}"),
    }
    killing.abort();
    for transfer in model.transfers.clone() {
        let ended = loop {
            let request = Path::Transfer(transfer.id.clone()).wait();
            match client::send(run.servers.address(0), &request).await {
                Some(answered) if answered.status == 200 => break answered,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        model.end(&transfer, ended.body["stage"].as_str().unwrap());
    }
    let mut wrong = Vec::new();
    for server in 0..run.servers.count() {
        for (account, balance) in &model.balances {
            let shown = client::send(run.servers.address(server), &Path::Account(*account).get()).await.unwrap();
            let shown: Money = serde_json::from_value(shown.body["balance"].clone()).unwrap();
            if shown != *balance {
                wrong.push(format!("account {account}: {shown} on server {server}, and {balance} in the model"));
            }
        }
    }
    wrong.extend(effects(url, &model).await);
    wrong
}

/// Whether each intent has one event.
async fn effects(url: &str, model: &Model) -> Vec<String> {
    let store = connect(url).await.unwrap();
    let account = Category::new("account").unwrap();
    let events: Vec<_> = store.category_messages(&account, Read::default()).try_collect().await.unwrap();
    let mut effects: BTreeMap<String, usize> = BTreeMap::new();
    for event in events {
        match event.decode_variant::<Event>().unwrap().unwrap() {
            Event::Deposited { deposit_id: id, .. } | Event::DepositRejected { deposit_id: id, .. } => {
                *effects.entry(format!("deposit {id}")).or_default() += 1;
            }
            Event::Withdrawn { withdrawal_id: id, .. } | Event::WithdrawalRejected { withdrawal_id: id, .. } => {
                *effects.entry(format!("withdrawal {id}")).or_default() += 1;
            }
            Event::Opened { .. } | Event::Closed { .. } => {}
        }
    }
    let of_requests = effects.iter().filter(|(id, _)| !id.contains("transfer-")).count();
    let mut wrong: Vec<String> =
        effects.iter().filter(|(_, count)| **count > 1).map(|(id, count)| format!("{id} has {count} events")).collect();
    if of_requests != model.movements {
        wrong.push(format!(
            "{of_requests} deposits and withdrawals have events, and {} were requested",
            model.movements
        ));
    }
    wrong
}

fn file(folder: &tempfile::TempDir) -> String {
    format!("sqlite:{}", folder.path().join("store.db").display())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_two_servers_of_one_postgres_each_request_has_one_effect() {
    let wrong = run(TestDatabase::create().await.url(), 2, false).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_server_of_sqlite_each_request_has_one_effect() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = run(&file(&folder), 1, false).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twin_with_another_id_for_what_is_sent_again_the_money_moves_twice() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = run(&file(&folder), 1, true).await;
    assert!(wrong.iter().any(|wrong| wrong.contains("in the model")), "{wrong:?}");
}

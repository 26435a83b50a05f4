//! The replay command, run as a program: it ends with the right balances, with any repeats and after being killed at
//! any moment.
//!
//! The file is the bank's of 1993 if it exists (`../shared/data` beside the repository), else a generated one.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use account_component::Money;
#[cfg(feature = "jetstream")]
use message_store_tests::nats::Server;
use message_store_tests::postgres::TestDatabase;
use tempfile::TempDir;

const REPEATS: [&str; 8] = ["--duplicates", "10", "--redeliveries", "10", "--conflicts", "5", "--concurrency", "32"];

/// Transactions, the right balances, and a temporary folder.
struct Ledger {
    folder: TempDir,
    transactions: PathBuf,
    balances: String,
}

impl Ledger {
    /// The real ledger if its file exists, else a generated one.
    fn real() -> Self {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
        let transactions = data.join("transactions-1993.csv");
        match std::fs::read_to_string(data.join("balances-1993.csv")) {
            Ok(balances) => Self { folder: tempfile::tempdir().unwrap(), transactions, balances },
            Err(_) => Self::made(5_000),
        }
    }

    /// Generates a ledger of 97 accounts with deposits and withdrawals. Some withdrawals are above the balance.
    fn made(rows: u64) -> Self {
        let mut transactions = String::from("transaction_id,account_id,date,kind,amount\n");
        let mut accounts: BTreeMap<u64, (Money, u64, u64, u64)> = BTreeMap::new();
        for row in 0..rows {
            let (account, hundredths) = (row * 31 % 97, i64::try_from(row * 7_919 % 100_000 + 1).unwrap());
            let (kind, amount) =
                (if row % 5 < 3 { "deposit" } else { "withdrawal" }, Money::from_hundredths(hundredths));
            writeln!(transactions, "{row},{account},1993-{:02}-01,{kind},{amount}", row * 12 / rows + 1).unwrap();
            let (balance, deposits, withdrawals, rejected) = accounts.entry(account).or_default();
            match kind {
                "deposit" => (*balance, *deposits) = (*balance + amount, *deposits + 1),
                _ if *balance < amount => *rejected += 1,
                _ => (*balance, *withdrawals) = (*balance - amount, *withdrawals + 1),
            }
        }
        let mut balances = String::from("account_id,balance,deposits,withdrawals,rejected\n");
        let mut all_rejected = 0;
        for (account, (balance, deposits, withdrawals, rejected)) in accounts {
            all_rejected += rejected;
            writeln!(balances, "{account},{balance},{deposits},{withdrawals},{rejected}").unwrap();
        }
        assert!(rows < 1_000 || all_rejected > 0, "some withdrawals should be rejected");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("transactions.csv");
        std::fs::write(&file, transactions).unwrap();
        Self { folder, transactions: file, balances }
    }

    fn sqlite(&self) -> String {
        format!("sqlite:{}", self.folder.path().join("account.db").display())
    }

    fn command(&self, store: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_account-component"));
        command.current_dir(&self.folder).arg("replay").arg(&self.transactions).args(["--store", store]);
        command.args(REPEATS).arg("--balances").arg(self.folder.path().join("out.csv"));
        command
    }

    /// Runs a replay to its end, and compares the balances.
    fn replay(&self, store: &str) -> String {
        let output = self.command(store).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let balances = std::fs::read_to_string(self.folder.path().join("out.csv")).unwrap();
        assert!(balances == self.balances, "the balances differ:\n{balances}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts a replay, and kills it with signal 9 after it has written `messages` messages.
    fn kill(&self, store: &str, messages: i64) {
        let mut replay = self.command(store).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut report = BufReader::new(replay.stderr.take().unwrap()).lines();
        let started = report.any(|line| line.unwrap().contains("concurrency"));
        assert!(started, "the component did not start");
        // A separate thread, because a runtime cannot block within another.
        std::thread::scope(|scope| scope.spawn(|| wait_for_messages(store, messages, &mut replay)).join().unwrap());
        replay.kill().unwrap();
        replay.wait().unwrap();
    }
}

/// Waits until `messages` more messages are written, or until the process has ended.
#[tokio::main(flavor = "current_thread")]
async fn wait_for_messages(store: &str, messages: i64, replay: &mut Child) {
    let openers = message_store::Openers::default();
    #[cfg(feature = "jetstream")]
    let openers = message_store_jetstream::register(openers);
    let store = openers.open(store).await.unwrap();
    let begun = store.given_out(None).await.unwrap().get();
    while replay.try_wait().unwrap().is_none() && store.given_out(None).await.unwrap().get() < begun + messages {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The number with this name in the summary.
fn figure(summary: &str, name: &str) -> u64 {
    let line = summary.lines().find(|line| line.trim().starts_with(name));
    line.and_then(|line| line.split_whitespace().find_map(|word| word.parse().ok())).unwrap_or_default()
}

/// Replays to the end, replays again, and replays after being killed at five moments.
fn ends_in_the_right_balances(ledger: &Ledger, store: &str, killed_store: &str) {
    let summary = ledger.replay(store);
    for repeat in ["duplicate", "conflict", "already processed", "second deliveries"] {
        assert!(figure(&summary, repeat) > 0, "no {repeat} in {summary}");
    }
    let again = ledger.replay(store);
    assert_eq!((figure(&again, "deliveries"), figure(&again, "effects")), (0, 0), "{again}");

    for moment in 0..5 {
        ledger.kill(killed_store, moment * 397);
    }
    ledger.replay(killed_store);
}

#[test]
fn a_replay_on_sqlite_ends_in_the_right_balances_whatever_happens() {
    let ledger = Ledger::real();
    let killed = format!("sqlite:{}", ledger.folder.path().join("killed.db").display());
    ends_in_the_right_balances(&ledger, &ledger.sqlite(), &killed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_on_postgres_ends_in_the_right_balances_whatever_happens() {
    let ledger = Ledger::real();
    let (database, killed) = (TestDatabase::create().await, TestDatabase::create().await);
    ends_in_the_right_balances(&ledger, database.url(), killed.url());
}

#[cfg(feature = "jetstream")]
#[test]
fn a_replay_on_jetstream_ends_in_the_right_balances_whatever_happens() {
    let Some(server) = Server::shared_unless_left_out() else { return };
    ends_in_the_right_balances(&Ledger::made(3_000), &server.store(), &server.store());
}

#[test]
fn a_replay_finishes_a_store_that_a_replay_with_other_repeats_has_begun() {
    let ledger = Ledger::made(1_000);
    let store = ledger.sqlite();
    let plain = Command::new(env!("CARGO_BIN_EXE_account-component"))
        .arg("replay")
        .arg(&ledger.transactions)
        .args(["--store", &store])
        .output()
        .unwrap();
    assert!(plain.status.success(), "{}", String::from_utf8_lossy(&plain.stderr));
    let summary = ledger.replay(&store);
    assert_eq!(figure(&summary, "effects"), 0, "{summary}");
}

#[test]
fn a_malformed_row_is_named_and_nothing_is_written() {
    let ledger = Ledger::made(10);
    let mut text = std::fs::read_to_string(&ledger.transactions).unwrap();
    text.push_str("10,3,1993-12-31,deposit,seven\n");
    std::fs::write(&ledger.transactions, text).unwrap();
    let Output { status, stderr, .. } = ledger.command(&ledger.sqlite()).output().unwrap();
    let error = String::from_utf8(stderr).unwrap();
    assert!(!status.success());
    assert!(error.contains("line 12") && error.contains("amount") && error.contains("seven"), "{error}");
    assert!(!ledger.folder.path().join("account.db").exists(), "the store must not even be made");
}

#[cfg(feature = "jetstream")]
#[test]
fn the_demo_runs_on_a_store_that_is_named_again_and_again() {
    let Some(server) = Server::shared_unless_left_out() else { return };
    let store = server.store();
    for _ in 0..2 {
        let mut demo = Command::new(env!("CARGO_BIN_EXE_account-component"));
        let output = demo.args(["demo", "--store", &store]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("sent 13, took effect 7, caught 6"), "{said}");
    }
}

#[test]
fn the_demo_runs_without_arguments_and_catches_each_kind_of_repeat() {
    let output = Command::new(env!("CARGO_BIN_EXE_account-component")).arg("demo").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    for expected in
        ["sequence:", "reservation: same as", "in conflict with", "message id:", "late is not lost", "2000.00"]
    {
        assert!(said.contains(expected), "{said} should say {expected}");
    }
    assert!(include_str!("../../README.md").contains(&said), "the README should show what the demo prints:\n{said}");
}

//! Random moves between three stores: commands are sent everywhere, handled in the active store, copied, and moved.
//! Another toolkit handles some of them, or their metadata is odd. Every intent takes effect once.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use message_store::{MessageId, MessageStore, Metadata, Outcome};
use message_store_tests::accounts::{balance, member, messages_of, postgres, put, sqlite};
use message_store_tests::moving::copy;
use message_store_tests::random::{Random, setting};

type Store = Arc<dyn MessageStore>;

const COMMANDS: [&str; 2] = ["account:command", "teller:command"];

struct Run {
    random: Random,
    stores: Vec<Store>,
    active: usize,
    /// Whether another toolkit handles commands. If not, the metadata of commands is odd.
    has_foreign: bool,
    intents: BTreeMap<&'static str, BTreeSet<String>>,
    done_by_others: BTreeSet<MessageId>,
}

impl Run {
    fn active(&self) -> &Store {
        &self.stores[self.active]
    }

    fn odd_metadata(&mut self) -> String {
        let store = self.stores[self.random.below(3)].store_id();
        let position = ["-1", "0", "1", "3", "9", "9223372036854775807", "\"7\"", "null"][self.random.below(8)];
        let category = ["account:command", "account", "teller:command", ""][self.random.below(4)];
        let sequence = format!(r#"{{"storeId":"{store}","category":"{category}","globalPosition":{position}}}"#);
        let cause = format!(r#""causationMessageGlobalPosition":{position},"causationMessagePosition":{position}"#);
        match self.random.below(7) {
            0 => format!(r#"{{"messageStore":{{"origin":{sequence},"via":[{sequence}],"sequence":{position}}}}}"#),
            1 => format!(r#"{{"messageStore":{{"sequence":{sequence},"handler":"account"}}}}"#),
            2 => format!(r#"{{"causationMessageStreamName":"account:command-1",{cause}}}"#),
            3 => format!(r#"{{"origin":{sequence},"sequence":{sequence}}}"#),
            4 => format!(r#"{{"messageStore":{{"via":[{sequence}],"causeOrigin":{sequence}}}}}"#),
            5 => r#"{"messageStore":[1,2],"properties":5,"localProperties":[]}"#.into(),
            _ => "null".into(),
        }
    }

    async fn send(&mut self) {
        let at = if self.random.below(3) == 0 { self.random.below(3) } else { self.active };
        let (entity, category) = (["1", "2"][self.random.below(2)], COMMANDS[self.random.below(2)]);
        let metadata = if self.has_foreign { "null".into() } else { self.odd_metadata() };
        let stream = format!("{category}-{entity}");
        let intent = if self.random.below(3) == 0 {
            let id = format!("d{}", self.random.below(3));
            let data = format!(r#"{{"deposit_id":"{id}","amount":1,"time":"{}"}}"#, self.random.below(1_000_000));
            put(&self.stores[at], &stream, "DepositOnce", &data, &metadata).await;
            id
        } else {
            put(&self.stores[at], &stream, "Deposit", r#"{"amount":1}"#, &metadata).await.id.to_string()
        };
        self.intents.entry(entity).or_default().insert(intent);
    }

    async fn handle(&mut self) {
        let category = COMMANDS[self.random.below(2)];
        let all = messages_of(self.active(), category).await;
        let handler = member(self.active(), None);
        for _ in 0..all.len().min(3) {
            let _ = handler.carry_out(&all[self.random.below(all.len())]).await.unwrap();
        }
    }

    /// Another toolkit carries out a command that nobody has carried out, as far as it can see.
    async fn handle_elsewhere(&mut self) {
        let category = COMMANDS[self.random.below(2)];
        let all = messages_of(self.active(), category).await;
        let Some(command) = all.get(self.random.below(all.len().max(1))) else { return };
        let here = self.active().store_id();
        let events = messages_of(self.active(), "account").await;
        let is_done = events.iter().any(|event| event.decode_metadata().follows(command, here));
        if command.message_type == "Deposit" && !is_done && self.done_by_others.insert(command.id) {
            let stream = format!("account-{}", command.stream.cardinal_id().unwrap());
            let followed = Metadata::follow(command).to_json().unwrap();
            put(self.active(), &stream, "Deposited", r#"{"amount":1}"#, followed.text()).await;
        }
    }

    async fn move_to(&mut self, to: usize) {
        if to != self.active {
            copy(self.active(), &self.stores[to], &["account", "accountTransaction", COMMANDS[0], COMMANDS[1]]).await;
            self.active = to;
        }
    }

    async fn copy_from(&self, from: usize) {
        if from != self.active {
            copy(&self.stores[from], self.active(), &COMMANDS).await;
        }
    }

    /// Handles all commands twice in the active store. Nothing is handled in the second round.
    async fn finish(&mut self, seed: u64) {
        for from in 0..3 {
            self.copy_from(from).await;
        }
        for is_first in [true, false] {
            for category in COMMANDS {
                for command in messages_of(self.active(), category).await {
                    let outcome = member(self.active(), None).carry_out(&command).await.unwrap();
                    assert!(is_first || !matches!(outcome, Outcome::Handled { .. }), "seed {seed}: {outcome} again");
                }
            }
        }
        for (entity, intents) in &self.intents {
            assert_eq!(balance(self.active(), entity).await, intents.len() as u64, "seed {seed}, entity {entity}");
        }
    }
}

async fn run(seed: u64, stores: Vec<Store>) {
    let (random, has_foreign) = (Random(seed), seed.is_multiple_of(2));
    let (intents, done_by_others) = (BTreeMap::new(), BTreeSet::new());
    let mut run = Run { random, stores, active: 0, has_foreign, intents, done_by_others };
    for _ in 0..50 {
        let (step, other) = (run.random.below(10), run.random.below(3));
        match step {
            0..=3 => run.send().await,
            4..=6 => run.handle().await,
            7 => run.copy_from(other).await,
            8 => run.move_to(other).await,
            _ if has_foreign => run.handle_elsewhere().await,
            _ => {}
        }
    }
    run.finish(seed).await;
}

/// `SEEDS` is the number of runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_intent_takes_effect_once_over_random_moves() {
    for seed in 0..setting("SEEDS").unwrap_or(16) {
        run(seed, vec![sqlite().await, sqlite().await, sqlite().await]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_intent_takes_effect_once_over_random_moves_between_backends() {
    for seed in 1_000..1_002 {
        run(seed, vec![postgres().await, sqlite().await, postgres().await]).await;
    }
}

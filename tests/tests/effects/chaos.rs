//! T55: delivers every message twice, shuffled across entities, with crashes at random moments. The result must equal
//! the model.
//!
//! `MESSAGE_STORE_CHAOS_SEED` repeats a run. `MESSAGE_STORE_CHAOS_COMMANDS` sets the number of commands (default 2,000;
//! the long run uses 10,000).
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use message_store::testing::FaultyStore;
use message_store::testing::PlantedBug;
use message_store::{Error, MessageStore, NewMessage, StreamName};
use message_store_tests::accounts::{Command, balance, member, messages_of};
use message_store_tests::on_both_stores;
use message_store_tests::random::{Random, setting};

const ACCOUNTS: u64 = 20;

/// The sum of the differences between the balances and the model's, over all accounts.
async fn run(store: &Arc<dyn MessageStore>, bug: Option<PlantedBug>) -> u64 {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let seed = setting("MESSAGE_STORE_CHAOS_SEED").unwrap_or_else(|| 1993 + RUNS.fetch_add(1, Ordering::SeqCst));
    let commands = setting("MESSAGE_STORE_CHAOS_COMMANDS").unwrap_or(2_000);
    println!("MESSAGE_STORE_CHAOS_SEED={seed} MESSAGE_STORE_CHAOS_COMMANDS={commands}");
    let mut random = Random(seed);

    // Sends each intent once or twice, in two categories. The model counts intents.
    let mut model = vec![0_u64; usize::try_from(ACCOUNTS).unwrap()];
    let mut appends = Vec::new();
    for number in 0..commands {
        let account = random.below(model.len());
        model[account] += 1;
        let again = usize::from(random.below(10) == 0);
        for time in 0..=again {
            let command = Command::DepositOnce { deposit_id: number.to_string(), amount: 1, time: time.to_string() };
            let category = ["account:command", "teller:command"][random.below(2)];
            let stream = StreamName::new(format!("{category}-{account}")).unwrap();
            appends.push(message_store::Append::to(stream).message(NewMessage::from_variant(&command).unwrap()));
        }
    }
    for append in appends {
        store.append(append.into()).await.unwrap();
    }
    let mut deliveries =
        [messages_of(store, "account:command").await, messages_of(store, "teller:command").await].concat();
    deliveries.extend(deliveries.clone());
    for at in (1..deliveries.len()).rev() {
        deliveries.swap(at, random.below(at + 1));
    }

    let faulty = FaultyStore::new(store);
    let shared: Arc<dyn MessageStore> = faulty.clone();
    let mut members: Vec<_> = (0..3).map(|_| Arc::new(member(&shared, bug))).collect();
    for part in deliveries.chunks(16) {
        match random.below(12) {
            0 => faulty.lose_answers(1),
            1 => faulty.refuse_appends(1),
            // One process ends, and another begins with an empty cache.
            2 => members[random.below(3)] = Arc::new(member(&shared, bug)),
            _ => {}
        }
        let crashes = random.below(6) == 0;
        let handling: Vec<_> = part
            .iter()
            .map(|message| {
                let (member, message) = (Arc::clone(&members[random.below(3)]), message.clone());
                tokio::spawn(async move {
                    loop {
                        match member.carry_out(&message).await {
                            Err(Error::Backend { transient: true, .. }) => {}
                            result => return result.map(|_| ()),
                        }
                    }
                })
            })
            .collect();
        for handling in handling {
            if crashes {
                handling.abort();
            }
            match handling.await {
                Ok(result) => result.unwrap(),
                Err(error) => assert!(error.is_cancelled(), "{error}"),
            }
        }
        if crashes {
            // The messages that were under way are delivered again.
            for message in part {
                while let Err(error) = members[0].carry_out(message).await {
                    assert!(error.is_transient(), "{error}");
                }
            }
        }
    }
    let mut difference = 0;
    for (account, expected) in model.into_iter().enumerate() {
        difference += balance(store, &account.to_string()).await.abs_diff(expected);
    }
    difference
}

on_both_stores! {
    async fn t55_every_message_twice_in_any_order_with_crashes_ends_in_the_models_state(store) {
        assert_eq!(run(&store, None).await, 0);
        assert!(!messages_of(&store, "accountTransaction").await.is_empty());
    }

    async fn twin_with_the_mark_alone_the_model_is_missed(store) {
        assert!(run(&store, Some(PlantedBug::MarkAlone)).await > 0);
    }

    async fn twin_without_reservation_the_model_is_missed(store) {
        assert!(run(&store, Some(PlantedBug::NoReservation)).await > 0);
    }
}

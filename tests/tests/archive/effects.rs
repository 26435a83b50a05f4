//! Every command twice, in any order, with an archive in the middle: the result equals the model.

use std::sync::Arc;

use message_store::testing::PlantedBug;
use message_store::{Append, MessageStore, NewMessage, StreamName};
use message_store_tests::accounts::{Command, balance, member, messages_of};
use message_store_tests::on_both_stores;
use message_store_tests::random::Random;

use super::archive;

const ACCOUNTS: usize = 5;
const COMMANDS: usize = 300;

/// The sum of the differences between the balances and the model's.
async fn run(store: &Arc<dyn MessageStore>, bug: Option<PlantedBug>) -> u64 {
    let mut random = Random(1993);
    let mut model = [0_u64; ACCOUNTS];
    for number in 0..COMMANDS {
        let account = random.below(ACCOUNTS);
        model[account] += 1;
        for time in 0..=usize::from(random.below(5) == 0) {
            let command = Command::DepositOnce { deposit_id: number.to_string(), amount: 1, time: time.to_string() };
            let stream = StreamName::new(format!("account:command-{account}")).unwrap();
            store.append(Append::to(stream).message(NewMessage::from_variant(&command).unwrap()).into()).await.unwrap();
        }
    }
    let mut deliveries = messages_of(store, "account:command").await;
    deliveries.extend(deliveries.clone());
    for at in (1..deliveries.len()).rev() {
        deliveries.swap(at, random.below(at + 1));
    }
    for (number, part) in deliveries.chunks(20).enumerate() {
        // Each process begins with an empty cache.
        let member = member(store, bug);
        for message in part {
            let _ = member.carry_out(message).await.unwrap();
        }
        if number % 5 == 2 {
            for category in ["account:command", "account", "accountTransaction"] {
                archive(store, category).await;
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
    async fn every_command_twice_with_archives_in_the_middle_ends_in_the_models_state(store) {
        assert_eq!(run(&store, None).await, 0);
        assert!(store.archive().unwrap().runs().await.unwrap().iter().any(|run| run.moved > 0));
    }

    async fn twin_with_the_mark_alone_the_model_is_missed_in_spite_of_archives(store) {
        assert!(run(&store, Some(PlantedBug::MarkAlone)).await > 0);
    }
}

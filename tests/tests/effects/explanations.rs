//! Explanations of commands, as values and as text.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use message_store::consumer::{Consumer, DeadLetters, OnFailure};
use message_store::intents::Intent;
use message_store::operations::Transfer;
use message_store::{
    Category, Error, ExpectedVersion, Json, MessageId, MessageStore, MessageStoreExt as _, NewMessage, StreamName,
};
use message_store_tests::accounts::{Command, member, messages_of, send, sqlite};
use message_store_tests::on_both_stores;

async fn deposit(store: &Arc<dyn MessageStore>, id: &str, amount: u64, time: &str) -> MessageId {
    let command = Command::DepositOnce { deposit_id: id.into(), amount, time: time.into() };
    send(store, "account:command", "1", &command).await.id
}

on_both_stores! {
    async fn each_kind_of_command_is_explained(store) {
        let (first, again, other) =
            (deposit(&store, "d1", 7, "noon").await, deposit(&store, "d1", 7, "later").await, deposit(&store, "d1", 8, "noon").await);
        let (late, early) = (deposit(&store, "d2", 1, "noon").await, deposit(&store, "d3", 1, "noon").await);
        let decide = member(&store, None);
        for id in [first, again, other, early] {
            let _ = decide.carry_out(&store.message(id).await.unwrap().unwrap()).await.unwrap();
        }
        let fresh = deposit(&store, "d4", 1, "noon").await;
        for (id, said) in [
            (first, &["has the reservation of its intent, in accountTransaction-1+deposit+d1", "carried out: account-1/0"][..]),
            (again, &["duplicate of account:command-1/0", "\n  not carried out"]),
            (other, &["in conflict with account:command-1/0", "\n  not carried out"]),
            (early, &["carried out: account-1/1"]),
            (late, &["handled as a late one"]),
            (fresh, &["not carried out"]),
        ] {
            let explanation = decide.explain(id, None).await.unwrap().to_string();
            for said in said {
                assert!(explanation.contains(said), "{explanation} should say {said}");
                assert!(!(explanation.contains(" with ") || explanation.contains("duplicate")) || !explanation.contains("late"), "{explanation}");
            }
        }
        let intent = Intent::new("accountTransaction", ["deposit", "d1"]);
        let explanation = decide.explain_intent(&intent, "1").await.unwrap().unwrap();
        assert_eq!(explanation.command.id, first);
        assert!(decide.explain_intent(&Intent::new("accountTransaction", ["none"]), "1").await.unwrap().is_none());
        assert!(matches!(decide.explain(MessageId::new(), None).await, Err(Error::Invalid { .. })));
    }

    async fn the_explanation_of_an_undecodable_command_says_so_and_shows_its_letter(store) {
        let bad = NewMessage::new("Deposit", Json::parse(r#"{"amount":"many"}"#).unwrap());
        let id = bad.id;
        store.append_to(&StreamName::new("account:command-1").unwrap(), ExpectedVersion::Any, vec![bad]).await.unwrap();
        let mut consumer =
            Consumer::new("account:command", member(&store, None)).on_failure(OnFailure::Park).start(&store).await.unwrap();
        consumer.wait_for(store.message(id).await.unwrap().unwrap().global_position).await.unwrap();
        let _ = consumer.stop().await.unwrap();
        let letters = DeadLetters::of(&store, "account:command", None).unwrap();
        let explanation = member(&store, None).explain(id, Some(&letters)).await.unwrap().to_string();
        assert!(explanation.contains("amount") || explanation.contains("invalid type"), "{explanation}");
        assert!(explanation.contains("set aside"), "{explanation}");
    }

    async fn the_explanation_says_that_a_command_was_parked_or_moved(store) {
        // Without an entity id, the intent cannot be reserved.
        let bad = deposit(&store, "", 7, "noon").await;
        let mut consumer =
            Consumer::new("account:command", member(&store, None)).on_failure(OnFailure::Park).start(&store).await.unwrap();
        let last = messages_of(&store, "account:command").await.last().unwrap().global_position;
        consumer.wait_for(last).await.unwrap();
        let _ = consumer.stop().await.unwrap();
        let letters = DeadLetters::of(&store, "account:command", None).unwrap();
        let letter = letters.show(bad).await.unwrap().unwrap();
        assert!(letter.to_string().contains("3 attempts"), "{letter}");
        let explanation = member(&store, None).explain(bad, Some(&letters)).await.unwrap().to_string();
        assert!(explanation.contains("set aside") && explanation.contains("intent cannot be reserved"), "{explanation}");

        let good = deposit(&store, "d1", 7, "noon").await;
        let new = sqlite().await;
        Transfer::new(&store, &new).copy(&Category::new("account:command").unwrap(), |_| ()).await.unwrap();
        let explanation = member(&new, None).explain(good, None).await.unwrap().to_string();
        assert!(explanation.contains("moved from store") && explanation.contains("not carried out"), "{explanation}");
        let here = member(&store, None).explain(good, Some(&letters)).await.unwrap().to_string();
        assert!(!here.contains("moved") && !here.contains("set aside"), "{here}");
    }
}

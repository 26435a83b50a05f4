//! Commands of every form are carried out, once.

use message_store::consumer::{Consumer, DeadLetters, OnFailure};
use message_store::handling::{CommandHandler, Decider as _};
use message_store::intents::Reservation;
use message_store::{GlobalPosition, Json, NewMessage, OutcomeKind};
use message_store_tests::accounts::messages_of;
use message_store_tests::on_both_stores;

use super::releases::{Store, deposit, first, past_of_the_first_release, pay, second, send};

async fn balance(store: &Store) -> u64 {
    CommandHandler::<second::Wallet>::new(store).entities().fetch("1").await.unwrap().state.balance
}

on_both_stores! {
    async fn commands_that_the_earlier_release_has_carried_out_are_recognised(store) {
        let sent = past_of_the_first_release(&store).await;
        let handler = CommandHandler::<second::Wallet>::new(&store);
        let outcomes = [OutcomeKind::AlreadyProcessed, OutcomeKind::Unhandled, OutcomeKind::Ignored];
        for (command, outcome) in sent.iter().zip(outcomes) {
            assert_eq!(handler.carry_out(command).await.unwrap().kind(), outcome, "{}", command.message_type);
        }
        assert_eq!(messages_of(&store, "wallet").await.len(), 3);
    }

    async fn a_command_of_an_earlier_form_is_carried_out(store) {
        let command = send(&store, &pay(7), &[]).await;
        let handler = CommandHandler::<second::Wallet>::new(&store);
        assert_eq!(handler.carry_out(&command).await.unwrap().kind(), OutcomeKind::Handled);
        assert_eq!(handler.carry_out(&command).await.unwrap().kind(), OutcomeKind::AlreadyProcessed);
        assert_eq!(balance(&store).await, 7);
        let explained = handler.explain(command.id, None).await.unwrap().to_string();
        assert!(explained.starts_with("Pay ") && explained.contains("carried out: wallet-1/0"), "{explained}");
    }

    async fn a_command_that_is_dropped_is_executed_by_nobody(store) {
        let handler = CommandHandler::<second::Wallet>::new(&store);
        let ping = NewMessage::from_variant(&first::Command::Ping {}).unwrap();
        assert!(handler.execute("1", ping).await.is_err());
        let pay = NewMessage::from_variant(&pay(7)).unwrap();
        assert_eq!(handler.execute("1", pay).await.unwrap().events.len(), 1);
    }

    async fn a_repeat_of_an_intent_in_another_form_is_a_duplicate(store) {
        past_of_the_first_release(&store).await;
        let repeat = send(&store, &deposit(100), second::COMMAND_UPCASTERS).await;
        let handler = CommandHandler::<second::Wallet>::new(&store);
        assert_eq!(handler.carry_out(&repeat).await.unwrap().kind(), OutcomeKind::Duplicate);
        let other = second::Command::Deposit { pay_id: "p100".into(), amount: 100, currency: "EUR".into() };
        let other = send(&store, &other, second::COMMAND_UPCASTERS).await;
        assert_eq!(handler.carry_out(&other).await.unwrap().kind(), OutcomeKind::Conflict);
        assert_eq!(balance(&store).await, 147);
    }

    async fn twin_without_upcasters_a_repeat_in_another_form_is_a_conflict(store) {
        past_of_the_first_release(&store).await;
        let repeat = send(&store, &deposit(100), second::COMMAND_UPCASTERS).await;
        let intent = second::Wallet::intent(&deposit(100)).unwrap();
        let reservation = Reservation::new(&intent, "1", &repeat).unwrap();
        assert_eq!(reservation.clone().outcome(&store).await.unwrap().kind(), OutcomeKind::Conflict);
        let upcast = reservation.upcast_by(second::COMMAND_UPCASTERS);
        assert_eq!(upcast.outcome(&store).await.unwrap().kind(), OutcomeKind::Duplicate);
    }

    async fn a_reservation_of_a_later_form_is_compared_in_that_form(store) {
        let handler = CommandHandler::<second::Wallet>::new(&store);
        let deposited = send(&store, &deposit(7), second::COMMAND_UPCASTERS).await;
        assert_eq!(handler.carry_out(&deposited).await.unwrap().kind(), OutcomeKind::Handled);
        let reserved = messages_of(&store, "walletPayment").await;
        assert_eq!((reserved.len(), reserved[0].type_version()), (1, 2));
        for repeat in [send(&store, &pay(7), &[]).await, send(&store, &deposit(7), second::COMMAND_UPCASTERS).await] {
            assert_eq!(handler.carry_out(&repeat).await.unwrap().kind(), OutcomeKind::Duplicate);
        }
    }

    async fn a_letter_of_an_earlier_type_is_retried_in_the_later_release(store) {
        // The first release cannot read it.
        let bad = NewMessage::new("Pay", Json::parse(r#"{"pay_id":"p7","amount":"7"}"#).unwrap());
        let late = NewMessage::new("Deposit", Json::parse(r#"{"pay_id":"p8","amount":8,"currency":"CZK"}"#).unwrap())
            .versioned(second::COMMAND_UPCASTERS).unwrap();
        let stream = message_store::StreamName::new("wallet:command-1").unwrap();
        for message in [bad, late] {
            store.append(message_store::Append::to(stream.clone()).message(message).into()).await.unwrap();
        }
        let mut first_release = Consumer::new("wallet:command", Fails).on_failure(OnFailure::Park).start(&store).await.unwrap();
        first_release.wait_for(GlobalPosition::new(2)).await.unwrap();
        let _ = first_release.stop().await.unwrap();
        let letters = DeadLetters::of(&store, "wallet:command", None).unwrap();
        let parked = letters.list().await.unwrap();
        assert_eq!(parked.len(), 2);

        // An operator edits a message in the form that it has.
        let edited = NewMessage::new("Pay", Json::parse(r#"{"pay_id":"p7","amount":7}"#).unwrap());
        letters.retry_edited(&parked[0], edited).await.unwrap().unwrap();
        let as_it_was = NewMessage::new("Deposit", Json::parse(r#"{"pay_id":"p8","amount":9,"currency":"EUR"}"#).unwrap());
        let last = letters.retry_edited(&parked[1], as_it_was).await.unwrap().unwrap();
        let handler = CommandHandler::<second::Wallet>::new(&store);
        let mut second_release = Consumer::new("wallet:command", handler).start(&store).await.unwrap();
        second_release.wait_for(last.global_position).await.unwrap();
        let _ = second_release.stop().await.unwrap();
        assert_eq!(balance(&store).await, 16);
        let events = messages_of(&store, "wallet").await;
        assert!(events.iter().any(|event| event.data.text().contains("EUR")), "the version was kept");
    }

    async fn a_parked_message_of_an_earlier_type_is_delivered_again(store) {
        let command = send(&store, &pay(7), &[]).await;
        let mut fails = Consumer::new("wallet:command", Fails).on_failure(OnFailure::Park).start(&store).await.unwrap();
        fails.wait_for(command.global_position).await.unwrap();
        let _ = fails.stop().await.unwrap();
        let letters = DeadLetters::of(&store, "wallet:command", None).unwrap();
        let letter = letters.show(command.id).await.unwrap().unwrap();
        assert_eq!(letter.message_type, "Pay");
        assert!(letters.retry(&letter).await.unwrap());
        let handler = CommandHandler::<second::Wallet>::new(&store);
        let running = Consumer::new("wallet:command", handler).on_failure(OnFailure::Park).start(&store).await.unwrap();
        while !letters.list().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let _ = running.stop().await.unwrap();
        assert_eq!(balance(&store).await, 7);
    }
}

struct Fails;

#[async_trait::async_trait]
impl message_store::handling::Handler for Fails {
    fn name(&self) -> &'static str {
        "wallet"
    }
    fn message_types(&self) -> Vec<&'static str> {
        vec![]
    }
    async fn handle(
        &self,
        _: &message_store::Message,
        _: &message_store::handling::Context<'_>,
    ) -> Result<message_store::Outcome, message_store::Source> {
        Err("a bad message".into())
    }
}

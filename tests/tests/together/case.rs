//! A whole case is read back by its correlation.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use message_store::entity::Projection;
use message_store::handling::{CommandHandler, Decider, DelayBuffer, Keep, ProcessHandler, ProcessManager, Reaction};
use message_store::store::Due;
use message_store::testing::fire_timers;
use message_store::*;
use message_store_tests::accounts::{messages_of, put};
use message_store_tests::on_both_stores;
use serde::{Deserialize, Serialize};

use super::archive;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Received {
    Order {},
    PaymentDue {},
    Reserved {},
}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    Ordered {},
    Reminded {},
    Confirmed {},
}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum StockCommand {
    Reserve {},
}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum StockEvent {
    Reserved {},
}
#[derive(Clone, Default)]
struct Stock;
impl Projection for Stock {
    const CATEGORY: &'static str = "stock";
    type Event = StockEvent;
    fn apply(&mut self, _: &StockEvent) {}
}
impl Decider for Stock {
    type Command = StockCommand;
    fn decide(&self, _: &StockCommand) -> Vec<StockEvent> {
        vec![StockEvent::Reserved {}]
    }
}
#[derive(Clone, Default)]
struct Order;
impl Projection for Order {
    const CATEGORY: &'static str = "order";
    type Event = Event;
    fn apply(&mut self, _: &Event) {}
}
impl ProcessManager for Order {
    type Message = Received;
    fn process_id(message: &Message, received: &Received) -> Option<String> {
        match received {
            Received::Reserved {} => message.correlation_id("order"),
            _ => message.stream.cardinal_id().map(str::to_owned),
        }
    }
    fn react(&self, received: &Received) -> Reaction<Event> {
        match received {
            Received::Order {} => Reaction::event(Event::Ordered {})
                .send("stock:command", "9", &StockCommand::Reserve {})
                .timer("payment", Due::After(Duration::ZERO), "order:command", "1", &Received::PaymentDue {}),
            Received::PaymentDue {} => Reaction::event(Event::Reminded {}),
            Received::Reserved {} => Reaction::event(Event::Confirmed {}),
        }
    }
}

on_both_stores! {
    async fn a_correlation_under_a_key_with_escapes_belongs_to_the_case(store) {
        put(&store, "stock-9", "T", "{}", r#"{"correlationStream\u004eame":"order-1"}"#).await;
        let stream = StreamName::new("order-1").unwrap();
        let case: Vec<Message> = store.correlated_messages(&stream, Read::default()).try_collect().await.unwrap();
        assert_eq!(case.len(), 1);
        assert_eq!(case[0].correlation_id("order").as_deref(), Some("1"));
    }

    async fn a_case_is_complete_through_timers_deciders_delays_and_the_archive(store) {
        let order = put(&store, "order:command-1", "Order", "{}", r#"{"traceparent":"00-t","properties":{"tenant":"north"}}"#).await;
        let orders = ProcessHandler::<Order>::new(&store);
        let _ = orders.react(&order).await.unwrap();
        // Noise of another case.
        put(&store, "stock-9", "Reserved", "{}", r#"{"correlationStreamName":"order-10"}"#).await;
        put(&store, "stock-9", "Reserved", "{}", r#"{"correlationStreamName":["order-1"]}"#).await;
        put(&store, "stock-9", "Reserved", "{}", r#"{"properties":{"correlationStreamName":"order-1"}}"#).await;
        let reserve = messages_of(&store, "stock:command").await.remove(0);
        let _ = CommandHandler::<Stock>::new(&store).carry_out(&reserve).await.unwrap();
        let reserved = messages_of(&store, "stock").await.pop().unwrap();
        let _ = ProcessHandler::<Order>::new(&store).react(&reserved).await.unwrap();
        assert_eq!(fire_timers(&*store).await, 1);
        let due = messages_of(&store, "order:command").await.pop().unwrap();
        let _ = ProcessHandler::<Order>::new(&store).react(&due).await.unwrap();
        let reminded = messages_of(&store, "order").await.pop().unwrap();
        let buffer = DelayBuffer::new(&store, "mail", Duration::ZERO, Keep::First).unwrap();
        let mail = NewMessage::new("SendMail", Json::NULL).with_metadata(&Metadata::follow(&reminded)).unwrap();
        let _ = buffer.put(&Key::new("k").unwrap(), &StreamName::new("mail:command-1").unwrap(), &mail).await.unwrap();
        assert_eq!(fire_timers(&*store).await, 1);
        for category in ["order", "stock", "order:command"] {
            archive(&store, category).await;
        }
        let stream = StreamName::new("order-1").unwrap();
        for limit in [1, 2, 1000] {
            let case: Vec<Message> = store.correlated_messages(&stream, Read::default().limit(limit)).try_collect().await.unwrap();
            let types: Vec<_> = case.iter().map(|message| message.message_type.as_str()).collect();
            assert_eq!(types, ["Ordered", "Reserve", "Reserved", "Confirmed", "PaymentDue", "Reminded", "SendMail"]);
            for message in &case {
                let metadata = message.decode_metadata();
                assert_eq!(metadata.traceparent.as_deref(), Some("00-t"), "{}", message.reference());
                assert!(metadata.properties.contains_key("tenant"), "{}", message.reference());
            }
        }
    }
}

//! Two releases of one component, the wallet. The second has renamed, extended, split and dropped messages of the first.

/// The first release.
pub(super) mod first {
    use message_store::entity::Projection;
    use message_store::handling::Decider;
    use message_store::intents::Intent;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(in super::super) enum Command {
        Pay { pay_id: String, amount: u64 },
        Move { amount: u64, fee: u64 },
        Ping {},
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(in super::super) enum Event {
        Paid { amount: u64 },
        Moved { amount: u64, fee: u64 },
        Pinged {},
    }

    #[derive(Clone, Debug, Default, PartialEq)]
    pub(in super::super) struct Wallet {
        pub balance: u64,
    }

    impl Projection for Wallet {
        const CATEGORY: &'static str = "wallet";
        type Event = Event;
        fn apply(&mut self, event: &Event) {
            match event {
                Event::Paid { amount } => self.balance += amount,
                Event::Moved { amount, fee } => self.balance += amount - fee,
                Event::Pinged {} => {}
            }
        }
    }

    impl Decider for Wallet {
        type Command = Command;
        fn decide(&self, command: &Command) -> Vec<Event> {
            vec![match command {
                Command::Pay { amount, .. } => Event::Paid { amount: *amount },
                Command::Move { amount, fee } => Event::Moved { amount: *amount, fee: *fee },
                Command::Ping {} => Event::Pinged {},
            }]
        }
        fn intent(command: &Command) -> Option<Intent> {
            match command {
                Command::Pay { pay_id, .. } => Some(Intent::new("walletPayment", [pay_id])),
                _ => None,
            }
        }
    }
}

/// The second release.
pub(super) mod second {
    use message_store::Upcaster;
    use message_store::entity::Projection;
    use message_store::handling::Decider;
    use message_store::intents::Intent;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(in super::super) enum Command {
        Deposit { pay_id: String, amount: u64, currency: String },
        Freeze {},
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(in super::super) enum Event {
        Deposited { amount: u64, currency: String },
        Charged { amount: u64 },
        Frozen {},
    }

    pub(in super::super) const COMMAND_UPCASTERS: &[Upcaster] = &[
        Upcaster::rename(("Pay", 1), ("Deposit", 1)),
        Upcaster::upcast(("Deposit", 1), |fields| fields.add("currency", "CZK")),
        Upcaster::drop(("Ping", 1)),
    ];

    pub(in super::super) const UPCASTERS: &[Upcaster] = &[
        Upcaster::rename(("Paid", 1), ("Deposited", 1)),
        Upcaster::upcast(("Deposited", 1), |fields| fields.add("currency", "CZK")),
        Upcaster::split(("Moved", 1), &[("Deposited", 1), ("Charged", 1)], |mut moved| {
            let mut charged = message_store::Fields::default();
            charged.set("amount", &moved.get::<u64>("fee")?.unwrap_or(0))?;
            moved.remove("fee");
            Ok(vec![("Deposited", moved), ("Charged", charged)])
        }),
        Upcaster::drop(("Pinged", 1)),
    ];

    #[derive(Clone, Debug, Default, PartialEq)]
    pub(in super::super) struct Wallet {
        pub balance: u64,
        pub is_frozen: bool,
        pub events: u64,
    }

    impl Projection for Wallet {
        const CATEGORY: &'static str = "wallet";
        type Event = Event;
        const UPCASTERS: &'static [Upcaster] = UPCASTERS;
        fn apply(&mut self, event: &Event) {
            self.events += 1;
            match event {
                Event::Deposited { amount, .. } => self.balance += amount,
                Event::Charged { amount } => self.balance -= amount,
                Event::Frozen {} => self.is_frozen = true,
            }
        }
    }

    impl Decider for Wallet {
        type Command = Command;
        const COMMAND_UPCASTERS: &'static [Upcaster] = COMMAND_UPCASTERS;
        fn decide(&self, command: &Command) -> Vec<Event> {
            match command {
                Command::Deposit { .. } if self.is_frozen => vec![],
                Command::Deposit { amount, currency, .. } => {
                    vec![Event::Deposited { amount: *amount, currency: currency.clone() }]
                }
                Command::Freeze {} => vec![Event::Frozen {}],
            }
        }
        fn intent(command: &Command) -> Option<Intent> {
            match command {
                Command::Deposit { pay_id, .. } => Some(Intent::new("walletPayment", [pay_id])),
                Command::Freeze {} => None,
            }
        }
    }
}

use std::sync::Arc;

use message_store::{Append, Message, MessageStore, NewMessage, StreamName, Upcaster};
use serde::Serialize;

pub(super) type Store = Arc<dyn MessageStore>;

/// Sends a command to the wallet 1, in the form of the release with these upcasters. Returns it as it was read.
pub(super) async fn send(store: &Store, command: &impl Serialize, upcasters: &[Upcaster]) -> Message {
    let command = NewMessage::from_variant(command).unwrap().versioned(upcasters).unwrap();
    let id = command.id;
    store.append(Append::to(StreamName::new("wallet:command-1").unwrap()).message(command).into()).await.unwrap();
    store.message(id).await.unwrap().unwrap()
}

pub(super) fn pay(amount: u64) -> first::Command {
    first::Command::Pay { pay_id: format!("p{amount}"), amount }
}

pub(super) fn deposit(amount: u64) -> second::Command {
    second::Command::Deposit { pay_id: format!("p{amount}"), amount, currency: "CZK".into() }
}

/// The first release has handled a payment, a move and a ping.
pub(super) async fn past_of_the_first_release(store: &Store) -> Vec<Message> {
    let handler = message_store::handling::CommandHandler::<first::Wallet>::new(store);
    let mut sent = Vec::new();
    for command in [pay(100), first::Command::Move { amount: 50, fee: 3 }, first::Command::Ping {}] {
        let command = send(store, &command, &[]).await;
        assert_eq!(handler.carry_out(&command).await.unwrap().kind(), message_store::OutcomeKind::Handled);
        sent.push(command);
    }
    sent
}

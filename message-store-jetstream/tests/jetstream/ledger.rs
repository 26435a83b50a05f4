//! The commands of a ledger, with the balances that they must give, and a check of what was written.

use std::collections::BTreeMap;

use account_component::{Command, Money};
use futures_util::TryStreamExt as _;
use message_store::{
    Category, GlobalPosition, MessageId, MessageStore, MessageStoreExt as _, Place, Position, Read, StreamName,
    Timestamp,
};
use message_store_tests::random::Random;

/// Each has accounts of its own.
pub(crate) const WRITERS: usize = 8;
const ACCOUNTS: usize = 60;

/// A command, and whether it is sent a second time, as another message of the same intent.
pub(crate) struct Planned {
    pub(crate) command: Command,
    pub(crate) is_repeated: bool,
}

/// The commands of each writer, in order; an account has one writer. The expected balances.
pub(crate) fn plan(random: &mut Random, count: usize) -> (Vec<Vec<Planned>>, BTreeMap<String, Money>) {
    let mut writers: Vec<Vec<Planned>> = (0..WRITERS).map(|_| Vec::new()).collect();
    let mut balances = BTreeMap::new();
    let time = Timestamp::UNIX_EPOCH;
    for number in 0..ACCOUNTS {
        let account_id = format!("a{number}");
        balances.insert(account_id.clone(), Money::ZERO);
        let command = Command::Open { account_id, customer_id: "c".to_owned(), time };
        writers[number % WRITERS].push(Planned { command, is_repeated: number % 3 == 0 });
    }
    for number in 0..count {
        let account = random.below(ACCOUNTS);
        let (account_id, id) = (format!("a{account}"), format!("i{number}"));
        let amount = Money::from_hundredths(1 + i64::try_from(random.below(10_000)).unwrap());
        let balance = balances.get_mut(&account_id).unwrap();
        let command = if random.below(5) < 3 {
            *balance += amount;
            Command::Deposit { deposit_id: id, account_id, amount, time, expected_version: None }
        } else {
            if *balance >= amount {
                *balance -= amount;
            }
            Command::Withdraw { withdrawal_id: id, account_id, amount, time, expected_version: None }
        };
        writers[account % WRITERS].push(Planned { command, is_repeated: random.below(5) == 0 });
    }
    (writers, balances)
}

/// What is wrong with the messages of a category.
pub(crate) async fn faults_in(
    store: &dyn MessageStore,
    category: &Category,
) -> (Vec<String>, BTreeMap<MessageId, (StreamName, Place)>) {
    let mut wrong = Vec::new();
    let (mut found, mut next) = (BTreeMap::new(), BTreeMap::new());
    let mut last = GlobalPosition::ZERO;
    let messages: Vec<_> = store.category_messages(category, Read::default()).try_collect().await.unwrap();
    for message in messages {
        let place = Place { position: message.position, global_position: message.global_position };
        if message.global_position <= last {
            wrong.push(format!("{:?} stands behind {last:?}", message.reference()));
        }
        last = message.global_position;
        let expected = next.entry(message.stream.clone()).or_insert(Position::FIRST);
        if message.position != *expected {
            wrong.push(format!("{:?}: the position {expected:?} is missing", message.reference()));
        }
        *expected = message.position.next();
        if found.insert(message.id, (message.stream.clone(), place)).is_some() {
            wrong.push(format!("{:?} is there twice", message.reference()));
        }
    }
    (wrong, found)
}

//! The plan: the messages to send, their order and their ids.
//!
//! The plan, including the ids, is a function of the file and the arguments. So a sender that was killed and starts
//! again sends the same messages, and the store recognises those that it has.

use std::collections::{BTreeMap, BTreeSet};

use account_component::component::command_stream;
use account_component::{Command, Money};
use anyhow::Result;
use jiff::ToSpan as _;
use message_store::{MessageId, NewMessage, StreamName, derived_id};
use uuid::Uuid;

use super::transactions::{Kind, Transaction};

/// The greatest number of transactions between an original and its repeat.
const FARTHEST: u64 = 50;

/// All messages, in the order in which they are sent.
pub(super) struct Plan {
    messages: Vec<(StreamName, NewMessage)>,
    pub(super) transactions: usize,
    pub(super) accounts: usize,
    pub(super) duplicates: usize,
    pub(super) conflicts: usize,
}

/// The role of a message in its transaction. The message's id is derived from its number.
#[derive(Clone, Copy)]
enum Part {
    Open,
    Original,
    Duplicate,
    Conflict,
}

impl Plan {
    /// Plans these transactions. `duplicates` and `conflicts` are shares in per cent.
    pub(super) fn new(transactions: &[Transaction], seed: u64, duplicates: f64, conflicts: f64) -> Result<Self> {
        let mut plan =
            Self { messages: Vec::new(), transactions: transactions.len(), accounts: 0, duplicates: 0, conflicts: 0 };
        let mut opened = BTreeSet::new();
        // Repeats, by the transaction after which they are sent.
        let mut pending: BTreeMap<u64, Vec<(usize, Part)>> = BTreeMap::new();
        for (row, transaction) in transactions.iter().enumerate() {
            let number = row as u64;
            if opened.insert(transaction.account_id) {
                plan.add(row, transaction, Part::Open)?;
                plan.accounts += 1;
            }
            plan.add(row, transaction, Part::Original)?;
            if is_chosen(seed, number, 1, duplicates) {
                pending.entry(number + random(seed, number, 2) % FARTHEST).or_default().push((row, Part::Duplicate));
                plan.duplicates += 1;
            }
            if is_chosen(seed, number, 3, conflicts) {
                pending.entry(number + random(seed, number, 4) % FARTHEST).or_default().push((row, Part::Conflict));
                plan.conflicts += 1;
            }
            for (row, part) in pending.remove(&number).unwrap_or_default() {
                plan.add(row, &transactions[row], part)?;
            }
        }
        for (row, part) in pending.into_values().flatten() {
            plan.add(row, &transactions[row], part)?;
        }
        Ok(plan)
    }

    /// The number of messages, repeats included.
    pub(super) fn messages(&self) -> usize {
        self.messages.len()
    }

    /// The messages in parts of `of`; the last part may be smaller.
    pub(super) fn parts(&self, of: usize) -> impl Iterator<Item = &[(StreamName, NewMessage)]> {
        self.messages.chunks(of)
    }

    fn add(&mut self, row: usize, transaction: &Transaction, part: Part) -> Result<()> {
        let command = command(transaction, part)?;
        let stream = command_stream(command.account_id())?;
        // The time increases with the row, so that ids that are written together are adjacent in the index.
        let row = MessageId::from_uuid(Uuid::from_u64_pair((row as u64) << 16, 0));
        let identity = StreamName::new(format!("replay-{}+{}", transaction.account_id, transaction.id))?;
        let id = derived_id(row, "replay", "", &identity, part as usize);
        self.messages.push((stream, NewMessage::from_variant(&command)?.with_id(id)));
        Ok(())
    }
}

fn command(transaction: &Transaction, part: Part) -> Result<Command> {
    let account_id = transaction.account_id.to_string();
    let mut time = transaction.time;
    let mut amount = transaction.amount;
    match part {
        Part::Open => {
            let customer_id = format!("customer-{account_id}");
            return Ok(Command::Open { account_id, customer_id, time });
        }
        Part::Original => {}
        // A sender that sends again gives another time.
        Part::Duplicate => time = time.checked_add(1.minute())?,
        Part::Conflict => amount += Money::from_hundredths(100),
    }
    Ok(match transaction.kind {
        Kind::Deposit => {
            Command::Deposit { deposit_id: transaction.id.clone(), account_id, amount, time, expected_version: None }
        }
        Kind::Withdrawal => Command::Withdraw {
            withdrawal_id: transaction.id.clone(),
            account_id,
            amount,
            time,
            expected_version: None,
        },
    })
}

/// A pseudo-random number computed from its arguments (`SplitMix64`).
pub(super) fn random(seed: u64, number: u64, purpose: u64) -> u64 {
    let mut z = seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ purpose.wrapping_mul(0xD1B5_4A32_D192_ED03);
    z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Whether this number belongs to `share`, which is in per cent.
#[allow(clippy::cast_precision_loss)]
pub(super) fn is_chosen(seed: u64, number: u64, purpose: u64, share: f64) -> bool {
    // A float represents 53 bits exactly.
    (random(seed, number, purpose) >> 11) as f64 / (1_u64 << 53) as f64 * 100.0 < share
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn transactions(count: u64) -> Vec<Transaction> {
        (0..count)
            .map(|number| Transaction {
                id: number.to_string(),
                account_id: number % 7,
                time: jiff::Timestamp::UNIX_EPOCH,
                kind: if number % 2 == 0 { Kind::Deposit } else { Kind::Withdrawal },
                amount: Money::from_hundredths(700),
            })
            .collect()
    }

    #[test]
    fn a_plan_made_again_is_the_same_and_no_id_comes_twice() {
        let transactions = transactions(500);
        let (first, again) = [(); 2].map(|()| Plan::new(&transactions, 7, 20.0, 20.0).unwrap()).into();
        assert_eq!(first.messages, again.messages);
        assert_ne!(first.messages, Plan::new(&transactions, 8, 20.0, 20.0).unwrap().messages);
        let ids: BTreeSet<_> = first.messages.iter().map(|(_, message)| message.id).collect();
        assert_eq!(ids.len(), first.messages.len());
        assert_eq!(first.messages.len(), 500 + first.accounts + first.duplicates + first.conflicts);
        assert_eq!(first.accounts, 7);
        assert!((60..140).contains(&first.duplicates), "{} duplicates", first.duplicates);
    }

    #[test]
    fn an_account_is_opened_first_and_an_original_comes_before_its_repeats() {
        let plan = Plan::new(&transactions(500), 7, 50.0, 50.0).unwrap();
        let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (stream, message) in &plan.messages {
            let data: BTreeMap<String, serde_json::Value> = message.data.decode().unwrap();
            let id = data.get("depositId").or(data.get("withdrawalId")).map(ToString::to_string);
            let amount = data.get("amount").map(ToString::to_string).unwrap_or_default();
            let of_stream = seen.entry(stream.to_string()).or_default();
            match id {
                None => assert!(of_stream.is_empty(), "opened after its first transaction"),
                Some(id) if amount == "8.0" => assert!(of_stream.contains(&id), "a conflict before its original"),
                Some(id) => of_stream.push(id),
            }
        }
    }
}

//! The requests, and what they must lead to by their answers.

use std::collections::BTreeMap;

use account_component::Money;
use message_store_tests::random::Random;

use crate::client::{Answered, Request};

/// The number of accounts.
pub(crate) const ACCOUNTS: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Deposit,
    Withdrawal,
    Transfer { to: usize },
}

/// What a client wants.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) id: String,
    what: What,
    account: usize,
    hundredths: i64,
    /// The id is the key, and not a part of the path.
    has_key: bool,
}

/// What can be read.
#[derive(Clone, Debug)]
pub(crate) enum Path {
    Account(usize),
    Transfer(String),
}

impl Path {
    pub(crate) fn get(&self) -> Request {
        let path = match self {
            Self::Account(account) => format!("/accounts/{account}"),
            Self::Transfer(transfer) => format!("/transfers/{transfer}"),
        };
        Request { line: format!("GET {path}"), headers: String::new(), body: String::new() }
    }

    pub(crate) fn wait(&self) -> Request {
        Request { headers: "prefer: wait=20\r\n".to_owned(), ..self.get() }
    }
}

pub(crate) fn opening(account: usize) -> Request {
    let body = r#"{"customerId":"c"}"#.to_owned();
    Request { line: format!("PUT /accounts/{account}"), headers: String::new(), body }
}

impl Intent {
    pub(crate) fn new(id: String, random: &mut Random) -> Self {
        let account = random.below(ACCOUNTS);
        let what = match random.below(10) {
            0 => What::Transfer { to: (account + 1 + random.below(ACCOUNTS - 1)) % ACCOUNTS },
            1..4 => What::Withdrawal,
            _ => What::Deposit,
        };
        let hundredths = i64::try_from(1 + random.below(500)).unwrap();
        Self { id, what, account, hundredths, has_key: random.below(2) == 0 }
    }

    fn amount(&self) -> Money {
        Money::from_hundredths(self.hundredths)
    }

    pub(crate) fn request(&self) -> Request {
        let Self { id, account, .. } = self;
        let amount = self.amount();
        let (path, body) = match self.what {
            What::Deposit => (format!("/accounts/{account}/deposits"), format!(r#"{{"amount":{amount}}}"#)),
            What::Withdrawal => (format!("/accounts/{account}/withdrawals"), format!(r#"{{"amount":{amount}}}"#)),
            What::Transfer { to } => {
                ("/transfers".to_owned(), format!(r#"{{"from":"{account}","to":"{to}","amount":{amount}}}"#))
            }
        };
        if self.has_key {
            let headers = format!("idempotency-key: {id}\r\nprefer: wait=10\r\n");
            Request { line: format!("POST {path}"), headers, body }
        } else {
            Request { line: format!("PUT {path}/{id}"), headers: String::new(), body }
        }
    }

    /// Whether the second answer is that of a repeat.
    pub(crate) fn is_same(&self, first: &Answered, second: &Answered) -> bool {
        let facts = |answered: &Answered| {
            let fields = ["what", "amount", "type", "from", "to"].map(|field| answered.body[field].clone());
            // A transfer goes on meanwhile.
            (if answered.status == 202 { 200 } else { answered.status }, fields)
        };
        // By the key, it is the answer that was kept, to the letter.
        facts(first) == facts(second) && (!self.has_key || first.body == second.body)
    }
}

/// What the answers have said.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) balances: BTreeMap<usize, Money>,
    pub(crate) transfers: Vec<Intent>,
    /// The number of deposits and withdrawals.
    pub(crate) movements: usize,
}

impl Model {
    pub(crate) fn apply(&mut self, intent: &Intent, answered: &Answered) {
        let balance = self.balances.entry(intent.account).or_default();
        match (intent.what, answered.status, answered.kind()) {
            (What::Deposit, 201, None) => *balance += intent.amount(),
            (What::Withdrawal, 201, None) => *balance -= intent.amount(),
            (What::Withdrawal, 409, Some("/problems/insufficient-funds")) => {}
            (What::Transfer { .. }, 200 | 202, None) => return self.transfers.push(intent.clone()),
            _ => panic!("{intent:?} was answered {answered:?}"),
        }
        self.movements += 1;
    }

    /// A transfer has ended.
    pub(crate) fn end(&mut self, transfer: &Intent, stage: &str) {
        let What::Transfer { to } = transfer.what else { return };
        match stage {
            "transferred" => {
                *self.balances.entry(transfer.account).or_default() -= transfer.amount();
                *self.balances.entry(to).or_default() += transfer.amount();
            }
            "cancelled" => {}
            _ => panic!("{transfer:?} has ended as {stage}"),
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (account, balance) in other.balances {
            *self.balances.entry(account).or_default() += balance;
        }
        self.transfers.extend(other.transfers);
        self.movements += other.movements;
    }
}

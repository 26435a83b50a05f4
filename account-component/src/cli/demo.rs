//! The demo sends a few commands and each kind of repeat, and shows which layer catches the repeat.

use std::sync::Arc;

use account_component::component::command_stream;
use account_component::read_models::Balances;
use account_component::{Account, Command, Event, Money};
use anyhow::{Context as _, Result, ensure};
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use message_store::entity::EntityStore;
use message_store::handling::CommandHandler;
use message_store::store::ReadModel;
use message_store::{
    Category, ExpectedVersion, Message, MessageRef, MessageStore, MessageStoreExt as _, NewMessage, Outcome, StreamRead,
};

/// The account, where the demo has a store of its own.
const ACCOUNT: &str = "123";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The store, in which the demo opens an account of its own. Default: an embedded store in a temporary file
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let folder = tempfile::tempdir().context("making a temporary folder")?;
    let (url, account) = match arguments.store {
        Some(url) => (url, format!("demo{}", uuid::Uuid::now_v7().simple())),
        None => (format!("sqlite:{}", folder.path().join("account.db").display()), ACCOUNT.to_owned()),
    };
    let mut demo = Demo::new(super::connect(&url).await?, account);
    demo.play().await?;
    demo.print().await
}

/// The component under demonstration, and the rows of its table.
struct Demo {
    store: Arc<dyn MessageStore>,
    account: String,
    component: CommandHandler<Account>,
    table: Table,
    sent: usize,
    effects: usize,
    caught: usize,
}

impl Demo {
    fn new(store: Arc<dyn MessageStore>, account: String) -> Self {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["", "what is sent", "what takes effect", "what is caught, and by which layer"]);
        Self { component: CommandHandler::new(&store), store, account, table, sent: 0, effects: 0, caught: 0 }
    }

    async fn play(&mut self) -> Result<()> {
        let open = self.write(self.open_command()?).await?;
        self.deliver("Open the account", &open).await?;

        let first = self.write(self.deposit_command("d1", "10.00", 1)?).await?;
        self.deliver("Deposit 10.00, deposit id d1", &first).await?;
        self.deliver("  the same message, delivered again", &first).await?;
        let same_intent = self.write(self.deposit_command("d1", "10.00", 2)?).await?;
        self.deliver("  another message, same deposit id", &same_intent).await?;
        let other_amount = self.write(self.deposit_command("d1", "99.00", 3)?).await?;
        self.deliver("  another message with d1, but 99.00", &other_amount).await?;
        self.append_again("  the first message, written again", &first).await?;

        let lagging = self.write(self.deposit_command("d2", "5.00", 4)?).await?;
        let overtaking = self.write(self.deposit_command("d3", "7.00", 5)?).await?;
        self.deliver("Deposit 7.00, d3, which overtakes d2", &overtaking).await?;
        self.deliver("Deposit 5.00, d2, late: below the mark", &lagging).await?;
        self.deliver("  d2, delivered again", &lagging).await?;

        let too_much = self.write(self.withdraw_command("w1", "1000.00", 6)?).await?;
        self.deliver("Withdraw 1000.00, w1", &too_much).await?;
        let rich = self.write(self.deposit_command("d4", "2000.00", 7)?).await?;
        self.deliver("Deposit 2000.00, d4", &rich).await?;
        self.deliver("  w1, delivered again: there is money now", &too_much).await?;
        let covered = self.write(self.withdraw_command("w2", "22.00", 8)?).await?;
        self.deliver("Withdraw 22.00, w2", &covered).await
    }

    /// Writes a command, as a sender does.
    async fn write(&self, command: Command) -> Result<Message> {
        let message = NewMessage::from_variant(&command)?;
        let id = message.id;
        self.store.append_to(&command_stream(&self.account)?, ExpectedVersion::Any, vec![message]).await?;
        self.store.message(id).await?.context("the command that was just written is not there")
    }

    /// Delivers a message to the component.
    async fn deliver(&mut self, what: &str, message: &Message) -> Result<()> {
        let outcome = self.component.carry_out(message).await?;
        let effect = match &outcome {
            Outcome::Handled { events, .. } => self.last_event(*events).await?,
            _ => String::new(),
        };
        let caught = match &outcome {
            Outcome::Handled { late: true, .. } => "nothing: late is not lost".to_owned(),
            Outcome::Handled { .. } => String::new(),
            Outcome::AlreadyProcessed { original } => {
                format!("sequence: its event is {}", place(original))
            }
            Outcome::Duplicate { original } => {
                format!("reservation: same as {}", place(original))
            }
            Outcome::Conflict { original } => {
                format!("reservation: in conflict with {}", place(original))
            }
            other => other.to_string(),
        };
        self.row(what, &effect, &caught, !matches!(outcome, Outcome::Handled { .. }));
        Ok(())
    }

    /// Appends the same message again, as a sender does after a lost answer.
    async fn append_again(&mut self, what: &str, message: &Message) -> Result<()> {
        let again = NewMessage::again(message);
        let appended = self.store.append_to(&message.stream, ExpectedVersion::Any, vec![again]).await?;
        ensure!(appended.already_written, "the store wrote a message twice");
        let position = appended.written.first().context("an append without an answer")?.position;
        let caught = format!("message id: it is {}/{position}", message.stream);
        self.row(what, "", &caught, true);
        Ok(())
    }

    fn row(&mut self, what: &str, effect: &str, caught: &str, is_repeat: bool) {
        self.sent += 1;
        self.effects += usize::from(!is_repeat);
        self.caught += usize::from(is_repeat);
        self.table.add_row([&self.sent.to_string(), what, effect, caught]);
    }

    /// The text of the last events of the account.
    async fn last_event(&self, events: usize) -> Result<String> {
        let stream = self.component.entities().stream(&self.account)?;
        let messages = self.store.read_stream(&stream, StreamRead::backwards().limit(events)).await?;
        let mut texts = Vec::new();
        for message in messages.iter().rev() {
            texts.push(match message.decode_variant()? {
                Some(Event::Deposited { amount, .. }) => format!("Deposited {amount}"),
                Some(Event::Withdrawn { amount, .. }) => format!("Withdrawn {amount}"),
                Some(Event::WithdrawalRejected { amount, .. }) => format!("WithdrawalRejected {amount}"),
                _ => message.message_type.clone(),
            });
        }
        Ok(texts.join(", "))
    }

    async fn print(&self) -> Result<()> {
        let (sent, effects, caught) = (self.sent, self.effects, self.caught);
        let account = EntityStore::<Account>::new(&self.store).fetch(&self.account).await?;
        let events = account.version.next();
        println!("{}", self.table);
        println!("sent {sent}, took effect {effects}, caught {caught}");
        println!(
            "final balance {}, from {events} events: 10.00 + 7.00 + 5.00 + 2000.00 - 22.00",
            account.state.balance
        );
        match self.store.read_models() {
            Some(read_models) => {
                let balances: Arc<dyn ReadModel> = Arc::new(Balances::default());
                let applied = read_models.update(&balances, &Category::new("account")?).await?;
                let shown = Balances::balance(&self.store, &self.account).await?;
                println!("the read model of balances, a table that is kept from {applied} events, shows {shown}");
                ensure!(shown == account.state.balance, "the read model should show the balance");
            }
            None => println!("there is no read model of balances, because this store keeps none"),
        }
        ensure!(account.state.balance == "2000.00".parse::<Money>()?, "the balance should be 2000.00");
        ensure!(usize::try_from(events.get())? == effects, "each effect should be one event");
        Ok(())
    }

    fn open_command(&self) -> Result<Command> {
        Ok(Command::Open { account_id: self.account.clone(), customer_id: "c1".into(), time: at(0)? })
    }

    fn deposit_command(&self, deposit_id: &str, amount: &str, second: i64) -> Result<Command> {
        let (deposit_id, account_id) = (deposit_id.into(), self.account.clone());
        Ok(Command::Deposit {
            deposit_id,
            account_id,
            amount: amount.parse()?,
            time: at(second)?,
            expected_version: None,
        })
    }

    fn withdraw_command(&self, withdrawal_id: &str, amount: &str, second: i64) -> Result<Command> {
        let (withdrawal_id, account_id) = (withdrawal_id.into(), self.account.clone());
        Ok(Command::Withdraw {
            withdrawal_id,
            account_id,
            amount: amount.parse()?,
            time: at(second)?,
            expected_version: None,
        })
    }
}

fn place(message: &MessageRef) -> String {
    format!("{}/{}", message.stream, message.position)
}

/// The time in a sender's message. Each message has another one.
fn at(second: i64) -> Result<Timestamp> {
    Ok(Timestamp::from_second(1_767_225_600 + second)?)
}

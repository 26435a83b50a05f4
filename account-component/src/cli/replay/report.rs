//! The results: progress, the summary, the balances.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use account_component::{Money, Statement};
use anyhow::{Context as _, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use message_store::consumer::OutcomeCounts;
use message_store::entity::EntityStore;
use message_store::{MessageStore, OutcomeKind};

use super::courier::Redelivered;
use super::plan::Plan;
use super::transactions::Transaction;

/// Prints the progress of sending and handling to standard error, if that is a terminal.
pub(super) struct Progress {
    bars: MultiProgress,
    written: ProgressBar,
    handled: ProgressBar,
}

impl Progress {
    pub(super) fn new(messages: usize) -> Self {
        let bars = MultiProgress::new();
        let bar = |what: &'static str| {
            let bar = ProgressBar::new(messages as u64).with_message(what);
            let style = ProgressStyle::with_template("{msg:8} {wide_bar} {human_pos}/{human_len} {per_sec}");
            bars.add(style.map_or(bar.clone(), |style| bar.with_style(style)))
        };
        let (written, handled) = (bar("written"), bar("handled"));
        Self { bars, written, handled }
    }

    /// Adds `messages` to the number of written messages.
    pub(super) fn written(&self, messages: usize) {
        self.written.inc(messages as u64);
    }

    /// Sets the total number of handled messages.
    pub(super) fn handled(&self, messages: u64) {
        self.handled.set_position(messages);
    }

    pub(super) fn finish(&self) {
        self.written.finish();
        self.handled.finish();
        // An error here means that the terminal is gone, so nothing needs to be cleared.
        let _ = self.bars.clear();
    }
}

/// The numbers of sent messages and their outcomes.
pub(super) struct Summary<'a> {
    pub(super) plan: &'a Plan,
    pub(super) counts: &'a OutcomeCounts,
    pub(super) redelivered: &'a Redelivered,
    pub(super) elapsed: Duration,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, counts, redelivered, elapsed } = self;
        writeln!(f, "commands   {:>7}", plan.messages())?;
        writeln!(f, "  accounts opened           {:>7}", plan.accounts)?;
        writeln!(f, "  transactions              {:>7}", plan.transactions)?;
        writeln!(f, "  repeats, same intent      {:>7}", plan.duplicates)?;
        writeln!(f, "  repeats, other amount     {:>7}", plan.conflicts)?;
        writeln!(f, "deliveries {:>7} in this run", counts.messages())?;
        for (outcome, count) in counts.iter() {
            writeln!(f, "  {outcome:<25} {count:>7}")?;
        }
        writeln!(f, "second deliveries {:>7}", redelivered.values().sum::<u64>())?;
        for (outcome, count) in *redelivered {
            writeln!(f, "  {outcome:<25} {count:>7}")?;
        }
        let is_handled = |kind: &OutcomeKind| matches!(kind, OutcomeKind::Handled | OutcomeKind::HandledLate);
        let again = redelivered.iter().filter(|(kind, _)| is_handled(kind)).map(|(_, count)| count);
        writeln!(f, "effects    {:>7}", counts.events() + again.sum::<u64>())?;
        let seconds = elapsed.as_secs_f64();
        #[allow(clippy::cast_precision_loss)]
        let rate = counts.messages() as f64 / seconds;
        write!(f, "{seconds:.1} s, {rate:.0} commands per second")
    }
}

/// The statement of each account in the file, by account id.
pub(super) async fn statements(
    store: &Arc<dyn MessageStore>,
    transactions: &[Transaction],
) -> Result<Vec<(u64, Statement)>> {
    let accounts: BTreeSet<u64> = transactions.iter().map(|transaction| transaction.account_id).collect();
    let entities = EntityStore::<Statement>::new(store);
    let mut statements = Vec::with_capacity(accounts.len());
    for account in accounts {
        let entity = entities.fetch(&account.to_string()).await?;
        statements.push((account, entity.state.clone()));
    }
    Ok(statements)
}

pub(super) fn total(statements: &[(u64, Statement)]) -> Money {
    statements.iter().map(|(_, statement)| statement.balance).sum()
}

pub(super) fn write(statements: &[(u64, Statement)], file: &Path) -> Result<()> {
    let mut writer = csv::Writer::from_path(file).with_context(|| format!("writing {}", file.display()))?;
    writer.write_record(["account_id", "balance", "deposits", "withdrawals", "rejected"])?;
    for (account, Statement { balance, deposits, withdrawals, rejected }) in statements {
        writer.write_record([
            account.to_string(),
            balance.to_string(),
            deposits.to_string(),
            withdrawals.to_string(),
            rejected.to_string(),
        ])?;
    }
    writer.flush().with_context(|| format!("writing {}", file.display()))
}

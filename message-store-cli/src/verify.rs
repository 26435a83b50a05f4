//! `message-store verify`: reads a whole store, and says what is wrong in it.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use message_store::operations::{Defect, Verified, Verifying};
use serde_json::json;

use crate::exit::Exit;
use crate::open::StoreUrl;
use crate::output::{Format, Rows, remark};

/// The time between two remarks about the progress.
const EVERY: Duration = Duration::from_secs(2);

/// Reads the whole store, such as a restored backup: positions without gaps, unique ids, causes that are there, intents
/// reserved once, streams that end where their messages end, consumers within the store, timers that have not fired. Ends with
/// exit code 6 if something is wrong. Components may run meanwhile
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    store: StoreUrl,
    /// The greatest number of defects to print. All are counted
    #[arg(long, default_value_t = 1_000)]
    limit: usize,
}

impl Verify {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        let store = self.store.open().await?;
        let mut rows = Rows::new(format, ["defect", "what"])?;
        let (mut left, mut printed) = (self.limit, Ok(()));
        let found = |defect: Defect| {
            if left > 0 && printed.is_ok() {
                left -= 1;
                printed = rows.add([json!(defect.kind()), json!(defect.to_string())]);
            }
        };
        let (shows_progress, mut shown) = (std::io::stderr().is_terminal(), Instant::now());
        let progress = |verified: &Verified| {
            if shows_progress && shown.elapsed() >= EVERY {
                shown = Instant::now();
                let at = verified.at.as_ref().map(|(category, at)| format!(", at {at} of {category}"));
                remark(format_args!("{} messages{}", verified.messages, at.unwrap_or_default()));
            }
        };
        let verified = Verifying::of(&store).run(found, progress).await?;
        printed?;
        rows.print()?;
        let Verified { messages, streams, categories, timers, defects, .. } = verified;
        let read = format!(
            "{messages} messages of {streams} streams in {categories} categories, and {timers} timers, were read"
        );
        if defects > 0 {
            return Err(Exit::Problems.because(format!("{read}: {defects} defects")));
        }
        remark(format_args!("({read}: no defect)"));
        Ok(())
    }
}

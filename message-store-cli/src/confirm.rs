//! Asks the operator.

use std::io::Write as _;

use anyhow::Result;

use crate::exit::Exit;
use crate::output::line;

/// How a command that changes something asks.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Confirm {
    /// Show what would be changed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Confirm {
    /// Whether it only shows what would be changed.
    pub(crate) fn is_dry_run(self) -> bool {
        self.dry_run
    }

    /// Whether to count what would be changed, which can take long.
    pub(crate) fn counts(self) -> bool {
        self.dry_run || !self.yes
    }

    /// Whether to go on, after the command has shown what it would change. `done` is what would be done: set, say.
    pub(crate) fn goes_on(self, question: &str, done: &str) -> Result<bool> {
        if self.dry_run {
            line(format_args!("(nothing was {done})"))?;
            return Ok(false);
        }
        if self.yes || is_confirmed(question)? {
            return Ok(true);
        }
        Err(Exit::NotConfirmed.because(format!("nothing was {done}")))
    }
}

/// Whether the operator says yes to a question.
pub(crate) fn is_confirmed(question: &str) -> Result<bool> {
    // If the question cannot be shown, the answer is no.
    write!(std::io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    if std::io::stdin().read_line(&mut answer)? == 0 {
        return Err(Exit::NotConfirmed.because("nobody answers, so nothing was changed; --yes does not ask"));
    }
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

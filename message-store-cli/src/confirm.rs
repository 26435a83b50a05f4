//! Asks the operator.

use anyhow::{Result, bail};

/// Whether the operator says yes to a question.
pub(crate) fn is_confirmed(question: &str) -> Result<bool> {
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    if std::io::stdin().read_line(&mut answer)? == 0 {
        bail!("nobody answers, so nothing was changed; --yes does not ask");
    }
    Ok(matches!(answer.trim(), "y" | "yes"))
}

//! Asks the operator.

use anyhow::Result;

/// Whether the operator says yes to a question.
pub(crate) fn is_confirmed(question: &str) -> Result<bool> {
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "yes"))
}

//! `message-store completions` and `message-store man`: files for a shell.

use std::io::{self, Write as _};

use anyhow::Result;
use clap::{Command, CommandFactory};
use clap_complete::Shell;

#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints the completions of a shell.
    pub(crate) fn run<C: CommandFactory>(&self) -> Result<()> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut C::command(), "message-store", &mut text);
        Ok(io::stdout().write_all(&text)?)
    }
}

/// Prints the manual: the page of the program, and those of its commands after it.
pub(crate) fn manual<C: CommandFactory>() -> Result<()> {
    let mut command = C::command();
    command.build();
    let mut text = Vec::new();
    pages(&command, &mut text)?;
    Ok(io::stdout().write_all(&text)?)
}

fn pages(command: &Command, text: &mut Vec<u8>) -> Result<()> {
    clap_mangen::Man::new(command.clone()).render(text)?;
    for part in command.get_subcommands().filter(|part| part.get_name() != "help" && !part.is_hide_set()) {
        pages(part, text)?;
    }
    Ok(())
}

//! `message-store import`: writes the messages and timers of an export into a store.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use message_store::operations::{Exported, Import as Importing};
use serde_json::json;

use crate::confirm::is_confirmed;
use crate::exit::Exit;
use crate::open::StoreUrl;
use crate::output::{Format, Rows, remark};

/// The number of lines that are written at once.
const PART: usize = 500;

#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    #[command(flatten)]
    store: StoreUrl,
    /// The file, as `message-store export` writes it, or - for standard input
    file: PathBuf,
    /// Read the whole file and show what it has, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask, and do not count
    #[arg(long)]
    yes: bool,
}

#[derive(Default)]
struct Counted {
    messages: u64,
    timers: u64,
}

impl Import {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        let store = self.store.open().await?;
        if !self.yes {
            if self.is_stdin() && !self.dry_run {
                bail!("standard input is read once, so it cannot be counted first: give --yes");
            }
            let mut counted = Counted::default();
            for line in self.lines()? {
                counted.add(&line?);
            }
            let Counted { messages, timers } = counted;
            remark(format_args!("{messages} messages and {timers} timers"));
            if self.dry_run {
                remark("(nothing was written)");
                return Ok(());
            }
            if !is_confirmed(&format!("Write them to {}?", store.describe()))? {
                return Err(Exit::NotConfirmed.because("nothing was written"));
            }
        }
        let (import, shows_progress) = (Importing::to(&store), io::stderr().is_terminal());
        let (mut counted, mut written, mut set) = (Counted::default(), 0, 0);
        let mut lines = self.lines()?;
        loop {
            let part: Vec<Exported> = lines.by_ref().take(PART).collect::<Result<_>>()?;
            if part.is_empty() {
                break;
            }
            for line in &part {
                counted.add(line);
            }
            let imported = import.write(part).await?;
            written += imported.written;
            set += imported.timers;
            if shows_progress {
                remark(format_args!("{} messages, {written} written", counted.messages));
            }
        }
        let mut rows = Rows::new(format, ["messages", "written", "timers", "timers set"])?;
        rows.add([json!(counted.messages), json!(written), json!(counted.timers), json!(set)])?;
        rows.print()
    }

    fn is_stdin(&self) -> bool {
        self.file.as_os_str() == "-"
    }

    fn lines(&self) -> Result<impl Iterator<Item = Result<Exported>>> {
        let reader: Box<dyn BufRead> = if self.is_stdin() {
            Box::new(BufReader::new(io::stdin()))
        } else {
            let file = File::open(&self.file).with_context(|| format!("the file {}", self.file.display()))?;
            Box::new(BufReader::new(file))
        };
        let lines = reader.lines().enumerate();
        Ok(lines.map(|(at, line)| line?.parse::<Exported>().with_context(|| format!("line {}", at + 1))))
    }
}

impl Counted {
    fn add(&mut self, line: &Exported) {
        match line {
            Exported::Message(_) => self.messages += 1,
            Exported::Timer { .. } => self.timers += 1,
            Exported::Begin { .. } => {}
        }
    }
}

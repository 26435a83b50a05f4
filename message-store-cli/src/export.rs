//! `message-store export`: prints messages and timers, or writes them to a file, as NDJSON.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, IsTerminal as _, Read as _, Seek as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use message_store::operations::{Export as Exporting, ExportBegin, Exported};
use message_store::{Category, GlobalPosition};

use crate::open::StoreUrl;
use crate::output::remark;

/// The number of messages of one read.
const PAGE: usize = 1_000;
/// The greatest length of the first line of a file, in bytes.
const LONGEST_BEGIN: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    #[command(flatten)]
    store: StoreUrl,
    /// The categories, one after the other. If none is given: all messages, in the order of their global positions
    categories: Vec<String>,
    /// Write to this file. If it is there, the export that it contains goes on where it ended
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// Where an export goes, and how far it has come before.
struct Target {
    out: Box<dyn Write>,
    shows_progress: bool,
    /// The highest global position of each category, and of all.
    through: HashMap<Option<Category>, GlobalPosition>,
}

impl Export {
    pub(crate) async fn run(self) -> Result<()> {
        let store = self.store.open().await?;
        let export = Exporting::of(&store);
        let named: Vec<Category> = self.categories.iter().map(Category::new).collect::<Result<_, _>>()?;
        let mut target = match &self.to {
            Some(path) => Target::file(path, export.begin(&named))?,
            None => Target { out: Box::new(io::stdout()), shows_progress: false, through: HashMap::new() },
        };
        let categories: Vec<Option<Category>> =
            if named.is_empty() { vec![None] } else { named.into_iter().map(Some).collect() };
        let (mut messages, mut timers) = (0_u64, 0_u64);
        for category in &categories {
            let mut after = target.through.get(category).copied().unwrap_or(GlobalPosition::ZERO);
            let before = messages;
            loop {
                let page = export.messages(category.as_ref(), after, PAGE).await?;
                if page.is_end {
                    break;
                }
                target.write(&page.messages)?;
                messages += page.messages.len() as u64;
                after = page.looked_through;
                if target.shows_progress {
                    remark(format_args!("{messages} messages, through global position {after}"));
                }
            }
            if let Some(category) = category.as_ref().filter(|_| messages == before && after == GlobalPosition::ZERO) {
                remark(format_args!("(the category {category} has no messages)"));
            }
            let waiting = export.timers(category.as_ref()).await?;
            target.write(&waiting)?;
            timers += waiting.len() as u64;
        }
        remark(format_args!(
            "({messages} messages and {timers} timers were exported, without the positions of consumers)"
        ));
        Ok(())
    }
}

impl Target {
    fn write(&mut self, lines: &[Exported]) -> Result<()> {
        for line in lines {
            let line = serde_json::to_string(line)?;
            self.out.write_all(line.as_bytes())?;
            self.out.write_all(b"\n")?;
        }
        Ok(self.out.flush()?)
    }

    /// A file, which may have a part of this export. A line that was broken off is removed.
    fn file(path: &Path, begin: ExportBegin) -> Result<Self> {
        let whose = || format!("the file {}", path.display());
        if path.exists() && !path.is_file() {
            bail!("{} is no file; without --to, the export goes to standard output", path.display());
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path).with_context(whose)?;
        file.try_lock().with_context(|| format!("{} is being written by another export", path.display()))?;
        let begun = begin_of(&file).with_context(whose)?;
        if begun.as_ref().is_some_and(|begun| *begun != begin) {
            bail!(
                "{} has an export of another store, or of other categories. Give another file, or the same categories",
                path.display()
            );
        }
        let (through, whole) = through(&file).with_context(whose)?;
        file.set_len(whole).with_context(whose)?;
        let out = OpenOptions::new().append(true).open(path).with_context(whose)?;
        let shows_progress = io::stderr().is_terminal();
        let mut target =
            Self { out: Box::new(Locked { out: BufWriter::new(out), _file: file }), shows_progress, through };
        if begun.is_none() {
            target.write(&[Exported::Begin { export: begin }])?;
        }
        Ok(target)
    }
}

/// A file that no other export may write meanwhile.
struct Locked {
    out: BufWriter<File>,
    _file: File,
}

impl Write for Locked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What the file is an export of. `None` for an empty file.
fn begin_of(file: &File) -> Result<Option<ExportBegin>> {
    let mut first = String::new();
    let mut reader = BufReader::new(file);
    reader.by_ref().take(LONGEST_BEGIN).read_line(&mut first).unwrap_or_default();
    reader.rewind()?;
    match first.parse() {
        Ok(Exported::Begin { export }) => Ok(Some(export)),
        _ if file.metadata()?.len() == 0 => Ok(None),
        _ => bail!("it is no export that `message-store export --to` has begun, so it is left as it is"),
    }
}

/// How far the export in a file has come, and the length of its whole lines.
fn through(file: &File) -> Result<(HashMap<Option<Category>, GlobalPosition>, u64)> {
    let (mut through, mut whole) = (HashMap::new(), 0);
    let (mut reader, mut line, mut number) = (BufReader::new(file), String::new(), 0_u64);
    loop {
        line.clear();
        let bytes = reader.read_line(&mut line)?;
        if !line.ends_with('\n') {
            return Ok((through, whole));
        }
        number += 1;
        whole += bytes as u64;
        let exported: Exported = line.parse().with_context(|| format!("line {number}"))?;
        if let Exported::Message(message) = exported {
            for of in [None, Some(message.stream.category())] {
                let highest = through.entry(of).or_insert(message.global_position);
                *highest = message.global_position.max(*highest);
            }
        }
    }
}

//! `message-store check`: reports the state of a store's schema.

use anyhow::Result;
use message_store::postgres::{CheckedItem, check};
use serde_json::json;

use crate::exit::Exit;
use crate::open::{Backend, StoreUrl, open};
use crate::output::{Format, Rows, line};

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    #[command(flatten)]
    store: StoreUrl,
}

impl Check {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        let url = self.store.url()?;
        if Backend::of(&url)? != Backend::Postgres {
            // It is checked when it is opened, and an older file is upgraded.
            let place = open(&url).await?.describe();
            if format == Format::Table {
                return line(format_args!("{place}: the schema is current"));
            }
            return show(format, [("schema", None)]);
        }
        let report = check(&url).await?;
        let is_well = report.is_well();
        match format {
            Format::Table => line(&report)?,
            _ => show(format, report.findings.iter().map(named))?,
        }
        if is_well { Ok(()) } else { Err(Exit::Problems.because("there are problems")) }
    }
}

fn named(item: &CheckedItem) -> (&str, Option<&str>) {
    (&item.what, item.problem.as_deref())
}

fn show<'a>(format: Format, findings: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Result<()> {
    let mut rows = Rows::new(format, ["object", "problem"])?;
    for (what, problem) in findings {
        rows.add([json!(what), json!(problem)])?;
    }
    rows.print()
}

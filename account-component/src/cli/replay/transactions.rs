//! The file of transactions: one transaction for each row.

use std::path::Path;

use account_component::Money;
use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

const HEADER: [&str; 5] = ["transaction_id", "account_id", "date", "kind", "amount"];

/// One row of the file.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) id: String,
    pub(super) account_id: u64,
    pub(super) time: Timestamp,
    pub(super) kind: Kind,
    pub(super) amount: Money,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Deposit,
    Withdrawal,
}

/// Reads the whole file, before anything is written. For a malformed row, the error names the line and the field.
pub(super) fn read(file: &Path) -> Result<Vec<Transaction>> {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_path(file)
        .with_context(|| format!("opening {}", file.display()))?;
    let header = reader.headers().with_context(|| format!("reading {}", file.display()))?;
    if header != HEADER[..] {
        bail!("{}: line 1: the header must be `{}`, not `{}`", file.display(), HEADER.join(","), join(header));
    }
    let mut transactions = Vec::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).with_context(|| format!("reading {}", file.display()))? {
        let line = record.position().map_or(0, csv::Position::line);
        transactions.push(transaction(&record).with_context(|| format!("{}: line {line}", file.display()))?);
    }
    Ok(transactions)
}

fn join(record: &csv::StringRecord) -> String {
    record.iter().collect::<Vec<_>>().join(",")
}

fn transaction(record: &csv::StringRecord) -> Result<Transaction> {
    if record.len() != HEADER.len() {
        bail!("it has {} fields, not the {} of the header", record.len(), HEADER.len());
    }
    let id = record[0].to_owned();
    if id.is_empty() {
        bail!("transaction_id is empty");
    }
    let account_id = record[1].parse().with_context(|| format!("account_id {:?} is not a number", &record[1]))?;
    let date: Date = record[2].parse().with_context(|| format!("date {:?} is not a date (YYYY-MM-DD)", &record[2]))?;
    let time =
        date.to_zoned(TimeZone::UTC).with_context(|| format!("date {:?} is out of range", &record[2]))?.timestamp();
    let kind = match &record[3] {
        "deposit" => Kind::Deposit,
        "withdrawal" => Kind::Withdrawal,
        other => bail!("kind {other:?} is neither deposit nor withdrawal"),
    };
    let amount: Money = record[4].parse().context("amount")?;
    if !amount.is_positive() {
        bail!("amount {amount} is not above zero");
    }
    Ok(Transaction { id, account_id, time, kind, amount })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Transaction>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("transactions.csv");
        std::fs::write(&file, text).unwrap();
        read(&file)
    }

    #[test]
    fn a_malformed_row_is_an_error_that_names_line_and_field() {
        for (row, said) in [
            ("1,2,1993-01-01,deposit", "4 fields"),
            ("1,2,1993-01-01,deposit,7.00,more", "6 fields"),
            (",2,1993-01-01,deposit,7.00", "transaction_id"),
            ("1,two,1993-01-01,deposit,7.00", "account_id"),
            ("1,2,1993-13-01,deposit,7.00", "date"),
            ("1,2,1993-01-01,gift,7.00", "kind"),
            ("1,2,1993-01-01,deposit,7.001", "amount"),
            ("1,2,1993-01-01,deposit,0.00", "amount"),
            ("1,2,1993-01-01,withdrawal,-7.00", "amount"),
        ] {
            let text = format!("{}\n0,2,1993-01-01,deposit,7.00\n{row}\n", HEADER.join(","));
            let error = format!("{:#}", read_text(&text).unwrap_err());
            assert!(error.contains("line 3") && error.contains(said), "{row}: {error}");
        }
        let error = format!("{:#}", read_text("id,account\n1,2\n").unwrap_err());
        assert!(error.contains("line 1") && error.contains("id,account"), "{error}");
    }

    #[test]
    fn a_well_formed_file_is_read_to_the_last_row_also_without_a_last_line_break() {
        let text = format!("{}\r\n1,2,1993-01-01,deposit,7.00\r\n2,2,1993-01-02,withdrawal,0.01", HEADER.join(","));
        let transactions = read_text(&text).unwrap();
        assert_eq!(transactions.len(), 2);
        assert_eq!(transactions[1].kind, Kind::Withdrawal);
        assert_eq!(transactions[1].amount, Money::from_hundredths(1));
        assert_eq!(transactions[0].time.to_string(), "1993-01-01T00:00:00Z");
    }
}

//! What the program prints: tables for people, and JSON, NDJSON or CSV for programs.
//!
//! Everything goes to standard output through here, so that a reader that stops early (`| head`) ends the program quietly.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::sync::OnceLock;

use anyhow::Result;
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;
use serde_json::value::RawValue;

/// The form that was asked for.
static FORM: OnceLock<Format> = OnceLock::new();

/// Sets the form of all that is printed.
pub(crate) fn set_form(format: Format) {
    let _ = FORM.set(format);
}

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table
    #[default]
    Table,
    /// One JSON value
    Json,
    /// One JSON value in each line
    Ndjson,
    /// Comma-separated values with a heading
    Csv,
}

/// The content of a cell.
#[derive(Debug)]
pub(crate) enum Cell {
    Value(Value),
    /// JSON of a message, which is printed as it is: a number keeps all its digits.
    Json(String),
}

impl From<Value> for Cell {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

impl Cell {
    /// JSON of a message. What is no JSON is shown as a text.
    pub(crate) fn json(text: &str) -> Self {
        match serde_json::from_str::<&RawValue>(text) {
            // In JSON, a line ends between values only.
            Ok(json) => Self::Json(json.get().replace(['\n', '\r'], " ")),
            Err(_) => Self::Value(Value::String(text.to_owned())),
        }
    }

    fn to_json(&self) -> String {
        match self {
            Self::Value(value) => value.to_string(),
            Self::Json(text) => text.clone(),
        }
    }
}

/// Rows with named columns. As NDJSON and CSV, each row is printed at once.
#[derive(Debug)]
pub(crate) struct Rows<const COLUMNS: usize> {
    format: Format,
    columns: [&'static str; COLUMNS],
    kept: Vec<[Cell; COLUMNS]>,
}

impl<const COLUMNS: usize> Rows<COLUMNS> {
    /// No row yet. A column's name is its heading, as `global position`; in JSON it is `globalPosition`.
    pub(crate) fn new(format: Format, columns: [&'static str; COLUMNS]) -> Result<Self> {
        if format == Format::Csv {
            put(csv_line(columns.iter().map(|name| (*name).to_owned()))?)?;
        }
        Ok(Self { format, columns, kept: Vec::new() })
    }

    pub(crate) fn add(&mut self, row: [impl Into<Cell>; COLUMNS]) -> Result<()> {
        let row: [Cell; COLUMNS] = row.map(Into::into);
        match self.format {
            Format::Table | Format::Json => self.kept.push(row),
            Format::Ndjson => put(self.object(&row))?,
            Format::Csv => {
                let is_empty = |cell: &Cell| matches!(cell, Cell::Value(Value::Null)) || cell.to_json() == "null";
                let cell = |cell: &Cell| if is_empty(cell) { String::new() } else { text(cell) };
                put(csv_line(row.iter().map(cell))?)?;
            }
        }
        Ok(())
    }

    fn object(&self, row: &[Cell; COLUMNS]) -> String {
        let fields = self.columns.iter().zip(row);
        let fields: Vec<String> =
            fields.map(|(name, cell)| format!("{}:{}", Value::String(key(name)), cell.to_json())).collect();
        format!("{{{}}}", fields.join(","))
    }

    /// Prints the rows that are not printed yet.
    pub(crate) fn print(self) -> Result<()> {
        match self.format {
            Format::Table => {
                let mut table = Table::new();
                table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
                table.set_header(self.columns);
                for row in self.kept {
                    table.add_row(row.each_ref().map(|cell| without_control(&text(cell))));
                }
                put(table.trim_fmt())
            }
            Format::Json => {
                let objects: Vec<String> = self.kept.iter().map(|row| format!("  {}", self.object(row))).collect();
                if objects.is_empty() { put("[]") } else { put(format_args!("[\n{}\n]", objects.join(",\n"))) }
            }
            Format::Ndjson | Format::Csv => Ok(()),
        }
    }
}

/// `global position` as `globalPosition`.
fn key(column: &str) -> String {
    let mut words = column.split(' ');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |key, word| {
        let (initial, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        key + &initial.to_uppercase() + rest
    })
}

/// A cell as text.
fn text(cell: &Cell) -> String {
    match cell {
        Cell::Value(Value::Null) => "-".to_owned(),
        Cell::Value(Value::String(text)) => text.clone(),
        other => other.to_json(),
    }
}

/// Text of a message, without characters that could change the terminal or the order in which it shows others.
pub(crate) fn without_control(text: &str) -> String {
    printable(text, false)
}

fn printable(text: &str, keeps_lines: bool) -> String {
    let is_hidden = |character: char| {
        (character.is_control() && !(keeps_lines && matches!(character, '\n' | '\t')))
            || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
    };
    text.chars().map(|character| if is_hidden(character) { '\u{fffd}' } else { character }).collect()
}

fn csv_line(cells: impl Iterator<Item = String>) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells)?;
    let mut bytes = writer.into_inner().map_err(|error| anyhow::anyhow!("{error}"))?;
    bytes.truncate(bytes.trim_ascii_end().len());
    Ok(String::from_utf8(bytes)?)
}

/// Prints a line for a person. If another form than a table was asked for, it goes to standard error: standard output is for
/// programs then.
pub(crate) fn line(text: impl Display) -> Result<()> {
    match FORM.get() {
        None | Some(Format::Table) => put(text),
        Some(_) => {
            remark(text);
            Ok(())
        }
    }
}

/// Says what was done: a line for a person, or the fields for a program.
pub(crate) fn done<const FIELDS: usize>(text: impl Display, fields: [(&'static str, Value); FIELDS]) -> Result<()> {
    match FORM.get() {
        None | Some(Format::Table) => put(text),
        Some(format) => {
            let mut rows = Rows::new(*format, fields.each_ref().map(|(name, _)| *name))?;
            rows.add(fields.map(|(_, value)| value))?;
            rows.print()
        }
    }
}

/// Prints a line to standard output.
pub(crate) fn put(text: impl Display) -> Result<()> {
    Ok(writeln!(io::stdout(), "{text}")?)
}

/// Prints a remark for a person to standard error, beside the output.
pub(crate) fn remark(text: impl Display) {
    // Nobody can be told that standard error cannot be written.
    let _ = writeln!(io::stderr(), "{}", printable(&text.to_string(), true));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_has_a_key_in_json() {
        assert_eq!(
            ["id", "global position", "messages not handled"].map(key),
            ["id", "globalPosition", "messagesNotHandled"]
        );
    }

    #[test]
    fn csv_quotes_what_it_must() {
        let cells = ["a,b", "say \"c\"", ""].map(str::to_owned).into_iter();
        assert_eq!(csv_line(cells).unwrap(), "\"a,b\",\"say \"\"c\"\"\",");
    }
}

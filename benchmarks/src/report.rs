//! Prints the figures as a table, and writes them as JSON.

use std::path::Path;

use anyhow::Result;
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The figure: F1, F2, …
    pub figure: String,
    /// The measured operation.
    pub what: String,
    pub ours: f64,
    /// The name of the reference; empty if there is none.
    pub reference: String,
    pub theirs: Option<f64>,
    pub unit: &'static str,
    pub goal: Option<Goal>,
    pub errors: u64,
    /// Limits of the comparison, and other remarks.
    pub note: String,
}

/// The goal for the ratio, or for the figure itself if there is no reference.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Line {
    pub fn ratio(&self) -> Option<f64> {
        self.theirs.map(|theirs| self.ours / theirs)
    }

    fn is_met(&self) -> Option<bool> {
        let figure = self.ratio().unwrap_or(self.ours);
        self.goal.map(|goal| match goal {
            Goal::AtLeast(limit) => figure >= limit,
            Goal::AtMost(limit) => figure <= limit,
        })
    }

    fn goal(&self) -> String {
        let limit = match self.goal {
            None => return String::new(),
            Some(Goal::AtLeast(limit)) => format!("≥ {limit}"),
            Some(Goal::AtMost(limit)) => format!("≤ {limit}"),
        };
        format!("{limit} {}", if self.is_met() == Some(true) { "met" } else { "MISSED" })
    }
}

#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub machine: String,
    pub effort: String,
    pub lines: Vec<Line>,
}

impl Report {
    pub fn print(&self) {
        println!("{}\n{}\n", self.machine, self.effort);
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN);
        table.set_header(["figure", "what", "ours", "reference", "theirs", "unit", "ratio", "goal", "errors"]);
        for line in &self.lines {
            table.add_row([
                line.figure.clone(),
                line.what.clone(),
                number(line.ours),
                line.reference.clone(),
                line.theirs.map(number).unwrap_or_default(),
                line.unit.to_owned(),
                line.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
                line.goal(),
                line.errors.to_string(),
            ]);
        }
        for column in [2, 4, 6, 8] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        println!("{table}\n");
        let mut told: Vec<&str> = Vec::new();
        for line in &self.lines {
            if !line.note.is_empty() && !told.contains(&line.note.as_str()) {
                told.push(&line.note);
                println!("{}: {}", line.figure, line.note);
            }
        }
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(())
    }
}

fn number(figure: f64) -> String {
    if figure.is_nan() {
        String::new()
    } else if figure >= 100.0 {
        format!("{figure:.0}")
    } else {
        format!("{figure:.3}")
    }
}

//! How subcommands for people print: text or JSON, tables, lines that hold nothing but text.
//! Must not know what is printed.

use std::io::{self, Write};

use clap::ValueEnum;

/// Between the columns of a table.
const GAP: &str = "   ";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to print")]
    Print(#[source] io::Error),
    #[error("failed to write as JSON")]
    Json(#[source] serde_json::Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// A closed pipe, as behind `| head`, is an error of the reader and worth its message, not a panic.
pub fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Error::Print)
}

pub fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(value).map_err(Error::Json)?;
    Ok(text + "\n")
}

/// On one line, at most so many characters of it, and nothing in it that moves a terminal's cursor: what is
/// quoted was written by others.
pub fn line(text: &str, limit: usize) -> String {
    let plain = text.replace(char::is_control, " ");
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    match plain.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &plain[..end]),
        None => plain,
    }
}

/// Rows as lines, each begun by `indent`: columns as wide as the widest in them, the last as it comes.
pub fn table(indent: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    let head = head.iter().map(|word| (*word).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&head).chain(rows).collect();
    let width = |column: usize| {
        let cells = all.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in &all {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let cells: Vec<_> = cells.collect();
        text.push_str(format!("{indent}{}", cells.join(GAP)).trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let row = |a: &str, b: &str, c: &str| vec![a.to_owned(), b.to_owned(), c.to_owned()];
        let rows = [row("orders-0", "é", "it waits"), row("a", "long word", "")];
        let wanted =
            "  NAME       B           WHY\n  orders-0   é           it waits\n  a          long word\n";
        assert_eq!(table("  ", &["NAME", "B", "WHY"], &rows), wanted);
    }

    #[test]
    fn what_others_wrote_stays_on_its_line() {
        assert_eq!(line("a\n\x1b[2Jb\t c ", 100), "a [2Jb c");
        assert_eq!(line("größer", 3), "grö…");
        assert_eq!(line("größer", 6), "größer");
    }
}

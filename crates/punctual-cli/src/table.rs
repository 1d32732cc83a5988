//! Tables for people: aligned, without colour, one row a line.

use std::fmt::Write;

/// The most characters of one cell.
const CELL_CHARS_MAX: usize = 60;

/// Text that cannot play tricks on a terminal: control characters are spelled out.
pub(crate) fn harmless(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' && c != '\t' {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean
}

fn cell(text: &str) -> String {
    let line = harmless(text.lines().next().unwrap_or_default());
    if line.chars().count() <= CELL_CHARS_MAX {
        return line;
    }
    let mut short: String = line.chars().take(CELL_CHARS_MAX - 1).collect();
    short.push('…');
    short
}

/// Aligns rows below their heads. Without rows there are only the heads.
pub(crate) fn render<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows
        .iter()
        .map(|row| std::array::from_fn(|i| cell(&row[i])))
        .collect();
    let widths: [usize; N] = std::array::from_fn(|i| {
        let cells = rows.iter().map(|row| row[i].chars().count());
        cells.chain([heads[i].len()]).max().unwrap_or(0)
    });
    let mut text = String::new();
    let heads = heads.map(str::to_owned);
    for row in std::iter::once(&heads).chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.pop();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_harmless() {
        let rows = [
            ["a".to_owned(), "ü\u{1b}[31m".to_owned()],
            ["long id".to_owned(), "x\ny".to_owned()],
        ];
        assert_eq!(
            render(["ID", "NAME"], &rows),
            "ID       NAME\na        ü\\u{1b}[31m\nlong id  x"
        );
    }
}

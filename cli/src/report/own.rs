//! The tables of a page: what all have in common, and those of the patterns that have columns of their own.
//!
//! Owns their form: a line a row, one group below the other, and below each the sentences that compare. Uses `dry` and
//! `engine`, which have the columns; the page shows them.

use super::dots::CROSS;
use super::words::{distinct, escape};
use super::{dry, engine};
use crate::bench::{Figure, Pattern, Row};
use crate::units;

/// The numbers of the pools that ran dry, and below each shape the ratios.
pub fn dry_table(body: &mut String, rows: &[Row]) {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.shape.is_some()).collect();
    if rows.is_empty() {
        return;
    }
    header(body, "pools that ran dry", &dry::COLUMNS, "shape");
    for shape in distinct(rows.iter().filter_map(|row| row.shape)) {
        let group: Vec<&Row> = rows
            .iter()
            .copied()
            .filter(|row| row.shape == Some(shape))
            .collect();
        let cells = |row: &Row| {
            let cells = dry::cells(row, "–").into_iter();
            let of = cells
                .zip(dry::FIGURES)
                .map(|(cell, of)| with_spread(row, &cell, of));
            of.collect()
        };
        group_of(
            body,
            &group,
            cells,
            &shape.to_string(),
            &dry::ratios(&group),
        );
    }
    body.push_str("</table></div>\n");
}

/// The numbers of the engines, and below each size the ratios.
pub fn engine_table(body: &mut String, rows: &[Row]) {
    let rows: Vec<&Row> = rows
        .iter()
        .filter(|row| row.pattern == Pattern::Engine)
        .collect();
    if rows.is_empty() {
        return;
    }
    header(body, "engines", &engine::COLUMNS, "size, threads");
    for (size, threads) in distinct(rows.iter().map(|row| (row.size, row.threads))) {
        let group: Vec<&Row> = rows
            .iter()
            .copied()
            .filter(|row| (row.size, row.threads) == (size, threads))
            .collect();
        let pool = engine::reference(&group);
        let cells = |row: &Row| {
            let cells = engine::cells(row, pool, "–").into_iter();
            let of = cells
                .zip(engine::FIGURES)
                .map(|(cell, of)| with_spread(row, &cell, of));
            of.collect()
        };
        let which = format!("{}, {threads}", units::short(size));
        group_of(body, &group, cells, &which, &engine::ratios(&group));
    }
    body.push_str("</table></div>\n");
}

/// A cell for the page, with the rounds below it in the column's unit: least, quartiles, most.
pub fn with_spread(row: &Row, cell: &str, of: Option<(Figure, f64)>) -> String {
    let cell = escape(cell);
    let spread = of.and_then(|(figure, unit)| Some((row.figures.spread(figure)?, unit)));
    spread.map_or_else(
        || cell.clone(),
        |(spread, unit)| {
            let [least, lower, upper, most] =
                [spread.least, spread.lower, spread.upper, spread.most]
                    .map(|value| units::digits(value / unit));
            format!("{cell}<small>{least} [{lower} {upper}] {most}</small>")
        },
    )
}

/// Begins a table, in a box of its own in which it can be moved sideways.
pub fn open_table(body: &mut String, name: &str, columns: &[&str]) {
    let header: String = columns
        .iter()
        .map(|name| format!("<th scope=\"col\">{name}</th>"))
        .collect();
    body.push_str(&format!(
        "<div class=\"wide\" role=\"region\" aria-label=\"{name}\" tabindex=\"0\"><table>\n<thead><tr>{header}</tr></thead>\n"
    ));
}

/// A line of a table; its class says whose it is and whether something went wrong. Of a row that failed only the first
/// `kept` cells are there, which say what it is, and then why it failed: its times are none.
pub fn table_row(row: &Row, cells: &[String], kept: usize) -> String {
    let fault = row.fault();
    let class = match (row.rival.is_hugepool(), fault.is_some()) {
        (true, true) => " class=\"own failed\"",
        (true, false) => " class=\"own\"",
        (false, true) => " class=\"failed\"",
        (false, false) => "",
    };
    let shown = if fault.is_some() { kept } else { cells.len() };
    let mut line = format!("<tr{class}>");
    for (place, cell) in cells[..shown].iter().enumerate() {
        line.push_str(&if place == 0 {
            format!("<th scope=\"row\">{cell}</th>")
        } else {
            format!("<td>{cell}</td>")
        });
    }
    if let Some(fault) = fault {
        line.push_str(&format!(
            "<td class=\"why\" colspan=\"{}\">{CROSS} failed: {}</td>",
            cells.len() - kept,
            escape(&fault)
        ));
    }
    line.push_str("</tr>\n");
    line
}

/// Begins the table of a pattern that has columns of its own. `which` is what tells its groups apart.
fn header(body: &mut String, what: &str, columns: &[&str], which: &str) {
    let (rival, others) = columns.split_at(1);
    let columns: Vec<&str> = rival
        .iter()
        .chain([&which])
        .chain(others)
        .copied()
        .collect();
    let name = format!("All numbers of {what}");
    body.push_str(&format!(
        "<h2>{name}</h2>\n<p>Below each the rounds: least, quartiles in brackets, most.</p>\n"
    ));
    open_table(body, &name, &columns);
}

/// A group of such a table, and the sentences below it.
fn group_of(
    body: &mut String,
    group: &[&Row],
    cells: impl Fn(&Row) -> Vec<String>,
    which: &str,
    sentences: &[String],
) {
    body.push_str("<tbody>\n");
    let mut columns = 0;
    for row in group {
        let mut cells = cells(row);
        cells.insert(1, escape(which));
        columns = cells.len();
        body.push_str(&table_row(row, &cells, 2));
    }
    for sentence in sentences {
        body.push_str(&format!(
            "<tr><td colspan=\"{columns}\">{}</td></tr>\n",
            escape(sentence)
        ));
    }
    body.push_str("</tbody>\n");
}

//! The two forms for programs: JSON lines and comma-separated values, with the same columns.
//!
//! Owns the list of columns and the escaping. The report writes them to files; the doctor uses the JSON strings.

use std::fmt::Write;

use crate::bench::{CallsPerTake, Flow, Row};

/// A cell: a name, a number, or nothing where nothing was measured.
enum Cell {
    Text(String),
    Count(u64),
    Decimal(f64),
    Missing,
}

/// The columns of both forms, in their order. Those from the shape on are of a pool that runs dry, the last five of an
/// engine; a row of another pattern has nothing there.
const COLUMNS: [&str; 28] = [
    "rival",
    "pattern",
    "threads",
    "size",
    "alignment",
    "ns_per_op",
    "cpu_ns_per_op",
    "p50_ns",
    "p99_ns",
    "p999_ns",
    "p9999_ns",
    "max_ns",
    "ops",
    "refused",
    "lost",
    "shape",
    "takes_per_s",
    "beyond_work_ns",
    "longest_wait_ns",
    "least_share",
    "sleeps_per_take",
    "wakes_per_take",
    "barriers_per_take",
    "gib_per_s",
    "cpu_s_per_gib",
    "faults_per_gib",
    "sleeps_per_gib",
    "barriers_per_gib",
];

fn cells(row: &Row) -> [Cell; COLUMNS.len()] {
    let decimal = |value: Option<f64>| value.map_or(Cell::Missing, Cell::Decimal);
    let count = |ns: Option<u64>| ns.map_or(Cell::Missing, Cell::Count);
    let dry = row.dry.as_ref();
    let calls = |pick: fn(CallsPerTake) -> f64| decimal(dry.and_then(|dry| dry.calls).map(pick));
    let flow = |pick: fn(&Flow) -> Option<f64>| decimal(row.flow.as_ref().and_then(pick));
    [
        Cell::Text(row.rival.to_string()),
        Cell::Text(row.pattern.to_string()),
        Cell::Count(row.threads as u64),
        Cell::Count(row.size as u64),
        Cell::Count(row.alignment as u64),
        decimal(row.ns_per_op),
        decimal(row.cpu_ns_per_op),
        count(row.latency(0.5)),
        count(row.latency(0.99)),
        count(row.latency(0.999)),
        count(row.latency(0.9999)),
        count(row.slowest()),
        Cell::Count(row.ops),
        Cell::Count(row.wrongs.refused),
        Cell::Count(row.lost as u64),
        dry.map_or(Cell::Missing, |dry| Cell::Text(dry.shape.to_string())),
        decimal(dry.and_then(|dry| dry.takes_per_s)),
        decimal(dry.and_then(|dry| dry.beyond_ns)),
        decimal(dry.and_then(|dry| dry.longest_ns)),
        decimal(dry.and_then(|dry| dry.least_share)),
        calls(|calls| calls.sleeps),
        calls(|calls| calls.wakes),
        calls(|calls| calls.barriers),
        flow(|flow| flow.gib_per_s),
        flow(|flow| flow.cpu_s_per_gib),
        flow(|flow| flow.faults_per_gib),
        flow(|flow| flow.sleeps_per_gib),
        flow(|flow| flow.barriers_per_gib),
    ]
}

/// One object a line. What was not measured is `null`.
pub fn json(rows: &[Row]) -> String {
    let mut out = String::new();
    for row in rows {
        let fields: Vec<String> = COLUMNS
            .into_iter()
            .zip(cells(row))
            .map(|(name, cell)| {
                let value = match cell {
                    Cell::Text(text) => json_string(&text),
                    Cell::Count(count) => count.to_string(),
                    Cell::Decimal(value) => format!("{value:.3}"),
                    Cell::Missing => "null".to_owned(),
                };
                format!("{}:{value}", json_string(name))
            })
            .collect();
        out.push_str(&format!("{{{}}}\n", fields.join(",")));
    }
    out
}

/// A header, then one line a row. What was not measured is empty.
pub fn csv(rows: &[Row]) -> String {
    let mut out = COLUMNS.join(",");
    out.push('\n');
    for row in rows {
        let values = cells(row).map(|cell| match cell {
            Cell::Text(text) => csv_string(&text),
            Cell::Count(count) => count.to_string(),
            Cell::Decimal(value) => format!("{value:.3}"),
            Cell::Missing => String::new(),
        });
        out.push_str(&values.join(","));
        out.push('\n');
    }
    out
}

/// A JSON string with its quotes.
pub fn json_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c < ' ' => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A CSV field, quoted where it must be.
fn csv_string(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_strings_escape_what_they_must() {
        assert_eq!(json_string("plain"), "\"plain\"");
        assert_eq!(json_string("a\"b\\c\nd\u{1}"), "\"a\\\"b\\\\c\\nd\\u0001\"");
        assert_eq!(json_string("µ"), "\"µ\"");
    }

    #[test]
    fn csv_fields_are_quoted_only_where_needed() {
        assert_eq!(csv_string("plain"), "plain");
        assert_eq!(csv_string("a,b"), "\"a,b\"");
        assert_eq!(csv_string("a\"b"), "\"a\"\"b\"");
    }
}

//! The two forms for programs: a JSON document and comma-separated values.
//!
//! Owns the columns, the order of a document, and the escaping. The report writes them to files, and `compare` reads the
//! document back; the doctor uses the JSON strings.

use std::fmt::Write;

use serde::Serialize;

use super::origin::{FORMAT, Origin};
use super::ratio::Ratio;
use crate::bench::{Figure, Row};
use crate::statistics::Spread;

/// A cell: a name, a number, or nothing where nothing was measured.
enum Cell {
    Text(String),
    Count(u64),
    Decimal(f64),
    Flag(bool),
    Missing,
}

/// The columns of both forms, in their order. Those from `takes_per_s` on are of a pool that runs dry (which has
/// a shape, as a pipeline has), the five from `gib_per_s` on of an engine; a row of another pattern has nothing there.
const COLUMNS: [&str; 41] = [
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
    "cpu_share",
    "sleeps",
    "buffers",
    "clock",
    "ratio",
    "ratio_low",
    "ratio_high",
    "ratio_coverage",
    "noisy",
    "memory_bytes",
    "bookkeeping_bytes",
    "refuses",
    "fault",
];

fn cells(row: &Row, group: &[&Row]) -> [Cell; COLUMNS.len()] {
    let decimal = |value: Option<f64>| value.map_or(Cell::Missing, Cell::Decimal);
    let median = |figure| decimal(row.median(figure));
    let count = |ns: Option<u64>| ns.map_or(Cell::Missing, Cell::Count);
    let text = |text: Option<String>| text.map_or(Cell::Missing, Cell::Text);
    let ratio = Ratio::in_group(row, group);
    let interval = ratio.and_then(|ratio| ratio.interval.ok());
    [
        Cell::Text(row.rival.to_string()),
        Cell::Text(row.pattern.to_string()),
        Cell::Count(row.threads as u64),
        Cell::Count(row.size as u64),
        Cell::Count(row.alignment as u64),
        median(Figure::NsPerOp),
        median(Figure::CpuNsPerOp),
        count(row.latency(0.5)),
        count(row.latency(0.99)),
        count(row.latency(0.999)),
        count(row.latency(0.9999)),
        count(row.slowest()),
        Cell::Count(row.ops),
        Cell::Count(row.wrongs.refused),
        Cell::Count(row.lost as u64),
        text(row.form()),
        median(Figure::TakesPerS),
        median(Figure::BeyondWork),
        median(Figure::LongestWait),
        median(Figure::LeastShare),
        median(Figure::SleepsPerTake),
        median(Figure::WakesPerTake),
        median(Figure::BarriersPerTake),
        median(Figure::GibPerS),
        median(Figure::CpuSPerGib),
        median(Figure::FaultsPerGib),
        median(Figure::SleepsPerGib),
        median(Figure::BarriersPerGib),
        median(Figure::CpuShare),
        median(Figure::Sleeps),
        Cell::Count(row.buffers as u64),
        Cell::Text(row.clock.as_str().to_owned()),
        decimal(ratio.map(|ratio| ratio.value)),
        decimal(interval.map(|interval| interval.low)),
        decimal(interval.map(|interval| interval.high)),
        decimal(interval.map(|interval| interval.coverage)),
        Cell::Flag(row.is_noisy()),
        median(Figure::MemoryBytes),
        median(Figure::BookkeepingBytes),
        text(row.refusal()),
        text(row.fault()),
    ]
}

/// The rows that a row is compared with, itself included.
fn group<'r>(rows: &'r [Row], of: &Row) -> Vec<&'r Row> {
    rows.iter().filter(|row| row.is_beside(of)).collect()
}

/// The document: what the run was made on, and a row a line. Of each row it has the rounds of every figure, as they were
/// measured and summed up. What was not measured is `null`.
pub fn json(origin: &Origin, rows: &[Row]) -> Result<String, serde_json::Error> {
    let mut caches: Vec<&str> = Vec::new();
    let standings = rows.iter().flat_map(|row| &row.standing);
    for cache in standings.filter_map(|standing| standing.cache.as_deref()) {
        if !caches.contains(&cache) {
            caches.push(cache);
        }
    }
    let mut out = String::from("{\n");
    let mut field = |name: &str, value: String| {
        out.push_str(&format!("{}:{value},\n", json_string(name)));
    };
    field("format", FORMAT.to_string());
    field("date", written(&origin.date)?);
    field("machine", written(&origin.machine)?);
    field("versions", written(&origin.versions)?);
    field("options", written(&origin.options)?);
    field("seed", origin.seed.to_string());
    field("caches", written(&caches)?);
    out.push_str("\"rows\":[");
    for (place, row) in rows.iter().enumerate() {
        out.push_str(if place == 0 { "\n" } else { ",\n" });
        out.push_str(&object(row, &group(rows, row))?);
    }
    out.push_str("\n]}\n");
    Ok(out)
}

fn written(value: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string(value)
}

fn object(row: &Row, group: &[&Row]) -> Result<String, serde_json::Error> {
    let cells = COLUMNS.into_iter().zip(cells(row, group));
    let mut fields: Vec<String> = cells
        .map(|(name, cell)| {
            let value = match cell {
                Cell::Text(text) => json_string(&text),
                Cell::Count(count) => count.to_string(),
                Cell::Decimal(value) => number(value),
                Cell::Flag(flag) => flag.to_string(),
                Cell::Missing => "null".to_owned(),
            };
            format!("{}:{value}", json_string(name))
        })
        .collect();
    fields.push(format!("\"standing\":{}", written(&row.standing)?));
    let (mut spreads, mut rounds) = (Vec::new(), Vec::new());
    for figure in Figure::ALL {
        let Some(spread) = row.figures.spread(figure) else {
            continue;
        };
        let name = json_string(figure.as_str());
        let numbers = five(spread).map(number);
        spreads.push(format!("{name}:[{}]", numbers.join(",")));
        let each = row.figures.of(figure);
        let each: Vec<String> = each
            .map(|value| value.map_or_else(|| "null".to_owned(), number))
            .collect();
        rounds.push(format!("{name}:[{}]", each.join(",")));
    }
    fields.push(format!("\"spread\":{{{}}}", spreads.join(",")));
    fields.push(format!("\"rounds\":{{{}}}", rounds.join(",")));
    Ok(format!("{{{}}}", fields.join(",")))
}

/// Four decimals: below a nanosecond still a hundredth of a percent.
fn number(value: f64) -> String {
    match value.abs() {
        small if small > 0.0 && small < 0.1 => format!("{value:.8}"),
        _ => format!("{value:.4}"),
    }
}

fn five(spread: Spread) -> [f64; 5] {
    let Spread {
        least,
        lower,
        median,
        upper,
        most,
    } = spread;
    [least, lower, median, upper, most]
}

/// A header, then one line a row. What was not measured is empty. After the columns of both forms follow the rounds of
/// each figure: least, quartiles and most. (Their median is the column of that name; the times of single takes are of all
/// rounds together there.)
pub fn csv(rows: &[Row]) -> String {
    let mut columns: Vec<String> = COLUMNS.map(str::to_owned).to_vec();
    for figure in Figure::ALL {
        let name = figure.as_str();
        columns.extend(["min", "q1", "q3", "max"].map(|part| format!("{name}_{part}")));
    }
    let mut out = columns.join(",");
    out.push('\n');
    for row in rows {
        let cells = cells(row, &group(rows, row)).map(|cell| match cell {
            Cell::Text(text) => csv_string(&text),
            Cell::Count(count) => count.to_string(),
            Cell::Decimal(value) => number(value),
            Cell::Flag(flag) => flag.to_string(),
            Cell::Missing => String::new(),
        });
        let mut values = cells.to_vec();
        for figure in Figure::ALL {
            match row.figures.spread(figure).map(five) {
                Some([least, lower, _, upper, most]) => {
                    values.extend([least, lower, upper, most].map(number));
                }
                None => values.extend([const { String::new() }; 4]),
            }
        }
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

//! Text for people at a terminal: aligned columns.
//!
//! Owns the head and the tables of `bench`, and the aligning that the doctor uses too.

use super::ratio::{self, Ratio};
use super::{Setting, dry, engine};
use crate::bench::{Figure, Group, Measured, Pattern, Row, Standing};
use crate::rival::{Name, names};
use crate::units::{self, MIB};

const HEADER: [&str; 16] = [
    "rival", "ns/op", "ratio", "interval", "of", "cpu/op", "p50", "p99", "p99.9", "p99.99", "max",
    "ops", "refused", "lost", "MiB", "note",
];

/// What the run is made on.
pub fn head(setting: &Setting) -> String {
    let mut out = String::from("hugepool bench\n");
    for (name, fact) in &setting.facts {
        wrap(&mut out, name, fact);
    }
    for skipped in &setting.skipped {
        wrap(&mut out, "skipped", skipped);
    }
    out
}

/// One group: a title, notes and a line for each rival.
pub fn group(group: &Group, measured: &Measured) -> String {
    let rows: Vec<&Row> = measured.rows.iter().collect();
    let mut cells = Vec::with_capacity(rows.len() + 1);
    let mut sentences = Vec::new();
    match group.pattern {
        Pattern::Exhausted => {
            cells.push(dry::COLUMNS.map(str::to_owned).to_vec());
            cells.extend(rows.iter().map(|row| dry::cells(row, "-").to_vec()));
            sentences = dry::ratios(&rows);
        }
        Pattern::Engine => {
            let pool = engine::reference(&rows);
            cells.push(engine::COLUMNS.map(str::to_owned).to_vec());
            cells.extend(
                rows.iter()
                    .map(|row| engine::cells(row, pool, "-").to_vec()),
            );
            sentences = engine::ratios(&rows);
        }
        _ => {
            cells.push(HEADER.map(str::to_owned).to_vec());
            cells.extend(rows.iter().map(|row| line(row, &rows)));
        }
    }
    let mut out = format!("\n{group}, {} buffers\n", group.shape.buffers);
    for note in &measured.notes {
        out.push_str(&format!("  {note}\n"));
    }
    for line in standings(&rows) {
        out.push_str(&format!("  {line}\n"));
    }
    out.push_str(&align(&cells));
    for sentence in sentences {
        out.push_str(&format!("  {sentence}\n"));
    }
    for row in &measured.rows {
        if let Some(fault) = row.fault() {
            out.push_str(&format!("  ! {}: {fault}\n", row.rival));
        }
    }
    out
}

/// What the pools of a group stood on, each kind once behind the rivals that did.
fn standings(rows: &[&Row]) -> Vec<String> {
    let mut kinds: Vec<(&Standing, Vec<Name>)> = Vec::new();
    for row in rows {
        for standing in &row.standing {
            match kinds.iter_mut().find(|(known, _)| *known == standing) {
                Some((_, rivals)) => rivals.push(row.rival),
                None => kinds.push((standing, vec![row.rival])),
            }
        }
    }
    let lines = kinds.into_iter();
    lines
        .map(|(standing, rivals)| format!("{}: {standing}", names(rivals)))
        .collect()
}

fn line(row: &Row, group: &[&Row]) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), units::digits);
    let whole = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |ns| ns.to_string());
    let missing = || "-".to_owned();
    let ratio = Ratio::in_group(row, group);
    vec![
        row.rival.to_string(),
        number(row.median(Figure::NsPerOp)),
        ratio::cell(row, group, ratio.as_ref()).unwrap_or_else(missing),
        ratio
            .and_then(|ratio| ratio.bounds())
            .unwrap_or_else(missing),
        row.clock.as_str().to_owned(),
        number(row.median(Figure::CpuNsPerOp)),
        whole(row.latency(0.5)),
        whole(row.latency(0.99)),
        whole(row.latency(0.999)),
        whole(row.latency(0.9999)),
        whole(row.slowest()),
        row.ops.to_string(),
        row.wrongs.refused.to_string(),
        row.lost.to_string(),
        number(
            row.median(Figure::MemoryBytes)
                .map(|bytes| bytes / MIB as f64),
        ),
        ratio::notes(row, ratio.as_ref()),
    ]
}

/// Columns: the first to the left, the others to the right, two spaces before each.
pub fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for line in lines {
        for (column, cell) in line.iter().enumerate() {
            let width = widths[column];
            if column == 0 {
                out.push_str(&format!("  {cell:<width$}"));
            } else {
                out.push_str(&format!("  {cell:>width$}"));
            }
        }
        while out.ends_with(' ') {
            out.pop();
        }
        out.push('\n');
    }
    out
}

/// A fact behind its name, broken into lines of a terminal's width.
fn wrap(out: &mut String, name: &str, fact: &str) {
    const WIDTH: usize = 100;
    const INDENT: usize = 14;
    let mut line = format!("  {name:<width$}", width = INDENT - 2);
    let mut used = INDENT;
    for word in fact.split(' ') {
        let length = word.chars().count();
        if used > INDENT && used + 1 + length > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = " ".repeat(INDENT);
            used = INDENT;
        }
        if used > INDENT {
            line.push(' ');
            used += 1;
        }
        line.push_str(word);
        used += length;
    }
    out.push_str(&line);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let lines = [["name", "1"], ["n", "1000"]].map(|line| line.map(str::to_owned).to_vec());
        assert_eq!(align(&lines), "  name     1\n  n     1000\n");
        assert_eq!(align(&[]), "");
    }

    #[test]
    fn long_facts_are_broken_at_words() {
        let mut out = String::new();
        wrap(&mut out, "name", &"word ".repeat(40));
        assert!(out.lines().count() > 1);
        assert!(out.lines().all(|line| line.chars().count() <= 100));
        assert!(
            out.lines()
                .skip(1)
                .all(|line| line.starts_with("              w"))
        );
    }
}

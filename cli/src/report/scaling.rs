//! Throughput against threads: a small picture for each rival, all over the same two axes.
//!
//! Owns the pictures. In each this pool's line lies behind the rival's, so that no line has to be found among a dozen by
//! its colour. Uses `axis`; the section of the pattern `threads` shows it.

use std::fmt::Write;

use super::axis::Axis;
use super::dots::CROSS;
use super::kind::Kind;
use super::measure::per_second;
use super::words::escape;
use crate::bench::Row;
use crate::units;

const WIDTH: f64 = 150.0;
const HEIGHT: f64 = 104.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 4.0;
/// What is left free beside the first and the last point.
const INSET: f64 = 9.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 20.0;

/// Operations a second of every rival, a picture each; nothing where there was one number of threads only.
pub fn section(body: &mut String, groups: &[Vec<&Row>]) {
    let rows = || groups.iter().flatten().copied();
    let mut threads: Vec<usize> = rows().map(|row| row.threads).collect();
    threads.sort_unstable();
    threads.dedup();
    let sound = rows().filter(|row| row.fault().is_none());
    let Some(axis) = Axis::over(sound.filter_map(Row::throughput)) else {
        return;
    };
    if threads.len() < 2 {
        return;
    }
    body.push_str(
        "<h3>Operations a second against threads</h3>\n<p>Further up is better; the wall time counts, of all threads \
         together. The broken line is this pool's. A cross: it failed with so many threads.</p>\n",
    );
    for size in super::words::distinct(rows().map(|row| row.size)) {
        let of_size: Vec<&Row> = rows().filter(|row| row.size == size).collect();
        let own = of_size.iter().find(|row| Kind::of(row.rival) == Kind::Own);
        let own: Vec<&Row> = own.map_or_else(Vec::new, |own| of(&of_size, own));
        body.push_str(&format!(
            "<h4>{}</h4>\n<div class=\"small\">\n",
            units::bytes(size)
        ));
        let mut seen = Vec::new();
        for first in &of_size {
            if seen.contains(&first.rival) {
                continue;
            }
            seen.push(first.rival);
            let line = of(&of_size, first);
            let is_own = own.first().is_some_and(|own| own.rival == first.rival);
            let behind: &[&Row] = if is_own { &[] } else { &own };
            let class = if Kind::of(first.rival) == Kind::Own {
                " class=\"own\""
            } else {
                ""
            };
            body.push_str(&format!(
                "<figure{class}><figcaption>{}</figcaption>{}</figure>\n",
                escape(first.rival.as_str()),
                picture(&line, behind, &threads, &axis)
            ));
        }
        body.push_str("</div>\n");
    }
}

/// The rows of one rival, by threads.
fn of<'r>(rows: &[&'r Row], rival: &Row) -> Vec<&'r Row> {
    let mut line: Vec<&Row> = rows
        .iter()
        .copied()
        .filter(|row| row.rival == rival.rival)
        .collect();
    line.sort_by_key(|row| row.threads);
    line
}

fn picture(line: &[&Row], behind: &[&Row], threads: &[usize], axis: &Axis) -> String {
    let last = threads.len().saturating_sub(1).max(1) as f64;
    let x = |row: &Row| {
        let place = threads.iter().position(|count| *count == row.threads);
        LEFT + INSET + place.unwrap_or(0) as f64 / last * (WIDTH - LEFT - RIGHT - 2.0 * INSET)
    };
    let y = |value: f64| TOP + (100.0 - axis.place(value)) / 100.0 * (HEIGHT - TOP - BOTTOM);
    let sound = |row: &Row| row.throughput().filter(|_| row.fault().is_none());
    let points = |rows: &[&Row]| -> Vec<(f64, f64)> {
        let known = rows.iter().filter_map(|row| Some((x(row), y(sound(row)?))));
        known.collect()
    };
    let mut words = Vec::with_capacity(line.len());
    for row in line {
        let value = match sound(row) {
            Some(value) => per_second(value),
            None if row.fault().is_some() => "failed".to_owned(),
            None => "not measured".to_owned(),
        };
        words.push(format!("{} threads {value}", row.threads));
    }
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\"><title>{}</title>",
        escape(&words.join(", "))
    );
    // Writing to a string cannot fail.
    let mut push = |piece: std::fmt::Arguments<'_>| {
        let _ = svg.write_fmt(piece);
    };
    for tick in axis.ticks() {
        let at = y(*tick);
        push(format_args!(
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 4.0,
            at + 3.5,
            escape(&per_second(*tick))
        ));
    }
    for row in line {
        push(format_args!(
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            x(row),
            HEIGHT - 5.0,
            row.threads
        ));
    }
    for (class, rows) in [("behind", behind), ("front", line)] {
        let points: Vec<String> = points(rows)
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        push(format_args!(
            "<polyline class=\"{class}\" points=\"{}\"/>",
            points.join(" ")
        ));
    }
    for (x, y) in points(line) {
        push(format_args!(
            "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"
        ));
    }
    for row in line.iter().filter(|row| row.fault().is_some()) {
        let at = (x(row) - 4.0, HEIGHT - BOTTOM - 5.0);
        let cross = CROSS.replacen(
            "<svg",
            &format!(
                "<svg x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\"",
                at.0, at.1
            ),
            1,
        );
        push(format_args!("{cross}"));
    }
    svg.push_str("</svg>");
    svg
}

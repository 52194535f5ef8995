//! One page with everything: charts and a table, in one file that needs no network.
//!
//! Owns the page's structure and the choice of charts; the drawing is `chart`'s and the look is `style.css`'s. The
//! report writes it to a file.

use super::chart::{Bar, Lines, Series, bars};
use super::ratio::{self, Ratio};
use super::{Setting, own};
use crate::bench::{DryShape, Figure, Pattern, Row, Sides};
use crate::units;

const STYLE: &str = include_str!("style.css");

/// Shares of the takes for the latency curves; the slowest one of all ends each curve.
const QUANTILES: [f64; 10] = [
    0.0, 0.5, 0.75, 0.9, 0.96, 0.99, 0.996, 0.999, 0.9996, 0.9999,
];

/// The whole page.
pub fn page(setting: &Setting, rows: &[Row]) -> String {
    let mut body = String::from("<h1>hugepool bench</h1>\n<dl>\n");
    for (name, fact) in &setting.facts {
        body.push_str(&format!(
            "<dt>{}</dt><dd>{}</dd>\n",
            escape(name),
            escape(fact)
        ));
    }
    for skipped in &setting.skipped {
        body.push_str(&format!("<dt>skipped</dt><dd>{}</dd>\n", escape(skipped)));
    }
    body.push_str("</dl>\n");
    faults(&mut body, rows);
    throughput(&mut body, rows);
    for pattern in Pattern::ALL {
        patterns(&mut body, pattern, rows);
    }
    table(&mut body, rows);
    own::dry_table(&mut body, rows);
    own::engine_table(&mut body, rows);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>hugepool bench</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
}

/// Text for a page or an attribute.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// What went wrong, before anything else.
fn faults(body: &mut String, rows: &[Row]) {
    let lines: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            let fault = escape(&row.fault()?);
            let line = format!("{}, {}: {fault}", row.rival, title(row));
            Some(if row.rival.is_hugepool() {
                format!("<li class=\"failed\">{line}</li>\n")
            } else {
                format!("<li>{line}</li>\n")
            })
        })
        .collect();
    if !lines.is_empty() {
        body.push_str(&format!(
            "<h2>What went wrong</h2>\n<ul>\n{}</ul>\n",
            lines.concat()
        ));
    }
}

/// Operations a second against threads, one chart for each size.
fn throughput(body: &mut String, rows: &[Row]) {
    let rows: Vec<&Row> = rows
        .iter()
        .filter(|row| row.pattern == Pattern::Threads)
        .collect();
    let mut threads: Vec<usize> = rows.iter().map(|row| row.threads).collect();
    threads.sort_unstable();
    threads.dedup();
    let ticks: Vec<(f64, String)> = threads
        .iter()
        .enumerate()
        .map(|(place, threads)| (place as f64, threads.to_string()))
        .collect();
    if ticks.is_empty() {
        return;
    }
    body.push_str("<h2>Throughput against threads</h2>\n");
    body.push_str(
        "<p>Pattern <code>threads</code>: each thread holds a ring of buffers, and the pool has exactly as many as \
         they hold together. Higher is better.</p>\n<div class=\"charts\">\n",
    );
    for size in distinct(rows.iter().map(|row| row.size)) {
        let mut series: Vec<Series> = Vec::new();
        for row in rows.iter().filter(|row| row.size == size) {
            let Some(throughput) = row.throughput() else {
                continue;
            };
            let place = threads.iter().position(|threads| *threads == row.threads);
            let point = (place.unwrap_or(0) as f64, throughput);
            let name = row.rival.to_string();
            match series.iter_mut().find(|line| line.name == name) {
                Some(line) => line.points.push(point),
                None => series.push(Series {
                    name,
                    points: vec![point],
                }),
            }
        }
        for line in &mut series {
            line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        let title = format!("Operations a second, {}", units::bytes(size));
        let chart = Lines {
            title: &title,
            x_label: "threads",
            x_ticks: &ticks,
            series: &series,
            show: per_second,
        };
        figure(body, &title, &chart.svg());
    }
    body.push_str("</div>\n");
}

/// Bars and latency curves of every group of one pattern.
fn patterns(body: &mut String, pattern: Pattern, rows: &[Row]) {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.pattern == pattern).collect();
    if rows.is_empty() {
        return;
    }
    body.push_str(&format!(
        "<h2>Pattern <code>{pattern}</code></h2>\n<p>{}</p>\n<div class=\"charts\">\n",
        pattern.explained()
    ));
    for wanted in distinct(rows.iter().map(|row| key(row))) {
        let group: Vec<&Row> = rows
            .iter()
            .copied()
            .filter(|row| key(row) == wanted)
            .collect();
        let Some(first) = group.first() else { continue };
        if let Some(shape) = first.shape {
            dry_charts(body, shape, &group);
            continue;
        }
        if pattern == Pattern::Engine {
            engine_charts(body, &group);
            continue;
        }
        let caption = format!("Time of an operation: {}", title(first));
        let values = values(&group, Figure::NsPerOp);
        figure(body, &caption, &bars(&caption, &values, units::time));
        let caption = format!("Time of a single take: {}", title(first));
        figure(body, &caption, &curves(&caption, &group));
    }
    body.push_str("</div>\n");
}

/// What makes a row one of its group, within a pattern.
fn key(row: &Row) -> (Option<DryShape>, Option<Sides>, usize, usize) {
    (row.shape, row.sides, row.size, row.threads)
}

/// A bar for each row that has the figure. (A baseline's noise may leave less than nothing, and some never fault: no
/// logarithm shows that.)
fn values(group: &[&Row], figure: Figure) -> Vec<Bar> {
    group
        .iter()
        .filter_map(|row| {
            Some(Bar {
                name: row.rival.to_string(),
                rounds: row.figures.spread(figure)?,
            })
        })
        .filter(|bar| bar.rounds.median > 0.0)
        .collect()
}

/// Bars and waits of one shape of a pool that runs dry, and how this pool compares.
fn dry_charts(body: &mut String, shape: DryShape, group: &[&Row]) {
    let show: fn(f64) -> String = units::time;
    let charts = [
        (
            format!("Takes a second, {shape}: {}", shape.explained()),
            Figure::TakesPerS,
            per_second as fn(f64) -> String,
        ),
        (
            format!("Processor time of a take beyond the work, {shape}"),
            Figure::BeyondWork,
            show,
        ),
        (format!("Longest wait, {shape}"), Figure::LongestWait, show),
    ];
    for (caption, of, show) in charts {
        figure(body, &caption, &bars(&caption, &values(group, of), show));
    }
    let caption = format!("Time from asking to having, {shape}");
    figure(body, &caption, &curves(&caption, group));
}

/// Bars of one engine.
fn engine_charts(body: &mut String, group: &[&Row]) {
    let Some(first) = group.first() else { return };
    let charts = [
        ("GiB a second", Figure::GibPerS),
        ("Seconds of processor time for a GiB", Figure::CpuSPerGib),
        ("Page faults for a GiB", Figure::FaultsPerGib),
    ];
    for (what, of) in charts {
        let caption = format!("{what}: {}", title(first));
        figure(
            body,
            &caption,
            &bars(&caption, &values(group, of), units::digits),
        );
    }
}

/// Latency over the share of takes, with room for the nines.
fn curves(title: &str, group: &[&Row]) -> String {
    let place = |quantile: f64| -(1.0 - quantile).log10();
    let slowest = 5.0;
    let ticks: Vec<(f64, String)> = [
        (0.0, "0 %"),
        (1.0, "90 %"),
        (2.0, "99 %"),
        (3.0, "99.9 %"),
        (4.0, "99.99 %"),
        (slowest, "max"),
    ]
    .map(|(place, label)| (place, label.to_owned()))
    .to_vec();
    let series: Vec<Series> = group
        .iter()
        .filter_map(|row| {
            let mut points = Vec::with_capacity(QUANTILES.len() + 1);
            for quantile in QUANTILES {
                points.push((place(quantile), row.latency(quantile)?.max(1) as f64));
            }
            points.push((slowest, row.slowest()?.max(1) as f64));
            Some(Series {
                name: row.rival.to_string(),
                points,
            })
        })
        .collect();
    Lines {
        title,
        x_label: "share of takes at least as fast",
        x_ticks: &ticks,
        series: &series,
        show: units::time,
    }
    .svg()
}

fn table(body: &mut String, rows: &[Row]) {
    const COLUMNS: [&str; 19] = [
        "rival",
        "pattern",
        "threads",
        "size",
        "alignment",
        "ns/op",
        "ratio",
        "interval",
        "of",
        "cpu ns/op",
        "p50",
        "p99",
        "p99.9",
        "p99.99",
        "max",
        "ops",
        "refused",
        "lost",
        "note",
    ];
    let rows: Vec<&Row> = rows.iter().filter(|row| row.is_usual()).collect();
    if rows.is_empty() {
        return;
    }
    let header: String = COLUMNS.map(|name| format!("<th>{name}</th>")).concat();
    body.push_str(&format!(
        "<h2>All numbers</h2>\n<p>Times in ns. Below each the rounds: least, quartiles in brackets, most. p50 to max are of the takes of \
         all rounds.</p>\n<div class=\"wide\"><table>\n<thead><tr>{header}</tr></thead>\n"
    ));
    for (pattern, wanted) in distinct(rows.iter().map(|row| (row.pattern, key(row)))) {
        let same = |row: &&Row| (row.pattern, key(row)) == (pattern, wanted);
        let group: Vec<&Row> = rows.iter().copied().filter(same).collect();
        body.push_str("<tbody>\n");
        for row in &group {
            body.push_str(&line(row, &group));
        }
        body.push_str("</tbody>\n");
    }
    body.push_str("</table></div>\n");
}

fn line(row: &Row, group: &[&Row]) -> String {
    let missing = || "–".to_owned();
    let spread = |cell: String, of| own::with_spread(row, &cell, Some((of, 1.0)));
    let median = |of| spread(row.median(of).map_or_else(missing, units::digits), of);
    let take = |ns: Option<u64>, of| spread(ns.map_or_else(missing, |ns| ns.to_string()), of);
    let ratio = Ratio::in_group(row, group);
    let cells = [
        escape(row.rival.as_str()),
        escape(row.pattern.as_str()),
        row.threads.to_string(),
        units::short(row.size),
        units::short(row.alignment),
        median(Figure::NsPerOp),
        ratio::cell(row, group, ratio.as_ref()).unwrap_or_else(missing),
        ratio
            .and_then(|ratio| ratio.bounds())
            .unwrap_or_else(missing),
        row.clock.as_str().to_owned(),
        median(Figure::CpuNsPerOp),
        take(row.latency(0.5), Figure::P50),
        take(row.latency(0.99), Figure::P99),
        take(row.latency(0.999), Figure::P999),
        take(row.latency(0.9999), Figure::P9999),
        take(row.slowest(), Figure::Max),
        row.ops.to_string(),
        row.wrongs.refused.to_string(),
        row.lost.to_string(),
        escape(&ratio::notes(row, ratio.as_ref())),
    ];
    table_row(row, &cells)
}

/// A line of a table; its class says whose it is and whether something went wrong.
pub fn table_row(row: &Row, cells: &[String]) -> String {
    let class = match (row.rival.is_hugepool(), row.fault().is_some()) {
        (true, true) => " class=\"own failed\"",
        (true, false) => " class=\"own\"",
        (false, true) => " class=\"failed\"",
        (false, false) => "",
    };
    let cells: String = cells
        .iter()
        .map(|cell| format!("<td>{cell}</td>"))
        .collect();
    format!("<tr{class}>{cells}</tr>\n")
}

fn figure(body: &mut String, caption: &str, svg: &str) {
    if !svg.is_empty() {
        body.push_str(&format!(
            "<figure><figcaption>{}</figcaption>{svg}</figure>\n",
            escape(caption)
        ));
    }
}

/// What a row's group is, in words.
fn title(row: &Row) -> String {
    format!("{}, {}", row.title(), units::bytes(row.size))
}

/// The different values in the order of their first appearance.
pub fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut kept = Vec::new();
    for value in values {
        if !kept.contains(&value) {
            kept.push(value);
        }
    }
    kept
}

fn per_second(value: f64) -> String {
    let (value, unit) = match value {
        value if value < 1e3 => (value, "/s"),
        value if value < 1e6 => (value / 1e3, "k/s"),
        value if value < 1e9 => (value / 1e6, "M/s"),
        value => (value / 1e9, "G/s"),
    };
    // Whole powers of ten stand on the axis; they need no decimals.
    if value.fract() == 0.0 {
        format!("{value:.0} {unit}")
    } else {
        format!("{} {unit}", units::digits(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_means_something_to_a_page_is_escaped() {
        assert_eq!(
            escape("<a href=\"x\">'&"),
            "&lt;a href=&quot;x&quot;&gt;&#39;&amp;"
        );
    }

    #[test]
    fn the_style_asks_no_network() {
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    }
}

//! The pictures of each pattern.
//!
//! Owns which figures are drawn, which pictures share an axis (all of one figure in one pattern), and the words above
//! them. Uses `dots` for a picture, `scaling` for throughput against threads; the page shows it.

use super::axis::Axis;
use super::dots::{self, Line, Mark, Takes};
use super::html::escape;
use super::measure::{self, Measure};
use super::verdict::groups;
use super::{kind::Kind, scaling};
use crate::bench::{Clock, Pattern, Row};
use crate::units;

/// The section of one pattern; nothing if it was not measured.
pub fn pattern(body: &mut String, pattern: Pattern, rows: &[Row]) {
    let groups = groups(rows.iter().filter(|row| row.pattern == pattern));
    if groups.is_empty() {
        return;
    }
    body.push_str(&format!(
        "<section>\n<h2 id=\"{pattern}\">Pattern <code>{pattern}</code></h2>\n<p>{}</p>\n",
        pattern.explained()
    ));
    if pattern == Pattern::Exhausted {
        body.push_str("<dl>\n");
        for shape in groups.iter().filter_map(|group| group[0].shape) {
            body.push_str(&format!(
                "<dt><code>{shape}</code></dt><dd>{}</dd>\n",
                escape(&shape.explained())
            ));
        }
        body.push_str("</dl>\n");
    }
    let own = measure::drawn(pattern);
    if own.is_empty() {
        times(body, &groups);
    }
    for measure in own {
        rounds(body, &groups, measure);
    }
    takes(body, &groups);
    if pattern == Pattern::Threads {
        scaling::section(body, &groups);
    }
    body.push_str("</section>\n");
}

/// The name of a group's first picture, for links.
pub fn anchor(row: &Row) -> String {
    match row.shape {
        Some(shape) => format!("{}-{shape}", row.pattern),
        None => format!("{}-{}-{}", row.pattern, row.size, row.threads),
    }
}

/// What a group is, within its pattern.
pub fn group_of(row: &Row) -> String {
    if let Some(shape) = row.shape {
        return shape.to_string();
    }
    let plural = if row.threads == 1 { "" } else { "s" };
    format!("{}, {} thread{plural}", units::bytes(row.size), row.threads)
}

/// One picture: its caption and its lines.
struct Picture {
    anchor: Option<String>,
    caption: String,
    lines: Vec<Line>,
}

/// The time of an operation, by each group's clock.
fn times(body: &mut String, groups: &[Vec<&Row>]) {
    let pictures = groups.iter().map(|group| {
        let measure = measure::time(group[0].clock);
        let by = match group[0].clock {
            Clock::Wall => "",
            Clock::Cpu => ": processor time",
        };
        Picture {
            anchor: Some(anchor(group[0])),
            caption: group_of(group[0]) + by,
            lines: of_rounds(group, &measure),
        }
    });
    let measure = measure::time(Clock::Wall);
    body.push_str(&format!("<h3>{}</h3>\n", measure.what));
    explain_rounds(body, &measure);
    same_axis(body, pictures.collect(), measure.show, "median");
}

/// Another figure.
fn rounds(body: &mut String, groups: &[Vec<&Row>], measure: &Measure) {
    let is_first = measure::drawn(groups[0][0].pattern)
        .first()
        .is_some_and(|first| first.figure == measure.figure);
    let pictures = groups.iter().map(|group| Picture {
        anchor: is_first.then(|| anchor(group[0])),
        caption: group_of(group[0]),
        lines: of_rounds(group, measure),
    });
    body.push_str(&format!("<h3>{}</h3>\n", measure.what));
    explain_rounds(body, measure);
    same_axis(body, pictures.collect(), measure.show, "median");
}

fn explain_rounds(body: &mut String, measure: &Measure) {
    let better = if measure.more_is_better {
        "Further right is better"
    } else {
        "Further left is better"
    };
    body.push_str(&format!(
        "<p>{better}. Dot: the median of the rounds; thick line: their middle half; thin line: least to most.</p>\n"
    ));
}

fn of_rounds(group: &[&Row], measure: &Measure) -> Vec<Line> {
    let drawn = group.iter().filter(|row| {
        // A baseline has only the figures that it is the floor of.
        let is_floor = row.median(measure.figure).is_some() || row.fault().is_some();
        is_floor || Kind::of(row.rival) != Kind::Baseline
    });
    let line = |row: &&Row| {
        Line::new(row, || match row.figures.spread(measure.figure) {
            None => Mark::Missing("not measured".to_owned()),
            Some(rounds) if rounds.median > 0.0 => {
                Mark::Rounds(rounds, row.is_noisy().then_some("noisy"))
            }
            Some(rounds) => Mark::Missing(format!(
                "{}: nothing that this axis could show",
                (measure.show)(rounds.median)
            )),
        })
    };
    drawn.map(line).collect()
}

/// How long single takes lasted, or waits for a buffer.
fn takes(body: &mut String, groups: &[Vec<&Row>]) {
    let pictures: Vec<Picture> = groups
        .iter()
        .filter(|group| group.iter().any(|row| quantiles(row).is_some()))
        .map(|group| Picture {
            anchor: None,
            caption: group_of(group[0]),
            lines: group
                .iter()
                .map(|row| {
                    Line::new(row, || {
                        quantiles(row)
                            .map_or_else(|| Mark::Missing("not measured".to_owned()), Mark::Takes)
                    })
                })
                .collect(),
        })
        .collect();
    let Some(picture) = groups.first().filter(|_| !pictures.is_empty()) else {
        return;
    };
    let what = if picture[0].shape.is_some() {
        "Time from asking to having"
    } else {
        "Time of a single take"
    };
    body.push_str(&format!(
        "<h3>{what}</h3>\n<p>Further left is better. Dot: the median of all takes; strokes: 99, 99.9 and 99.99 % of them were not \
         slower; ring: the slowest.</p>\n"
    ));
    same_axis(body, pictures, units::time, "p50 / p99.99");
}

fn quantiles(row: &Row) -> Option<Takes> {
    let at = |quantile| row.latency(quantile).map(|ns| ns.max(1) as f64);
    Some(Takes {
        median: at(0.5)?,
        slow: [at(0.99)?, at(0.999)?, at(0.9999)?],
        slowest: row.slowest()?.max(1) as f64,
    })
}

/// Pictures beside each other, over one axis.
fn same_axis(body: &mut String, pictures: Vec<Picture>, show: fn(f64) -> String, head: &str) {
    let lines = pictures.iter().flat_map(|picture| &picture.lines);
    let axis = Axis::over(lines.flat_map(Line::extent));
    // Where nothing has a value all lines are words, which no axis moves.
    let Some(axis) = axis.or_else(|| Axis::over([1.0])) else {
        return;
    };
    body.push_str("<div class=\"charts\">\n");
    for Picture {
        anchor,
        caption,
        lines,
    } in pictures
    {
        let id = anchor.map_or_else(String::new, |anchor| format!(" id=\"{}\"", escape(&anchor)));
        body.push_str(&format!(
            "<figure{id}><figcaption>{}</figcaption>\n{}</figure>\n",
            escape(&caption),
            dots::list(&lines, &axis, show, head)
        ));
    }
    body.push_str("</div>\n");
}

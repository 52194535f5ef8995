//! The pictures of each pattern.
//!
//! Owns which figures are drawn, which pictures share an axis (all of one figure in one pattern), and the words above
//! them. Uses `dots` for a picture, `scaling` for throughput against threads; the page shows it.

use super::axis::Axis;
use super::dots::{self, Line, Mark, Takes};
use super::measure::{self, Measure};
use super::verdict::groups;
use super::words::escape;
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
    match (row.shape, row.sides) {
        (Some(shape), _) => format!("{}-{shape}", row.pattern),
        (None, Some(sides)) => format!(
            "{}-{}-{}-{}",
            row.pattern, row.size, sides.takers, sides.givers
        ),
        (None, None) => format!("{}-{}-{}", row.pattern, row.size, row.threads),
    }
}

/// What a group is, within its pattern.
pub fn group_of(row: &Row) -> String {
    if let Some(shape) = row.shape {
        return shape.to_string();
    }
    if let Some(sides) = row.sides {
        return format!("{}, {sides}", units::bytes(row.size));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Figure;
    use crate::report::html::page;
    use crate::report::made::{group, lossy, row, setting, steady, with_takes};
    use crate::rival::Name;

    /// What stands in a figure, by its caption.
    fn figures(body: &str) -> Vec<(&str, &str)> {
        let figures = body.split("<figure").skip(1);
        figures
            .map(|figure| {
                let (_, rest) = figure.split_once("<figcaption>").expect("it has one");
                rest.split_once("</figcaption>").expect("it ends")
            })
            .collect()
    }

    fn cut<'t>(text: &'t str, from: &str, to: &str) -> &'t str {
        let (_, rest) = text.split_once(from).expect(from);
        rest.split_once(to).expect(to).0
    }

    #[test]
    fn the_pictures_of_a_pattern_share_an_axis() {
        let (small, large) = (group(Pattern::Fill, 4096), group(Pattern::Fill, 1 << 20));
        let rows = [
            with_takes(steady(Name::Hugepool, &small, 10.0), &[10, 20]),
            with_takes(steady(Name::Glibc, &small, 3.0), &[30]),
            with_takes(steady(Name::Hugepool, &large, 10.0), &[10, 20]),
            with_takes(steady(Name::Glibc, &large, 70_000.0), &[80_000]),
        ];
        let mut body = String::new();
        pattern(&mut body, Pattern::Fill, &rows);
        let figures = figures(&body);
        let captions: Vec<&str> = figures.iter().map(|figure| figure.0).collect();
        assert_eq!(captions, ["4 KiB, 1 thread", "1 MiB, 1 thread"].repeat(2));
        for pair in figures.chunks(2) {
            let [labels, dots] = [("class=\"labels\"", "</svg>"), ("<b>hugepool</b>", "</li>")]
                .map(|(from, to)| [pair[0], pair[1]].map(|figure| cut(figure.1, from, to)));
            assert!(labels[0].contains("100 ns") && labels[0].contains("10 µs"));
            assert_eq!(labels[0], labels[1], "the axis");
            assert_eq!(dots[0], dots[1], "equal values have equal places");
        }
    }

    #[test]
    fn a_rival_that_failed_has_a_cross_and_the_reason_and_no_time_anywhere_on_the_page() {
        let same = group(Pattern::Same, 4096);
        let rows = [
            steady(Name::Hugepool, &same, 10.0),
            with_takes(lossy(Name::Glibc, &same, 1.234, 3), &[1, 2]),
            steady(Name::Mimalloc, &same, 20.0),
        ];
        let page = page(&setting(), &rows);
        let failed = "failed: lost 3 buffers";
        // Both pictures, and the table.
        assert_eq!(page.matches(failed).count(), 3, "{page}");
        for (_, figure) in figures(&page) {
            let line = cut(figure, "<b>glibc</b>", "</li>");
            assert!(line.contains("class=\"cross\"") && line.contains(failed));
            assert!(!line.contains("circle"), "{line}");
        }
        assert!(!page.contains("1.23"), "{page}");
        assert!(page.contains("10 ns"), "others have their times");
    }

    #[test]
    fn a_rival_of_which_nothing_is_known_is_named_all_the_same() {
        let same = group(Pattern::Same, 4096);
        let rows = [
            steady(Name::Hugepool, &same, 10.0),
            Row::empty(Name::Glibc, &same),
        ];
        let mut body = String::new();
        pattern(&mut body, Pattern::Same, &rows);
        let line = cut(&body, "<b>glibc</b>", "</li>");
        assert!(line.contains("not measured"), "{line}");
    }

    #[test]
    fn a_figure_that_no_logarithm_has_is_said_in_words() {
        let engine = group(Pattern::Engine, 4096);
        let faults = Figure::FaultsPerGib;
        let rows = [
            row(Name::Hugepool, &engine, faults, &[Some(0.0); 7]),
            row(Name::Glibc, &engine, faults, &[Some(30.0); 7]),
        ];
        let mut body = String::new();
        pattern(&mut body, Pattern::Engine, &rows);
        assert!(
            body.contains("0.00: nothing that this axis could show"),
            "{body}"
        );
    }
}

//! One page with everything, in one file that needs no network.
//!
//! Owns the page's structure and the table of all numbers. Its top is `summary`'s, its pictures are `pictures`', and the
//! look is `style.css`'s. The report writes it to a file.

use super::ratio::{self, Ratio};
use super::words::escape;
use super::{Setting, own, pictures, summary, verdict};
use crate::bench::{Figure, Pattern, Row};
use crate::units;

const STYLE: &str = include_str!("style.css");

/// The whole page.
pub fn page(setting: &Setting, rows: &[Row]) -> String {
    let mut body = String::from("<h1>hugepool bench</h1>\n");
    summary::top(&mut body, setting, rows);
    for pattern in Pattern::ALL {
        pictures::pattern(&mut body, pattern, rows);
    }
    table(&mut body, rows);
    own::dry_table(&mut body, rows);
    own::engine_table(&mut body, rows);
    body.push_str("<h2>How it was measured</h2>\n<dl>\n");
    for (name, fact) in &setting.facts {
        body.push_str(&format!(
            "<dt>{}</dt><dd>{}</dd>\n",
            escape(name),
            escape(fact)
        ));
    }
    body.push_str("</dl>\n");
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>hugepool bench, {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape(&setting.origin.date)
    )
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
    body.push_str(
        "<h2>All numbers</h2>\n<p>Times in ns. Below each the rounds: least, quartiles in brackets, most. p50 to max are of the takes of \
         all rounds.</p>\n",
    );
    own::open_table(body, "All numbers", &COLUMNS);
    for group in verdict::groups(rows.into_iter()) {
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
    // A ratio to a pool that failed is one to nothing.
    let is_sound = ratio::reference(group, row).is_some_and(|pool| pool.fault().is_none());
    let ratio = Ratio::in_group(row, group).filter(|_| is_sound);
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
    own::table_row(row, &cells, 5)
}

#[cfg(test)]
#[path = "../../tests/common/markup.rs"]
mod markup;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::bench::Group;
    use crate::report::made::{self, group, lossy, noisy, setting, steady, with_takes};
    use crate::rival::Name;

    #[test]
    fn the_style_asks_no_network() {
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    }

    #[test]
    fn a_page_of_every_outcome_and_one_of_nothing_are_well_formed() {
        let sized = |size| group(Pattern::Same, size);
        let threads = |threads| Group {
            threads,
            ..group(Pattern::Threads, 4096)
        };
        let mut rows = vec![
            with_takes(steady(Name::Hugepool, &sized(1), 10.0), &[1, 2, 3]),
            with_takes(steady(Name::Glibc, &sized(1), 20.0), &[5]),
            with_takes(steady(Name::MutexVec, &sized(1), 5.0), &[4_000_000]),
            steady(Name::Limit, &sized(1), 2.0),
            lossy(Name::Hugepool, &sized(2), 1.0, 1),
            noisy(Name::Glibc, &sized(2), 1.0),
            steady(Name::Hugepool, &sized(3), 10.0),
            noisy(Name::Glibc, &sized(3), 10.0),
            lossy(Name::StoreIoBuf, &sized(3), 10.0, 4),
            Row::empty(Name::Mmap, &sized(3)),
        ];
        for count in [1, 2, 3] {
            rows.push(steady(Name::Hugepool, &threads(count), 10.0));
            rows.push(steady(Name::Glibc, &threads(count), 30.0));
            let row = steady(Name::StoreIoBuf, &threads(count), 30.0);
            rows.push(if count == 2 {
                lossy(Name::StoreIoBuf, &threads(2), 1.0, 1)
            } else {
                row
            });
        }
        for (pattern, figure) in [
            (Pattern::Exhausted, Figure::TakesPerS),
            (Pattern::Engine, Figure::GibPerS),
        ] {
            let group = group(pattern, 4096);
            for (name, value) in [(Name::Hugepool, 10.0), (Name::Channel, 12.0)] {
                rows.push(made::row(name, &group, figure, &[Some(value); 7]));
            }
        }
        let whole = page(&setting(), &rows);
        assert!(!markup::elements(&whole).is_empty());
        assert!(!markup::elements(&page(&setting(), &[])).is_empty());
    }

    /// The colours of one block of the style, by name: red, green and blue.
    fn colours(block: &str) -> HashMap<&str, [u8; 3]> {
        let declarations = block.split(['{', ';', '}']);
        declarations
            .filter_map(|it| it.trim().strip_prefix("--")?.split_once(": #"))
            .map(|(name, hex)| {
                let part = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect(hex);
                (name, [part(0), part(2), part(4)])
            })
            .collect()
    }

    /// As the guidelines for accessibility (WCAG 2.2) have it.
    fn contrast(one: [u8; 3], two: [u8; 3]) -> f64 {
        let light = |colour: [u8; 3]| -> f64 {
            let linear = colour.map(|part| match f64::from(part) / 255.0 {
                part if part <= 0.04045 => part / 12.92,
                part => ((part + 0.055) / 1.055).powf(2.4),
            });
            0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        };
        let [one, two] = [light(one), light(two)];
        (one.max(two) + 0.05) / (one.min(two) + 0.05)
    }

    #[test]
    fn words_stand_out_from_their_ground_as_much_as_they_must_in_light_dark_and_print() {
        assert!((contrast([0; 3], [255; 3]) - 21.0).abs() < 1e-9);
        let blocks: Vec<_> = STYLE
            .split(":root")
            .skip(1)
            .map(|block| colours(block.split_once('}').expect("it ends").0))
            .collect();
        assert_eq!(blocks.len(), 3);
        for block in blocks {
            for ground in ["ground", "card"] {
                for words in ["ink", "faint", "own", "lose", "bad", "mark"] {
                    let found = contrast(block[words], block[ground]);
                    assert!(found >= 4.5, "{words} on {ground}: {found:.2}");
                }
            }
        }
    }
}

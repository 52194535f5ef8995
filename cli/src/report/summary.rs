//! The top of the page: what was measured, where this pool wins and where it loses, and how sure that is.
//!
//! Owns the words, all of them worked out from the rows. Uses `verdict` for what each comparison comes to and `outcomes`
//! for their table; the page shows it before anything else.

use super::Setting;
use super::dots::CROSS;
use super::outcomes;
use super::verdict::{Comparison, Outcome, Why, comparisons};
use super::words::{counted, distinct, escape, in_words, title};
use crate::bench::Row;
use crate::statistics::CONFIDENCE;
use crate::units;

/// The whole top.
pub fn top(body: &mut String, setting: &Setting, rows: &[Row]) {
    let comparisons = comparisons(rows);
    measured(body, setting, rows);
    outcomes::table(body, &comparisons, rows);
    faults(body, rows);
    certainty(body, setting, rows, &comparisons);
}

/// On what, when, and with what, in two lines.
fn measured(body: &mut String, setting: &Setting, rows: &[Row]) {
    let origin = &setting.origin;
    let machine = &origin.machine;
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    let online = machine
        .online_cpus
        .map_or_else(|| "?".to_owned(), |cpus| cpus.to_string());
    let mut on = vec![
        known(&machine.cpu_model),
        format!("{} of {online} CPUs", machine.allowed_cpus),
    ];
    on.extend(
        machine
            .memory_bytes
            .map(|bytes| format!("{} of memory", units::bytes64(bytes))),
    );
    on.push(format!("Linux {}", known(&machine.kernel)));
    on.push(format!(
        "transparent huge pages: {}",
        known(&machine.transparent)
    ));
    let mut versions: Vec<String> = Vec::new();
    for (name, version) in &origin.versions {
        if name == "hugepool" {
            versions.insert(0, format!("hugepool {version}"));
        } else {
            versions.push(version.clone());
        }
    }
    let date = origin.date.replace('T', " ").replace('Z', " UTC");
    let patterns = distinct(rows.iter().map(|row| row.pattern));
    let patterns: Vec<String> = patterns
        .iter()
        .map(|pattern| format!("<a href=\"#{pattern}\">{pattern}</a>"))
        .collect();
    let mut sizes = distinct(rows.iter().map(|row| row.size));
    sizes.sort_unstable();
    let sizes: Vec<String> = sizes.into_iter().map(units::bytes).collect();
    body.push_str(&format!(
        "<p class=\"lead\">What it takes to take a buffer and give it back, by this pool and by others: buffers of {}, in the \
         pattern{} {}.</p>\n<p class=\"measured\">{}.<br>\n{date}, {}; {}.</p>\n",
        escape(&in_words(&sizes)),
        if patterns.len() == 1 { "" } else { "s" },
        in_words(&patterns),
        escape(&on.join(", ")),
        counted(origin.options.rounds, "round"),
        escape(&versions.join(", ")),
    ));
    for skipped in &setting.skipped {
        body.push_str(&format!("<p>Not run: {}.</p>\n", escape(skipped)));
    }
}

/// Every row that failed, and why.
fn faults(body: &mut String, rows: &[Row]) {
    let failed: Vec<(&Row, String)> = rows
        .iter()
        .filter_map(|row| Some((row, row.fault()?)))
        .collect();
    if failed.is_empty() {
        return;
    }
    body.push_str(&format!(
        "<h2 id=\"what-failed\">What failed: {} of {} rows</h2>\n<p>No time of these is shown or compared.</p>\n<ul class=\"faults\">\n",
        failed.len(),
        rows.len()
    ));
    for (row, fault) in failed {
        let class = if row.rival.is_hugepool() {
            " class=\"own\""
        } else {
            ""
        };
        body.push_str(&format!(
            "<li{class}>{CROSS} <b>{}</b>, {}: {}</li>\n",
            escape(row.rival.as_str()),
            escape(&title(row)),
            escape(&fault)
        ));
    }
    body.push_str("</ul>\n");
}

/// How far all this is to be believed.
fn certainty(body: &mut String, setting: &Setting, rows: &[Row], comparisons: &[Comparison<'_>]) {
    let intervals: Vec<f64> = comparisons
        .iter()
        .filter(|it| it.outcome.is_judged())
        .filter_map(|it| Some(it.best.as_ref()?.ratio?.interval.ok()?.coverage))
        .collect();
    let rounds = counted(setting.origin.options.rounds, "round");
    let mut sentences = Vec::new();
    if let Some(least) = intervals.iter().copied().reduce(f64::min) {
        let missed: f64 = intervals.iter().map(|coverage| 1.0 - coverage).sum();
        sentences.push(format!(
            "<b>{:.1} % each.</b> A ratio is taken in each of {rounds}, and the median of these is shown, which is not the \
             ratio of two medians; its interval has the true ratio in it in at least {:.1} % of all cases (sign test).",
            100.0 * least,
            100.0 * least
        ));
        sentences.push(format!(
            "<b>{} of {} wrong by chance.</b> So many of these intervals must be expected to miss; nothing is taken off for \
             their number.",
            units::digits(missed),
            intervals.len()
        ));
    } else if comparisons
        .iter()
        .any(|it| it.outcome == Outcome::Unsure(Why::TooFewRounds))
    {
        sentences.push(format!(
            "<b>Nothing is sure.</b> With {rounds} no ratio has an interval of {:.0} %: run it with <code>--rounds 9</code>.",
            100.0 * CONFIDENCE
        ));
    }
    let noisy: Vec<&Row> = rows.iter().filter(|row| row.is_noisy()).collect();
    if noisy.is_empty() {
        if rows.iter().any(Row::is_usual) {
            sentences.push(
                "<b>No row is noisy.</b> In half of the rounds of each, or more, nothing else had the processors."
                    .to_owned(),
            );
        }
    } else {
        let unsure = comparisons
            .iter()
            .filter(|it| it.outcome == Outcome::Unsure(Why::Noisy))
            .count();
        sentences.push(format!(
            "<b>{} of {} rows are noisy.</b> Something else had the processors in most of their rounds. The pictures mark \
             them, and {} with them {} not counted as won or lost.",
            noisy.len(),
            rows.len(),
            counted(unsure as u64, "comparison"),
            if unsure == 1 { "is" } else { "are" }
        ));
    }
    if rows.iter().any(|row| !row.is_usual()) {
        sentences.push(
            "<b>Where workers wait by design</b> (exhausted, engine) noise cannot be told from waiting, and no row is \
             called noisy."
                .to_owned(),
        );
    }
    let failed = rows.iter().filter(|row| row.fault().is_some()).count();
    sentences.push(if failed == 0 {
        "<b>No row failed.</b> No rival refused, lost or doubled a buffer.".to_owned()
    } else {
        format!(
            "<b><a href=\"#what-failed\">{failed} of {} rows failed</a></b> and are compared with nothing.",
            rows.len()
        )
    });
    sentences.push(
        "<b>One run on one machine.</b> Another run may differ by some percent, which no number of rounds shows. \
         Compared is the usual operation; how slow single ones get is in the pictures of each pattern."
            .to_owned(),
    );
    body.push_str("<h2>How sure that is</h2>\n<ul>\n");
    for sentence in sentences {
        body.push_str(&format!("<li>{sentence}</li>\n"));
    }
    body.push_str("</ul>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Pattern;
    use crate::report::made::{group, lossy, noisy, setting, steady};
    use crate::rival::Name;

    fn top_of(rows: &[Row]) -> String {
        let mut body = String::new();
        top(&mut body, &setting(), rows);
        body
    }

    #[test]
    fn the_top_counts_what_it_lists_and_says_what_chance_makes_of_it() {
        let mut rows = Vec::new();
        for size in 1..=10 {
            let same = group(Pattern::Same, size);
            let ns = if size <= 3 { 5.0 } else { 20.0 };
            rows.push(steady(Name::Hugepool, &same, 10.0));
            rows.push(steady(Name::Glibc, &same, ns));
        }
        let top = top_of(&rows);
        for words in [
            "<b>3</b> Loses",
            "<b>7</b> Wins",
            "10 comparisons:",
            "hugepool takes <b>2.00</b> times as long (2.00 to 2.00)",
            "glibc takes <b>2.00</b> times as long (2.00 to 2.00)",
            // Seven rounds are 63 in 64 sure; ten of them miss 10 / 64 times.
            "98.4 % each.",
            "0.16 of 10 wrong by chance.",
            "Which rival is best was chosen by the same rounds",
            "No row is noisy.",
            "No row failed.",
            "2026-11-30 12:34:56 UTC, 7 rounds; hugepool 1.2.3, glibc 2.36.",
            "A &amp; B, 1 of 2 CPUs, 4 GiB of memory",
            "Not run: same, threads 1, 64 MiB: it needs &lt;too&gt; much",
        ] {
            assert!(top.contains(words), "{words}: {top}");
        }
        let place = |words: &str| top.find(words).expect(words);
        assert!(place("id=\"loses\"") < place("id=\"wins\""));
        assert!(!top.contains("Not sure"), "there is none");
    }

    #[test]
    fn losses_and_wins_are_named_even_where_there_are_none() {
        let same = group(Pattern::Same, 4096);
        let rows = [
            noisy(Name::Hugepool, &same, 10.0),
            steady(Name::Glibc, &same, 20.0),
        ];
        let top = top_of(&rows);
        for words in [
            "<b>0</b> Loses",
            "<b>0</b> Wins",
            "<b>1</b> Not sure",
            "1 of 2 rows are noisy.",
            "1 comparison with them is not counted",
            "(2.00 to 2.00): noisy",
        ] {
            assert!(top.contains(words), "{words}: {top}");
        }
    }

    #[test]
    fn a_row_that_failed_is_named_with_the_reason_and_its_time_is_not_shown() {
        let (same, other) = (group(Pattern::Same, 4096), group(Pattern::Same, 8192));
        let rows = [
            lossy(Name::Hugepool, &same, 1.234, 1),
            steady(Name::Glibc, &same, 20.0),
            steady(Name::Hugepool, &other, 10.0),
            lossy(Name::Glibc, &other, 1.234, 2),
        ];
        let top = top_of(&rows);
        for words in [
            "<b>1</b> Failed",
            "hugepool failed: lost 1 buffer",
            "<b>1</b> No rival left",
            "glibc failed here: lost 2 buffers",
            "What failed: 2 of 4 rows",
            "<b>0</b> Wins",
        ] {
            assert!(top.contains(words), "{words}: {top}");
        }
        assert!(!top.contains("1.23"), "{top}");
    }
}

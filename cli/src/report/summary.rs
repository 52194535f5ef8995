//! The top of the page: what was measured, where this pool wins and where it loses, and how sure that is.
//!
//! Owns the words, all of them worked out from the rows. Uses `verdict` for what each comparison comes to and `dots` for
//! its picture; the page shows it before anything else.

use super::Setting;
use super::axis::Axis;
use super::dots::{CROSS, circle, span};
use super::html::{distinct, escape, title};
use super::pictures::anchor;
use super::verdict::{Best, Comparison, Outcome, Why, comparisons};
use crate::bench::Row;
use crate::statistics::CONFIDENCE;
use crate::units;

/// The whole top.
pub fn top(body: &mut String, setting: &Setting, rows: &[Row]) {
    let comparisons = comparisons(rows);
    measured(body, setting, rows);
    verdicts(body, &comparisons, rows);
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

const GROUPS: [(Outcome, &str, &str); 5] = [
    (
        Outcome::Failed,
        "Failed",
        "hugepool itself refused, lost or doubled buffers: it has no time",
    ),
    (
        Outcome::Loses,
        "Loses",
        "hugepool is slower than the best rival, and so says the whole interval",
    ),
    (
        Outcome::NoDifference,
        "No difference",
        "the interval includes 1: which one is faster cannot be told",
    ),
    (
        Outcome::Wins,
        "Wins",
        "hugepool is faster than the best rival, and so says the whole interval",
    ),
    (
        Outcome::Alone,
        "No rival left",
        "every rival of the kind failed or was not measured: no win",
    ),
];

/// The comparisons, by what they come to.
fn verdicts(body: &mut String, comparisons: &[Comparison<'_>], rows: &[Row]) {
    body.push_str("<h2>Where hugepool loses and where it wins</h2>\n");
    if comparisons.is_empty() {
        body.push_str("<p>Nothing: there is no row of hugepool beside one of a rival.</p>\n");
        return;
    }
    let mut parts: Vec<(&str, &str, Vec<&Comparison<'_>>)> = GROUPS
        .iter()
        .map(|(outcome, name, meaning)| {
            let of = comparisons.iter().filter(|it| it.outcome == *outcome);
            (*name, *meaning, of.collect())
        })
        .collect();
    let unsure = comparisons
        .iter()
        .filter(|it| matches!(it.outcome, Outcome::Unsure(_)));
    parts.insert(
        2,
        (
            "Not sure",
            "there is a ratio, but it says nothing, and the row says why; first those where hugepool looks slower",
            unsure.collect(),
        ),
    );
    // Losses and wins are named even where there are none.
    parts.retain(|(name, _, of)| !of.is_empty() || ["Loses", "Wins"].contains(name));
    let tally: Vec<String> = parts
        .iter()
        .map(|(name, _, of)| {
            let id = id(name);
            format!(
                "<li class=\"{id}\"><a href=\"#{id}\"><b>{}</b> {name}</a></li>",
                of.len()
            )
        })
        .collect();
    let mut forms = distinct(comparisons.iter().map(|it| it.own.rival.to_string()));
    forms.sort_unstable();
    let forms: Vec<String> = forms
        .iter()
        .map(|name| format!("<code>{}</code>", escape(name)))
        .collect();
    body.push_str(&format!(
        "<ul class=\"tally\">\n{}\n</ul>\n<p>{}: in each pattern with the best general allocator and with the best other pool, \
         not with baselines. hugepool stands by its plain form ({}), not by the best of its forms. Which \
         rival is best was chosen by the same rounds: luck makes the chosen one look a little faster than it is.</p>\n",
        tally.join("\n"),
        counted(comparisons.len() as u64, "comparison"),
        in_words(&forms),
    ));
    let axis = axis(comparisons);
    body.push_str(
        "<table class=\"verdicts\" role=\"table\">\n<thead role=\"rowgroup\"><tr role=\"row\">\
         <th role=\"columnheader\" scope=\"col\">where</th>\
         <th role=\"columnheader\" scope=\"col\">against the best</th>\
         <th role=\"columnheader\" scope=\"col\" class=\"sides\"><span>← hugepool slower</span> <span>hugepool faster →</span></th>\
         <th role=\"columnheader\" scope=\"col\">how much, and its interval</th>\
         <th role=\"columnheader\" scope=\"col\">hugepool</th>\
         <th role=\"columnheader\" scope=\"col\">rival</th></tr></thead>\n",
    );
    for (name, meaning, of) in parts {
        let id = id(name);
        body.push_str(&format!(
            "<tbody role=\"rowgroup\" class=\"{id}\" id=\"{id}\">\n<tr role=\"row\" class=\"name\">\
             <th role=\"rowheader\" scope=\"rowgroup\" colspan=\"2\">{name}: {}</th>\
             <td role=\"cell\" class=\"strip\"><svg class=\"labels\" aria-hidden=\"true\">{}</svg></td>\
             <td role=\"cell\" colspan=\"3\"><small>{meaning}</small></td></tr>\n",
            of.len(),
            axis.as_ref()
                .filter(|_| !of.is_empty())
                .map_or_else(String::new, |axis| axis.labels(fraction))
        ));
        for comparison in of {
            row(body, comparison, axis.as_ref(), rows);
        }
        body.push_str("</tbody>\n");
    }
    body.push_str("</table>\n");
}

/// Has room for all ratios, and for their intervals as far as these are not many times as long: one of a row that was
/// disturbed must not press all others together.
fn axis(comparisons: &[Comparison<'_>]) -> Option<Axis> {
    const BEYOND: f64 = 4.0;
    let bounds = || comparisons.iter().filter_map(bounds);
    let middles = || bounds().map(|[_, middle, _]| middle);
    let least = middles().fold(0.5, f64::min) / BEYOND;
    let most = middles().fold(2.0, f64::max) * BEYOND;
    let ends = bounds().flatten().map(|end| end.clamp(least, most));
    Axis::over(ends.chain([0.5, 2.0]))
}

/// A name as an identifier.
fn id(name: &str) -> String {
    name.to_lowercase().replace(' ', "-")
}

/// The ends of a comparison's interval, and what lies between.
fn bounds(comparison: &Comparison<'_>) -> Option<[f64; 3]> {
    let ratio = comparison.best.as_ref()?.ratio?;
    let (low, high) = ratio
        .interval
        .map_or((ratio.value, ratio.value), |interval| {
            (interval.low, interval.high)
        });
    Some([low, ratio.value, high])
}

fn row(body: &mut String, comparison: &Comparison<'_>, axis: Option<&Axis>, rows: &[Row]) {
    let own = comparison.own;
    let mut place = format!(
        "<a href=\"#{}\">{}</a>",
        escape(&anchor(own)),
        escape(&title(own))
    );
    if own.shape.is_some() {
        place.push_str(if own.rival.is_for_tasks() {
            ", tasks"
        } else {
            ", threads"
        });
    }
    let rival = comparison.best.as_ref().map_or_else(
        || "<b>none</b>".to_owned(),
        |best| format!("<b>{}</b>", escape(best.row.rival.as_str())),
    );
    let mut against = format!("{}: {rival}", comparison.kind.singular());
    let has_failed = |best: &Best<'_>| {
        let mut own = rows.iter().filter(|row| row.rival == best.row.rival);
        own.any(|row| row.fault().is_some())
    };
    if comparison.best.as_ref().is_some_and(has_failed) {
        against.push_str("<small>failed elsewhere</small>");
    }
    let values = [Some(own), comparison.best.as_ref().map(|best| best.row)].map(|row| {
        let sound = row.filter(|row| row.fault().is_none());
        let value = sound.and_then(|row| row.median(comparison.measure.figure));
        value.map_or_else(
            || "–".to_owned(),
            |value| escape(&(comparison.measure.show)(value)),
        )
    });
    let picture = axis
        .zip(bounds(comparison))
        .filter(|_| comparison.outcome != Outcome::Failed)
        .map_or_else(String::new, |(axis, ends)| strip(axis, ends));
    let [own_value, rival_value] = values;
    body.push_str(&format!(
        "<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">{place}</th><td role=\"cell\">{against}</td>\
         <td role=\"cell\" class=\"strip\">{picture}</td><td role=\"cell\">{}</td>\
         <td role=\"cell\" class=\"value\" data-of=\"hugepool\">{own_value}</td>\
         <td role=\"cell\" class=\"value\" data-of=\"rival\">{rival_value}</td></tr>\n",
        result(comparison)
    ));
}

/// What a comparison comes to, in words.
fn result(comparison: &Comparison<'_>) -> String {
    let own = comparison.own;
    let mut words = match (&comparison.best, comparison.outcome) {
        (_, Outcome::Failed) => format!(
            "{CROSS} {} failed: {}",
            escape(own.rival.as_str()),
            escape(&own.fault().unwrap_or_default())
        ),
        (
            Some(Best {
                row,
                ratio: Some(ratio),
            }),
            _,
        ) => {
            let is_faster = ratio.value >= 1.0;
            let slower = if is_faster { row } else { own };
            let turned = |value: f64| if is_faster { value } else { 1.0 / value };
            let mut words = format!(
                "{} takes <b>{}</b> times {}",
                escape(slower.rival.as_str()),
                units::digits(turned(ratio.value)),
                comparison.measure.times
            );
            if let Ok(interval) = ratio.interval {
                let [a, b] = [interval.low, interval.high].map(turned);
                words.push_str(&format!(
                    " ({} to {})",
                    units::digits(a.min(b)),
                    units::digits(a.max(b))
                ));
            }
            words
        }
        _ => "–".to_owned(),
    };
    match comparison.outcome {
        Outcome::NoDifference => words.push_str(": no difference"),
        Outcome::Unsure(why) => {
            words.push_str(match why {
                Why::Noisy => ": noisy",
                Why::TooFewRounds => ": too few rounds",
                Why::NotMeasured => ": not measured",
            });
        }
        _ => {}
    }
    for row in &comparison.failed {
        words.push_str(&format!(
            "<small>{CROSS} {} failed here: {}</small>",
            escape(row.rival.as_str()),
            escape(&row.fault().unwrap_or_default())
        ));
    }
    words
}

fn strip(axis: &Axis, [low, middle, high]: [f64; 3]) -> String {
    let same = axis.place(1.0);
    // An interval that goes on beyond an end has an arrow there.
    let mut arrows = String::new();
    if axis.side(low).is_lt() {
        arrows.push_str("<text x=\"0\" y=\"50%\" dy=\"4\" text-anchor=\"end\">←</text>");
    }
    if axis.side(high).is_gt() {
        arrows.push_str("<text x=\"100%\" y=\"50%\" dy=\"4\">→</text>");
    }
    format!(
        "<svg aria-hidden=\"true\"><line class=\"same\" x1=\"{same:.1}%\" x2=\"{same:.1}%\" y1=\"0\" y2=\"100%\"/>{}{}{arrows}</svg>",
        span("interval", axis.place(low), axis.place(high)),
        circle("dot", axis.place(middle), 4.5)
    )
}

/// A ratio on the axis: below 1 as a fraction.
fn fraction(ratio: f64) -> String {
    match ratio {
        ratio if ratio == 1.0 => "same".to_owned(),
        ratio if ratio < 1.0 => format!("1/{:.0}", 1.0 / ratio),
        ratio => format!("{ratio:.0}"),
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

/// `a, b and c`.
fn in_words(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

/// `1 round`, `2 rounds`.
fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Figure, Pattern};
    use crate::report::made::{group, lossy, noisy, row, setting, steady};
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

    #[test]
    fn an_interval_without_end_does_not_press_the_others_together() {
        let axis = |high: f64| {
            let same = group(Pattern::Same, 4096);
            let mut wild = [20.0; 7];
            wild[0] = high;
            let rows = [
                steady(Name::Hugepool, &same, 10.0),
                row(Name::Glibc, &same, Figure::NsPerOp, &wild.map(Some)),
            ];
            (axis(&comparisons(&rows)), top_of(&rows))
        };
        let (bounded, page) = axis(1e9);
        assert_eq!(bounded, axis(1e6).0);
        assert!(page.contains("→</text>"), "its end says that it goes on");
    }
}

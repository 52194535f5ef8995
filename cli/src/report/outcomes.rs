//! The table of where this pool loses and where it wins.
//!
//! Owns the order of the outcomes, their words, and the picture of each ratio on one axis. Uses `verdict` for what each
//! comparison comes to; `summary` shows it.

use super::axis::Axis;
use super::dots::{CROSS, circle, span};
use super::pictures::anchor;
use super::verdict::{Best, Comparison, Outcome, Why};
use super::words::{counted, distinct, escape, in_words, title};
use crate::bench::Row;
use crate::units;

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

/// The comparisons, by what they come to; `rows` are those of the whole page.
pub fn table(body: &mut String, comparisons: &[Comparison<'_>], rows: &[Row]) {
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
                .filter(|_| of.iter().any(|it| drawn(it).is_some()))
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

/// The same of a comparison that has a picture.
fn drawn(comparison: &Comparison<'_>) -> Option<[f64; 3]> {
    bounds(comparison).filter(|_| comparison.outcome != Outcome::Failed)
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
        .zip(drawn(comparison))
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
        1.0 => "same".to_owned(),
        ratio if ratio < 1.0 => format!("1/{:.0}", 1.0 / ratio),
        ratio => format!("{ratio:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Figure, Pattern};
    use crate::report::made::{group, row, steady};
    use crate::report::verdict::comparisons;
    use crate::rival::Name;

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
            let mut body = String::new();
            let comparisons = comparisons(&rows);
            table(&mut body, &comparisons, &rows);
            (super::axis(&comparisons), body)
        };
        let (bounded, page) = axis(1e9);
        assert_eq!(bounded, axis(1e6).0);
        assert!(page.contains("→</text>"), "its end says that it goes on");
    }
}

//! Charts as SVG text.
//!
//! Owns two kinds: lines over a logarithmic height, and horizontal bars over a logarithmic length. Colours are
//! classes, one for each rival, so that the page's style decides them for light and dark. The page uses them.

use std::fmt::Write;

use super::html::escape;
use crate::statistics::Spread;

/// A named line or bar; the name is also its class.
#[derive(Debug)]
pub struct Series {
    pub name: String,
    /// Horizontal place and value; the value is above 0.
    pub points: Vec<(f64, f64)>,
}

/// A named bar and its rounds: as long as their median, which is above 0.
#[derive(Debug)]
pub struct Bar {
    pub name: String,
    pub rounds: Spread,
}

/// Lines over places that are labelled along the bottom.
#[derive(Debug)]
pub struct Lines<'c> {
    pub title: &'c str,
    pub x_label: &'c str,
    /// Place and label, ascending.
    pub x_ticks: &'c [(f64, String)],
    pub series: &'c [Series],
    /// Shows a value on the axis and in hints.
    pub show: fn(f64) -> String,
}

const WIDTH: f64 = 640.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 112.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;
const LABEL: f64 = 12.5;

impl Lines<'_> {
    /// Draws it; empty if there is nothing to draw.
    pub fn svg(&self) -> String {
        let values = || self.series.iter().flat_map(|line| &line.points);
        let Some(scale) = Log::over(values().map(|point| point.1)) else {
            return String::new();
        };
        let (Some(first), Some(last)) = (self.x_ticks.first(), self.x_ticks.last()) else {
            return String::new();
        };
        // Tall enough that the names at the right end do not touch.
        let plot = (self.series.len() as f64 * LABEL).max(220.0);
        let height = TOP + plot + BOTTOM;
        let span = (last.0 - first.0).max(f64::MIN_POSITIVE);
        let x = |place: f64| LEFT + (place - first.0) / span * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| TOP + plot * (1.0 - scale.part(value));

        let mut svg = open(self.title, height);
        for tick in scale.ticks() {
            let at = y(tick);
            rule(&mut svg, (LEFT, at), (WIDTH - RIGHT, at));
            text(
                &mut svg,
                (LEFT - 6.0, at + 4.0),
                "end",
                "",
                &(self.show)(tick),
            );
        }
        for (place, label) in self.x_ticks {
            let at = x(*place);
            rule(&mut svg, (at, TOP), (at, TOP + plot));
            text(&mut svg, (at, TOP + plot + 16.0), "middle", "", label);
        }
        let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
        text(&mut svg, (middle, height - 8.0), "middle", "", self.x_label);

        // Drawn last to first, so that the first one, the pool, lies on top.
        for line in self.series.iter().rev() {
            self.line(&mut svg, line, &x, &y);
        }
        let mut ends: Vec<(f64, &str)> = self
            .series
            .iter()
            .filter_map(|line| Some((y(line.points.last()?.1), line.name.as_str())))
            .collect();
        spread(&mut ends, TOP, TOP + plot);
        for (at, name) in ends {
            text(
                &mut svg,
                (WIDTH - RIGHT + 8.0, at + 4.0),
                "start",
                name,
                name,
            );
        }
        svg.push_str("</svg>");
        svg
    }

    fn line(
        &self,
        svg: &mut String,
        line: &Series,
        x: &dyn Fn(f64) -> f64,
        y: &dyn Fn(f64) -> f64,
    ) {
        let points: Vec<String> = line
            .points
            .iter()
            .map(|(place, value)| format!("{:.1},{:.1}", x(*place), y(*value)))
            .collect();
        let name = escape(&line.name);
        push(
            svg,
            format_args!(
                "<polyline class=\"line r-{name}\" points=\"{}\"/>",
                points.join(" ")
            ),
        );
        for (place, value) in &line.points {
            push(
                svg,
                format_args!(
                    "<circle class=\"dot r-{name}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\"><title>{name}: {}</title></circle>",
                    x(*place),
                    y(*value),
                    escape(&(self.show)(*value))
                ),
            );
        }
    }
}

/// Horizontal bars, one for each name, with their medians written out; a thin line from the least round to the most,
/// and a thick one between the quartiles.
pub fn bars(title: &str, values: &[Bar], show: fn(f64) -> String) -> String {
    const BAR: f64 = 15.0;
    const STEP: f64 = 21.0;
    const NAMES: f64 = 112.0;
    const VALUES: f64 = 72.0;
    let ends = values
        .iter()
        .flat_map(|bar| [bar.rounds.least, bar.rounds.median, bar.rounds.most]);
    let Some(scale) = Log::over(ends) else {
        return String::new();
    };
    let plot = values.len() as f64 * STEP;
    let height = TOP + plot + 28.0;
    let x = |value: f64| NAMES + scale.part(value) * (WIDTH - NAMES - VALUES);
    let mut svg = open(title, height);
    for tick in scale.ticks() {
        rule(&mut svg, (x(tick), TOP), (x(tick), TOP + plot));
        text(
            &mut svg,
            (x(tick), TOP + plot + 18.0),
            "middle",
            "",
            &show(tick),
        );
    }
    for (index, Bar { name, rounds }) in values.iter().enumerate() {
        let value = rounds.median;
        let top = TOP + index as f64 * STEP + (STEP - BAR) / 2.0;
        let base = top + BAR - 3.5;
        text(&mut svg, (NAMES - 8.0, base), "end", name, name);
        push(
            &mut svg,
            format_args!(
                "<rect class=\"bar r-{0}\" x=\"{NAMES}\" y=\"{top:.1}\" width=\"{1:.1}\" height=\"{BAR}\" rx=\"2\"><title>{0}: {2}; rounds {3} to {4}</title></rect>",
                escape(name),
                (x(value) - NAMES).max(1.0),
                escape(&show(value)),
                escape(&show(rounds.least)),
                escape(&show(rounds.most))
            ),
        );
        let middle = top + BAR / 2.0;
        for (class, from, to) in [
            ("rounds", rounds.least, rounds.most),
            ("quartiles", rounds.lower, rounds.upper),
        ] {
            push(
                &mut svg,
                format_args!(
                    "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\"/>",
                    x(from),
                    x(to)
                ),
            );
        }
        text(
            &mut svg,
            (x(rounds.most.max(value)) + 6.0, base),
            "start",
            "",
            &show(value),
        );
    }
    svg.push_str("</svg>");
    svg
}

/// A logarithmic axis from one power of ten to another.
struct Log {
    from: i32,
    to: i32,
}

impl Log {
    /// The powers of ten around all values; `None` without a value above 0.
    fn over(values: impl Iterator<Item = f64>) -> Option<Log> {
        let logs = values
            .filter(|value| *value > 0.0 && value.is_finite())
            .map(f64::log10);
        let (least, most) = logs.fold(None, |range, log| match range {
            None => Some((log, log)),
            Some((least, most)) => Some((f64::min(least, log), f64::max(most, log))),
        })?;
        let from = least.floor() as i32;
        let to = (most.ceil() as i32).max(from + 1);
        Some(Log { from, to })
    }

    /// How far along the axis a value lies, 0 to 1.
    fn part(&self, value: f64) -> f64 {
        let log = value.max(f64::MIN_POSITIVE).log10();
        ((log - f64::from(self.from)) / f64::from(self.to - self.from)).clamp(0.0, 1.0)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (self.from..=self.to).map(|power| 10_f64.powi(power))
    }
}

/// Moves labels apart until none overlaps, within the plot.
fn spread(labels: &mut [(f64, &str)], top: f64, bottom: f64) {
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut least = top;
    for label in labels.iter_mut() {
        label.0 = label.0.max(least);
        least = label.0 + LABEL;
    }
    let mut most = bottom;
    for label in labels.iter_mut().rev() {
        label.0 = label.0.min(most);
        most = label.0 - LABEL;
    }
}

fn open(title: &str, height: f64) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{0}\"><title>{0}</title>",
        escape(title)
    )
}

fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    push(
        svg,
        format_args!(
            "<line class=\"grid\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
            from.0, from.1, to.0, to.1
        ),
    );
}

fn text(svg: &mut String, at: (f64, f64), anchor: &str, rival: &str, words: &str) {
    let class = if rival.is_empty() {
        String::new()
    } else {
        format!(" class=\"name r-{}\"", escape(rival))
    };
    push(
        svg,
        format_args!(
            "<text{class} x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            at.0,
            at.1,
            escape(words)
        ),
    );
}

fn push(svg: &mut String, piece: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = svg.write_fmt(piece);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_covers_its_values_by_powers_of_ten() {
        let axis = Log::over([3.0, 250.0].into_iter()).expect("there are values");
        assert_eq!(
            axis.ticks().collect::<Vec<f64>>(),
            [1.0, 10.0, 100.0, 1000.0]
        );
        assert!(axis.part(3.0) > 0.0 && axis.part(250.0) < 1.0);
        assert!(Log::over([0.0, f64::NAN].into_iter()).is_none());
        assert!(Log::over([10.0].into_iter()).is_some_and(|axis| axis.to > axis.from));
    }

    #[test]
    fn labels_are_moved_apart_and_stay_inside() {
        let mut labels = [(100.0, "a"), (99.0, "b"), (100.0, "c"), (0.0, "d")];
        spread(&mut labels, 0.0, 100.0);
        for pair in labels.windows(2) {
            assert!(pair[1].0 - pair[0].0 >= LABEL - 1e-9);
        }
        assert!(labels[3].0 <= 100.0 && labels[0].0 >= 0.0);
    }

    #[test]
    fn words_in_a_chart_are_escaped() {
        let rounds = Spread::of([4.0, 5.0, 90.0]).expect("there are some");
        let bar = Bar {
            name: "x&y".to_owned(),
            rounds,
        };
        let svg = bars("a<b", &[bar], |value| value.to_string());
        assert!(svg.contains("a&lt;b") && svg.contains("x&amp;y"), "{svg}");
        assert!(svg.contains("5; rounds 4 to 90"), "{svg}");
        assert!(bars("empty", &[], |value| value.to_string()).is_empty());
    }
}

//! A picture of one group: a line for each rival, with its name, a dot on a shared axis, and the value.
//!
//! Owns the marks. Names and values are text of the page, and marks are placed in percent, so that a picture fits any
//! width and its words keep their size. Uses `axis`; `pictures` chooses what is drawn.
//!
//! What a mark means is never a matter of its colour: each line has its name, a baseline is a ring, and a rival that
//! failed has a cross and the reason where others have a dot.

use std::fmt::Write;

use super::axis::Axis;
use super::kind::Kind;
use super::words::escape;
use crate::bench::Row;
use crate::statistics::Spread;

/// A cross, where a dot would be.
pub const CROSS: &str = "<svg class=\"cross\" viewBox=\"0 0 10 10\" aria-hidden=\"true\">\
     <path d=\"M1 1 9 9M9 1 1 9\"/></svg>";

/// One rival.
#[derive(Debug)]
pub struct Line {
    pub name: String,
    pub kind: Kind,
    pub mark: Mark,
}

/// What is known of it.
#[derive(Debug)]
pub enum Mark {
    /// The rounds' median, with what the rounds were.
    Rounds(Spread, Option<&'static str>),
    /// Nanoseconds of single takes.
    Takes(Takes),
    /// It did not do what it is measured for.
    Failed(String),
    /// Nothing that could be drawn; why.
    Missing(String),
}

/// Quantiles of single takes.
#[derive(Debug, Clone, Copy)]
pub struct Takes {
    pub median: f64,
    /// p99, p99.9, p99.99.
    pub slow: [f64; 3],
    pub slowest: f64,
}

impl Line {
    /// Of a row that did not fail what `mark` makes of it.
    pub fn new(row: &Row, mark: impl FnOnce() -> Mark) -> Line {
        Line {
            name: row.rival.to_string(),
            kind: Kind::of(row.rival),
            mark: row.fault().map_or_else(mark, Mark::Failed),
        }
    }

    /// What the axis must have room for.
    pub fn extent(&self) -> Vec<f64> {
        match &self.mark {
            Mark::Rounds(rounds, _) => vec![rounds.least, rounds.median, rounds.most],
            Mark::Takes(takes) => vec![takes.median, takes.slowest],
            Mark::Failed(_) | Mark::Missing(_) => Vec::new(),
        }
    }
}

/// The picture: a list, the kinds below each other. `head` is what the values are.
pub fn list(lines: &[Line], axis: &Axis, show: fn(f64) -> String, head: &str) -> String {
    let mut out = String::from("<ul class=\"dots\">\n");
    let row = |out: &mut String, class: &str, name: &str, middle: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "<li class=\"{class}\"><b>{name}</b>{middle}<span>{value}</span></li>"
        );
    };
    let empty = format!("<svg aria-hidden=\"true\">{}</svg>", axis.grid());
    row(&mut out, "head", "", &empty, head);
    for kind in Kind::ALL {
        let mut of_kind = lines.iter().filter(|line| line.kind == kind).peekable();
        if kind != Kind::Own && of_kind.peek().is_some() {
            row(&mut out, "kind", kind.plural(), &empty, "");
        }
        for line in of_kind {
            let name = escape(&line.name);
            let class = match kind {
                Kind::Own => "own",
                Kind::Baseline => "baseline",
                _ => "rival",
            };
            match &line.mark {
                Mark::Rounds(rounds, note) => {
                    let note = note.map(|note| format!(" <small>{note}</small>"));
                    let value = escape(&show(rounds.median)) + &note.unwrap_or_default();
                    row(
                        &mut out,
                        class,
                        &name,
                        &of_rounds(rounds, axis, show),
                        &value,
                    );
                }
                Mark::Takes(takes) => {
                    let [_, _, slow] = takes.slow;
                    let value = format!("{} / {}", show(takes.median), show(slow));
                    row(
                        &mut out,
                        class,
                        &name,
                        &of_takes(takes, axis, show),
                        &escape(&value),
                    );
                }
                Mark::Failed(why) => {
                    let words = format!("{CROSS} failed: {}", escape(why));
                    let class = format!("{class} failed");
                    let middle = format!("<em>{words}</em>");
                    row(&mut out, &class, &name, &middle, "");
                }
                Mark::Missing(why) => {
                    let middle = format!("<em>{}</em>", escape(why));
                    row(&mut out, class, &name, &middle, "");
                }
            }
        }
    }
    let labels = format!(
        "<svg class=\"labels\" aria-hidden=\"true\">{}</svg>",
        axis.labels(show)
    );
    row(&mut out, "axis", "", &labels, "");
    out.push_str("</ul>\n");
    out
}

fn of_rounds(rounds: &Spread, axis: &Axis, show: fn(f64) -> String) -> String {
    let title = format!(
        "rounds: {} to {}, the middle half {} to {}",
        show(rounds.least),
        show(rounds.most),
        show(rounds.lower),
        show(rounds.upper)
    );
    let marks = [
        span("rounds", axis.place(rounds.least), axis.place(rounds.most)),
        span("middle", axis.place(rounds.lower), axis.place(rounds.upper)),
        circle("dot", axis.place(rounds.median), 4.5),
    ];
    strip(&title, axis, &marks.concat())
}

fn of_takes(takes: &Takes, axis: &Axis, show: fn(f64) -> String) -> String {
    let [p99, p999, p9999] = takes.slow;
    let title = format!(
        "p50 {}, p99 {}, p99.9 {}, p99.99 {}, slowest {}",
        show(takes.median),
        show(p99),
        show(p999),
        show(p9999),
        show(takes.slowest)
    );
    let mut marks = span(
        "rounds",
        axis.place(takes.median),
        axis.place(takes.slowest),
    );
    for ns in takes.slow {
        let at = axis.place(ns);
        marks.push_str(&format!(
            "<line class=\"tick\" x1=\"{at:.1}%\" x2=\"{at:.1}%\" y1=\"25%\" y2=\"75%\"/>"
        ));
    }
    marks.push_str(&circle("ring", axis.place(takes.slowest), 3.0));
    marks.push_str(&circle("dot", axis.place(takes.median), 4.5));
    strip(&title, axis, &marks)
}

/// A row's marks with the axis behind them.
pub fn strip(title: &str, axis: &Axis, marks: &str) -> String {
    format!(
        "<svg role=\"img\"><title>{}</title>{}{marks}</svg>",
        escape(title),
        axis.grid()
    )
}

/// A line along the middle, between two places in percent.
pub fn span(class: &str, from: f64, to: f64) -> String {
    format!("<line class=\"{class}\" x1=\"{from:.1}%\" x2=\"{to:.1}%\" y1=\"50%\" y2=\"50%\"/>")
}

/// A circle at a place in percent.
pub fn circle(class: &str, at: f64, radius: f64) -> String {
    format!("<circle class=\"{class}\" cx=\"{at:.1}%\" cy=\"50%\" r=\"{radius}\"/>")
}

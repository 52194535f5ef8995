//! What a process of a round says to the one that gathers.
//!
//! Owns the form: a line of JSON for each word, and for each group one with what was measured, in the order of the plan.
//! `child` writes and reads it.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::bench::{Figure, Figures, Group, Measured, Row, Standing, Wrongs, latencies};
use crate::rival::Absence;

/// A word of such a process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// It goes on to this rival. If it ends before the next word, that was this one's doing.
    At(String),
    /// What was measured of the next group.
    Group(Line),
    /// It gives up, which is no rival's doing.
    Failure(String),
    /// The rival that was to be tried was loaded, and was asked for its buffers; its version, if it says one.
    Tried(Option<String>),
    /// It cannot be loaded.
    Unfit(String),
}

/// One group's round.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    rows: Vec<Part>,
    notes: Vec<String>,
}

/// One rival's.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    rival: String,
    figures: BTreeMap<String, f64>,
    /// Times of single takes, and how many took each.
    takes: Vec<(u64, u64)>,
    ops: u64,
    wrongs: Wrongs,
    lost: usize,
    absence: Option<Absence>,
    standing: Vec<Standing>,
}

impl Line {
    /// What was measured, to be sent.
    pub fn new(measured: Measured) -> Line {
        Line {
            rows: measured.rows.into_iter().map(part).collect(),
            notes: measured.notes,
        }
    }

    /// What was measured in this group, as it was sent. The error says what is wrong.
    pub fn read(self, group: &Group) -> Result<Measured, String> {
        let rows = self.rows.into_iter().map(|part| row(part, group));
        Ok(Measured {
            rows: rows.collect::<Result<_, _>>()?,
            notes: self.notes,
        })
    }
}

fn part(row: Row) -> Part {
    let figures = row.figures.last().into_iter().flatten();
    Part {
        rival: row.rival.to_string(),
        // What is no number has no form in JSON, and is no figure.
        figures: figures
            .filter(|(_, value)| value.is_finite())
            .map(|(figure, value)| (figure.as_str().to_owned(), *value))
            .collect(),
        takes: row
            .latencies
            .iter_recorded()
            .map(|step| (step.value_iterated_to(), step.count_at_value()))
            .collect(),
        ops: row.ops,
        wrongs: row.wrongs,
        lost: row.lost,
        absence: row.absence,
        standing: row.standing,
    }
}

fn row(part: Part, group: &Group) -> Result<Row, String> {
    let mut values = BTreeMap::new();
    for (name, value) in part.figures {
        let figure = Figure::parse(&name).ok_or_else(|| format!("there is no figure `{name}`"))?;
        values.insert(figure, value);
    }
    let mut takes: Histogram<u64> = latencies();
    for (ns, times) in part.takes {
        takes.saturating_record_n(ns, times);
    }
    let mut rivals = group.rivals.iter();
    let rival = rivals
        .find(|rival| rival.as_str() == part.rival)
        .ok_or_else(|| format!("`{}` is no rival of the group", part.rival))?;
    Ok(Row {
        figures: Figures::one(values),
        latencies: takes,
        ops: part.ops,
        wrongs: part.wrongs,
        lost: part.lost,
        absence: part.absence,
        standing: part.standing,
        ..Row::empty(*rival, group)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Pattern;
    use crate::rival::{Name, Shape};

    #[test]
    fn a_round_arrives_as_it_was_sent() {
        let group = Group {
            pattern: Pattern::Same,
            threads: 1,
            shape: Shape {
                size: 4096,
                alignment: 512,
                buffers: 64,
            },
            depth: 8,
            area: 0,
            rivals: vec![Name::Glibc],
            dry: None,
            sides: None,
            notes: Vec::new(),
        };
        let mut takes = latencies();
        for ns in [1, 17, 17, 300, 4_000_000, 70_000_000_000] {
            takes.saturating_record(ns);
        }
        let values = [(Figure::NsPerOp, 12.625), (Figure::CpuNsPerOp, f64::NAN)];
        let sent = Row {
            ops: 5,
            lost: 2,
            absence: Some(Absence::Refuses("why".to_owned())),
            wrongs: Wrongs {
                refused: 1,
                doubled: 2,
                misaligned: 4,
                rejected: 3,
                stalled: true,
            },
            standing: vec![Standing {
                cache: Some("portable".to_owned()),
                pages: Vec::new(),
            }],
            ..Row::new(Name::Glibc, &group, values.into()).with_latencies(takes)
        };
        let line = Line::new(Measured {
            rows: vec![sent.clone()],
            notes: vec!["a \"note\"".to_owned()],
        });
        let text = serde_json::to_string(&line).expect("it has a form");
        let read = |text: &str| {
            let line: Line = serde_json::from_str(text).map_err(|error| error.to_string())?;
            line.read(&group)
        };
        let arrived = read(&text).expect("it is as it was sent");
        assert_eq!(arrived.notes, ["a \"note\""]);
        let row = &arrived.rows[0];
        let mut values = sent.figures.last().cloned().expect("a round");
        values.remove(&Figure::CpuNsPerOp);
        assert_eq!(row.figures, Figures::one(values));
        assert_eq!(row.latencies, sent.latencies);
        assert_eq!((row.rival, row.ops, row.lost), (Name::Glibc, 5, 2));
        assert_eq!((row.wrongs, &row.standing), (sent.wrongs, &sent.standing));
        assert_eq!(row.absence, sent.absence);

        let half = &text[..text.len() / 2];
        assert!(read(half).is_err());
        let strange = text.replace("ns_per_op", "ns_per_hour");
        let error = read(&strange).expect_err("no such figure");
        assert!(error.contains("ns_per_hour"), "{error}");
        let strange = text.replace("glibc", "mimalloc");
        let error = read(&strange).expect_err("it was not asked for");
        assert!(error.contains("`mimalloc`"), "{error}");
    }
}

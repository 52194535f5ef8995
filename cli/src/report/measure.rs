//! What of a row is drawn and compared, and how it is said.
//!
//! Owns the words for a figure, its unit, and which way is better. Uses the figures of `bench`; `verdict` compares by
//! them, the pictures of the page draw them.

use crate::bench::{Clock, Figure, Pattern};
use crate::units;

/// A figure as it is shown.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    pub figure: Figure,
    pub more_is_better: bool,
    /// What it is, for a heading.
    pub what: &'static str,
    /// What a row that is twice as bad has twice of: `takes 2 times as long`.
    pub times: &'static str,
    /// A value with its unit.
    pub show: fn(f64) -> String,
}

const TIME: Measure = Measure {
    figure: Figure::NsPerOp,
    more_is_better: false,
    what: "Time of an operation",
    times: "as long",
    show: units::time,
};
const PROCESSOR_TIME: Measure = Measure {
    figure: Figure::CpuNsPerOp,
    what: "Processor time of an operation",
    times: "the processor time",
    ..TIME
};
const TAKES: Measure = Measure {
    figure: Figure::TakesPerS,
    more_is_better: true,
    what: "Takes a second",
    times: "as long for a take",
    show: per_second,
};
const BEYOND_WORK: Measure = Measure {
    figure: Figure::BeyondWork,
    what: "Processor time of a take beyond the shape's work",
    ..PROCESSOR_TIME
};
const WITH_WORK: Measure = Measure {
    times: "the processor time, work included",
    ..PROCESSOR_TIME
};
const LONGEST_WAIT: Measure = Measure {
    figure: Figure::LongestWait,
    what: "Longest wait",
    ..TIME
};
const RATE: Measure = Measure {
    figure: Figure::GibPerS,
    more_is_better: true,
    what: "GiB a second",
    times: "as long for a GiB",
    show: gib_per_second,
};
const PROCESSOR_TIME_OF_A_GIB: Measure = Measure {
    figure: Figure::CpuSPerGib,
    what: "Processor time of a GiB",
    show: seconds,
    ..PROCESSOR_TIME
};
const FAULTS: Measure = Measure {
    figure: Figure::FaultsPerGib,
    more_is_better: false,
    what: "Page faults of a GiB",
    times: "the page faults",
    show: units::digits,
};

/// The time by which rows of this clock are compared.
pub fn time(clock: Clock) -> Measure {
    match clock {
        Clock::Wall => TIME,
        Clock::Cpu => PROCESSOR_TIME,
    }
}

/// What decides between two rows of a pattern.
pub fn compared(pattern: Pattern, clock: Clock) -> Vec<Measure> {
    match pattern {
        Pattern::Exhausted => vec![TAKES, WITH_WORK],
        Pattern::Engine => vec![RATE, PROCESSOR_TIME_OF_A_GIB],
        _ => vec![time(clock)],
    }
}

/// What is drawn of a pattern that has figures of its own.
pub fn drawn(pattern: Pattern) -> &'static [Measure] {
    match pattern {
        Pattern::Exhausted => &[TAKES, BEYOND_WORK, LONGEST_WAIT],
        Pattern::Engine => &[RATE, PROCESSOR_TIME_OF_A_GIB, FAULTS],
        _ => &[],
    }
}

/// A rate in the unit that keeps it short.
pub fn per_second(value: f64) -> String {
    let (value, unit) = match value {
        value if value < 1e3 => (value, "/s"),
        value if value < 1e6 => (value / 1e3, "k/s"),
        value if value < 1e9 => (value / 1e6, "M/s"),
        value => (value / 1e9, "G/s"),
    };
    // Whole numbers stand on the axis; they need no decimals.
    if value.fract() == 0.0 {
        format!("{value:.0} {unit}")
    } else {
        format!("{} {unit}", units::digits(value))
    }
}

fn gib_per_second(value: f64) -> String {
    format!("{} GiB/s", units::digits(value))
}

fn seconds(value: f64) -> String {
    units::time(value * 1e9)
}

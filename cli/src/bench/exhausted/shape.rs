//! The shapes of a pool that runs dry.
//!
//! Owns their list: who asks for buffers, how many there are and what a holder does. Uses nothing. The options parse
//! the names, the plan makes a group of each, and the threads and tasks of this pattern act as a shape says.

use std::fmt;
use std::time::Duration;

use crate::rival::names;

/// Who takes and who gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Each worker takes, holds and gives back.
    Crowd { workers: usize },
    /// Producers take and pass on through a queue; consumers do the holding and give back.
    Pipeline { producers: usize, consumers: usize },
}

/// What a holder does before it gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    Nothing,
    /// As much work as takes this long where nothing interrupts it.
    Computing(Duration),
    /// Sleeps.
    Asleep(Duration),
}

/// More workers than buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DryShape {
    /// As it is typed and printed.
    pub name: &'static str,
    pub form: Form,
    /// Buffers in the pool; the queue of a pipeline has as many places.
    pub buffers: usize,
    pub hold: Hold,
    /// Windows of the usual length that one of this shape lasts. Threads that compute take turns on the processors
    /// every few milliseconds, and a window must see many turns of each, and many takes: the least share of a crowd
    /// of which each took a dozen buffers is that of chance.
    pub windows: u32,
}

const fn computing(micros: u64) -> Hold {
    Hold::Computing(Duration::from_micros(micros))
}

impl DryShape {
    /// All of them, in the order of a report.
    pub const ALL: [DryShape; 8] = [
        DryShape {
            name: "17-on-16",
            form: Form::Crowd { workers: 17 },
            buffers: 16,
            hold: computing(20),
            windows: 6,
        },
        DryShape {
            name: "64-on-8",
            form: Form::Crowd { workers: 64 },
            buffers: 8,
            hold: computing(20),
            windows: 16,
        },
        DryShape {
            name: "256-on-64",
            form: Form::Crowd { workers: 256 },
            buffers: 64,
            hold: computing(200),
            windows: 48,
        },
        DryShape {
            name: "128-on-64-asleep",
            form: Form::Crowd { workers: 128 },
            buffers: 64,
            hold: Hold::Asleep(Duration::from_micros(50)),
            windows: 16,
        },
        DryShape {
            name: "64-on-8-held-0",
            form: Form::Crowd { workers: 64 },
            buffers: 8,
            hold: Hold::Nothing,
            windows: 16,
        },
        DryShape {
            name: "pipeline-1-1",
            form: Form::Pipeline {
                producers: 1,
                consumers: 1,
            },
            buffers: 16,
            hold: Hold::Nothing,
            windows: 3,
        },
        DryShape {
            name: "pipeline-4-2",
            form: Form::Pipeline {
                producers: 4,
                consumers: 2,
            },
            buffers: 16,
            hold: Hold::Nothing,
            windows: 3,
        },
        DryShape {
            name: "pipeline-64-2",
            form: Form::Pipeline {
                producers: 64,
                consumers: 2,
            },
            buffers: 16,
            hold: computing(5),
            windows: 16,
        },
    ];

    /// Reads a name a user typed.
    pub fn parse(text: &str) -> Result<DryShape, String> {
        DryShape::ALL
            .into_iter()
            .find(|shape| shape.name == text)
            .ok_or_else(|| {
                format!(
                    "there is no shape `{text}`; there are: {}",
                    names(DryShape::ALL)
                )
            })
    }

    /// Threads or tasks.
    pub fn workers(self) -> usize {
        match self.form {
            Form::Crowd { workers } => workers,
            Form::Pipeline {
                producers,
                consumers,
            } => producers + consumers,
        }
    }

    /// Those among them that take.
    pub fn takers(self) -> usize {
        match self.form {
            Form::Crowd { workers } => workers,
            Form::Pipeline { producers, .. } => producers,
        }
    }

    /// The same work without a pool: a crowd with no more workers than can hold a buffer at once, a pipeline with no
    /// more producers than consumers. More would add nothing but waiting.
    pub fn without_a_pool(self) -> DryShape {
        let form = match self.form {
            Form::Crowd { workers } => Form::Crowd {
                workers: workers.min(self.buffers),
            },
            Form::Pipeline {
                producers,
                consumers,
            } => Form::Pipeline {
                producers: producers.min(consumers),
                consumers,
            },
        };
        DryShape { form, ..self }
    }

    /// What it does, in a few words.
    pub fn explained(self) -> String {
        let hold = match self.hold {
            Hold::Nothing => "no work".to_owned(),
            Hold::Computing(time) => format!("{} µs of computing", time.as_micros()),
            Hold::Asleep(time) => format!("{} µs asleep", time.as_micros()),
        };
        match self.form {
            Form::Crowd { workers } => format!("{workers} around {} buffers, {hold}", self.buffers),
            Form::Pipeline {
                producers,
                consumers,
            } => format!(
                "{producers} take, {consumers} give, {} buffers, {hold}",
                self.buffers
            ),
        }
    }
}

impl fmt::Display for DryShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_and_a_wrong_one_is_named_with_the_right_ones() {
        for shape in DryShape::ALL {
            assert_eq!(DryShape::parse(shape.name), Ok(shape));
        }
        let error = DryShape::parse("16-on-17").expect_err("no such shape");
        assert!(error.contains("`16-on-17`"), "{error}");
        assert!(error.contains("17-on-16"), "{error}");
    }

    #[test]
    fn windows_are_as_long_as_the_help_says() {
        let windows = || DryShape::ALL.into_iter().map(|shape| shape.windows);
        assert_eq!((windows().min(), windows().max()), (Some(3), Some(48)));
    }

    #[test]
    fn a_crowd_is_larger_than_its_pool_until_the_pool_is_taken_away() {
        for shape in DryShape::ALL {
            let left = shape.without_a_pool();
            match shape.form {
                Form::Crowd { workers } => {
                    assert!(workers > shape.buffers, "{shape}");
                    assert_eq!(left.workers(), shape.buffers, "{shape}");
                }
                Form::Pipeline { consumers, .. } => assert_eq!(left.takers(), consumers),
            }
        }
    }
}

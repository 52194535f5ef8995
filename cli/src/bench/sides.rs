//! Who takes and who gives in a pipeline.
//!
//! Owns the numbers of both sides (`--pipelines 4:1`), the seats that they sit in, and which rings lie between them. The
//! options read it, the plan makes groups of it, the loops in `pipeline` run it.
//!
//! There are as many rings as the larger side has threads. Ring k leads from producer k to consumer k, counted around
//! where a side has fewer:
//!
//! ```text
//! 2:2  producer 0 --> consumer 0     3:1  producer 0 --> consumer 0     1:3  producer 0 --> consumer 0
//!      producer 1 --> consumer 1          producer 1 --> consumer 0          producer 0 --> consumer 1
//!                                         producer 2 --> consumer 0          producer 0 --> consumer 2
//! ```
//!
//! Producers and consumers take the seats in turn, beginning with producer 0, until one side is seated; the rest of the
//! other follows. So with processors to be pinned to, a producer sits beside its consumer.

use std::fmt;

/// The most threads of a pipeline.
const MOST: usize = 1024;

/// The threads of a pipeline that take, and those that give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sides {
    pub takers: usize,
    pub givers: usize,
}

/// A worker of a pipeline, by its number on its side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Producer(usize),
    Consumer(usize),
}

impl Sides {
    /// Reads `4:1`.
    pub fn parse(text: &str) -> Result<Sides, String> {
        let wrong = || {
            format!(
                "`{text}` is no pipeline: write the threads that take and those that give, such as 4:1"
            )
        };
        let (takers, givers) = text.split_once(':').ok_or_else(wrong)?;
        let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
        let (takers, givers) = (number(takers)?, number(givers)?);
        if takers == 0 || givers == 0 || takers.saturating_add(givers) > MOST {
            return Err(format!(
                "a pipeline {text}: each side has one thread or more, and both together {MOST} at most"
            ));
        }
        Ok(Sides { takers, givers })
    }

    /// As many on both sides.
    pub const fn even(pairs: usize) -> Sides {
        Sides {
            takers: pairs,
            givers: pairs,
        }
    }

    pub fn threads(self) -> usize {
        self.takers + self.givers
    }

    pub fn rings(self) -> usize {
        self.takers.max(self.givers)
    }

    /// Rings of the producer that has the most.
    pub fn rings_of_one(self) -> usize {
        self.rings().div_ceil(self.takers)
    }

    /// Who sits in a seat.
    pub fn role(self, seat: usize) -> Role {
        let both = self.takers.min(self.givers);
        if seat < 2 * both {
            return match seat % 2 {
                0 => Role::Producer(seat / 2),
                _ => Role::Consumer(seat / 2),
            };
        }
        let rest = seat - both;
        if self.takers > self.givers {
            Role::Producer(rest)
        } else {
            Role::Consumer(rest)
        }
    }

    /// Where a ring begins and where it ends: a producer and a consumer.
    pub fn ends(self, ring: usize) -> (usize, usize) {
        (ring % self.takers, ring % self.givers)
    }
}

impl fmt::Display for Sides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.takers, self.givers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_read_back_and_what_is_none_is_named() {
        for text in ["1:1", "4:1", "1:4", "512:512", "1:1023"] {
            let sides = Sides::parse(text).expect(text);
            assert_eq!(sides.to_string(), text);
        }
        for (text, word) in [
            ("4", "`4`"),
            ("4:x", "`4:x`"),
            (":", "`:`"),
            ("4:1:1", "`4:1:1`"),
            ("0:1", "0:1"),
            ("1:0", "one thread"),
            ("1000:25", "1024"),
            ("18446744073709551615:1", "1024"),
        ] {
            let error = Sides::parse(text).expect_err(text);
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn every_worker_has_one_seat_and_every_seat_one_worker() {
        for sides in ["1:1", "4:4", "4:1", "1:4", "3:5", "5:3"] {
            let sides = Sides::parse(sides).expect(sides);
            let roles: Vec<Role> = (0..sides.threads()).map(|seat| sides.role(seat)).collect();
            for taker in 0..sides.takers {
                assert!(roles.contains(&Role::Producer(taker)), "{sides}: {roles:?}");
            }
            for giver in 0..sides.givers {
                assert!(roles.contains(&Role::Consumer(giver)), "{sides}: {roles:?}");
            }
            assert_eq!(roles[..2], [Role::Producer(0), Role::Consumer(0)]);
        }
    }

    #[test]
    fn every_worker_has_a_ring() {
        for sides in ["1:1", "4:4", "4:1", "1:4", "3:5", "5:3"] {
            let sides = Sides::parse(sides).expect(sides);
            let ends: Vec<(usize, usize)> =
                (0..sides.rings()).map(|ring| sides.ends(ring)).collect();
            for taker in 0..sides.takers {
                let own = ends.iter().filter(|(from, _)| *from == taker).count();
                assert!(
                    (1..=sides.rings_of_one()).contains(&own),
                    "{sides}: {ends:?}"
                );
            }
            for giver in 0..sides.givers {
                assert!(ends.iter().any(|(_, to)| *to == giver), "{sides}: {ends:?}");
            }
        }
    }
}

//! Byte counts as people write them.
//!
//! Owns: the choice of the unit. Uses nothing. Used by: what is printed. To print one needs no
//! heap.

use std::fmt;

/// The powers of two of the units, and their names.
const UNITS: [(u32, &str); 5] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB"), (0, "B")];
/// The first number that has too many digits to be read at a glance, where it is exact, and where
/// it is rounded.
const LONG: usize = 10_000_000;
const LONG_ROUNDED: usize = 10_000;

/// A count of bytes: `64 KiB`, `1 GiB`, `700 B`. Exact, unless it is one of several in one
/// message, which [`together`](Self::together) gives one unit.
#[derive(Clone, Copy)]
pub struct Bytes {
    count: usize,
    shift: u32,
}

impl Bytes {
    /// In the largest unit that it is a multiple of.
    pub fn exact(count: usize) -> Self {
        let shift = largest(|shift| is_exact(count, shift));
        Self { count, shift }
    }

    /// All in one unit, in which they can be told apart: the largest in which they are exact or,
    /// where these numbers would be long, the largest in which none is less than one, to two
    /// decimals.
    pub fn together<const N: usize>(counts: [usize; N]) -> [Self; N] {
        let most = counts.iter().copied().max().unwrap_or(0);
        let some = || counts.into_iter().filter(|&count| count > 0);
        let exact = largest(|shift| most > 0 && some().all(|count| is_exact(count, shift)));
        let told_apart = |shift| {
            let same = |one, other| hundredths(one, shift) == hundredths(other, shift);
            some().all(|one| !some().any(|other| one != other && same(one, other)))
        };
        let rounded = largest(|shift| {
            let short = most >> shift < LONG_ROUNDED;
            short && some().all(|count| count >> shift > 0) && told_apart(shift)
        });
        let shift = match most >> exact < LONG {
            true => exact,
            false => exact.max(rounded),
        };
        counts.map(|count| Self { count, shift })
    }
}

/// The largest unit that `fits`, by its shift; that of a byte does.
fn largest(fits: impl Fn(u32) -> bool) -> u32 {
    let unit = UNITS.iter().find(|unit| fits(unit.0));
    unit.map_or(0, |unit| unit.0)
}

fn is_exact(count: usize, shift: u32) -> bool {
    count >= 1 << shift && count.trailing_zeros() >= shift
}

/// Hundredths of the unit, to the nearest.
fn hundredths(count: usize, shift: u32) -> u128 {
    let half = (1 << shift) / 2;
    (count as u128 * 100 + half) >> shift
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|unit| unit.0 == self.shift);
        let name = unit.map_or("B", |unit| unit.1);
        let (count, shift) = (self.count, self.shift);
        if count == 0 || is_exact(count, shift) {
            return write!(f, "{} {name}", count >> shift);
        }
        let parts = hundredths(count, shift);
        write!(f, "{}.{:02} {name}", parts / 100, parts % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_count_is_exact_in_the_largest_unit_that_it_is_a_multiple_of() {
        for (count, said) in [
            (0, "0 B"),
            (1, "1 B"),
            (1000, "1000 B"),
            (1024, "1 KiB"),
            (65_536, "64 KiB"),
            (65_537, "65537 B"),
            (3 << 29, "1536 MiB"),
            (1 << 40, "1 TiB"),
            (usize::MAX, "18446744073709551615 B"),
        ] {
            assert_eq!(Bytes::exact(count).to_string(), said);
        }
    }

    #[test]
    fn several_counts_have_one_unit_in_which_they_can_be_told_apart() {
        const GIB: usize = 1 << 30;
        for (counts, said) in [
            ([GIB, 22_095_527_936], ["1 GiB", "20.58 GiB"]),
            ([2 << 20, 0], ["2 MiB", "0 MiB"]),
            ([0, 0], ["0 B", "0 B"]),
            ([4096, 4097], ["4096 B", "4097 B"]),
            ([GIB + 1, GIB], ["1073741825 B", "1073741824 B"]),
            ([GIB + (64 << 10), GIB], ["1048640 KiB", "1048576 KiB"]),
            ([1 << 40, 100 << 20], ["1048576 MiB", "100 MiB"]),
            ([5 << 40, 3 << 39], ["5120 GiB", "1536 GiB"]),
            (
                [usize::MAX, 1 << 20],
                ["18446744073709551615 B", "1048576 B"],
            ),
            ([1 << 63, 1 << 40], ["8388608 TiB", "1 TiB"]),
            ([700, 3 << 10], ["700 B", "3072 B"]),
            ([40_000, 65_536], ["40000 B", "65536 B"]),
            ([(4 << 40) + 4096, 1 << 40], ["4.00 TiB", "1 TiB"]),
            ([1 << 20, 1 << 20], ["1 MiB", "1 MiB"]),
        ] {
            let [first, second] = Bytes::together(counts);
            assert_eq!([first.to_string(), second.to_string()], said);
        }
    }
}

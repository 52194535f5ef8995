//! Lists of numbers as the kernel writes them: `0-3,8-11`.
//!
//! Owns: the reading of one. Uses: nothing. Used by: `cpu`, `node`.

use std::ops::Range;

/// The ranges of a list, in ascending order; `None` if it is none.
pub fn parse(text: &str) -> Option<Vec<Range<usize>>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some(first..last.checked_add(1)?)
    };
    let ranges: Option<Vec<_>> = text.trim().split(',').map(range).collect();
    ranges.filter(|ranges| ranges.is_sorted_by(|a, b| a.end <= b.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_its_ranges_and_nonsense_is_none() {
        for (text, ranges) in [
            ("0-1\n", &[(0, 2)][..]),
            ("0", &[(0, 1)]),
            ("0-3,8-11,40", &[(0, 4), (8, 12), (40, 41)]),
        ] {
            let parsed = parse(text).unwrap();
            let parsed: Vec<_> = parsed.iter().map(|cpus| (cpus.start, cpus.end)).collect();
            assert_eq!(parsed, ranges, "{text}");
        }
        let last = usize::MAX.to_string();
        for nonsense in ["", "nonsense", "3-1", "4,2", "0-3,2-5", "0,", "-1", &last] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }
}

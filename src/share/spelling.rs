//! How the names of sets and instances are spelled for the system.
//!
//! Owns: the spelling. Uses: `digest`. Used by: `publication`.
//!
//! SQL Server's names are of any length and of almost any characters, and a set is named
//! by two: its own, and its instance's. The system has one name of limited length for
//! both. The spelling is printable ASCII without `/`, at most [`MOST`] bytes long, and
//! good for the name of a file as well as of a socket:
//!
//! ```text
//!   set                        sales            the default instance's: as it is
//!   instance : set             east:sales
//!   escaped  : escaped         a%3Ab:50%25      what is not plain, as %XX of its bytes
//!   beginning # digest         east:sales 2026-11-29 ni#9b2d…   what is too long
//! ```
//!
//! No two pairs have the same spelling, since it can be read back: `:`, `%` and `#` are
//! not plain, so a `:` is the one between the two names, a `%` begins an escape (or is
//! alone, and the name empty), and only what was too long has a `#`. Behind that is the
//! whole SHA-256 digest of the spelling that was too long; two that begin alike and have
//! the same digest have yet to be found by anybody.

use super::digest::sha256;
use std::fmt::Write;

/// Bytes of a spelling, at most.
pub(super) const MOST: usize = 90;

/// Bytes of a digest that are printed: two digits each.
const DIGITS: usize = 64;

/// The spelling of a set's name in an instance; the default one has no name, or an empty
/// one. Upper and lower case differ, and so do characters that only look alike.
pub(super) fn spelling(instance: Option<&str>, set: &str) -> String {
    let mut spelled = String::new();
    if let Some(instance) = instance.filter(|instance| !instance.is_empty()) {
        escape(&mut spelled, instance);
        spelled.push(':');
    }
    escape(&mut spelled, set);
    if spelled.is_empty() {
        spelled.push('%');
    }
    if spelled.len() > MOST {
        let digest = sha256(spelled.as_bytes());
        // It is ASCII.
        spelled.truncate(MOST - DIGITS - 1);
        spelled.push('#');
        for byte in digest {
            let _ = write!(spelled, "{byte:02x}");
        }
    }
    spelled
}

/// Adds `name` to what is spelled.
fn escape(spelled: &mut String, name: &str) {
    for &byte in name.as_bytes() {
        // No file is called `.` or `..`, nor hidden.
        let first = spelled.is_empty() && byte == b'.';
        let plain = byte.is_ascii_graphic() && !b"/:%#".contains(&byte) || byte == b' ';
        if plain && !first {
            spelled.push(byte.into());
        } else {
            let _ = write!(spelled, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, spelling};
    use std::collections::HashMap;

    #[test]
    fn plain_names_are_as_they_are() {
        assert_eq!(spelling(None, "backup of sales"), "backup of sales");
        assert_eq!(spelling(Some(""), "sales"), "sales");
        assert_eq!(spelling(Some("east"), "sales"), "east:sales");
        let guid = "{0D0F5BA0-B21A-4519-A961-A6E2292A17CA}";
        assert_eq!(spelling(None, guid), guid);
    }

    #[test]
    fn what_is_not_plain_is_escaped() {
        assert_eq!(spelling(None, "a/b:c%d#e\0"), "a%2Fb%3Ac%25d%23e%00");
        assert_eq!(spelling(Some("Süd"), "\n"), "S%C3%BCd:%0A");
        assert_eq!(spelling(None, ".."), "%2E.");
        assert_eq!(spelling(Some("."), "."), "%2E:.");
        assert_eq!(spelling(None, ""), "%");
        assert_eq!(spelling(Some("east"), ""), "east:");
    }

    #[test]
    fn what_is_too_long_ends_in_a_digest() {
        let fits = "x".repeat(MOST);
        assert_eq!(spelling(None, &fits), fits);
        let long = spelling(None, &"x".repeat(MOST + 1));
        let (beginning, digest) = long.split_once('#').unwrap();
        assert_eq!(beginning, "x".repeat(25));
        assert_eq!(digest.len(), 64);
        // A name that is spelled like it is another.
        assert_ne!(spelling(None, &long), long);
        assert!(!spelling(None, &long[..80]).contains('#'));
    }

    /// Pairs of short names over an alphabet of what matters, and names of every length
    /// around the limits that differ in one place.
    #[test]
    fn no_two_have_the_same_spelling() {
        const LETTERS: [&str; 9] = ["", "a", "%", ":", "#", "/", ".", "\u{e9}", "%3A"];
        let mut short = Vec::new();
        for first in LETTERS {
            for second in LETTERS {
                for third in LETTERS {
                    short.push(format!("{first}{second}{third}"));
                }
            }
        }
        short.sort();
        short.dedup();
        let mut long = Vec::new();
        for len in [24, 25, 26, 88, 89, 90, 91, 92, 300, 5000] {
            for at in [0, len / 2, len - 1] {
                let mut name = "n".repeat(len);
                name.replace_range(at..=at, "o");
                long.push(name);
            }
        }
        let few = &short[..short.len().min(4)];
        let pairs = (short.iter())
            .flat_map(|instance| short.iter().map(move |set| (instance, set)))
            .chain(few.iter().flat_map(|a| long.iter().map(move |b| (a, b))))
            .chain(few.iter().flat_map(|a| long.iter().map(move |b| (b, a))))
            .chain(long.iter().map(|name| (name, name)));
        let mut seen = HashMap::new();
        for pair in pairs {
            let spelled = spelling(Some(pair.0), pair.1);
            assert!((1..=MOST).contains(&spelled.len()), "{spelled}");
            let good = |byte: u8| byte.is_ascii_graphic() && byte != b'/' || byte == b' ';
            assert!(spelled.bytes().all(good), "{spelled}");
            assert!(!spelled.starts_with('.'), "{spelled}");
            if let Some(other) = seen.insert(spelled, pair) {
                panic!("{other:?} and {pair:?}");
            }
        }
    }
}

//! What the objects of a backup are called.
//!
//! Owns the names, and the reading of them.

use std::fmt;

/// An object's name below the prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Name {
    Catalogue,
    /// There while a backup is written.
    Writing,
    /// A part of a stripe, from the byte `start` on.
    Volume {
        stripe: u32,
        start: u64,
    },
    /// The id of the upload that makes a volume.
    Upload {
        stripe: u32,
        start: u64,
    },
}

impl Name {
    /// `None`: it is none of a backup's.
    pub fn parse(text: &str) -> Option<Name> {
        let name = match text {
            "catalogue" => Name::Catalogue,
            "writing" => Name::Writing,
            _ => {
                let rest = text.strip_prefix("stripe-")?;
                let (rest, upload) = match rest.strip_suffix(".upload") {
                    Some(rest) => (rest, true),
                    None => (rest, false),
                };
                let (stripe, start) = rest.split_once('.').unwrap_or((rest, "0"));
                let (stripe, start) = (stripe.parse().ok()?, start.parse().ok()?);
                match upload {
                    true => Name::Upload { stripe, start },
                    false => Name::Volume { stripe, start },
                }
            }
        };
        // One name for each thing: no `stripe-0`, no `stripe-0000.0`.
        (name.to_string() == text).then_some(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stripe, start, end) = match *self {
            Name::Catalogue => return f.write_str("catalogue"),
            Name::Writing => return f.write_str("writing"),
            Name::Volume { stripe, start } => (stripe, start, ""),
            Name::Upload { stripe, start } => (stripe, start, ".upload"),
        };
        write!(f, "stripe-{stripe:04}")?;
        if start > 0 {
            write!(f, ".{start}")?;
        }
        f.write_str(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_what_it_was_written_from_and_no_other_is() {
        let stripe = 7;
        for name in [
            Name::Catalogue,
            Name::Writing,
            Name::Volume { stripe, start: 0 },
            Name::Volume { stripe, start: 8 },
            Name::Upload { stripe, start: 0 },
            Name::Upload {
                stripe: 12345,
                start: u64::MAX,
            },
        ] {
            assert_eq!(Name::parse(&name.to_string()), Some(name));
        }
        for text in [
            "",
            "stripe-",
            "stripe-7",
            "stripe-00007",
            "stripe-0007.0",
            "stripe-0007.08",
            "stripe-+007",
            "stripe-0007.8.8",
            "stripe-0007.upload.upload",
            "catalogue.upload",
            "Catalogue",
        ] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }
}

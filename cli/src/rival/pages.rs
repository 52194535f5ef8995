//! Kinds of pages by name.
//!
//! Owns the names that files and `--pages` have for the library's kinds, and the list that a user types. The pools and the
//! mapping that stand behind rivals are built with it.

use std::fmt;

use ::hugepool::{Builder, Pages, Rung};

use super::name::names;

/// The name of a kind in files and on the command line.
pub fn name(pages: Pages) -> &'static str {
    match pages {
        Pages::Huge1G => "huge-1g",
        Pages::Huge2M => "huge-2m",
        Pages::Transparent => "transparent",
        Pages::Collapsed => "collapsed",
        Pages::Base => "base",
    }
}

/// One kind by its name; the error has all of them.
pub fn parse(text: &str) -> Result<Pages, String> {
    let found = Pages::ALL.into_iter().find(|pages| name(*pages) == text);
    found.ok_or_else(|| {
        format!(
            "there is no kind of page `{text}`; there are: {}",
            names(Pages::ALL.map(name))
        )
    })
}

/// The kinds that memory may be on, best first: the next one where one is not granted, and nothing after the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kinds(Vec<Pages>);

impl Kinds {
    /// The kinds in any order; `None` if there are none, and all is left to the library.
    pub fn of(mut pages: Vec<Pages>) -> Option<Kinds> {
        pages.sort_unstable();
        pages.dedup();
        (!pages.is_empty()).then_some(Kinds(pages))
    }

    /// Has a pool use these kinds and no others. All of its memory must be on the last one if it is on none before it.
    pub fn rule(&self, builder: Builder) -> Builder {
        let last = self.0.last();
        Pages::ALL.into_iter().fold(builder, |builder, pages| {
            let rung = if Some(&pages) == last {
                Rung::Require
            } else if self.0.contains(&pages) {
                Rung::Prefer
            } else {
                Rung::Never
            };
            builder.pages(pages, rung)
        })
    }

    /// Their names.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().copied().map(name).collect()
    }
}

impl fmt::Display for Kinds {
    /// As it is typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_and_a_wrong_one_is_named_with_the_right_ones() {
        for pages in Pages::ALL {
            assert_eq!(parse(name(pages)), Ok(pages));
        }
        let error = parse("huge").expect_err("no such kind");
        for word in [
            "`huge`",
            "huge-1g",
            "huge-2m",
            "transparent",
            "collapsed",
            "base",
        ] {
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn kinds_are_tried_best_first_whatever_the_order() {
        let kinds = Kinds::of(vec![Pages::Base, Pages::Huge2M, Pages::Base]).expect("two");
        assert_eq!(kinds.to_string(), "huge-2m,base");
        assert_eq!(Kinds::of(Vec::new()), None);
    }
}

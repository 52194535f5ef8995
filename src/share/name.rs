//! The name of a set or a pool.
//!
//! Owns: its two parts, and its bytes. Uses: `spelling`, `error`. Used by: callers, both
//! sides of a connection.

use super::error::ShareError;
use super::spelling::spelling;

/// The name by which clients open a set, or a pool: its own, and, if it has one, that of its
/// instance. Both can be of any length, and have any characters; no two are taken for each
/// other. The name alone must not be empty.
///
/// ```
/// use hugepool::share::Name;
///
/// let name = Name::from("sales");                 // of the default instance
/// assert_eq!(name, Name::of_instance("", "sales"));
/// assert_ne!(name, Name::of_instance("east", "sales"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    instance: &'a str,
    set: &'a str,
}

impl<'a> Name<'a> {
    /// The name of a set in an instance; an empty one is the default instance.
    #[must_use]
    pub fn of_instance(instance: &'a str, set: &'a str) -> Self {
        Self { instance, set }
    }

    /// The bytes of the socket's name.
    pub(super) fn bytes(self) -> Result<Vec<u8>, ShareError> {
        match self.set.is_empty() {
            true => Err(ShareError::NoName),
            false => {
                let spelled = spelling(Some(self.instance), self.set);
                Ok(format!("hugepool/{spelled}").into_bytes())
            }
        }
    }
}

impl<'a> From<&'a str> for Name<'a> {
    fn from(set: &'a str) -> Self {
        Self { instance: "", set }
    }
}

impl<'a> From<&'a String> for Name<'a> {
    fn from(set: &'a String) -> Self {
        Self::from(set.as_str())
    }
}

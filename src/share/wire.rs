//! What a server and its clients say to each other.
//!
//! Owns: questions, answers, and their bytes. Uses: `layout`, `error`. Used by: both sides.
//!
//! ```text
//!   client                          server
//!                             ◀──── Welcome; or Refused
//!   a question                ────▶
//!                             ◀──── an answer
//! ```
//!
//! A message is a sequential packet: a kind of four bytes, and what comes with it, all
//! little-endian. A question has 20 bytes. Descriptors come with answers alone.

use super::error::ShareError;
use super::layout::Layout;

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// The first segment whose number is `number` or greater, of the pool `pool`, or, if that
    /// is 0, of whichever.
    Segment { number: u64, pool: u64 },
    /// What the set is configured with.
    Configuration,
    /// The word by which a client sees whether the server was killed (see `sys::robust`).
    Server,
}

/// Bytes of a question.
pub(super) const QUESTION: usize = 20;

impl Question {
    pub(super) fn to_bytes(self) -> [u8; QUESTION] {
        let (kind, from, pool) = match self {
            Self::Segment { number, pool } => (1u32, number, pool),
            Self::Configuration => (2, 0, 0),
            Self::Server => (3, 0, 0),
        };
        let mut bytes = [0; QUESTION];
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        bytes[4..12].copy_from_slice(&from.to_le_bytes());
        bytes[12..].copy_from_slice(&pool.to_le_bytes());
        bytes
    }

    /// `None` for what is no question.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; QUESTION] = bytes.try_into().ok()?;
        match number(bytes)? {
            1 => Some(Self::Segment {
                number: u64::from_le_bytes(*bytes[4..].first_chunk()?),
                pool: u64::from_le_bytes(*bytes.last_chunk()?),
            }),
            2 => Some(Self::Configuration),
            3 => Some(Self::Server),
            _ => None,
        }
    }
}

/// The four bytes that `bytes` begins with, as a number.
fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.first_chunk()?))
}

/// Words of a set's configuration.
pub(crate) const CONFIGURATION: usize = 11;

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Ask.
    Welcome,
    /// [`ShareError::Refused`].
    Refused,
    /// A segment, with its descriptors.
    Segment(Layout),
    /// There is no segment from that number on.
    NoMore,
    /// What the set is configured with.
    Configuration([u32; CONFIGURATION]),
    /// [`ShareError::NotConfigured`].
    NotConfigured,
    /// [`ShareError::NoSet`].
    NoSet,
    /// [`ShareError::Aborted`].
    Aborted,
    /// [`ShareError::Closed`].
    Closed,
    /// [`ShareError::OtherPool`]: it is this one.
    OtherPool(u64),
    /// The server cannot answer: [`ShareError::HungUp`].
    Failed,
    /// The server's word, with its descriptor, unless it has none.
    Server,
}

/// Room for the longest answer.
pub(super) const ANSWER: usize = 4 + Layout::BYTES;

/// An answer's bytes.
pub(super) struct Bytes {
    bytes: [u8; ANSWER],
    len: usize,
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Answer {
    fn kind(&self) -> u32 {
        match self {
            Self::Welcome => 1,
            Self::Refused => 2,
            Self::Segment(_) => 3,
            Self::NoMore => 4,
            Self::Configuration(_) => 5,
            Self::NotConfigured => 6,
            Self::NoSet => 7,
            Self::Aborted => 8,
            Self::Closed => 9,
            Self::OtherPool(_) => 10,
            Self::Failed => 11,
            Self::Server => 12,
        }
    }

    pub(super) fn to_bytes(self) -> Bytes {
        let mut bytes = [0; ANSWER];
        bytes[..4].copy_from_slice(&self.kind().to_le_bytes());
        let mut len = 4;
        let mut put = |more: &[u8]| {
            bytes[len..len + more.len()].copy_from_slice(more);
            len += more.len();
        };
        match self {
            Self::Segment(layout) => put(&layout.to_bytes()),
            Self::Configuration(words) => words.iter().for_each(|word| put(&word.to_le_bytes())),
            Self::OtherPool(pool) => put(&pool.to_le_bytes()),
            _ => {}
        }
        Bytes { bytes, len }
    }

    /// What a server said, checked.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, ShareError> {
        let forged = ShareError::Forged { what: "answer" };
        let (Some(kind), Some(rest)) = (number(bytes), bytes.get(4..)) else {
            return Err(forged);
        };
        let answer = match kind {
            1 => Self::Welcome,
            2 => Self::Refused,
            3 => return Layout::from_bytes(rest).map(Self::Segment),
            4 => Self::NoMore,
            5 if rest.len() == 4 * CONFIGURATION => {
                let mut words = [0; CONFIGURATION];
                for (word, four) in words.iter_mut().zip(rest.chunks_exact(4)) {
                    *word = number(four).ok_or(forged)?;
                }
                return Ok(Self::Configuration(words));
            }
            6 => Self::NotConfigured,
            7 => Self::NoSet,
            8 => Self::Aborted,
            9 => Self::Closed,
            10 => {
                let pool = rest.try_into().map(u64::from_le_bytes);
                return pool.map(Self::OtherPool).map_err(|_| forged);
            }
            11 => Self::Failed,
            12 => Self::Server,
            _ => return Err(forged),
        };
        match rest.is_empty() {
            true => Ok(answer),
            false => Err(forged),
        }
    }

    /// What the server of a source says that could not answer for `error`.
    pub(super) fn of(error: &ShareError) -> Self {
        match error {
            ShareError::NotConfigured => Self::NotConfigured,
            ShareError::NoSet => Self::NoSet,
            ShareError::Aborted => Self::Aborted,
            ShareError::Closed => Self::Closed,
            ShareError::OtherPool { given, .. } => Self::OtherPool(*given),
            _ => Self::Failed,
        }
    }

    /// The error that it is, for a client that has, or wants, the pool `needed`.
    pub(super) fn checked(self, needed: u64) -> Result<Self, ShareError> {
        match self {
            Self::Refused => Err(ShareError::Refused),
            Self::NotConfigured => Err(ShareError::NotConfigured),
            Self::NoSet => Err(ShareError::NoSet),
            Self::Aborted => Err(ShareError::Aborted),
            Self::Closed => Err(ShareError::Closed),
            Self::OtherPool(given) => Err(ShareError::OtherPool { given, needed }),
            Self::Failed => Err(ShareError::HungUp),
            other => Ok(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_question_is_what_was_asked(number: u64, pool: u64) {
            for question in [
                Question::Segment { number, pool }, Question::Configuration, Question::Server,
            ] {
                prop_assert_eq!(Question::from_bytes(&question.to_bytes()), Some(question));
            }
        }

        #[test]
        fn an_answer_is_what_was_said(words: [u32; CONFIGURATION], pool: u64) {
            let answers = [
                Answer::Welcome, Answer::Refused, Answer::NoMore, Answer::NotConfigured,
                Answer::NoSet, Answer::Aborted, Answer::Closed, Answer::Failed,
                Answer::Server,
                Answer::Configuration(words), Answer::OtherPool(pool),
            ];
            for answer in answers {
                let bytes = answer.to_bytes();
                prop_assert_eq!(Answer::from_bytes(&bytes), Ok(answer));
                // Neither less nor more is an answer.
                let shorter = Answer::from_bytes(&bytes[..bytes.len() - 1]);
                prop_assert!(shorter.is_err());
                let longer = [&bytes[..], &[0]].concat();
                prop_assert!(Answer::from_bytes(&longer).is_err());
            }
        }

        #[test]
        fn what_is_neither_is_refused(bytes: Vec<u8>) {
            // Whatever it is, nothing panics.
            let _ = Question::from_bytes(&bytes);
            let _ = Answer::from_bytes(&bytes);
        }
    }
}

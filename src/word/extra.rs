//! What a stream has beyond its minimum.
//!
//! Owns: the layout of its word. Uses: nothing. Used by: `lists`.

/// The word of a stream's quota: `{tag: 30, closed: 1, shut: 1, count: 32}`. All-zero
/// memory is a quota in use of whose claims none is taken.
///
/// The tag grows by one with every change of the word, as that of a `Head` does. `shut`
/// says that somebody of the stream waits, `closed` that the stream has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extra(u64);

impl Extra {
    const SHUT: u64 = 1 << 32;
    const CLOSED: u64 = 1 << 33;
    const ONE_TAG: u64 = 1 << 34;

    /// What `word` says.
    pub fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word to store.
    pub fn word(self) -> u64 {
        self.0
    }

    /// Claims that are taken: buffers of the pool that the stream has or waits for. Once
    /// it is closed, all its buffers that are out.
    pub fn count(self) -> u32 {
        self.0 as u32
    }

    /// Whether somebody of the stream waits.
    pub fn is_shut(self) -> bool {
        self.0 & Self::SHUT != 0
    }

    /// Whether the stream has ended.
    pub fn is_closed(self) -> bool {
        self.0 & Self::CLOSED != 0
    }

    /// This word one change later, with so many more claims.
    #[must_use]
    pub fn plus(self, more: u32) -> Self {
        Self(self.0.wrapping_add(Self::ONE_TAG + u64::from(more)))
    }

    /// This word one change later, with so many fewer of the claims that there are.
    #[must_use]
    pub fn minus(self, fewer: u32) -> Self {
        Self(self.0.wrapping_add(Self::ONE_TAG - u64::from(fewer)))
    }

    /// This word one change later, shut or not.
    #[must_use]
    pub fn with_shut(self, shut: bool) -> Self {
        let flag = if shut { Self::SHUT } else { 0 };
        Self(self.plus(0).0 & !Self::SHUT | flag)
    }

    /// This word one change later, of a quota that is in use anew.
    #[must_use]
    pub fn renewed(self) -> Self {
        Self(self.plus(0).0 & !(Self::ONE_TAG - 1))
    }

    /// This word one change later, of a stream that has ended.
    #[must_use]
    pub fn closed(self) -> Self {
        Self(self.plus(0).0 | Self::CLOSED)
    }
}

//! How the buffers of a class come and go.
//!
//! Owns: the layout of the word. Uses: nothing. Used by: `lists`.

use core::fmt;

/// See `lists::regime`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// By way of the processors' caches.
    Open,
    /// Somebody is diverting them past the caches.
    Sharing,
    /// Past the caches, by one list that all processors share.
    Shared,
}

/// `{openings: 30, version: 32, state: 2}`. The version grows with every change, so
/// that one who opens can tell that somebody wants it shared anew; the openings are
/// counted, so that one who looks twice can tell that there was none between. All-zero
/// memory is an open class.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mode(u64);

impl Mode {
    const STATE: u64 = 3;
    const VERSION: u64 = 1 << 2;
    const VERSIONS: u64 = (u32::MAX as u64) << 2;
    const OPENING: u64 = 1 << 34;

    /// The mode whose word is `word`.
    #[inline]
    pub fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word to store.
    #[inline]
    pub fn word(self) -> u64 {
        self.0
    }

    /// What it says.
    #[inline]
    pub fn state(self) -> State {
        match self.0 & Self::STATE {
            0 => State::Open,
            1 => State::Sharing,
            _ => State::Shared,
        }
    }

    /// How often the class was opened, modulo 2³⁰.
    pub fn openings(self) -> u64 {
        self.0 >> 34
    }

    /// One change later, in `state`.
    #[must_use]
    pub fn with(self, state: State) -> Self {
        let bits = match state {
            State::Open => 0,
            State::Sharing => 1,
            State::Shared => 2,
        };
        let version = self.0.wrapping_add(Self::VERSION) & Self::VERSIONS;
        let opened = state == State::Open && self.state() != State::Open;
        let openings = if opened {
            self.0.wrapping_add(Self::OPENING)
        } else {
            self.0
        } & !(Self::VERSIONS | Self::STATE);
        Self(openings | version | bits)
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} after {} openings", self.state(), self.openings())
    }
}

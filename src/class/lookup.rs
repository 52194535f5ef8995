//! From a request to its class: one table look-up.
//!
//! Owns: the table of requests, and the lines of all classes. Uses: `sync`,
//! `sys`, `table`, `line`, `geometry`, `ladder`. Used by: `catalog`; `pool`, by a `Finder`, on
//! every allocation by size.
//!
//! A row an alignment (1 B … 64 MiB), a column a *bin* of sizes: eight bins a
//! doubling, 512 B … 1 GiB. An entry names the smallest class that serves at
//! least the smallest request of its bin; the request is then compared with the
//! class's size, and only if two classes end in one bin can the comparison
//! fail, which sends the request to the exact, slower search.
//!
//! The table is a hint that may lag behind for as long as a growth is
//! publishing. The constants of the classes are the truth, and every request
//! that the table turns away is looked up there.

use super::geometry::{Geometry, MAX_ALIGNMENT, MAX_SIZE};
use super::ladder::{Ladder, Rung};
use super::line::Line;
use super::{ClassId, MAX_CLASSES};
use crate::sync::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
#[cfg(not(hugepool_loom))]
use crate::sys::address::settled;
use crate::table::Table;
use core::num::NonZero;
use std::io;

/// Rows: one for every power of two that an alignment could be.
const ROWS: usize = usize::BITS as usize;
/// Rows of alignments that a class can have; the others stay empty.
const USED_ROWS: usize = MAX_ALIGNMENT.trailing_zeros() as usize + 1;
/// Columns: one for every bin of sizes that a class can have. (Other sizes fall
/// into those of a later row; the class found there is too small.)
const COLUMNS: usize = 256;
/// Bins are below this.
const BINS: usize = 8 * usize::BITS as usize + 8;
/// The first and the last bin of sizes that a class can have.
const FIRST_BIN: usize = bin(0);
const LAST_BIN: usize = bin(MAX_SIZE - 1);
/// Where publishing begins. (Models have one alignment and few sizes; each entry
/// would be a word to visit.)
const FIRST_ROW: usize = if cfg!(hugepool_loom) {
    USED_ROWS - 1
} else {
    0
};
const PUBLISHED_BIN: usize = if cfg!(hugepool_loom) {
    bin(511)
} else {
    FIRST_BIN
};
/// Lines that an entry can name: the first serves nothing.
const LINES: usize = if cfg!(hugepool_loom) {
    MAX_CLASSES + 1
} else {
    1 << u8::BITS
};

/// From the place of one line to that of the next: bytes, lest a look-up multiply.
const PLACE: u32 = size_of::<Line>() as u32;

const _: () = assert!(MAX_CLASSES < LINES && FIRST_BIN < LAST_BIN && LAST_BIN < COLUMNS);

/// The bin of requests whose last byte is number `last`. Bins end at multiples
/// of an eighth of a power of two (of a quarter up to 1 KiB, of a half up to
/// 512 B); requests up to 128 B share the first.
///
/// That is, the exponent and the three bits behind the first one. Whatever `last` is, the bin
/// is below `BINS`; for all that a class can have it is below `COLUMNS`.
#[inline(always)]
const fn bin(last: usize) -> usize {
    const KEPT: u32 = 3;
    let last = last | 127;
    let exponent = last.ilog2();
    // 8 to 15, for all that a class can have. What is shifted out first saves a subtraction
    // behind the exponent.
    ((exponent as usize) << KEPT) + ((last << KEPT) >> exponent)
}

/// The smallest request of bin `at`.
const fn bin_start(at: usize) -> usize {
    let mut last = 0;
    if at > FIRST_BIN {
        // The first bin is the last eighth of its doubling.
        let eighths = at - FIRST_BIN + 7;
        let (doubling, eighth) = (eighths / 8 + 6, eighths % 8);
        last = (8 + eighth) << (doubling - 3) & !127;
        // Nothing falls into bins that the bits which are ignored skip.
        if bin(last) != at {
            return MAX_SIZE + 1;
        }
    }
    last + 1
}

/// The look-up table and the classes it names.
pub struct Classes {
    /// Where the line of the class is (`line_at`), zero for none. Written by `publish` with
    /// Release, read with Acquire: whoever finds a class finds its constants.
    entries: Table<AtomicU32>,
    /// The line of class `k` at `k + 1`.
    lines: Table<Line>,
    /// No class at or above this number is defined; some below may not yet be
    /// (their size is 0). Raised by `define` with Release, read with Acquire.
    defined: AtomicUsize,
    prefix: usize,
    base: AtomicPtr<u8>,
    owner: AtomicPtr<()>,
}

impl Classes {
    /// No classes; all that come will have a prefix zone of `prefix` bytes and
    /// buffers in the arena that begins at `base`.
    pub fn new(prefix: usize, base: *mut u8) -> io::Result<Self> {
        Ok(Self {
            entries: Table::new(ROWS * COLUMNS + BINS)?,
            lines: Table::new(LINES)?,
            defined: AtomicUsize::new(0),
            prefix,
            base: AtomicPtr::new(base),
            owner: AtomicPtr::new(std::ptr::null_mut()),
        })
    }

    /// Says whom lines name as their owner. Before any class is defined.
    pub fn set_owner(&self, owner: *mut ()) {
        // Relaxed: the pool is not shared yet.
        self.owner.store(owner, Ordering::Relaxed);
    }

    /// The class that serves `size` bytes at `alignment`, or `None` if the
    /// values are out of range, nothing fits, or the exact search must decide.
    #[inline]
    pub fn find(&self, size: usize, alignment: usize) -> Option<&Line> {
        let (at, last) = entry_of(size, alignment)?;
        // Acquire: pairs with the Release in `publish`.
        let place = self.entries.get(at).load(Ordering::Acquire);
        let line = self.lines.get((place / PLACE) as usize);
        // Not `size <=`, which would be true of 0 and the line that serves nothing.
        (last < line.size()).then_some(line)
    }

    /// What finds a class without the way to here.
    #[cfg(not(hugepool_loom))]
    pub fn finder(&self) -> Finder {
        Finder {
            entries: self.entries.base(),
            lines: self.lines.base(),
        }
    }

    /// The line of the class whose `entry` this is. 0: one that serves nothing.
    #[inline(always)]
    pub fn named(&self, entry: u8) -> &Line {
        // SAFETY: there is a line for every value of an entry.
        unsafe { self.lines.get_unchecked(usize::from(entry)) }
    }

    /// Where the line of class `id` is, for `line_at`. Not 0, and the same in every pool.
    pub fn place_of(id: ClassId) -> u32 {
        Self::place_of_entry(id.entry())
    }

    /// As `place_of`, of the class whose number counted from 1 is `entry`; 0: of none.
    #[inline(always)]
    pub fn place_of_entry(entry: u8) -> u32 {
        u32::from(entry) * PLACE
    }

    /// The line of class `id`.
    #[inline]
    pub fn line(&self, id: ClassId) -> &Line {
        self.lines.get(id.index() + 1)
    }

    /// Writes the constants of class `id`. Every caller writes the same.
    pub fn define(&self, id: ClassId, geometry: &Geometry) {
        // Relaxed: neither changes any more.
        let base = self.base.load(Ordering::Relaxed);
        let owner = self.owner.load(Ordering::Relaxed);
        self.line(id).define(id, geometry, base, owner);
        // Release: see `defined`.
        self.defined.fetch_max(id.index() + 1, Ordering::Release);
    }

    /// Every class that was ever defined, and maybe some that are about to be.
    pub fn ids(&self) -> impl Iterator<Item = ClassId> + Clone + use<> {
        // Acquire: see `defined`.
        (0..self.defined.load(Ordering::Acquire)).filter_map(ClassId::new)
    }

    /// Every class that `keep` keeps, as a ladder. Lock-free; allocates nothing.
    pub fn ladder(&self, mut keep: impl FnMut(&Rung) -> bool) -> Ladder {
        let mut ladder = Ladder::default();
        // Acquire: see `defined`.
        for at in 0..self.defined.load(Ordering::Acquire) {
            let Some(id) = ClassId::new(at) else { break };
            let line = self.line(id);
            let rung = Rung {
                size: line.size(),
                alignment: line.alignment(),
                class: id,
            };
            if rung.size > 0 && keep(&rung) {
                ladder.insert(rung);
            }
        }
        ladder
    }

    /// How many bytes are kept for the client before each buffer.
    #[inline]
    pub fn prefix(&self) -> usize {
        self.prefix
    }

    /// Rewrites the look-up table for the classes on `ladder`.
    pub fn publish(&self, ladder: &Ladder) {
        for row in FIRST_ROW..USED_ROWS {
            let alignment = 1 << row;
            for at in PUBLISHED_BIN..=LAST_BIN {
                let entry = ladder
                    .first(bin_start(at), alignment)
                    .map_or(0, |rung| Self::place_of(rung.class));
                let word = self.entries.get(row * COLUMNS + at);
                // Relaxed load: only spares the store. Release: see `entries`.
                if word.load(Ordering::Relaxed) != entry {
                    word.store(entry, Ordering::Release);
                }
            }
        }
    }

    /// Bytes of memory the tables occupy.
    pub fn resident(&self) -> io::Result<usize> {
        Ok(self.entries.resident(usize::MAX)? + self.lines.resident(usize::MAX)?)
    }
}

/// Which entry is of requests of `size` bytes at `alignment`, and the number of their last
/// byte. `None`: none is.
#[inline(always)]
fn entry_of(size: usize, alignment: usize) -> Option<(usize, usize)> {
    if !alignment.is_power_of_two() {
        return None;
    }
    let row = NonZero::new(alignment)?.trailing_zeros() as usize;
    let last = size.wrapping_sub(1);
    Some((row * COLUMNS + bin(last), last))
}

/// What a look-up reads of the classes: a copy for where it is at hand.
#[cfg(not(hugepool_loom))]
pub struct Finder {
    entries: *const AtomicU32,
    lines: *const Line,
}

#[cfg(not(hugepool_loom))]
impl Finder {
    /// As `Classes::find`.
    ///
    /// # Safety
    ///
    /// The classes are there as long as what this gives.
    #[inline(always)]
    pub unsafe fn find<'a>(&self, size: usize, alignment: usize) -> Option<&'a Line> {
        let (at, last) = entry_of(size, alignment)?;
        // SAFETY: the caller says so. A row is below `ROWS`, a bin below `BINS`.
        let entry = unsafe { &*self.entries.add(at) };
        // Acquire: pairs with the Release in `publish`.
        let place = entry.load(Ordering::Acquire);
        // SAFETY: the caller says so, and it is 0, or the place of a class.
        let line = unsafe { self.line_at(place) };
        // As there.
        (last < line.size()).then_some(line)
    }

    /// The line at `place`. 0: one that serves nothing.
    ///
    /// # Safety
    ///
    /// As `find`; `place` is 0, or came from `Classes::place_of`.
    #[inline(always)]
    pub unsafe fn line_at<'a>(&self, place: u32) -> &'a Line {
        // SAFETY: there is a line for every class and one more, and this is where one begins.
        unsafe { settled(&*self.lines.byte_add(place as usize)) }
    }
}

#[cfg(all(test, not(hugepool_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What both ways find.
    fn find(table: &Classes, size: usize, alignment: usize) -> Option<&Line> {
        // SAFETY: the classes are there.
        let short = unsafe { table.finder().find(size, alignment) };
        let found = table.find(size, alignment);
        assert_eq!(found.map(std::ptr::from_ref), short.map(std::ptr::from_ref));
        found
    }

    #[test]
    fn bins_are_contiguous_and_cover_every_size() {
        let mut before = FIRST_BIN;
        let sizes = (1..1 << 13).chain((13..30).flat_map(|shift| {
            let eighth = 1 << (shift - 3);
            (8..16).flat_map(move |at| [at * eighth, at * eighth + 1])
        }));
        for size in sizes {
            let at = bin(size - 1);
            assert!(at == before || size == bin_start(at), "{size} in {at}");
            assert!(at >= before && at <= LAST_BIN, "{size} in {at}");
            before = at;
        }
        assert_eq!(bin(MAX_SIZE - 1), LAST_BIN);
    }

    fn define(table: &Classes, sizes: &[(usize, u32)]) -> Ladder {
        for (at, &(size, shift)) in sizes.iter().enumerate() {
            let geometry = Geometry::new(size, 1 << shift, 0).unwrap();
            table.define(ClassId::new(at).unwrap(), &geometry);
        }
        let ladder = table.ladder(|_| true);
        table.publish(&ladder);
        ladder
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_the_exact_search(
            classes in proptest::collection::vec((1usize..1 << 20, 0u32..=26), 0..20),
            requests in proptest::collection::vec((1usize..1 << 20, 0u32..=26), 100),
        ) {
            let table = Classes::new(0, std::ptr::null_mut()).unwrap();
            let ladder = define(&table, &classes);
            for (size, shift) in requests.into_iter().chain(classes.iter().copied()) {
                let exact = ladder.first(size, 1 << shift);
                match find(&table, size, 1 << shift) {
                    Some(found) => prop_assert_eq!(Some(found.id()), exact.map(|rung| rung.class)),
                    // The table may leave a request to the exact search only
                    // where a smaller class ends in the same bin.
                    None => if exact.is_some() {
                        let crowded = classes.iter().any(|&(other, _)| {
                            other < size && other >= bin_start(bin(size - 1))
                        });
                        prop_assert!(crowded, "{size} at 2^{shift} was not found");
                    },
                }
            }
        }
    }

    #[test]
    fn a_request_at_the_end_of_a_bin_with_two_classes_is_left_to_the_exact_search() {
        let table = Classes::new(0, std::ptr::null_mut()).unwrap();
        let ladder = define(&table, &[(491_520, 0), (458_753, 0)]);
        assert_eq!(bin(491_520 - 1), bin(458_753 - 1));
        assert!(find(&table, 491_520, 1).is_none());
        let exact = ladder.first(491_520, 1).map(|rung| rung.class);
        assert_eq!(exact, ClassId::new(0));
    }

    #[test]
    fn requests_out_of_range_find_nothing() {
        let table = Classes::new(0, std::ptr::null_mut()).unwrap();
        define(&table, &[(4096, 12)]);
        let found = |size, alignment| find(&table, size, alignment).map(Line::id);
        assert_eq!(found(4096, 4096), ClassId::new(0));
        assert_eq!(found(4096, 1), ClassId::new(0));
        for (size, alignment) in [
            (0, 512),
            (4097, 512),
            (MAX_SIZE, 512),
            (MAX_SIZE + 1, 512),
            (usize::MAX, 512),
            (512, 0),
            (512, 3),
            (512, 8192),
            (512, 1 << 40),
            (512, 1 << 63),
        ] {
            assert_eq!(found(size, alignment), None, "{size} at {alignment}");
        }
    }
}

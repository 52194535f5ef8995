//! Which pieces of a region are in a ring's table, and how they come there.
//!
//! Owns: the numbers of the entries, the map from an offset to its entry, and the cutting of
//! what the kernel does not take whole. Uses: nothing but the face that the kernel has for it.
//! Used by: `registry`.
//!
//! ```text
//!   region   |──────── 1 GiB ────────|──────── 1 GiB ────────|──512 MiB──|─256─|  (rest: none)
//!   runs      each 1 GiB: places 0, 1                         place 2     place 3
//!   numbers   [0, 1, 5, 6]                the entry of each place in the ring's table
//! ```
//!
//! All pieces but the last end where a buffer's cell does, so that each buffer, its prefix
//! zone included, lies in one piece or in none.

use super::report::WhyUnregistered;
use crate::error::OsError;
use std::io;

/// Registrations longer than this some kernels refuse (`EFAULT`, Linux up to 7.1).
const LONG: usize = 1 << 30;

/// What registering needs of the kernel.
pub trait Kernel {
    /// Puts memory into an entry.
    fn put(&mut self, entry: u16, start: *const u8, bytes: usize) -> io::Result<()>;

    /// Makes an entry empty.
    fn clear(&mut self, entry: u16) -> io::Result<()>;

    /// The kernel said that it has no memory for `bytes`. Waits, and says whether to ask it
    /// again.
    fn wait(&mut self, bytes: usize) -> bool;

    /// Bytes that may be locked, where that is limited and known.
    fn limit(&self) -> Option<u64>;
}

/// The numbers of a table's entries that are empty.
#[derive(Debug)]
pub struct Numbers {
    /// The lowest is the last, at first.
    free: Vec<u16>,
    total: u16,
}

impl Numbers {
    /// Those of an empty table.
    pub fn new(total: u16) -> Self {
        Self {
            free: (0..total).rev().collect(),
            total,
        }
    }

    /// How many there are, taken or not.
    pub fn total(&self) -> u16 {
        self.total
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        usize::from(self.total) - self.free.len()
    }
}

/// Pieces of equal length, one after the other.
#[derive(Debug)]
struct Run {
    /// Bytes from the region's start.
    start: usize,
    end: usize,
    each: usize,
    /// The place of the first of them among the numbers.
    place: usize,
}

/// What is to be registered: memory of buffers, `stride` apart.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub start: *const u8,
    pub bytes: usize,
    pub stride: usize,
}

/// The pieces of a region that are in a table: all of it, its first part, or nothing.
#[derive(Debug, Default)]
pub struct Pieces {
    /// In the order of the memory, without gaps. One, or few: what the kernel takes at once it
    /// takes as one, and each further run is at most half as long.
    runs: Vec<Run>,
    numbers: Vec<u16>,
}

impl Pieces {
    /// Bytes that are registered, from the region's start on.
    pub fn bytes(&self) -> usize {
        self.runs.last().map_or(0, |run| run.end)
    }

    /// The entry in which the byte at `offset` is.
    pub fn entry(&self, offset: usize) -> Option<u16> {
        let run = self.runs.iter().find(|run| offset < run.end)?;
        let place = run.place + (offset - run.start) / run.each;
        self.numbers.get(place).copied()
    }

    fn push(&mut self, bytes: usize, each: usize, number: u16) {
        let start = self.bytes();
        let place = self.numbers.len();
        self.numbers.push(number);
        match self.runs.last_mut() {
            // The last of a run may be shorter; nothing comes after it.
            Some(run) if run.each == each => run.end += bytes,
            _ => self.runs.push(Run {
                start,
                end: start + bytes,
                each,
                place,
            }),
        }
    }

    /// Registers what is not registered yet of `memory`, as far as it goes. If not all of it
    /// does, why.
    pub fn register(
        &mut self,
        kernel: &mut impl Kernel,
        numbers: &mut Numbers,
        memory: Memory,
    ) -> Result<(), WhyUnregistered> {
        let Memory {
            start,
            bytes,
            stride,
        } = memory;
        let mut each = bytes;
        while self.bytes() < bytes {
            let at = self.bytes();
            let piece = each.min(bytes - at);
            let Some(&number) = numbers.free.last() else {
                let limit = numbers.total;
                return Err(WhyUnregistered::Entries { limit });
            };
            let Err(error) = kernel.put(number, start.wrapping_add(at), piece) else {
                numbers.free.pop();
                self.push(piece, each.min(bytes), number);
                continue;
            };
            let shorter = match error.raw_os_error() {
                Some(libc::EFAULT) if piece > LONG => whole(LONG, stride),
                Some(libc::ENOMEM) if kernel.wait(piece) => continue,
                // At last a single cell.
                Some(libc::ENOMEM) => whole(piece / 2, stride).or(Some(stride)),
                _ => None,
            };
            match shorter {
                Some(shorter) if shorter < piece => each = shorter,
                _ => return Err(why(&error, piece, kernel)),
            }
        }
        Ok(())
    }

    /// Lets the kernel let go of all, the last first. If it refuses one, that and those before
    /// it stay.
    pub fn release(&mut self, kernel: &mut impl Kernel, numbers: &mut Numbers) -> io::Result<()> {
        while let Some(&number) = self.numbers.last() {
            kernel.clear(number)?;
            self.numbers.pop();
            numbers.free.push(number);
        }
        self.runs.clear();
        Ok(())
    }
}

/// As many cells of `stride` bytes as `limit` bytes have room for, in bytes; `None`: not one.
fn whole(limit: usize, stride: usize) -> Option<usize> {
    let cells = limit.checked_div(stride)?;
    (cells > 0).then_some(cells * stride)
}

fn why(error: &io::Error, bytes: usize, kernel: &impl Kernel) -> WhyUnregistered {
    let refusal = OsError::new("io_uring_register", error);
    match error.raw_os_error() {
        Some(libc::ENOMEM) => WhyUnregistered::Memory {
            error: refusal,
            limit: kernel.limit(),
        },
        _ => WhyUnregistered::Refused {
            error: refusal,
            bytes,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// A kernel that takes pieces up to a length, and pins up to a limit.
    struct Model {
        longest: usize,
        left: usize,
        /// How often it is to be asked again before there is as much as `later` says.
        waits: usize,
        later: usize,
        asked: usize,
        table: HashMap<u16, (usize, usize)>,
        refuses_to_clear: bool,
    }

    impl Model {
        fn new(longest: usize, left: usize) -> Self {
            Self {
                longest,
                left,
                waits: 0,
                later: 0,
                asked: 0,
                table: HashMap::new(),
                refuses_to_clear: false,
            }
        }
    }

    impl Kernel for Model {
        fn put(&mut self, entry: u16, start: *const u8, bytes: usize) -> io::Result<()> {
            self.asked += 1;
            if bytes > self.longest {
                return Err(io::Error::from_raw_os_error(libc::EFAULT));
            }
            if bytes > self.left {
                return Err(io::Error::from_raw_os_error(libc::ENOMEM));
            }
            self.left -= bytes;
            let before = self.table.insert(entry, (start.addr(), bytes));
            assert_eq!(before, None, "an entry that is in use");
            Ok(())
        }

        fn clear(&mut self, entry: u16) -> io::Result<()> {
            if self.refuses_to_clear {
                return Err(io::Error::from_raw_os_error(libc::ENOMEM));
            }
            let (_, bytes) = self.table.remove(&entry).unwrap();
            self.left += bytes;
            Ok(())
        }

        fn wait(&mut self, _: usize) -> bool {
            if self.waits == 0 {
                return false;
            }
            self.waits -= 1;
            if self.waits == 0 {
                self.left += self.later;
            }
            true
        }

        fn limit(&self) -> Option<u64> {
            Some(7)
        }
    }

    const MIB: usize = 1 << 20;
    const BASE: usize = 1 << 40;

    fn memory(bytes: usize, stride: usize) -> Memory {
        Memory {
            start: std::ptr::without_provenance(BASE),
            bytes,
            stride,
        }
    }

    /// Each buffer's cell is in the entry that is said, or in none if it is not registered.
    fn check(pieces: &Pieces, kernel: &Model, memory: Memory) {
        let sum: usize = kernel.table.values().map(|&(_, bytes)| bytes).sum();
        assert_eq!(sum, pieces.bytes());
        for cell in (0..memory.bytes).step_by(memory.stride) {
            let end = (cell + memory.stride).min(memory.bytes);
            if cell >= pieces.bytes() {
                assert_eq!(pieces.entry(cell), None);
                continue;
            }
            for offset in [cell, end - 1] {
                let (start, bytes) = kernel.table[&pieces.entry(offset).unwrap()];
                assert!(
                    start <= BASE + cell && BASE + end <= start + bytes,
                    "{cell}"
                );
            }
        }
    }

    #[test]
    fn a_region_is_one_entry_where_the_kernel_takes_it_whole() {
        let (mut kernel, mut numbers) = (Model::new(usize::MAX, usize::MAX), Numbers::new(4));
        let (mut pieces, memory) = (Pieces::default(), memory(5 << 30, MIB));
        pieces.register(&mut kernel, &mut numbers, memory).unwrap();
        assert_eq!((kernel.table.len(), kernel.asked), (1, 1));
        check(&pieces, &kernel, memory);
    }

    #[test]
    fn what_is_refused_as_too_long_is_cut_between_buffers() {
        // 1500 MiB of buffers, a kernel that takes 1 GiB.
        for stride in [MIB, MIB + 4096, 300 * MIB] {
            let (mut kernel, mut numbers) = (Model::new(LONG, usize::MAX), Numbers::new(9));
            let (mut pieces, memory) = (Pieces::default(), memory(1500 * MIB, stride));
            pieces.register(&mut kernel, &mut numbers, memory).unwrap();
            assert_eq!((pieces.bytes(), kernel.table.len()), (1500 * MIB, 2));
            check(&pieces, &kernel, memory);
        }
    }

    #[test]
    fn a_buffer_that_is_longer_than_the_kernel_takes_is_not_registered() {
        let (mut kernel, mut numbers) = (Model::new(LONG, usize::MAX), Numbers::new(9));
        let (mut pieces, memory) = (Pieces::default(), memory(3 << 30, LONG + 4096));
        let why = pieces.register(&mut kernel, &mut numbers, memory);
        let Err(WhyUnregistered::Refused { error, bytes }) = why else {
            panic!("{why:?}");
        };
        assert_eq!((error.number, bytes), (libc::EFAULT, 3 << 30));
        assert_eq!((pieces.bytes(), kernel.table.len()), (0, 0));
        check(&pieces, &kernel, memory);
    }

    #[test]
    fn another_refusal_is_not_answered_by_cutting() {
        // Not longer than every kernel takes: a page that is not there, say.
        let (mut kernel, mut numbers) = (Model::new(MIB, usize::MAX), Numbers::new(9));
        let mut pieces = Pieces::default();
        let why = pieces.register(&mut kernel, &mut numbers, memory(8 * MIB, MIB));
        assert!(matches!(why, Err(WhyUnregistered::Refused { .. })));
        assert_eq!((kernel.asked, pieces.bytes()), (1, 0));
    }

    #[test]
    fn no_memory_is_believed_when_the_kernel_was_asked_again() {
        let (mut kernel, mut numbers) = (Model::new(LONG, 3 * MIB), Numbers::new(9));
        (kernel.waits, kernel.later) = (3, 5 * MIB);
        let (mut pieces, memory) = (Pieces::default(), memory(8 * MIB, MIB));
        pieces.register(&mut kernel, &mut numbers, memory).unwrap();
        assert_eq!((kernel.asked, kernel.table.len()), (4, 1));
        check(&pieces, &kernel, memory);
    }

    #[test]
    fn what_the_limit_forbids_is_registered_as_far_as_it_goes() {
        let (mut kernel, mut numbers) = (Model::new(LONG, 11 * MIB), Numbers::new(9));
        let (mut pieces, memory) = (Pieces::default(), memory(64 * MIB, MIB));
        let why = pieces.register(&mut kernel, &mut numbers, memory);
        let Err(WhyUnregistered::Memory { error, limit }) = why else {
            panic!("{why:?}");
        };
        assert_eq!((error.number, limit), (libc::ENOMEM, Some(7)));
        // 8, 2 and 1.
        assert_eq!((pieces.bytes(), kernel.table.len()), (11 * MIB, 3));
        check(&pieces, &kernel, memory);
        // When there is more, the rest.
        kernel.left = 60 * MIB;
        pieces.register(&mut kernel, &mut numbers, memory).unwrap();
        assert_eq!(pieces.bytes(), 64 * MIB);
        check(&pieces, &kernel, memory);
    }

    #[test]
    fn a_full_table_is_said_to_be() {
        let (mut kernel, mut numbers) = (Model::new(LONG, usize::MAX), Numbers::new(2));
        let (mut pieces, memory) = (Pieces::default(), memory(5 << 30, MIB));
        let why = pieces.register(&mut kernel, &mut numbers, memory);
        assert_eq!(why, Err(WhyUnregistered::Entries { limit: 2 }));
        assert_eq!((pieces.bytes(), numbers.taken()), (2 << 30, 2));
        check(&pieces, &kernel, memory);
    }

    #[test]
    fn an_entry_that_the_kernel_does_not_clear_stays_in_use() {
        let (mut kernel, mut numbers) = (Model::new(LONG, usize::MAX), Numbers::new(4));
        let (mut pieces, memory) = (Pieces::default(), memory(3 << 30, MIB));
        pieces.register(&mut kernel, &mut numbers, memory).unwrap();
        kernel.refuses_to_clear = true;
        pieces.release(&mut kernel, &mut numbers).unwrap_err();
        assert_eq!(numbers.taken(), 3);
        kernel.refuses_to_clear = false;
        pieces.release(&mut kernel, &mut numbers).unwrap();
        assert_eq!((numbers.taken(), pieces.bytes()), (0, 0));
        assert_eq!((kernel.table.len(), pieces.entry(0)), (0, None));
    }

    proptest! {
        #[test]
        fn whatever_the_kernel_takes_each_buffer_is_in_one_entry_or_in_none(
            stride in 1usize..2000,
            cells in 1usize..300,
            rest in 0usize..4096,
            // Thrice: now, and when it is asked again.
            lefts in proptest::collection::vec(0usize..2_000_000, 3),
            entries in 1u16..40,
        ) {
            let memory = memory(cells * stride * 512 + rest % (stride * 512), stride * 512);
            let (mut kernel, mut numbers) = (Model::new(LONG, 0), Numbers::new(entries));
            let mut pieces = Pieces::default();
            for left in lefts {
                kernel.left = left * 100;
                let all = pieces.register(&mut kernel, &mut numbers, memory).is_ok();
                prop_assert_eq!(all, pieces.bytes() == memory.bytes);
                check(&pieces, &kernel, memory);
                prop_assert_eq!(numbers.taken(), kernel.table.len());
                // Nothing that would fit was left out.
                let full = numbers.taken() == usize::from(entries);
                prop_assert!(all || full || kernel.left < memory.stride);
            }
            pieces.release(&mut kernel, &mut numbers).unwrap();
            prop_assert!(kernel.table.is_empty() && numbers.taken() == 0);
        }
    }
}

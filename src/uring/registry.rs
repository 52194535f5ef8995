//! Which of a pool's memory is in a ring's table of fixed buffers.
//!
//! Owns: [`Registry`], and how long the kernel is asked again. Uses: `pieces`, `sys::uring`,
//! `pool`. Used by: `ring`, callers with rings of their own.

use super::pieces::{Kernel, Memory as Stretch, Numbers, Pieces};
use super::report::{Report, WhyUnregistered};
use crate::buffer::{Buffer, Memory, Owned, Plain};
use crate::error::OsError;
use crate::pool::{Pool, Region};
use crate::region::RegionId;
use crate::sys::fork::Mark;
use crate::sys::{limits, uring};
use io_uring::Submitter;
use std::fmt;
use std::io;
use std::time::Duration;

/// Where a buffer is, for a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// In this entry.
    Entry(u16),
    /// In none, and that stays so until somebody asks the kernel again.
    Unregistered,
    /// In a region that the registry does not know.
    Unknown,
}

/// A region that was in the pool when the registry looked.
#[derive(Debug)]
struct Known {
    id: RegionId,
    /// The memory, as long as some of it is in the table.
    region: Option<Region>,
    bytes: usize,
    pieces: Pieces,
}

#[derive(Clone, Copy, Debug)]
enum Table {
    /// The kernel was not asked for it yet.
    None,
    There,
    Refused(OsError),
}

/// Which pieces of a pool's memory are in the table of fixed buffers of **one** ring.
///
/// [`Ring`](super::Ring) has one of its own. Whoever drives a ring by the crate `io-uring`
/// makes one for each ring, for one ring may be allowed more than another:
///
/// - [`refresh`](Self::refresh) registers what there is, adds regions that came since, and
///   lets those go that were [trimmed](Pool::trim).
/// - [`entry`](Self::entry) says in which entry a buffer is, for `ReadFixed` and `WriteFixed`.
///   `None`: plain `Read` and `Write`.
///
/// A region is registered as one entry. If the kernel refuses one for its length (more than
/// 1 GiB up to Linux 7.1, `EFAULT`), it is cut between buffers; if it has no memory, the
/// kernel is asked again for a second, for a ring that was closed gives its share of the limit
/// back some tenths of a second later; then it is registered as far as it goes. What is not
/// registered is used without, and [`report`](Self::report) says how much and why.
///
/// **It holds the memory that it has registered.** A region that is trimmed meanwhile stays
/// mapped, at addresses that nothing else gets, until `refresh` or [`release`](Self::release)
/// has let it go or the registry is dropped. So drop a registry after its ring, or release it
/// first. (If it is dropped before, the kernel keeps the pages of what is trimmed until the
/// ring is closed. No operation reaches them any more.)
///
/// It counts as a handle of its pool. In a child of a fork, which has not the ring, it knows
/// no entries and registers nothing.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 4).prefault(false).build()?;
/// use hugepool::uring::Registry;
/// use io_uring::{IoUring, opcode, types};
/// use std::os::fd::AsRawFd;
///
/// let Ok(mut ring) = IoUring::new(8) else {
///     return Ok(()); // no io_uring here
/// };
/// let mut registry = Registry::new(&pool);
/// println!("{}", registry.refresh(&ring.submitter()));
///
/// let file = std::fs::File::open("/dev/zero")?;
/// let mut buffer = pool.allocate(4096, 4096)?;
/// buffer.fill(7);
/// if !registry.knows(&buffer) {
///     registry.follow(&ring.submitter()); // the pool has grown
/// }
/// let (fd, start) = (types::Fd(file.as_raw_fd()), buffer.as_mut_ptr());
/// let read = match registry.entry(&buffer) {
///     Some(entry) => opcode::ReadFixed::new(fd, start, 4096, entry).build(),
///     None => opcode::Read::new(fd, start, 4096).build(),
/// };
/// // SAFETY: file and buffer are there until the read has completed.
/// unsafe { ring.submission().push(&read)? };
/// ring.submit_and_wait(1)?;
/// assert!(buffer.iter().all(|&byte| byte == 0));
/// drop(ring); // before the registry
/// # Ok(()) }
/// ```
pub struct Registry<M: Memory = Plain> {
    pool: Pool<M>,
    /// The process that the ring belongs to.
    mark: Mark,
    table: Table,
    numbers: Numbers,
    /// By the region's index.
    known: Vec<Option<Known>>,
    /// Trimmed, and not let go yet because the kernel refused.
    kept: Vec<Known>,
    report: Report,
}

impl<M: Memory> fmt::Debug for Registry<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("pool", &self.pool)
            .field("table", &self.table)
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

/// The entries that a table has unless somebody says otherwise: for 1 TiB in pieces of 1 GiB.
const ENTRIES: u16 = 1024;

impl<M: Memory> Registry<M> {
    /// For a ring that has no table of buffers. Nothing is registered yet. The table will have
    /// 1024 entries, for which the kernel takes 8 to 16 KiB.
    #[must_use]
    pub fn new(pool: &Pool<M>) -> Self {
        Self::with_entries(pool, ENTRIES)
    }

    /// As [`new`](Self::new), with a table of `entries`: up to 16 384, if the kernel has no
    /// other limit. What it refuses is in the [`report`](Self::report), as
    /// [`NoTable`](WhyUnregistered::NoTable).
    #[must_use]
    pub fn with_entries(pool: &Pool<M>, entries: u16) -> Self {
        Self {
            pool: pool.clone(),
            mark: Mark::here(),
            table: Table::None,
            numbers: Numbers::new(entries),
            known: Vec::new(),
            kept: Vec::new(),
            report: Report::default(),
        }
    }

    /// Registers all of the pool's memory that is not registered, also what was refused
    /// before, and lets go of what was trimmed since. `ring` is the one that the registry is
    /// for: always the same.
    ///
    /// Enters the kernel, which faults in what it registers, and may wait for a second in all
    /// if it has no memory for some. No operation may be under way in a region's buffers when
    /// it is trimmed, for then its buffers are home: so nothing that is in use is let go.
    pub fn refresh(&mut self, ring: &Submitter<'_>) -> &Report {
        self.update(ring, true)
    }

    /// As [`refresh`](Self::refresh), but what was refused is not asked for again, and the
    /// kernel is not waited for if it was in vain before. For the way to the next operation,
    /// where a buffer is met whose region is not [known](Self::knows).
    pub fn follow(&mut self, ring: &Submitter<'_>) -> &Report {
        self.update(ring, false)
    }

    /// Whether the buffer's region was in the pool at the last [`refresh`](Self::refresh) or
    /// [`follow`](Self::follow), so that another one changes nothing for it. Also true if the
    /// buffer is another pool's. Wait-free.
    #[must_use]
    pub fn knows(&self, buffer: &Buffer<M>) -> bool {
        self.find(buffer.owned()) != Found::Unknown
    }

    /// The entry of the ring's table in which the buffer is, prefix zone and all. `None` if it
    /// is not registered, or is another pool's. Constant time, wait-free.
    #[must_use]
    pub fn entry(&self, buffer: &Buffer<M>) -> Option<u16> {
        match self.find(buffer.owned()) {
            Found::Entry(entry) => Some(entry),
            Found::Unregistered | Found::Unknown => None,
        }
    }

    /// How much is registered, and why the rest is not, as of the last change.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Lets go of everything, and of the ring's table: the registry is as new. No operation
    /// with fixed buffers may be queued and not submitted; those under way keep what they use,
    /// or are waited for by the kernel, if it is an older one.
    ///
    /// # Errors
    ///
    /// If the kernel refuses: then everything is as before.
    pub fn release(&mut self, ring: &Submitter<'_>) -> io::Result<()> {
        if matches!(self.table, Table::There) && !self.mark.is_forked() {
            uring::drop_table(ring)?;
        }
        self.restart();
        Ok(())
    }

    /// Forgets the ring, which is gone, or not this process's.
    pub(super) fn restart(&mut self) {
        self.mark = Mark::here();
        self.table = Table::None;
        self.numbers = Numbers::new(self.numbers.total());
        self.known.clear();
        self.kept.clear();
        self.report = Report::default();
    }

    pub(super) fn find(&self, buffer: &Owned) -> Found {
        // Another pool's regions have the same names.
        if self.mark.is_forked() || !self.pool.owns(buffer) {
            return Found::Unregistered;
        }
        let at = buffer.location();
        match self.known.get(at.region.index() as usize) {
            Some(Some(known)) if known.id == at.region => match known.pieces.entry(at.offset) {
                Some(entry) => Found::Entry(entry),
                None => Found::Unregistered,
            },
            _ => Found::Unknown,
        }
    }

    fn update(&mut self, ring: &Submitter<'_>, again: bool) -> &Report {
        if self.mark.is_forked() {
            return &self.report;
        }
        let in_vain = matches!(self.report.why, Some(WhyUnregistered::Memory { .. }));
        let mut kernel = Live::new(ring, again || !in_vain);
        let regions = self.pool.regions();
        self.let_go(&mut kernel, &regions);
        self.make_table(ring, again);
        let mut why = match self.table {
            Table::Refused(error) => Some(WhyUnregistered::NoTable { error }),
            _ => None,
        };
        if !again {
            why = why.or(self.report.why);
        }
        for region in regions {
            let refused = self.take_in(&mut kernel, region, again).err();
            why = why.or(refused);
        }
        let known = || self.known.iter().flatten();
        let registered = known().map(|known| known.pieces.bytes()).sum();
        let bytes: usize = known().map(|known| known.bytes).sum();
        let unregistered = bytes - registered;
        self.report = Report {
            registered,
            unregistered,
            entries: self.numbers.taken(),
            why: why.filter(|_| unregistered > 0),
        };
        &self.report
    }

    /// Lets go of what is not in the pool any more.
    fn let_go(&mut self, kernel: &mut Live<'_, '_>, regions: &[Region]) {
        // Sorted by their names.
        let is_there = |id: RegionId| {
            let found = regions.binary_search_by_key(&id, Region::id);
            found.is_ok()
        };
        let gone = self.known.iter_mut().filter_map(|known| {
            let is_gone = known.as_ref().is_some_and(|known| !is_there(known.id));
            known.take_if(|_| is_gone)
        });
        self.kept.extend(gone);
        let numbers = &mut self.numbers;
        // Its memory, if nobody else has it, goes with the last of its entries.
        self.kept
            .retain_mut(|known| known.pieces.release(kernel, numbers).is_err());
    }

    fn make_table(&mut self, ring: &Submitter<'_>, again: bool) {
        let ask = match self.table {
            Table::None => true,
            Table::There => false,
            Table::Refused(_) => again,
        };
        if ask {
            self.table = match uring::make_table(ring, self.numbers.total()) {
                Ok(()) => Table::There,
                Err(error) => Table::Refused(OsError::new("io_uring_register", &error)),
            };
        }
    }

    /// Registers a region of the pool, or the rest of it.
    fn take_in(
        &mut self,
        kernel: &mut Live<'_, '_>,
        region: Region,
        again: bool,
    ) -> Result<(), WhyUnregistered> {
        let (id, bytes) = (region.id(), region.bytes());
        let index = id.index() as usize;
        if self.known.len() <= index {
            self.known.resize_with(index + 1, || None);
        }
        let Some(place) = self.known.get_mut(index) else {
            return Ok(());
        };
        // One of another name was let go.
        if place.is_some() && !again {
            return Ok(());
        }
        let known = place.get_or_insert_with(|| Known {
            id,
            region: None,
            bytes,
            pieces: Pieces::default(),
        });
        if !matches!(self.table, Table::There) {
            return Ok(());
        }
        let stretch = Stretch {
            start: region.start(),
            bytes,
            stride: region.stride(),
        };
        let refused = known.pieces.register(kernel, &mut self.numbers, stretch);
        known.region = Some(region).filter(|_| known.pieces.bytes() > 0);
        refused
    }
}

/// How long the kernel is asked again in all, and after how long each time.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);

/// The kernel, and how long it is waited for.
struct Live<'a, 'r> {
    ring: &'a Submitter<'r>,
    patience: Duration,
    limit: Option<u64>,
}

impl<'a, 'r> Live<'a, 'r> {
    fn new(ring: &'a Submitter<'r>, patient: bool) -> Self {
        Self {
            ring,
            patience: if patient { PATIENCE } else { Duration::ZERO },
            limit: limits::memlock().ok().and_then(|limit| limit.soft),
        }
    }
}

impl Kernel for Live<'_, '_> {
    fn put(&mut self, entry: u16, start: *const u8, bytes: usize) -> io::Result<()> {
        // SAFETY: a piece of a region that the caller has, and that the registry keeps as long
        // as a piece of it is in the table. If it is dropped before the ring, nobody says any
        // more which entry that is.
        unsafe { uring::put(self.ring, entry, start, bytes) }
    }

    fn clear(&mut self, entry: u16) -> io::Result<()> {
        uring::clear(self.ring, entry)
    }

    fn wait(&mut self, bytes: usize) -> bool {
        // Nobody can give back so much that this would fit.
        let never = self.limit.is_some_and(|limit| bytes as u64 > limit);
        if never || self.patience.is_zero() {
            return false;
        }
        self.patience = self.patience.saturating_sub(PAUSE);
        std::thread::sleep(PAUSE);
        true
    }

    fn limit(&self) -> Option<u64> {
        self.limit
    }
}

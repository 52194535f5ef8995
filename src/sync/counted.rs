//! The processor's own atomics, which count: under `--cfg hugepool_counted`.
//!
//! Owns: the atomics, what each counted call did with them, and which processor has which cache
//! line. Uses: `core`'s atomics. Used by: `native`, which hands them on; `rseq::section`, which
//! says what its assembly did; `tests/crossings.rs`, which marks the calls.
//!
//! Every access inside [`call`] is noted twice: in the counts of that call, and in a table of
//! cache lines, which is kept as the caches of processors that never run full would be (MSI):
//!
//! ```text
//!   line ──▶ its holders      a load:        the processor becomes one more holder
//!                             all else:      the processor becomes the only holder
//!   fetched: the processor had to be made a holder, or the only one, and there were others
//! ```
//!
//! A processor that touches a line again, which nobody else has touched in a way that takes it
//! away, fetches nothing. Of two accesses at the same moment the table may see the later one first.
//!
//! Not seen: what is not done through `sync` (crossbeam-epoch's own atomics, the standard
//! library's, the kernel's), memory that is not shared, and the caller's own use of a buffer.
#![allow(clippy::disallowed_types, dead_code, missing_docs)]

use core::sync::atomic as plain;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Mutex;

pub use core::sync::atomic::Ordering;

/// Bytes of a cache line.
const LINE: usize = 64;

/// What some calls did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// How many calls.
    pub calls: u64,
    /// Atomic operations of all kinds, the plain loads and stores included.
    pub atomics: u64,
    /// Those that lock a cache line, or wait for all stores: read-modify-writes, whether they
    /// succeed or not, and sequentially consistent stores and fences.
    pub locked: u64,
    /// Cache lines, each counted once a call.
    pub lines: u64,
    /// Of those, lines that another processor had: see the module. Counted each time.
    pub fetched: u64,
}

impl Counts {
    /// Adds what `other` calls did.
    pub fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.atomics += other.atomics;
        self.locked += other.locked;
        self.lines += other.lines;
        self.fetched += other.fetched;
    }
}

/// The call that the thread is in.
struct Call {
    processor: usize,
    counts: Counts,
    seen: Vec<usize>,
}

thread_local! {
    static CALL: RefCell<Option<Call>> = const { RefCell::new(None) };
}

/// The holders of each line that was touched, a bit each; in parts, by the line's number.
static HOLDERS: [Mutex<BTreeMap<usize, u128>>; 64] = [const { Mutex::new(BTreeMap::new()) }; 64];

/// Does `work`, one call of the library, on a thread that is kept on `processor`, of which there
/// are at most 128, and adds what it did to `counts`.
pub fn call<R>(processor: usize, counts: &mut Counts, work: impl FnOnce() -> R) -> R {
    let begun = Call {
        processor,
        counts: Counts::default(),
        seen: Vec::new(),
    };
    CALL.with(|call| call.replace(Some(begun)));
    let result = work();
    if let Some(mut ended) = CALL.with(|call| call.take()) {
        ended.counts.calls = 1;
        ended.counts.lines = ended.seen.len() as u64;
        counts.add(ended.counts);
    }
    result
}

/// Forgets who has which line.
pub fn forget() {
    for part in &HOLDERS {
        part.lock().unwrap_or_else(|held| held.into_inner()).clear();
    }
}

/// What is done with a word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Load,
    Store,
    Locked,
}

/// Notes that the caller has loaded from `place` by other means than the atomics below.
pub fn loaded<T>(place: &T) {
    note(place, Kind::Load);
}

/// As `loaded`, of a store.
pub fn stored<T>(place: &T) {
    note(place, Kind::Store);
}

fn note<T>(place: &T, kind: Kind) {
    let line = std::ptr::from_ref(place).addr() / LINE;
    CALL.with(|call| {
        let mut call = call.borrow_mut();
        let Some(call) = call.as_mut() else { return };
        call.counts.atomics += 1;
        call.counts.locked += u64::from(kind == Kind::Locked);
        if !call.seen.contains(&line) {
            call.seen.push(line);
        }
        let part = &HOLDERS[line % HOLDERS.len()];
        let mut holders = part.lock().unwrap_or_else(|held| held.into_inner());
        let holders = holders.entry(line).or_default();
        let own = 1 << (call.processor % 128);
        let (has, others) = (*holders & own != 0, *holders & !own != 0);
        let is_load = kind == Kind::Load;
        call.counts.fetched += u64::from(others && !(is_load && has));
        *holders = if is_load { *holders | own } else { own };
    });
}

/// As `core`'s.
#[inline]
pub fn fence(order: Ordering) {
    if order == Ordering::SeqCst {
        CALL.with(|call| {
            if let Some(call) = call.borrow_mut().as_mut() {
                call.counts.atomics += 1;
                call.counts.locked += 1;
            }
        });
    }
    plain::fence(order);
}

/// What all of them have.
macro_rules! counting {
    ($name:ident $(<$of:ident>)?, $value:ty) => {
        #[repr(transparent)]
        #[derive(Debug)]
        pub struct $name $(<$of>)? (plain::$name $(<$of>)?);

        impl $(<$of>)? Default for $name $(<$of>)? {
            fn default() -> Self {
                Self(plain::$name::default())
            }
        }

        impl $(<$of>)? $name $(<$of>)? {
            pub const fn new(value: $value) -> Self {
                Self(plain::$name::new(value))
            }

            pub fn as_ptr(&self) -> *mut $value {
                self.0.as_ptr()
            }

            pub fn get_mut(&mut self) -> &mut $value {
                self.0.get_mut()
            }

            pub fn load(&self, order: Ordering) -> $value {
                note(self, Kind::Load);
                self.0.load(order)
            }

            pub fn store(&self, value: $value, order: Ordering) {
                let is_locked = order == Ordering::SeqCst;
                note(self, if is_locked { Kind::Locked } else { Kind::Store });
                self.0.store(value, order);
            }

            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                note(self, Kind::Locked);
                self.0.swap(value, order)
            }

            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                note(self, Kind::Locked);
                self.0.compare_exchange(current, new, success, failure)
            }

            pub fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                note(self, Kind::Locked);
                self.0.compare_exchange_weak(current, new, success, failure)
            }

            pub fn fetch_update(
                &self,
                success: Ordering,
                failure: Ordering,
                mut change: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                let mut now = self.load(failure);
                while let Some(next) = change(now) {
                    match self.compare_exchange_weak(now, next, success, failure) {
                        Ok(_) => return Ok(now),
                        Err(other) => now = other,
                    }
                }
                Err(now)
            }
        }
    };
}

/// What those of integers have as well.
macro_rules! counting_integers {
    ($($name:ident, $value:ty, [$($change:ident),+];)+) => {
        $(
            counting!($name, $value);

            impl $name {
                $(
                    pub fn $change(&self, value: $value, order: Ordering) -> $value {
                        note(self, Kind::Locked);
                        self.0.$change(value, order)
                    }
                )+
            }
        )+
    };
}

counting!(AtomicPtr<T>, *mut T);
counting_integers! {
    AtomicI64, i64, [fetch_add, fetch_sub, fetch_max];
    AtomicIsize, isize, [fetch_add];
    AtomicU8, u8, [fetch_add];
    AtomicU32, u32, [fetch_add, fetch_sub, fetch_and, fetch_or, fetch_xor, fetch_max];
    AtomicU64, u64, [fetch_add, fetch_sub, fetch_and, fetch_or, fetch_xor, fetch_max];
    AtomicUsize, usize, [fetch_add, fetch_sub, fetch_max];
}

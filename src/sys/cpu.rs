//! Processors: how many there may be, which one this is, and which ones a thread may run on.
//!
//! Owns: `sched_getcpu`, the count of possible processors, sets of them, and how often a thread
//! was switched. Uses: `list`, libc, and loom's thread-locals under loom. Used by: `rseq`, `cache`,
//! `lists`, `pool`.

#[cfg(not(hugepool_loom))]
use super::list;
#[cfg(not(hugepool_loom))]
use std::ops::Range;

/// Processors that could ever be online, from
/// `/sys/devices/system/cpu/possible`; what is configured if that cannot be
/// read.
#[cfg(not(hugepool_loom))]
pub fn possible() -> usize {
    std::fs::read_to_string("/sys/devices/system/cpu/possible")
        .ok()
        .and_then(|text| Some(list::parse(&text)?.last()?.end))
        .unwrap_or_else(|| {
            // SAFETY: sysconf reads a number of the system.
            let configured = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
            usize::try_from(configured).unwrap_or(1).max(1)
        })
}

/// The processors that are there now, from `/sys/devices/system/cpu/online`, in ascending
/// order; those that are configured if that cannot be read.
#[cfg(not(hugepool_loom))]
pub fn online() -> Vec<Range<usize>> {
    std::fs::read_to_string("/sys/devices/system/cpu/online")
        .ok()
        .and_then(|text| list::parse(&text))
        .unwrap_or_else(|| {
            // SAFETY: sysconf reads a number of the system.
            let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
            let online = usize::try_from(online).unwrap_or(1).max(1);
            std::iter::once(0..online).collect()
        })
}

/// The processor the caller runs on, below `cpus` (at least 1).
#[cfg(not(hugepool_loom))]
#[inline]
pub fn current(cpus: usize) -> usize {
    // SAFETY: takes nothing and gives a number, or -1.
    let cpu = unsafe { libc::sched_getcpu() } as usize;
    // A number beyond the possible ones, or none at all: any slot will do.
    if cpu < cpus { cpu } else { 0 }
}

/// Some processors: a bit each, as in the C library's `cpu_set_t`.
#[cfg(not(hugepool_loom))]
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code)
)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuSet([u64; libc::CPU_SETSIZE as usize / 64]);

#[cfg(not(hugepool_loom))]
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code)
)]
impl CpuSet {
    /// Those that the calling thread may run on. `None` on a machine that could have more than
    /// 1024, or where it is refused. Contract: sched_setaffinity(2).
    pub fn allowed() -> Option<Self> {
        Self::allowed_to(0)
    }

    /// Those that the thread of this number may run on.
    pub fn allowed_to(thread: u32) -> Option<Self> {
        let mut set = Self([0; _]);
        let place = set.0.as_mut_ptr().cast::<libc::cpu_set_t>();
        // SAFETY: the set is writable and as large as we say.
        let got =
            unsafe { libc::sched_getaffinity(thread as libc::pid_t, size_of::<Self>(), place) };
        (got == 0).then_some(set)
    }

    /// All that there can be. To keep a thread on these lets it run wherever the process may.
    pub fn all() -> Self {
        Self([u64::MAX; _])
    }

    /// How many they are.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// All but one; `None` if that is none.
    pub fn without(mut self, cpu: usize) -> Option<Self> {
        if let Some(word) = self.0.get_mut(cpu / 64) {
            *word &= !(1 << (cpu % 64));
        }
        (self.count() > 0).then_some(self)
    }

    /// Keeps the thread of this number on these, and moves it there if it is elsewhere. False
    /// if that is refused.
    pub fn keep(&self, thread: u32) -> bool {
        let set = self.0.as_ptr().cast::<libc::cpu_set_t>();
        // SAFETY: the set is readable and as large as we say.
        let kept =
            unsafe { libc::sched_setaffinity(thread as libc::pid_t, size_of::<Self>(), set) };
        kept == 0
    }
}

/// How often the calling thread was taken off its processor. `None` if it is not counted.
/// Contract: getrusage(2).
#[cfg(not(hugepool_loom))]
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code)
)]
pub fn switches() -> Option<u64> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the place is writable; all-zero bytes are a value of it.
    let (got, usage) = unsafe {
        let got = libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        (got, usage.assume_init())
    };
    (got == 0).then_some((usage.ru_nvcsw + usage.ru_nivcsw) as u64)
}

#[cfg(hugepool_loom)]
mod model {
    use std::cell::Cell;

    loom::thread_local! {
        static CPU: Cell<usize> = Cell::new(0);
    }

    /// The processor that the model said its thread runs on.
    pub fn current(cpus: usize) -> usize {
        CPU.with(Cell::get).min(cpus - 1)
    }

    /// Says that the calling thread of a model runs on processor `cpu`.
    pub fn run_on(cpu: usize) {
        CPU.with(|cell| cell.set(cpu));
    }
}
#[cfg(hugepool_loom)]
pub use model::*;

#[cfg(all(test, not(hugepool_loom)))]
mod tests {
    use super::*;

    #[test]
    fn this_processor_is_online() {
        let online = online();
        let here = || current(possible());
        // Not if we have been moved from one that went.
        assert!((0..100).any(|_| online.iter().any(|cpus| cpus.contains(&here()))));
    }

    #[test]
    fn a_thread_that_is_kept_on_a_processor_runs_there_and_its_starter_where_it_may() {
        let Some(before) = CpuSet::allowed() else {
            return println!("skipped: which processors are allowed cannot be said");
        };
        assert!(before.count() > 0);
        let is_in = |&cpu: &usize| before.without(cpu) != Some(before);
        let last = (0..1024).rfind(is_in).unwrap();
        let others = before.without(last);
        assert_eq!(
            others.map_or(0, |others| others.count()),
            before.count() - 1
        );
        std::thread::spawn(move || {
            let own = super::super::files::thread_number() as u32;
            let only = (0..last).fold(before, |set, cpu| set.without(cpu).unwrap());
            assert!(only.count() == 1 && only.without(last).is_none());
            assert!(only.keep(own));
            assert_eq!(current(usize::MAX), last);
            assert!(CpuSet::allowed() == Some(only));
        })
        .join()
        .unwrap();
        assert!(CpuSet::allowed() == Some(before));
    }

    #[test]
    fn a_thread_that_sleeps_is_switched() {
        let before = switches().unwrap();
        // Not if the time was over before the thread had left its processor.
        let sleeps = |_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            switches().unwrap() > before
        };
        assert!((0..1000).any(sleeps));
    }

    #[test]
    fn the_current_processor_is_a_possible_one() {
        assert!(current(possible()) < possible());
        assert_eq!(current(1), 0);
    }
}

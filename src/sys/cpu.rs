//! Processors: how many there may be, and which one this is.
//!
//! Owns: `sched_getcpu` and the count of possible processors. Uses: libc, and
//! loom's thread-locals under loom. Used by: `cache`, `pool`.

/// Processors that could ever be online, from
/// `/sys/devices/system/cpu/possible`; what is configured if that cannot be
/// read.
#[cfg(not(hugepool_loom))]
pub fn possible() -> usize {
    std::fs::read_to_string("/sys/devices/system/cpu/possible")
        .ok()
        .and_then(|text| parse_possible(&text))
        .unwrap_or_else(|| {
            // SAFETY: sysconf reads a number of the system.
            let configured = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
            usize::try_from(configured).unwrap_or(1).max(1)
        })
}

/// One more than the largest number in a CPU list such as `0-3,8-11`.
#[cfg(not(hugepool_loom))]
fn parse_possible(text: &str) -> Option<usize> {
    text.trim()
        .rsplit([',', '-'])
        .next()?
        .parse::<usize>()
        .ok()?
        .checked_add(1)
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
    fn the_last_number_of_a_cpu_list_decides() {
        assert_eq!(parse_possible("0-1\n"), Some(2));
        assert_eq!(parse_possible("0"), Some(1));
        assert_eq!(parse_possible("0-3,8-11"), Some(12));
        assert_eq!(parse_possible(""), None);
        assert_eq!(parse_possible("nonsense"), None);
    }

    #[test]
    fn the_current_processor_is_a_possible_one() {
        assert!(current(possible()) < possible());
        assert_eq!(current(1), 0);
    }
}

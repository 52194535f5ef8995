//! The thread whose sections the trial of restartable sequences disturbs.
//!
//! Owns: what it and the prober say to each other, and how a section's end is told. Uses: `sync`,
//! `sys`, `table`, the section `spin`, `thread`. Used by: `probe`, which has what each end proves.

use super::section::{self, Spin};
use super::thread;
use crate::sync::{AtomicU32, AtomicU64, Ordering, spin_loop};
use crate::sys::cpu::{self, CpuSet};
use crate::sys::{clock, files, signal};
use crate::table::Zeroed;
use std::ffi::c_void;

/// How long it is tried, in ns.
pub const LIMIT: u64 = 1_000_000_000;
/// How long a thread that waits for the other one looks before it sleeps between two looks, in
/// ns. (When it wakes, it may preempt the other one.)
const SPIN: u64 = 200_000;
const NAP: u32 = 50_000;
/// Pauses of a section (`spin`), some 50 to 700 µs: short, so that the scheduler lets a thread
/// run soon that has run so little.
const PAUSES: u32 = 1 << 14;
/// The same where the other thread cannot run before the scheduler preempts this one.
const PAUSES_ALONE: u32 = 1 << 18;
/// In place of a round: there is none any more.
pub const OVER: u32 = u32::MAX;

/// What the two threads say to each other. Each word is written by one of them, with Release,
/// and read by the other one with Acquire: who is told something finds done what it is about.
#[derive(Default)]
pub struct Words {
    /// The round to run, or `OVER`. By the prober.
    pub go: AtomicU32,
    /// The round whose section may end. By the prober.
    pub told: AtomicU32,
    /// `{round: 32, processor: 32}` of the section that has begun. By the section, whose
    /// assembly has the same order.
    pub inside: AtomicU64,
    /// `{round: 32, End: 32}`. By the spinner.
    pub ended: AtomicU64,
    /// 1 if the spinner may run wherever the process may, as far as it knows. By the spinner,
    /// before `thread`. (Relaxed.)
    pub anywhere: AtomicU32,
    /// The spinner's number, once it runs. By the spinner.
    pub thread: AtomicU32,
    /// 1 if the spinner will look at this no more. By the spinner.
    pub left: AtomicU32,
}

// SAFETY: integer atomics alone.
unsafe impl Zeroed for Words {}

/// How a round ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum End {
    /// The section went on until it was told to end.
    Told = 1,
    /// The same, and found itself on another processor.
    Moved,
    Aborted,
    /// The same, and the thread ran all the time.
    AbortedRunning,
    /// The same, and so it was in the round before, and ran in between.
    AbortedAgain,
    Expired,
    /// The thread has no area.
    Unregistered,
}

impl End {
    pub const ALL: [Self; 7] = [
        Self::Told,
        Self::Moved,
        Self::Aborted,
        Self::AbortedRunning,
        Self::AbortedAgain,
        Self::Expired,
        Self::Unregistered,
    ];
}

pub fn pack(round: u32, rest: u32) -> u64 {
    u64::from(round) << 32 | u64::from(rest)
}

/// The rest of a word, if it is of this round.
pub fn of_round(word: u64, round: u32) -> Option<u32> {
    (word >> 32 == u64::from(round)).then_some(word as u32)
}

/// Looks until `look` finds something; `None` after `deadline`. `alone`: the other thread is not
/// on another processor, and does nothing while this one looks.
pub fn wait<T>(alone: bool, deadline: u64, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let sleeps_at = if alone { 0 } else { clock::now() + SPIN };
    loop {
        let now = clock::now();
        // Late, perhaps, since this thread did not run: then the other one may have.
        if let Some(found) = look() {
            return Some(found);
        }
        if now >= deadline {
            return None;
        } else if now >= sleeps_at {
            clock::nap(NAP);
        } else {
            spin_loop();
        }
    }
}

/// Where the spinner tells the kernel of its sections: bytes from its thread pointer.
pub trait Area {
    fn offset() -> Option<isize>;
}

/// Where every thread does.
pub struct Registered;

impl Area for Registered {
    fn offset() -> Option<isize> {
        thread::attend();
        thread::cpu().map(|_| thread::offset())
    }
}

pub extern "C" fn spinner<A: Area>(argument: *mut c_void) -> *mut c_void {
    // SAFETY: the prober's words, which are there until this has left.
    let words = unsafe { &*argument.cast_const().cast::<Words>() };
    signal::name_thread(c"hugepool-probe");
    let number = files::thread_number() as u32;
    clock::wake_on_time();
    let anywhere = CpuSet::all().keep(number);
    let alone = CpuSet::allowed().is_some_and(|allowed| allowed.count() == 1);
    let pauses = if alone { PAUSES_ALONE } else { PAUSES };
    // Even if the prober, and the threads beside it, ended in the middle.
    let deadline = clock::now() + 2 * LIMIT;
    (words.anywhere).store(anywhere.into(), Ordering::Relaxed);
    words.thread.store(number, Ordering::Release);
    let area = A::offset();
    let mut aborts = Aborts::default();
    let mut last = 0;
    let mut next = || {
        let changed = |&round: &u32| round != last;
        last = wait(alone, deadline, || {
            Some(words.go.load(Ordering::Acquire)).filter(changed)
        })?;
        Some(last).filter(|&round| round != OVER)
    };
    while let Some(round) = next() {
        let end = area.map_or(End::Unregistered, |area| {
            signal::with_all_blocked(|| one_round(words, area, round, pauses, &mut aborts))
        });
        (words.ended).store(pack(round, end as u32), Ordering::Release);
    }
    words.left.store(1, Ordering::Release);
    std::ptr::null_mut()
}

fn one_round(words: &Words, area: isize, round: u32, pauses: u32, aborts: &mut Aborts) -> End {
    let before = cpu::switches();
    let spin = section::spin(area, &words.inside, &words.told, round, pauses);
    let end = match spin {
        Spin::Told => End::Told,
        Spin::Moved => End::Moved,
        Spin::Expired => End::Expired,
        Spin::Aborted => return aborts.end(before, cpu::switches()),
    };
    *aborts = Aborts::default();
    end
}

/// The aborts without a switch that the spinner saw one after the other.
#[derive(Default)]
struct Aborts {
    /// How often it had been switched before the last of them, if that was one.
    switches: Option<u64>,
}

impl Aborts {
    /// What an abort says, by the counts before the section and after it.
    fn end(&mut self, before: Option<u64>, after: Option<u64>) -> End {
        let running = before.is_some() && before == after;
        let again = running && self.switches == before;
        self.switches = before.filter(|_| running);
        match (running, again) {
            (_, true) => End::AbortedAgain,
            (true, false) => End::AbortedRunning,
            (false, false) => End::Aborted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abort_without_a_switch_counts_only_after_another_one_without_a_switch_since() {
        let mut aborts = Aborts::default();
        let mut end = |before, after| aborts.end(before, after);
        assert_eq!(end(Some(5), Some(6)), End::Aborted);
        // It may be that switch which is remembered.
        assert_eq!(end(Some(6), Some(6)), End::AbortedRunning);
        assert_eq!(end(Some(6), Some(6)), End::AbortedAgain);
        assert_eq!(end(Some(6), Some(6)), End::AbortedAgain);
        // Switched between two sections.
        assert_eq!(end(Some(7), Some(7)), End::AbortedRunning);
        assert_eq!(end(Some(7), Some(8)), End::Aborted);
        assert_eq!(end(Some(8), Some(8)), End::AbortedRunning);
        // Nobody counts.
        assert_eq!(end(None, None), End::Aborted);
        assert_eq!(end(None, None), End::Aborted);
        assert_eq!(end(Some(0), Some(0)), End::AbortedRunning);
        assert_eq!(end(Some(0), Some(0)), End::AbortedAgain);
    }

    #[test]
    fn ends_are_told_by_their_numbers() {
        for end in End::ALL {
            let word = pack(7, end as u32);
            assert_eq!(of_round(word, 7), Some(end as u32));
            assert_eq!(of_round(word, 8), None);
        }
        // No round has ended at first.
        assert!(End::ALL.into_iter().all(|end| end as u32 != 0));
    }
}

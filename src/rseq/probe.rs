//! Whether the kernel restarts sequences, found out by trying it.
//!
//! Owns: the trial, and what came of it in this process. Uses: `sync`, `sys`, `table`, the
//! section `spin`, `thread`. Used by: the parent module.
//!
//! Some kernels register sequences, answer every `membarrier` with success, and restart
//! nothing (arm64, Linux 6.19 to 7.0): then two threads would take one buffer. So the first
//! pool of a process has a thread of its own spin in a section, and disturbs it.
//!
//! ```text
//!   prober                                   spinner
//!   go = round ────────────────────────────▶ ┌ section begins
//!                 ◀──────────────────────────│ inside = round, processor
//!   membarrier, or moves the spinner         │ told == round?  no, no, no …
//!   told = round ──────────────────────────▶ └ section ends: TOLD, or ABORTED
//!                 ◀────────────────────────── ended = round, how
//! ```
//!
//! # What each end proves, whoever ran when
//!
//! - *Told.* The section was under way when `membarrier` was called, and went on after it had
//!   returned. No kernel may let it, whether the spinner ran all the time or was preempted, since
//!   that aborts a section, too. So one such end proves that sequences are not restarted.
//!   (Where the spinner was to be moved instead, it must find another processor's number in the
//!   same section; with the same number it was not moved, which proves nothing.)
//! - *Aborted, and the thread was not switched from the processor meanwhile*, by the kernel's
//!   count, nor had a signal, since it blocks all, those of the C library included: that was a
//!   `membarrier`. This proves that `membarrier` restarts sequences.
//! - *Aborted, and it was switched*: that may have been the switch. It counts if there is one
//!   processor only for the whole process, where whoever calls `membarrier` has preempted all
//!   others; it is not remembered then, unless the machine has no other. (A thread that is kept
//!   on one processor proves nothing for others: so the spinner runs wherever it may.) It counts
//!   for a move. Otherwise the round is run again, with the spinner elsewhere.
//! - *Expired.* The section ended by itself, before the prober saw it. The round is run again.
//!
//! So no end depends on who is scheduled how soon; only how many rounds it takes does. One
//! `membarrier` for the spinner's processor (which is how thieves call it), one for all (how
//! classes are shut) and one move are tried. (A process that may run on one processor only, and
//! preempts nobody there, as under `SCHED_FIFO`, may see no section at all.) Where these did
//! not come to an end that counts within a second, or there was no thread to be had, it is *not
//! tried*: the pool has portable caches then, which are right anywhere, and the next pool tries
//! again. What was proved holds for the process and its children: they have the same kernel.
//! `examples/first_build.rs` says what it costs.
//!
//! The processors that the prober may run on are never changed.

use super::section::{self, Spin};
use super::thread;
use super::why::WhyPortable;
use crate::sync::{AtomicU32, AtomicU64, Ordering, spin_loop};
use crate::sys::cpu::{self, CpuSet};
use crate::sys::{clock, files, membarrier, signal};
use crate::table::{Table, Zeroed};
use std::cell::Cell;
use std::ffi::c_void;

/// How long it is tried, in ns.
const LIMIT: u64 = 1_000_000_000;
/// How long a thread that waits for the other one looks before it sleeps between two looks, in
/// ns. (When it wakes, it may preempt the other one.)
const SPIN: u64 = 200_000;
const NAP: u32 = 50_000;
/// Pauses of a section (`spin`), some 50 to 700 µs: short, so that the scheduler lets a thread
/// run soon that has run so little.
const PAUSES: u32 = 1 << 14;
/// The same where the other thread cannot run before the scheduler preempts this one.
const PAUSES_ALONE: u32 = 1 << 18;
/// Bytes of the spinner's stack.
const STACK: usize = 128 << 10;
/// In place of a round: there is none any more.
const OVER: u32 = u32::MAX;
/// How often the spinner is moved at most: a section may have ended before.
const MOVES: u32 = 4;

/// What the two threads say to each other. Each word is written by one of them, with Release,
/// and read by the other one with Acquire: who is told something finds done what it is about.
#[derive(Default)]
struct Words {
    /// The round to run, or `OVER`. By the prober.
    go: AtomicU32,
    /// The round whose section may end. By the prober.
    told: AtomicU32,
    /// `{round: 32, processor: 32}` of the section that has begun. By the section, whose
    /// assembly has the same order.
    inside: AtomicU64,
    /// `{round: 32, End: 32}`. By the spinner.
    ended: AtomicU64,
    /// 1 if the spinner may run wherever the process may, as far as it knows. By the spinner,
    /// before `thread`. (Relaxed.)
    anywhere: AtomicU32,
    /// The spinner's number, once it runs. By the spinner.
    thread: AtomicU32,
    /// 1 if the spinner will look at this no more. By the spinner.
    left: AtomicU32,
}

// SAFETY: integer atomics alone.
unsafe impl Zeroed for Words {}

/// How a round ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
enum End {
    /// The section went on until it was told to end.
    Told = 1,
    /// The same, and found itself on another processor.
    Moved,
    Aborted,
    /// The same, and the thread ran all the time.
    AbortedRunning,
    Expired,
    /// The thread has no area.
    Unregistered,
}

impl End {
    const ALL: [Self; 6] = [
        Self::Told,
        Self::Moved,
        Self::Aborted,
        Self::AbortedRunning,
        Self::Expired,
        Self::Unregistered,
    ];
}

fn pack(round: u32, rest: u32) -> u64 {
    u64::from(round) << 32 | u64::from(rest)
}

/// The rest of a word, if it is of this round.
fn of_round(word: u64, round: u32) -> Option<u32> {
    (word >> 32 == round.into()).then_some(word as u32)
}

/// Looks until `look` finds something; `None` after `deadline`. `alone`: the other thread is not
/// on another processor, and does nothing while this one looks.
fn wait<T>(alone: bool, deadline: u64, mut look: impl FnMut() -> Option<T>) -> Option<T> {
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
trait Area {
    fn offset() -> Option<isize>;
}

/// Where every thread does.
struct Registered;

impl Area for Registered {
    fn offset() -> Option<isize> {
        thread::attend();
        thread::cpu().map(|_| thread::offset())
    }
}

extern "C" fn spinner<A: Area>(argument: *mut c_void) -> *mut c_void {
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
            signal::with_all_blocked(|| one_round(words, area, round, pauses))
        });
        (words.ended).store(pack(round, end as u32), Ordering::Release);
    }
    words.left.store(1, Ordering::Release);
    std::ptr::null_mut()
}

fn one_round(words: &Words, area: isize, round: u32, pauses: u32) -> End {
    let before = cpu::switches();
    match section::spin(area, &words.inside, &words.told, round, pauses) {
        Spin::Told => End::Told,
        Spin::Moved => End::Moved,
        Spin::Expired => End::Expired,
        Spin::Aborted if before.is_some() && before == cpu::switches() => End::AbortedRunning,
        Spin::Aborted => End::Aborted,
    }
}

/// What the prober does to the spinner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Disturbance {
    BarrierThere,
    BarrierEverywhere,
    Move,
}

/// The prober's side.
struct Prober<'a> {
    words: &'a Words,
    deadline: u64,
    /// The spinner's number; 0: it does not run yet.
    thread: u32,
    /// Where it may run; `None` on a machine that has more processors than can be said.
    allowed: Option<CpuSet>,
    /// Whether there is one processor for the whole process.
    alone: bool,
    round: u32,
    /// Whether the spinner may have been moved to where this thread runs.
    has_moved: bool,
}

impl Prober<'_> {
    /// Finds out where the spinner may run, once it does.
    fn meet(&mut self) -> Result<(), WhyPortable> {
        let number = || Some(self.words.thread.load(Ordering::Acquire));
        self.thread = self.wait(|| number().filter(|&number| number != 0))?;
        self.allowed = CpuSet::allowed_to(self.thread);
        let one = self.allowed.is_some_and(|allowed| allowed.count() == 1);
        let anywhere = self.words.anywhere.load(Ordering::Relaxed) == 1;
        self.alone = one && (anywhere || cpu::possible() == 1);
        Ok(())
    }

    fn wait<T>(&self, look: impl FnMut() -> Option<T>) -> Result<T, WhyPortable> {
        let alone = self.has_moved || self.alone;
        wait(alone, self.deadline, look).ok_or(WhyPortable::NoTime)
    }

    /// How the current round ended, if it has.
    fn ended(&self) -> Option<End> {
        let end = of_round(self.words.ended.load(Ordering::Acquire), self.round)?;
        End::ALL.into_iter().find(|&known| known as u32 == end)
    }

    /// Keeps the spinner away from a processor. False if there is no other, or it is refused.
    fn move_from(&self, cpu: usize) -> bool {
        let others = self.allowed.and_then(|all| all.without(cpu));
        others.is_some_and(|others| others.keep(self.thread))
    }

    /// One round; `None` if the spinner could not be disturbed.
    fn run(&mut self, disturbance: Disturbance) -> Result<Option<End>, WhyPortable> {
        let words = self.words;
        self.round += 1;
        words.go.store(self.round, Ordering::Release);
        let began = || of_round(words.inside.load(Ordering::Acquire), self.round);
        // One that has ended by itself may have begun without being seen to.
        let cpu = self.wait(|| began().or_else(|| self.ended().map(|_| 0)))?;
        // Not the number of a processor: that of a thread that has none.
        let cpu = i32::try_from(cpu).ok().map(|cpu| cpu as usize);
        let done = match disturbance {
            Disturbance::BarrierThere => match membarrier::restart(cpu) {
                Ok(()) => true,
                Err(_) => return Err(WhyPortable::NoBarrier),
            },
            // It may need memory that the kernel has not, and is not needed then (`Slots`).
            Disturbance::BarrierEverywhere => membarrier::restart(None).is_ok(),
            Disturbance::Move => {
                self.has_moved = true;
                cpu.is_some_and(|cpu| self.move_from(cpu))
            }
        };
        words.told.store(self.round, Ordering::Release);
        let end = self.wait(|| self.ended())?;
        Ok(done.then_some(end))
    }

    /// Disturbs the spinner until that has ended in a way that counts.
    fn passes(&mut self, disturbance: Disturbance) -> Result<(), WhyPortable> {
        let is_move = disturbance == Disturbance::Move;
        for times in 1.. {
            match self.run(disturbance)? {
                Some(End::Unregistered) => return Err(WhyPortable::NotRegistered),
                Some(End::Moved) => return Err(WhyPortable::NotRestarted),
                Some(End::Told) if !is_move => return Err(WhyPortable::NotRestarted),
                None | Some(End::Told | End::AbortedRunning) => break,
                Some(End::Aborted) if is_move || self.alone => break,
                Some(End::Expired) if is_move && times == MOVES => break,
                Some(End::Expired) if is_move => {}
                // On one processor the two do not run at the same time.
                Some(End::Aborted | End::Expired) => {
                    self.move_from(cpu::current(usize::MAX));
                }
            }
            // Else each round may end at once, in a way that does not count.
            if clock::now() >= self.deadline {
                return Err(WhyPortable::NoTime);
            }
        }
        Ok(())
    }
}

/// What the trial says of now, and whether it holds for good.
struct Found {
    now: Result<(), WhyPortable>,
    lasts: bool,
}

fn probe<A: Area>() -> Result<Found, WhyPortable> {
    // In memory of its own: the spinner may outlast the trial.
    let table = Table::<Words>::new(1).map_err(|_| WhyPortable::NoThread)?;
    let words = table.get(0);
    let argument = std::ptr::from_ref(words).cast_mut().cast();
    // SAFETY: the words are atomics, and stay until the thread has left.
    let thread = unsafe { signal::quiet_start(spinner::<A>, argument, STACK) };
    let thread = thread.map_err(|_| WhyPortable::NoThread)?;
    let mut prober = Prober {
        words,
        deadline: clock::now() + LIMIT,
        thread: 0,
        allowed: None,
        alone: false,
        round: 0,
        has_moved: false,
    };
    let slack = clock::wake_on_time();
    let now = prober
        .meet()
        .and_then(|()| prober.passes(Disturbance::BarrierThere))
        .and_then(|()| prober.passes(Disturbance::BarrierEverywhere))
        .and_then(|()| prober.passes(Disturbance::Move));
    words.go.store(OVER, Ordering::Release);
    let left = prober.wait(|| (words.left.load(Ordering::Acquire) == 1).then_some(()));
    let alone = prober.alone;
    match left {
        // All that it still does is to end, which a program's own hooks may keep it from. It is
        // waited for, since some calls are refused to a process that has several threads.
        Ok(()) => {
            drop(thread);
            let number = prober.thread as i32;
            let _ = prober.wait(|| (!files::is_thread(number)).then_some(()));
        }
        // It leaves when it runs again, and finds the words.
        Err(_) => std::mem::forget(table),
    }
    clock::wake_within(slack);
    // A wrong kernel stays one. A right one may have been so by its one processor alone.
    let lasts = match now {
        Ok(()) => !alone || cpu::possible() == 1,
        Err(why) => why == WhyPortable::NotRestarted,
    };
    Ok(Found { now, lasts })
}

/// What was proved in this process: nothing yet, or this. Relaxed: the number is all there is.
/// Of two threads that try at once each finds out by itself, and a doubt stays.
static PROVED: AtomicU32 = AtomicU32::new(0);
const RESTARTED: u32 = 1;
const NOT_RESTARTED: u32 = 2;

/// Whether the kernel restarts sequences: tried when this is first called, and known from then
/// on. Starts a thread, which has ended when this returns, unless it was kept from it.
pub fn tried() -> Result<(), WhyPortable> {
    #[cfg(test)]
    if let Some(planted) = plant::planted() {
        return planted;
    }
    match PROVED.load(Ordering::Relaxed) {
        RESTARTED => return Ok(()),
        NOT_RESTARTED => return Err(WhyPortable::NotRestarted),
        _ => {}
    }
    // A program's hook for new threads may build a pool itself.
    if TRIES.replace(true) {
        return Err(WhyPortable::NoThread);
    }
    let found = probe::<Registered>();
    TRIES.set(false);
    let proved = match found {
        Ok(Found { now: Ok(()), lasts }) => u32::from(lasts) * RESTARTED,
        Ok(Found { lasts: true, .. }) => NOT_RESTARTED,
        _ => 0,
    };
    // What another thread found out meanwhile counts, too.
    match PROVED.fetch_max(proved, Ordering::Relaxed).max(proved) {
        NOT_RESTARTED => Err(WhyPortable::NotRestarted),
        RESTARTED => Ok(()),
        _ => found?.now,
    }
}

thread_local! {
    /// Whether this thread is in the middle of a trial.
    static TRIES: Cell<bool> = const { Cell::new(false) };
}

/// What tests say that came of it.
#[cfg(test)]
pub mod plant {
    use super::WhyPortable;
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<Option<Result<(), WhyPortable>>> = const { Cell::new(None) };
    }

    pub fn planted() -> Option<Result<(), WhyPortable>> {
        PLANTED.get()
    }

    /// Has the calling thread's pools be told `found`, instead of trying it, while `run` runs.
    pub fn plant<R>(found: Result<(), WhyPortable>, run: impl FnOnce() -> R) -> R {
        PLANTED.set(Some(found));
        let result = run();
        PLANTED.set(None);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An area that the kernel does not know of.
    #[repr(C, align(32))]
    struct Unknown([AtomicU32; 8]);

    static UNKNOWN: Unknown = Unknown([const { AtomicU32::new(u32::MAX) }; 8]);

    struct Unregistered;

    impl Area for Unregistered {
        fn offset() -> Option<isize> {
            Some(thread::offset_of((&raw const UNKNOWN).addr()))
        }
    }

    struct Missing;

    impl Area for Missing {
        fn offset() -> Option<isize> {
            None
        }
    }

    fn now<A: Area>() -> Result<(), WhyPortable> {
        probe::<A>()?.now
    }

    fn has_barriers() -> bool {
        let has = membarrier::register().is_ok();
        if !has {
            println!("skipped: membarrier(2) is refused");
        }
        has
    }

    /// Whether this is a kernel that is known to restart nothing.
    fn restarts_nothing() -> bool {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let begins = |with: &&str| release.starts_with(*with);
        cfg!(target_arch = "aarch64") && ["6.19.", "7.0."].iter().any(begins)
    }

    /// Which processors this thread may use, whether they are on line just now or not.
    fn own_processors() -> Option<String> {
        let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
        let mut lines = status.lines();
        let line = lines.find(|line| line.starts_with("Cpus_allowed:"))?;
        Some(line.to_owned())
    }

    #[test]
    fn a_kernel_is_found_to_be_right_or_wrong_every_time() {
        thread::locate();
        let registered = std::thread::spawn(Registered::offset).join().unwrap();
        if !has_barriers() || registered.is_none() {
            return println!("skipped: no restartable sequences here");
        }
        let right = match restarts_nothing() {
            true => Err(WhyPortable::NotRestarted),
            false => Ok(()),
        };
        let before = own_processors();
        for _ in 0..100 {
            match now::<Registered>() {
                Err(WhyPortable::NoTime) => println!("not tried: the machine is busy"),
                found => assert_eq!(found, right),
            }
        }
        assert_eq!(own_processors(), before);
    }

    #[test]
    fn a_section_that_nobody_restarts_is_found_out_every_time() {
        if !has_barriers() {
            return;
        }
        for _ in 0..100 {
            match now::<Unregistered>() {
                Err(WhyPortable::NoTime) => println!("not tried: the machine is busy"),
                found => assert_eq!(found, Err(WhyPortable::NotRestarted)),
            }
        }
    }

    #[test]
    fn a_thread_without_an_area_proves_nothing() {
        if has_barriers() {
            let found = now::<Missing>();
            assert!(
                matches!(found, Err(WhyPortable::NotRegistered | WhyPortable::NoTime)),
                "{found:?}"
            );
        }
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

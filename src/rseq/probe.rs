//! Whether the kernel restarts sequences, found out by trying it.
//!
//! Owns: the prober, and what came of the trial in this process. Uses: `spinner`, `sync`, `sys`,
//! `table`. Used by: the parent module.
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
//!   `membarrier`, or the switch before. For kernels up to 6.18 keep a switch that came outside
//!   of any section in mind until the thread next has something to do on its way out of the
//!   kernel (such as a look at its memory's nodes), and abort the section that it is in then.
//!   An abort clears what is kept. So the round is run again.
//! - *Aborted again*, the second round in a row, and not switched since the beginning of the
//!   first: that was a `membarrier`. This proves that `membarrier` restarts sequences.
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

use super::spinner::{Area, End, LIMIT, OVER, Registered, Words, of_round, spinner, wait};
use super::why::WhyPortable;
use crate::sync::{AtomicU32, Ordering};
use crate::sys::cpu::{self, CpuSet};
use crate::sys::{clock, files, membarrier, signal};
use crate::table::Table;
use std::cell::Cell;

/// Bytes of the spinner's stack.
const STACK: usize = 128 << 10;
/// How often the spinner is moved at most: a section may have ended before.
const MOVES: u32 = 4;

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
                None | Some(End::Told | End::AbortedAgain) => break,
                Some(End::Aborted | End::AbortedRunning) if is_move || self.alone => break,
                Some(End::Expired) if is_move && times == MOVES => break,
                Some(End::Expired) if is_move => {}
                Some(End::AbortedRunning) => {}
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
    use super::super::thread;
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
}

//! P3 at every single instruction: a critical section that is interrupted at any
//! of its instructions has done nothing, and behind its last one all, whatever
//! happens to its processor's buffers meanwhile. And a thief that stops in the
//! middle of a steal keeps no buffer from anybody.

mod support;

use hugepool::{AllocError, Buffer, Class, Pool};
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use support::breakpoint::Breakpoint;
use support::calls::{Stop, Watch};
use support::kind::Kind;
use support::owners::Owners;
use support::sections::{self, Section};
use support::timer::handle;
use support::{cpus, on_cpu, pin, skipped, two_cpus};

const SIZE: usize = 4096;

/// Whom the test itself is to `Owners`, and whom its handler.
const MAIN: u64 = 1;
const HANDLER: u64 = 2;

/// What happens while a section is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    /// A buffer is taken from the section's slot and put back, so that all looks
    /// as before.
    TakeAndGive,
    Take,
    Give,
    /// The thread takes and gives everything on another processor, and comes back.
    Rob,
    /// The thread goes on on another processor.
    Leave,
    /// Nothing; but every further try is interrupted as well.
    Again,
}

impl Meanwhile {
    const ALL: [Self; 7] = [
        Self::Nothing,
        Self::TakeAndGive,
        Self::Take,
        Self::Give,
        Self::Rob,
        Self::Leave,
        Self::Again,
    ];

    fn moves(self) -> bool {
        matches!(self, Self::Rob | Self::Leave)
    }
}

/// What the handler needs.
struct Trap<'a> {
    field: &'a Field,
    breakpoint: &'a Breakpoint,
    meanwhile: Meanwhile,
    hits: Cell<u32>,
    aborts: Cell<u32>,
}

/// The pool and who holds what of it.
struct Field {
    /// Buffers of the pool: so many for each processor that batches of several
    /// move between its cache and the depot.
    count: usize,
    pool: Pool,
    class: Class,
    owners: Owners,
    here: usize,
    there: usize,
    /// The handler's buffer.
    kept: RefCell<Option<Buffer>>,
    /// Room for what the handler takes at once.
    spoils: RefCell<Vec<Buffer>>,
}

impl Field {
    fn take(&self, who: u64) -> Result<Buffer, AllocError> {
        let mut buffer = self.class.allocate()?;
        self.owners.taken(buffer.as_mut_ptr(), who);
        Ok(buffer)
    }

    fn give(&self, mut buffer: Buffer, who: u64) {
        self.owners.given(buffer.as_mut_ptr(), who, 0);
        drop(buffer);
    }

    fn keeps(&self) -> usize {
        usize::from(self.kept.borrow().is_some())
    }

    /// Whether sections are in use: they are not for a while after so many steals.
    fn is_in_use(&self) -> bool {
        self.pool.stats().classes[0].cached > 0
    }

    /// Takes all there is, and gives it back.
    fn round(&self, held: &mut Vec<Buffer>) {
        while held.len() + self.keeps() < self.count {
            held.push(self.take(MAIN).expect("it is free"));
        }
        for buffer in held.drain(..) {
            self.give(buffer, MAIN);
        }
    }

    /// The same, after some were put into another processor's cache.
    fn robbing_round(&self, held: &mut Vec<Buffer>) {
        pin(self.there);
        held.extend((0..self.count / 2).map_while(|_| self.take(MAIN).ok()));
        for buffer in held.drain(..) {
            self.give(buffer, MAIN);
        }
        pin(self.here);
        self.round(held);
    }

    /// What the handler does. Neither panics nor allocates.
    fn disturb(&self, meanwhile: Meanwhile) {
        match meanwhile {
            Meanwhile::Nothing | Meanwhile::Again => {}
            Meanwhile::TakeAndGive => {
                if let Ok(buffer) = self.take(HANDLER) {
                    self.give(buffer, HANDLER);
                }
            }
            Meanwhile::Take => *self.kept.borrow_mut() = self.take(HANDLER).ok(),
            Meanwhile::Give => {
                if let Some(buffer) = self.kept.take() {
                    self.give(buffer, HANDLER);
                }
            }
            Meanwhile::Rob => {
                pin(self.there);
                let mut spoils = self.spoils.borrow_mut();
                let free = self.pool.available(SIZE, SIZE);
                spoils.extend((0..free).map_while(|_| self.take(HANDLER).ok()));
                for buffer in spoils.drain(..) {
                    self.give(buffer, HANDLER);
                }
                pin(self.here);
            }
            Meanwhile::Leave => pin(self.there),
        }
    }
}

thread_local! {
    static TRAP: Cell<*const Trap<'static>> = const { Cell::new(std::ptr::null()) };
}

extern "C" fn on_trap(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: a trap is named here only while it is there, and belongs to this
    // thread.
    let Some(trap) = (unsafe { TRAP.get().as_ref() }) else {
        return;
    };
    trap.breakpoint.switch(false);
    trap.hits.set(trap.hits.get() + 1);
    // SAFETY: it is this handler's.
    let aborted = unsafe { sections::was_aborted(context) };
    trap.aborts.set(trap.aborts.get() + u32::from(aborted));
    trap.field.disturb(trap.meanwhile);
    if trap.meanwhile == Meanwhile::Again {
        trap.breakpoint.switch(true);
    }
}

/// Runs `work` with a breakpoint at `address`; gives how often it was hit, and how
/// often within a section. `None` if there are no breakpoints.
fn interrupted(
    field: &Field,
    address: usize,
    meanwhile: Meanwhile,
    work: impl FnOnce(),
) -> Option<(u32, u32)> {
    let breakpoint = Breakpoint::new(address).ok()?;
    let trap = Trap {
        field,
        breakpoint: &breakpoint,
        meanwhile,
        hits: Cell::new(0),
        aborts: Cell::new(0),
    };
    TRAP.set((&raw const trap).cast());
    breakpoint.switch(true);
    work();
    breakpoint.switch(false);
    TRAP.set(std::ptr::null());
    Some((trap.hits.get(), trap.aborts.get()))
}

/// What is done while sections are interrupted.
type Round = fn(&Field, &mut Vec<Buffer>);

fn field(here: usize, there: usize) -> Field {
    let builder = Pool::builder().address_space(256 << 20).prefault(false);
    let pool = Kind::Restartable.build(builder.clone());
    // More than a cache holds for each, so that batches move.
    let count = 80 * pool.stats().cpus;
    let pool = Kind::Restartable.build(builder.reserve(SIZE, SIZE, count));
    Field {
        count,
        class: pool.class(SIZE, SIZE).unwrap(),
        owners: Owners::of(&pool),
        pool,
        here,
        there,
        kept: RefCell::new(None),
        spoils: RefCell::new(Vec::with_capacity(count)),
    }
}

/// A new field in place of one whose sections are out of use.
fn renew(field: &mut Field) {
    if !field.is_in_use() {
        *field = self::field(field.here, field.there);
        field.round(&mut Vec::new());
    }
}

/// Interrupts `section` wherever an instruction may begin, while `round` runs, and gives at
/// how many it was.
fn dissect(field: &mut Field, section: &Section, round: Round) -> usize {
    let mut instructions = 0;
    let mut held = Vec::with_capacity(field.count);
    for at in (0..=section.bytes).step_by(Breakpoint::INSTRUCTION) {
        for meanwhile in Meanwhile::ALL {
            if meanwhile.moves() && field.here == field.there {
                continue;
            }
            // Behind its last instruction, the thread goes on where it was interrupted.
            if meanwhile == Meanwhile::Again && at == section.bytes && !Breakpoint::IS_PASSED {
                continue;
            }
            let address = section.start + at;
            let (hits, aborts) = loop {
                renew(field);
                if meanwhile == Meanwhile::Give {
                    *field.kept.borrow_mut() = field.take(HANDLER).ok();
                }
                let work = || round(field, &mut held);
                let outcome = interrupted(field, address, meanwhile, work);
                field.disturb(Meanwhile::Give);
                pin(field.here);
                let (hits, aborts) = outcome.expect("there were breakpoints before");
                // Unless sections went out of use on the way there.
                if hits > 0 || field.is_in_use() {
                    break (hits, aborts);
                }
            };
            let place = format!("{meanwhile:?} at byte {at} of {section:x?}");
            assert!(!field.owners.is_wrong(), "{place}: {:?}", field.owners);
            assert_eq!(field.pool.available(SIZE, SIZE), field.count, "{place}");
            if hits == 0 {
                // No instruction begins here, or it was not reached.
                break;
            }
            assert!(
                at == section.bytes || aborts == hits,
                "{place}: the kernel aborted {aborts} of {hits}"
            );
            instructions += usize::from(meanwhile == Meanwhile::Nothing);
        }
    }
    instructions
}

#[test]
fn a_section_interrupted_at_any_instruction_has_done_nothing_or_all() {
    Kind::Restartable.run(|_| {
        let cpus = cpus();
        let (here, there) = (cpus[0], cpus[cpus.len() - 1]);
        pin(here);
        let mut field = field(here, there);
        field.round(&mut Vec::new());
        handle(libc::SIGTRAP, on_trap);
        if let Err(error) = Breakpoint::new(on_trap as *const () as usize) {
            return skipped(&format!("sections, instruction by instruction: {error}"));
        }
        let reached = |field: &Field, section: &Section, round: Round| {
            let work = || round(field, &mut Vec::new());
            let outcome = interrupted(field, section.start, Meanwhile::Nothing, work);
            outcome.is_some_and(|(hits, _)| hits > 0)
        };
        let rounds: [Round; 2] = [Field::round, Field::robbing_round];
        let (mut dissected, mut instructions) = (0, 0);
        for section in sections::all() {
            for (at, round) in rounds.into_iter().enumerate() {
                renew(&mut field);
                if at > 0 && here == there || !reached(&field, section, round) {
                    continue;
                }
                dissected += 1;
                let interrupted = dissect(&mut field, section, round);
                // A section that is never passed to its end was not reached in earnest.
                let bytes = section.bytes;
                assert!(
                    interrupted > 5,
                    "a section of {bytes} bytes was interrupted at {interrupted} instructions"
                );
                instructions += interrupted;
                break;
            }
        }
        println!("{instructions} instructions of {dissected} sections");
        // One to take and one to give at least, on the hot path and after it.
        assert!(dissected >= 4, "only {dissected} sections were reached");
    });
}

/// A thief that stops in the middle of a steal, before or after the kernel has
/// stopped the other processor's sections for it.
fn stopped_thief(after: bool) {
    let Some((here, there)) = two_cpus("a thief that stops in the middle") else {
        return;
    };
    let field = field(here, there);
    let stop = Stop {
        call: libc::SYS_membarrier,
        after,
        ..Stop::default()
    };
    let gone = AtomicBool::new(false);
    let (pool, count) = (&field.pool, field.count);
    let mut held = pool.allocate_many(SIZE, SIZE, count).unwrap();
    // All that are free, as few as any cache keeps, are in the cache of `here`.
    let free = 2;
    on_cpu(here, || held.truncate(count - free));
    assert_eq!(pool.stats().classes[0].cached, free);
    std::thread::scope(|scope| {
        let thief = scope.spawn(|| {
            pin(there);
            let mut taken = None;
            let watched = Watch::over("a thief that stops in the middle", Some(&stop), |watch| {
                watch.catch();
                taken = pool.allocate(SIZE, SIZE).ok();
            });
            gone.store(true, Ordering::Release);
            (watched, taken)
        });
        stop.wait(|| gone.load(Ordering::Acquire));
        for cpu in [here, there] {
            for _ in 0..50 {
                let taken = on_cpu(cpu, || pool.allocate_many(SIZE, SIZE, free));
                assert_eq!(taken.expect("nobody holds them").len(), free);
            }
        }
        let all = on_cpu(here, || pool.allocate_many(SIZE, SIZE, free).unwrap());
        assert!(on_cpu(there, || pool.allocate(SIZE, SIZE)).is_err());
        drop(all);
        stop.release();
        let (watched, taken) = thief.join().unwrap();
        if let Some((calls, first)) = watched {
            assert_eq!(
                (calls, first),
                (1, libc::SYS_membarrier),
                "it stole nothing"
            );
            assert!(taken.is_some(), "there were {free} for it");
        }
        drop(taken);
    });
    drop(held);
    for cpu in [here, there] {
        let all = on_cpu(cpu, || pool.allocate_many(SIZE, SIZE, count).unwrap());
        assert!(pool.allocate(SIZE, SIZE).is_err());
        drop(all);
    }
}

#[test]
fn a_thief_that_stops_before_the_barrier_keeps_no_buffer_from_anybody() {
    Kind::Restartable.run(|_| stopped_thief(false));
}

#[test]
fn a_thief_that_stops_after_the_barrier_keeps_no_buffer_from_anybody() {
    Kind::Restartable.run(|_| stopped_thief(true));
}

//! Threads that take and give back the buffers of one pool under everything that
//! interrupts them: signals whose handlers use the pool as well, changes of
//! processor, preemption, thieves, growth and trimming. `Owners` knows who holds
//! which buffer.

use super::kind::Kind;
use super::owners::{Owners, Wrong};
use super::sections;
use super::timer::{SIGNAL, Timer, handle};
use super::{Random, cpus, every_cpu, on_cpu, skipped};
use hugepool::{AllocError, Buffer, BuildError, Class, Pool};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

/// Bytes of each buffer, and its alignment.
pub const SIZE: usize = 4096;

/// What a storm is made of.
#[derive(Clone)]
pub struct Storm {
    /// The caches.
    pub kind: Kind,
    /// Buffers of the pool.
    pub buffers: usize,
    /// Threads.
    pub threads: usize,
    /// How many buffers a thread holds at most, apart from its handler, which
    /// holds at most one.
    pub quota: usize,
    /// Whether each thread gets a signal every few microseconds.
    pub signals: bool,
    /// Whether the threads change processors all the time; otherwise each stays
    /// on one.
    pub wander: bool,
    /// Whether one more thread makes the pool grow and trims it.
    pub grows: bool,
    /// How long it lasts.
    pub time: Duration,
}

/// What a hand counted, or all of them.
#[derive(Clone, Copy, Default)]
struct Counts {
    taken: u64,
    refused: u64,
    /// Refused because another thread carried what there was.
    carried: u64,
    signals: u64,
    /// Signals that came within a critical section.
    aborts: u64,
}

impl Counts {
    fn and(self, other: Self) -> Self {
        Self {
            taken: self.taken + other.taken,
            refused: self.refused + other.refused,
            carried: self.carried + other.carried,
            signals: self.signals + other.signals,
            aborts: self.aborts + other.aborts,
        }
    }
}

/// What all threads of a storm share.
struct Field<'a> {
    storm: &'a Storm,
    pool: &'a Pool,
    class: Class,
    owners: Owners,
    /// It is over for those who use the numbers of the threads, and then for the
    /// threads.
    ended: AtomicBool,
    all_ended: AtomicBool,
    /// The threads, as the kernel numbers them; 0 before they are there.
    ids: Vec<AtomicI32>,
}

impl Field<'_> {
    /// Whether no request may ever be refused: somebody has not yet what it may
    /// have, so one is free.
    fn is_roomy(&self) -> bool {
        self.storm.buffers >= self.storm.threads * (self.storm.quota + 1)
    }
}

/// Who holds a buffer as what.
enum Held {
    Owned(Buffer),
    Raw(*mut u8),
}

/// Somebody who takes and gives: a thread, or its handler.
struct Hand<'a> {
    field: &'a Field<'a>,
    who: u64,
    random: Random,
    counts: Counts,
    held: [Option<Held>; 4],
}

impl<'a> Hand<'a> {
    fn new(field: &'a Field<'a>, who: u64) -> Self {
        Self {
            field,
            who,
            random: Random::new(who),
            counts: Counts::default(),
            held: [const { None }; 4],
        }
    }

    /// Takes a buffer in one of three ways. Allocates nothing and never panics.
    fn take(&mut self) -> Option<Held> {
        let field = self.field;
        let taken = match self.random.below(4) {
            0 | 1 => field.class.allocate().map(Held::Owned),
            2 => field.pool.allocate(SIZE, SIZE).map(Held::Owned),
            _ => field
                .pool
                .allocate_raw(SIZE, SIZE)
                .map(|start| Held::Raw(start.as_ptr())),
        };
        match taken {
            Ok(mut held) => {
                field.owners.taken(start(&mut held), self.who);
                self.counts.taken += 1;
                Some(held)
            }
            Err(AllocError::Exhausted { carried: true, .. }) => {
                self.counts.carried += 1;
                None
            }
            Err(_) => {
                self.counts.refused += 1;
                if field.is_roomy() {
                    field.owners.note(Wrong::Stranded, 0, 0, self.who);
                }
                None
            }
        }
    }

    fn give(&mut self, mut held: Held) {
        let owners = &self.field.owners;
        owners.given(start(&mut held), self.who, self.random.next());
        match held {
            Held::Owned(buffer) => drop(buffer),
            Held::Raw(start) => {
                // SAFETY: taken with this size by this hand, and given once.
                if unsafe { self.field.pool.free_raw(start, SIZE) }.is_err() {
                    owners.note(Wrong::Foreign, 0, 0, self.who);
                }
            }
        }
    }

    /// Takes or gives a buffer, with at most `quota` in hand.
    fn step(&mut self, quota: usize) {
        let at = self.random.below(quota);
        self.held[at] = match self.held[at].take() {
            Some(held) => {
                self.give(held);
                None
            }
            None => self.take(),
        };
    }

    fn give_all(mut self) -> Counts {
        for at in 0..self.held.len() {
            if let Some(held) = self.held[at].take() {
                self.give(held);
            }
        }
        self.counts
    }
}

fn start(held: &mut Held) -> *mut u8 {
    match held {
        Held::Owned(buffer) => buffer.as_mut_ptr(),
        Held::Raw(start) => *start,
    }
}

thread_local! {
    /// The hand that the handler of this thread plays, null if there is none.
    static HAND: Cell<*mut Hand<'static>> = const { Cell::new(std::ptr::null_mut()) };
}

extern "C" fn on_signal(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let hand = HAND.get();
    // SAFETY: it belongs to this thread, which leaves it to this handler as long
    // as it is named here, and the signal is blocked while the handler runs.
    let Some(hand) = (unsafe { hand.as_mut() }) else {
        return;
    };
    // SAFETY: the error number is this thread's.
    let number = unsafe { *libc::__errno_location() };
    hand.counts.signals += 1;
    // SAFETY: it is this handler's.
    if unsafe { sections::was_aborted(context) } {
        hand.counts.aborts += 1;
    }
    // One or two: so what it takes now it may give now, or the next time.
    for _ in 0..1 + hand.random.below(2) {
        hand.step(1);
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = number };
}

/// Lets the thread `id` (0: the caller) run on `cpu` alone, if it is still there.
fn send(id: i32, cpu: usize) {
    // SAFETY: all-zero bytes are an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the number came from `cpus`, so it is below the size of the set.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: `set` is readable and as large as we say.
    unsafe { libc::sched_setaffinity(id, size_of::<libc::cpu_set_t>(), &set) };
}

impl Storm {
    /// Two threads to a processor that hold up to two buffers each, of which there
    /// are enough for all, for a while, and nothing that disturbs them.
    pub fn new(kind: Kind) -> Self {
        let threads = 2 * cpus().len().min(8);
        Self {
            kind,
            buffers: 3 * threads,
            threads,
            quota: 2,
            signals: false,
            wander: false,
            grows: false,
            time: Duration::from_millis(700),
        }
    }

    /// Lets it rage over a pool of its own, and checks the pool afterwards.
    pub fn rage(&self) {
        let builder = Pool::builder()
            .reserve(SIZE, SIZE, self.buffers)
            .address_space(512 << 20)
            .prefault(false);
        let pool = self.kind.build(builder);
        let field = Field {
            storm: self,
            pool: &pool,
            class: pool.class(SIZE, SIZE).unwrap(),
            owners: Owners::of(&pool),
            ended: AtomicBool::new(false),
            all_ended: AtomicBool::new(false),
            ids: (0..self.threads).map(|_| AtomicI32::new(0)).collect(),
        };
        if self.signals {
            handle(SIGNAL, on_signal);
        }
        let cpus = if self.wander { every_cpu() } else { cpus() };
        let counts = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.threads)
                .map(|at| {
                    let (field, cpus) = (&field, &cpus);
                    scope.spawn(move || worker(field, at, cpus))
                })
                .collect();
            let others = [
                self.wander.then(|| scope.spawn(|| drive(&field, &cpus))),
                self.grows.then(|| scope.spawn(|| grow(&field))),
            ];
            let until = Instant::now() + self.time;
            while Instant::now() < until && !field.owners.is_wrong() {
                std::thread::sleep(Duration::from_millis(10));
            }
            field.ended.store(true, Ordering::Release);
            for other in others.into_iter().flatten() {
                other.join().expect("it does not panic");
            }
            field.all_ended.store(true, Ordering::Release);
            let counts = workers.into_iter().map(|worker| worker.join());
            counts.fold(Counts::default(), |sum, counts| {
                sum.and(counts.expect("no worker panics"))
            })
        });
        field.owners.check();
        assert_eq!(field.owners.held(), 0, "some buffers were not given back");
        if self.grows {
            pool.trim();
            assert_eq!(pool.stats().segments.len(), 1, "a segment did not go");
        }
        self.report(&field, counts);
        self.check_pool(&field);
    }

    fn report(&self, field: &Field<'_>, counts: Counts) {
        let steals = field.pool.stats().classes[0].steals;
        println!(
            "{}: {} taken, {} refused, {} for what was carried; {steals} steals; {} signals, {} \
             of them within a section",
            self.kind.name(),
            counts.taken,
            counts.refused,
            counts.carried,
            counts.signals,
            counts.aborts,
        );
        assert!(counts.taken > 0, "no buffer was taken");
        if steals == 0 && self.buffers < self.threads * self.quota && cpus().len() > 1 {
            skipped("buffers in another CPU's cache: none was stolen in this storm");
        }
        if self.signals && self.kind == Kind::Restartable && counts.aborts == 0 {
            skipped("aborted sections: no signal came within one in this storm");
        }
    }

    /// One thread on one processor takes every buffer, each once, and no more.
    fn check_pool(&self, field: &Field<'_>) {
        let pool = field.pool;
        assert_eq!(pool.available(SIZE, SIZE), self.buffers);
        for cpu in cpus() {
            on_cpu(cpu, || {
                let mut hand = Vec::new();
                let refusal = loop {
                    match pool.allocate(SIZE, SIZE) {
                        Ok(mut buffer) => {
                            field.owners.taken(buffer.as_mut_ptr(), 1);
                            hand.push(buffer);
                        }
                        Err(refusal) => break refusal,
                    }
                };
                field.owners.check();
                assert_eq!(hand.len(), self.buffers, "{refusal}");
                let AllocError::Exhausted {
                    in_use, carried, ..
                } = refusal
                else {
                    panic!("{refusal}");
                };
                assert_eq!((in_use, carried), (self.buffers, false));
                for mut buffer in hand {
                    field.owners.given(buffer.as_mut_ptr(), 1, 0);
                }
            });
        }
        field.owners.check();
        assert_eq!(pool.available(SIZE, SIZE), self.buffers);
    }
}

/// Takes and gives until the storm is over.
fn worker(field: &Field<'_>, at: usize, cpus: &[usize]) -> Counts {
    let storm = field.storm;
    // SAFETY: takes nothing and gives a number.
    field.ids[at].store(unsafe { libc::gettid() }, Ordering::Release);
    send(0, cpus[at % cpus.len()]);
    let who = at as u64 * 2 + 2;
    let mut hand = Hand::new(field, who);
    // The handler's; only it touches that while it is named.
    let other: *mut Hand<'_> = Box::into_raw(Box::new(Hand::new(field, who + 1)));
    HAND.set(other.cast());
    let timer = storm.signals.then(Timer::new);
    // Once at least, even if it comes when the storm is over.
    loop {
        if let Some(timer) = &timer {
            timer.set(1 + hand.random.below(50_000) as i64);
        }
        if storm.wander && hand.random.below(4) == 0 {
            send(0, cpus[hand.random.below(cpus.len())]);
        }
        for _ in 0..1 + hand.random.below(1000) {
            hand.step(storm.quota);
        }
        if field.all_ended.load(Ordering::Acquire) {
            break;
        }
    }
    if let Some(timer) = &timer {
        timer.set(0);
    }
    HAND.set(std::ptr::null_mut());
    // SAFETY: made above, and no handler finds it any more.
    let other = unsafe { Box::from_raw(other) };
    hand.give_all().and(other.give_all())
}

/// Moves the threads to other processors, whatever they are doing.
fn drive(field: &Field<'_>, cpus: &[usize]) {
    let mut random = Random::new(4711);
    while !field.ended.load(Ordering::Acquire) {
        let id = field.ids[random.below(field.ids.len())].load(Ordering::Acquire);
        if id > 0 {
            send(id, cpus[random.below(cpus.len())]);
        }
        std::thread::yield_now();
    }
}

/// Makes the pool grow and trims it; at the end, all that it grew.
fn grow(field: &Field<'_>) {
    let (mut grown, mut trimmed, mut round) = (0, 0, 0);
    while !field.ended.load(Ordering::Acquire) {
        round += 1;
        match field.pool.request(SIZE, SIZE, 1 + round % 50) {
            Ok(()) => grown += 1,
            // As much as may be: nothing was complete for a while.
            Err(BuildError::AddressSpace { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        if round % 3 == 0 {
            trimmed += field.pool.trim().segments;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("{grown} segments grown, {trimmed} trimmed meanwhile");
}

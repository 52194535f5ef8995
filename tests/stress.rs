//! P2, P3, P4 under load: 64 threads take, pass on and return buffers of random
//! sizes. Whoever holds one has stamped it (its whole prefix zone, its first and
//! last cache line, and places between) and must find that stamp when it gives
//! the buffer on or back, so no buffer is ever in two hands. At the end every
//! buffer is home and the counts are exact.

mod support;

use hugepool::{AllocError, Buffer, Class, Pool};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use support::Random;
use support::kind::{Kind, both_kinds, tracked_too};

both_kinds! {
    a_pool_of_1_keeps_its_buffer_in_one_hand_at_a_time,
    a_pool_of_2_keeps_each_buffer_in_one_hand_at_a_time,
    a_pool_of_7_keeps_each_buffer_in_one_hand_at_a_time,
    a_pool_of_4096_keeps_each_buffer_in_one_hand_at_a_time,
    a_pool_that_grows_and_shrinks_keeps_each_buffer_in_one_hand_at_a_time,
}

tracked_too! {
    a_pool_of_2_keeps_each_buffer_in_one_hand_at_a_time,
    a_pool_of_7_keeps_each_buffer_in_one_hand_at_a_time,
    a_pool_that_grows_and_shrinks_keeps_each_buffer_in_one_hand_at_a_time,
}

const THREADS: usize = 64;
/// So many buffers are taken at least, however long that takes.
const ENOUGH: u64 = 20;
const LINE: usize = 64;

/// Who holds the bytes.
enum Owner {
    Raii(Buffer),
    /// Start and size.
    Raw(*mut u8, usize),
}

/// A stamped buffer in somebody's hands.
struct Held {
    owner: Owner,
    stamp: u64,
    prefix: usize,
}

// SAFETY: a raw pointer here is the only way to its buffer's bytes.
unsafe impl Send for Held {}

impl Held {
    /// The prefix zone and the data.
    fn parts(&mut self) -> (&mut [u8], &mut [u8]) {
        let (start, size) = match &mut self.owner {
            Owner::Raii(buffer) => (buffer.as_mut_ptr(), buffer.len()),
            Owner::Raw(start, size) => (*start, *size),
        };
        // SAFETY: we hold the buffer: its data, and right before it the prefix
        // zone, are ours alone, and the two do not overlap.
        unsafe {
            (
                std::slice::from_raw_parts_mut(start.sub(self.prefix), self.prefix),
                std::slice::from_raw_parts_mut(start, size),
            )
        }
    }

    /// Calls `visit` with every stretch that carries the stamp and the byte it
    /// carries there.
    fn stamped(&mut self, mut visit: impl FnMut(&mut [u8], u8)) {
        let mut random = Random::new(self.stamp);
        let (prefix, data) = self.parts();
        visit(prefix, random.next() as u8);
        let line = LINE.min(data.len() / 2);
        let (first, rest) = data.split_at_mut(line);
        let (middle, last) = rest.split_at_mut(rest.len() - line);
        visit(first, random.next() as u8);
        visit(last, random.next() as u8);
        // One byte somewhere in each eighth of what is between.
        let eighth = middle.len().div_ceil(8).max(1);
        for part in middle.chunks_mut(eighth) {
            let at = random.below(part.len());
            visit(&mut part[at..=at], random.next() as u8);
        }
    }

    fn verify(&mut self) {
        let stamp = self.stamp;
        self.stamped(|stretch, byte| {
            assert!(
                stretch.iter().all(|&found| found == byte),
                "a buffer with stamp {stamp:#x} was written by somebody else"
            );
        });
    }
}

/// What a stress run is made of.
struct Shape {
    kind: Kind,
    /// Size, alignment, count.
    classes: &'static [(usize, usize, usize)],
    prefix: usize,
    /// Whether one more thread grows and trims the pool meanwhile.
    grows: bool,
    time: Duration,
}

struct Thread<'a> {
    pool: &'a Pool,
    classes: &'a [Class],
    shape: &'a Shape,
    stamps: &'a AtomicU64,
    random: Random,
    held: Vec<Held>,
}

impl Thread<'_> {
    fn hold(&mut self, owner: Owner) {
        let mut held = Held {
            owner,
            stamp: self.stamps.fetch_add(1, Ordering::Relaxed),
            prefix: self.shape.prefix,
        };
        held.stamped(|stretch, byte| stretch.fill(byte));
        self.held.push(held);
    }

    /// Takes a buffer in one of four ways. False if it was refused.
    fn take(&mut self) -> bool {
        let which = self.random.below(self.shape.classes.len());
        let (largest, alignment, _) = self.shape.classes[which];
        let size = 1 + self.random.below(largest);
        let outcome = match self.random.below(8) {
            0..3 => self.pool.allocate(size, alignment).map(Owner::Raii),
            3..6 => self
                .pool
                .allocate_raw(size, alignment)
                .map(|start| Owner::Raw(start.as_ptr(), size)),
            6 => self.classes[which].allocate().map(Owner::Raii),
            _ => match self.pool.allocate_many(size, alignment, 2) {
                Ok(two) => {
                    two.into_iter().for_each(|one| self.hold(Owner::Raii(one)));
                    return true;
                }
                Err(error) => Err(error),
            },
        };
        match outcome {
            Ok(owner) => {
                self.hold(owner);
                true
            }
            Err(AllocError::Exhausted { .. } | AllocError::NeverEnough { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Gives a buffer back as what it is, or as the other kind.
    fn give(&mut self, mut held: Held) {
        held.verify();
        match held.owner {
            Owner::Raii(buffer) => {
                if self.random.below(4) == 0 {
                    let size = buffer.len();
                    let start = self.pool.into_raw(buffer).unwrap();
                    // SAFETY: made raw just now with this size.
                    unsafe { self.pool.free_raw(start.as_ptr(), size) }.unwrap();
                }
            }
            Owner::Raw(start, size) => {
                if self.random.below(4) == 0 {
                    // SAFETY: taken with this size and not used after this.
                    drop(unsafe { self.pool.from_raw(start, size) }.unwrap());
                } else {
                    // SAFETY: as above.
                    unsafe { self.pool.free_raw(start, size) }.unwrap();
                }
            }
        }
    }

    fn run(&mut self, inbox: &Receiver<Held>, others: &[Sender<Held>]) -> u64 {
        let until = Instant::now() + self.shape.time;
        let mut taken = 0;
        loop {
            let is_late = Instant::now() >= until;
            if is_late && self.stamps.load(Ordering::Relaxed) > ENOUGH {
                return taken;
            }
            while let Ok(mut passed) = inbox.try_recv() {
                passed.verify();
                self.held.push(passed);
            }
            match self.random.below(8) {
                0..4 => match self.take() {
                    true => taken += 1,
                    // Few processors that are slow: whoever has a buffer needs one.
                    false if is_late => std::thread::yield_now(),
                    false => {}
                },
                4 if !self.held.is_empty() => {
                    let at = self.random.below(self.held.len());
                    let mut held = self.held.swap_remove(at);
                    held.verify();
                    let to = self.random.below(others.len());
                    if let Err(unsent) = others[to].send(held) {
                        // That thread has ended.
                        self.give(unsent.0);
                    }
                }
                _ if !self.held.is_empty() => {
                    let at = self.random.below(self.held.len());
                    let held = self.held.swap_remove(at);
                    self.give(held);
                }
                _ => std::thread::yield_now(),
            }
        }
    }
}

fn stress(shape: &Shape) {
    let mut builder = Pool::builder().prefix_zone(shape.prefix).prefault(false);
    for &(size, alignment, count) in shape.classes {
        builder = builder.reserve(size, alignment, count);
    }
    let pool = shape.kind.build(builder);
    let classes: Vec<Class> = shape
        .classes
        .iter()
        .map(|&(size, alignment, _)| pool.class(size, alignment).unwrap())
        .collect();
    let (stamps, ended) = (AtomicU64::new(1), AtomicBool::new(false));
    let (senders, inboxes): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| channel()).unzip();
    let (taken, left) = std::thread::scope(|scope| {
        let grower = scope.spawn(|| {
            let (mut grown, mut trimmed) = (0, 0);
            while shape.grows && !ended.load(Ordering::Relaxed) {
                let (size, alignment, _) = shape.classes[grown % shape.classes.len()];
                pool.request(size, alignment, 1 + grown % 50).unwrap();
                grown += 1;
                if grown % 3 == 0 {
                    trimmed += pool.trim().segments;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            (grown, trimmed)
        });
        let workers: Vec<_> = inboxes
            .into_iter()
            .enumerate()
            .map(|(at, inbox)| {
                let senders = senders.clone();
                let mut thread = Thread {
                    pool: &pool,
                    classes: &classes,
                    shape,
                    stamps: &stamps,
                    random: Random::new(at as u64 + 77),
                    held: Vec::new(),
                };
                scope.spawn(move || {
                    let taken = thread.run(&inbox, &senders);
                    // Whatever is still held or on its way is given back when
                    // all have ended, by another thread.
                    (taken, thread.held, inbox)
                })
            })
            .collect();
        let outcomes: Vec<_> = workers.into_iter().map(|w| w.join().unwrap()).collect();
        ended.store(true, Ordering::Relaxed);
        let (grown, mut trimmed) = grower.join().unwrap();
        let mut giver = Thread {
            pool: &pool,
            classes: &classes,
            shape,
            stamps: &stamps,
            random: Random::new(1),
            held: Vec::new(),
        };
        let (mut taken, mut left) = (0, 0);
        for (count, held, inbox) in outcomes {
            taken += count;
            for held in held.into_iter().chain(inbox.try_iter()) {
                left += 1;
                giver.give(held);
            }
        }
        trimmed += pool.trim().segments;
        assert_eq!(
            grown, trimmed,
            "a grown segment did not go, though all is home"
        );
        (taken, left)
    });
    println!("{taken} taken, {left} still out at the end");
    let stats = pool.stats();
    for (class, &(size, alignment, count)) in stats.classes.iter().zip(shape.classes) {
        assert_eq!((class.size, class.alignment), (size, alignment));
        assert_eq!((class.capacity, class.in_use), (count, 0));
    }
    // And each of them can be taken, once.
    for &(size, alignment, _) in shape.classes {
        let free = pool.available(size, alignment);
        let all = pool.allocate_many(size, alignment, free).unwrap();
        assert_eq!(pool.available(size, alignment), 0);
        let mut starts: Vec<_> = all.iter().map(|b| b.as_ptr()).collect();
        starts.sort_unstable();
        starts.dedup();
        assert_eq!(starts.len(), free);
    }
}

fn a_pool_of_1_keeps_its_buffer_in_one_hand_at_a_time(kind: Kind) {
    stress(&Shape {
        kind,
        classes: &[(4096, 4096, 1)],
        prefix: 512,
        grows: false,
        time: Duration::from_millis(900),
    });
}

fn a_pool_of_2_keeps_each_buffer_in_one_hand_at_a_time(kind: Kind) {
    stress(&Shape {
        kind,
        classes: &[(4096, 512, 1), (16384, 4096, 1)],
        prefix: 100,
        grows: false,
        time: Duration::from_millis(900),
    });
}

fn a_pool_of_7_keeps_each_buffer_in_one_hand_at_a_time(kind: Kind) {
    stress(&Shape {
        kind,
        classes: &[(4096, 512, 3), (16384, 4096, 2), (65536, 4096, 2)],
        prefix: 512,
        grows: false,
        time: Duration::from_millis(900),
    });
}

fn a_pool_of_4096_keeps_each_buffer_in_one_hand_at_a_time(kind: Kind) {
    stress(&Shape {
        kind,
        classes: &[(1000, 512, 2048), (4096, 4096, 1536), (16384, 4096, 512)],
        prefix: 512,
        grows: false,
        time: Duration::from_millis(1500),
    });
}

fn a_pool_that_grows_and_shrinks_keeps_each_buffer_in_one_hand_at_a_time(kind: Kind) {
    stress(&Shape {
        kind,
        classes: &[(1000, 512, 7), (4096, 4096, 33), (16384, 4096, 2)],
        prefix: 512,
        grows: true,
        time: Duration::from_millis(2500),
    });
}

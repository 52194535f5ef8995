//! What a refusal proves: a free that was over when the request began was seen.

mod support;

use hugepool::{AllocError, Buffer, Pool};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use support::kind::{Kind, both_kinds};
use support::{Random, cpus, pin, skipped};

both_kinds! {
    what_was_freed_before_a_request_began_is_not_refused_to_it,
}

const SIZE: usize = 4096;
const ROUNDS: u64 = 10_000;
/// Stores that miss the cache stay on their way for a while, and what follows them
/// waits behind.
const STORES: usize = 48;
const FAR: usize = 4096 + 64;

fn is_refused(asked: &Result<Buffer, AllocError>) -> bool {
    match asked {
        Ok(_) => false,
        // What another thread carried all the while is no promise.
        Err(AllocError::Exhausted { carried, .. }) => !carried,
        Err(other) => panic!("{other}"),
    }
}

/// Both threads wait here for each other, `round` after round.
fn meet(arrived: &AtomicU64, round: u64) {
    arrived.fetch_add(1, Ordering::SeqCst);
    let mut looks = 0_u32;
    while arrived.load(Ordering::SeqCst) < 2 * round {
        looks += 1;
        if looks < 2000 {
            std::hint::spin_loop();
        } else {
            // Others need the processors, too.
            thread::yield_now();
        }
    }
}

/// One thread frees the only buffer, and then finds that the other has not begun to ask.
/// So the other, which asks when it has said that it begins, asks after the free.
fn what_was_freed_before_a_request_began_is_not_refused_to_it(kind: Kind) {
    let processors = cpus();
    let [first, second, ..] = processors[..] else {
        return skipped("two threads that run at once: there is one processor");
    };
    let pool = kind.build(Pool::builder().reserve(SIZE, SIZE, 1).prefault(false));
    let (begun, arrived) = (AtomicBool::new(false), AtomicU64::new(0));
    let (early, refused) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut decided, mut missed) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            pin(second);
            let mut random = Random::new(7);
            for round in 1..=ROUNDS {
                meet(&arrived, 3 * round - 2);
                (0..random.below(400)).for_each(|_| std::hint::spin_loop());
                begun.store(true, Ordering::SeqCst);
                let asked = pool.allocate(SIZE, SIZE);
                refused.store(is_refused(&asked), Ordering::SeqCst);
                meet(&arrived, 3 * round - 1);
                drop(asked);
                meet(&arrived, 3 * round);
            }
        });
        pin(first);
        let mut far = vec![0_u8; STORES * FAR * 64];
        for round in 1..=ROUNDS {
            let buffer = pool.allocate(SIZE, SIZE).expect("nobody has it");
            begun.store(false, Ordering::SeqCst);
            meet(&arrived, 3 * round - 2);
            let row = round as usize % 64 * STORES;
            for store in 0..STORES {
                // SAFETY: within the vector. Volatile: it is done, and in this order.
                unsafe { far.as_mut_ptr().add((row + store) * FAR).write_volatile(1) };
            }
            drop(buffer);
            early.store(!begun.load(Ordering::SeqCst), Ordering::SeqCst);
            meet(&arrived, 3 * round - 1);
            let (early, refused) = (early.load(Ordering::SeqCst), refused.load(Ordering::SeqCst));
            decided += u64::from(early);
            missed += u64::from(early && refused);
            meet(&arrived, 3 * round);
        }
    });
    println!("in {decided} of {ROUNDS} rounds the free came first");
    assert_eq!(missed, 0, "it was free before the request began");
}

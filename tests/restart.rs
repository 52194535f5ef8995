//! P2 and P3 where threads are interrupted anywhere: by signals whose handlers use
//! the pool themselves, by changes of processor, by each other, and by thieves.
//! Whatever interrupts a critical section, every buffer is in one hand or in one
//! list, and none is refused while one is free. For both kinds of caches.

mod support;

use std::time::Duration;
use support::cpus;
use support::kind::{Kind, both_kinds, tracked_too};
use support::storm::Storm;

both_kinds! {
    signals_that_use_the_pool_too_leave_each_buffer_in_one_hand,
    changes_of_processor_leave_each_buffer_in_one_hand,
    many_more_threads_than_processors_leave_each_buffer_in_one_hand,
    thieves_leave_each_buffer_in_one_hand,
    all_that_interrupts_together_leaves_each_buffer_in_one_hand,
    growth_and_trimming_meanwhile_leave_each_buffer_in_one_hand,
}

tracked_too! {
    all_that_interrupts_together_leaves_each_buffer_in_one_hand,
}

fn signals_that_use_the_pool_too_leave_each_buffer_in_one_hand(kind: Kind) {
    Storm {
        signals: true,
        ..Storm::new(kind)
    }
    .rage();
}

fn changes_of_processor_leave_each_buffer_in_one_hand(kind: Kind) {
    Storm {
        wander: true,
        ..Storm::new(kind)
    }
    .rage();
}

fn many_more_threads_than_processors_leave_each_buffer_in_one_hand(kind: Kind) {
    let threads = 64;
    Storm {
        threads,
        buffers: 3 * threads,
        ..Storm::new(kind)
    }
    .rage();
}

/// Two buffers and a thread on each processor, which all want both.
fn thieves_leave_each_buffer_in_one_hand(kind: Kind) {
    Storm {
        threads: cpus().len().min(8),
        buffers: 2,
        time: Duration::from_millis(1000),
        ..Storm::new(kind)
    }
    .rage();
}

fn all_that_interrupts_together_leaves_each_buffer_in_one_hand(kind: Kind) {
    let threads = 8 * cpus().len().min(8);
    for buffers in [threads, threads * 3] {
        Storm {
            threads,
            buffers,
            signals: true,
            wander: true,
            ..Storm::new(kind)
        }
        .rage();
    }
}

fn growth_and_trimming_meanwhile_leave_each_buffer_in_one_hand(kind: Kind) {
    Storm {
        signals: true,
        wander: true,
        grows: true,
        buffers: 5,
        time: Duration::from_millis(1000),
        ..Storm::new(kind)
    }
    .rage();
}

//! What only restartable slots have: sections that plain stores commit, and
//! thieves that keep them away by a gate.
//!
//! Proves, for sections against sections of their own processor and against one
//! thief or two: each buffer goes to one thread, though nobody but a thief ever
//! waits for anything; a section sees what a thief took that came before it; a
//! gate opens only when the last thief has left, whatever the slot's capacity
//! becomes meanwhile; a thief that never leaves keeps nobody from the buffers;
//! and whoever is let in finds the slots.
//!
//! The twins: a thief that does not end the sections under way; a section that
//! ignores the gate, or reads the level before it; a gate that forgets thieves;
//! a kernel that does not end the section of a thread that it preempts; a class
//! that lets sections in before it has slots.

use hugepool::model::{
    ClassId, Classes, CpuCaches, Fault, FreeLists, Index, Restartable, Share, run_on,
};
use hugepool_loom_tests::{Caches, Kind, Model, ROOMY, Shelf, spawn, tests};
use loom::thread::JoinHandle;
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::Arc;

tests![
    threads_of_one_processor_share_no_buffer,
    a_section_sees_what_an_earlier_thief_took,
    several_at_once_are_safe_from_a_thief,
    the_owner_and_two_thieves_share_no_buffer,
    a_gate_stays_shut_until_the_last_thief_has_left,
    a_new_capacity_opens_no_gate,
    a_thief_that_never_leaves_keeps_nobody_from_the_buffers,
    whoever_is_let_in_finds_the_slots,
];

type Slots = Caches<Restartable>;

/// A thread on processor `cpu`.
fn on(slots: &Arc<Slots>, cpu: usize, run: impl FnOnce(&Slots) + 'static) -> JoinHandle<()> {
    let slots = Arc::clone(slots);
    spawn(move || {
        run_on(cpu);
        run(&slots);
    })
}

/// Pops one buffer and pushes it again.
fn pop_and_push(slots: &Slots) {
    if let Some(index) = slots.pop() {
        slots.push(index);
    }
}

/// What a section beside a thief must not do, nor the thief.
const BESIDE_A_THIEF: &[Fault] = &[
    Fault::LevelFirst,
    Fault::NoAbort,
    Fault::NoRestart,
    Fault::IgnoreGate,
];

/// Two threads on processor 0, each of which may be preempted by the other
/// anywhere.
pub fn threads_of_one_processor_share_no_buffer() -> Model {
    Model::new(5..=7, &[Fault::NoAbort], || {
        let slots = Slots::new(2, 2, ROOMY);
        let other = on(&slots, 0, pop_and_push);
        if let [first, second] = slots.flush()[..] {
            slots.refill([first, second]);
        }
        other.join().unwrap();
        slots.audit();
    })
}

/// The owner pops twice beside a thief that takes one.
pub fn a_section_sees_what_an_earlier_thief_took() -> Model {
    Model::new(6..=9, BESIDE_A_THIEF, || {
        let slots = Slots::new(3, 3, ROOMY);
        let thief = on(&slots, 1, |slots| {
            slots.rob(0, Share::One);
        });
        slots.pop();
        slots.pop();
        thief.join().unwrap();
        slots.audit();
    })
}

/// The owner takes two at once and puts them back at once, beside a thief that
/// takes two.
pub fn several_at_once_are_safe_from_a_thief() -> Model {
    Model::new(6..=9, BESIDE_A_THIEF, || {
        let slots = Slots::new(3, 3, ROOMY);
        let thief = on(&slots, 1, |slots| {
            slots.rob(0, Share::All);
        });
        if let [first, second] = slots.flush()[..] {
            slots.refill([first, second]);
        }
        thief.join().unwrap();
        slots.audit();
    })
}

/// The owner pops beside two thieves.
pub fn the_owner_and_two_thieves_share_no_buffer() -> Model {
    Model::new(2..=3, &[Fault::NoRestart], || {
        let slots = Slots::new(3, 3, ROOMY);
        let thieves = [(); 2].map(|()| {
            on(&slots, 1, |slots| {
                slots.rob(0, Share::One);
            })
        });
        slots.pop();
        for thief in thieves {
            thief.join().unwrap();
        }
        slots.audit();
    })
}

/// Takes one buffer from processor 0's slot, has `meanwhile` run to its end once
/// it is at the slot, and then `beside` at any time.
fn rob_slowly(
    slots: &Arc<Slots>,
    meanwhile: impl FnOnce(&Slots) + 'static,
    beside: impl FnOnce(&Slots) + 'static,
) {
    let visitors = Cell::new(Some((meanwhile, beside)));
    let last = Cell::new(None);
    let share = |count| {
        if let Some((meanwhile, beside)) = visitors.take() {
            on(slots, 1, meanwhile).join().unwrap();
            last.set(Some(on(slots, 0, beside)));
        }
        Share::One.of(count)
    };
    let take = |index| slots.buffers.take(index);
    let robbed = slots
        .caches
        .slots()
        .rob(0, slots.class, &|| false, share, take);
    assert!(matches!(robbed, Ok(Ok(()))), "there was a buffer");
    if let Some(last) = last.take() {
        last.join().unwrap();
    }
}

/// A second thief comes and leaves while the first is still there; the owner
/// pops.
pub fn a_gate_stays_shut_until_the_last_thief_has_left() -> Model {
    Model::new(6..=9, &[Fault::GateForgets], || {
        let slots = Slots::new(3, 3, ROOMY);
        rob_slowly(
            &slots,
            |slots| {
                slots.rob(0, Share::One);
            },
            |slots| {
                slots.pop();
            },
        );
        slots.audit();
    })
}

/// Another thread sets what the slot may hold while a thief is there; the owner
/// pops.
pub fn a_new_capacity_opens_no_gate() -> Model {
    Model::new(6..=9, &[Fault::GateForgets], || {
        let slots = Slots::new(2, 2, ROOMY);
        rob_slowly(
            &slots,
            |slots| {
                assert!(slots.caches.set_capacity(0, slots.class, ROOMY, 3));
            },
            |slots| {
                slots.pop();
            },
        );
        assert_eq!(slots.caches.capacity(0, slots.class), 3);
        slots.audit();
    })
}

/// A thief comes to the slot that holds both buffers and stays there until two
/// other threads have taken and given what they wanted, one buffer each at a
/// time.
pub fn a_thief_that_never_leaves_keeps_nobody_from_the_buffers() -> Model {
    Model::new(1..=2, &[Fault::NoSteal], || {
        let shelf = Arc::new(Shelf::new(Restartable::make(2), 2, 2));
        for index in [(); 2].map(|()| shelf.take().unwrap()) {
            let _home = shelf.give(index);
        }
        let threads = [0, 1].map(|cpu| {
            let shelf = Arc::clone(&shelf);
            spawn(move || {
                run_on(cpu);
                let index = shelf.take().expect("one of the buffers was free");
                let _home = shelf.give(index);
                shelf.take().expect("one of the buffers was free");
            })
        });
        let threads = Cell::new(Some(threads));
        let join = || {
            if let Some(threads) = threads.take() {
                for thread in threads {
                    thread.join().unwrap();
                }
            }
        };
        let slots = shelf.lists.caches().slots();
        let nothing = |_| {
            join();
            0
        };
        let robbed = slots.rob(0, shelf.class, &|| false, nothing, |_| ());
        assert!(matches!(robbed, Ok(Err(_))), "it took nothing");
        // It may have found the slot empty.
        join();
        shelf.audit();
    })
}

/// A thread gives a class its slots while another has it shared, opens it, and then
/// looks for them.
pub fn whoever_is_let_in_finds_the_slots() -> Model {
    Model::new(3..=5, &[Fault::OpenFirst, Fault::NoSlotFence], || {
        let classes = Classes::new(0, null_mut()).unwrap();
        let lists = FreeLists::new(Restartable::make(1), classes, 2, 0, false).unwrap();
        let lists = Arc::new(lists);
        let opener = Arc::clone(&lists);
        let thread = spawn(move || opener.fix_cache(ClassId::FIRST, 2));
        let index = Index::from_raw(1).unwrap();
        let line = lists.classes().line(ClassId::FIRST);
        lists.prepare_to_wait(&[ClassId::FIRST]);
        lists.reopen(ClassId::FIRST);
        let _home = lists.give(line, index);
        thread.join().unwrap();
        assert_eq!(lists.take(&[ClassId::FIRST]), Ok((ClassId::FIRST, index)));
        lists.reopen(ClassId::FIRST);
        let _home = lists.give(line, index);
        let cached = lists.counts(ClassId::FIRST).cached;
        assert_eq!(cached, 1, "the class stayed shut");
    })
}

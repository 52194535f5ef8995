//! A buffer's handle, beside the buffer's comings and goings.
//!
//! Proves: a handle that is made of a state names the buffer as it was out, and never
//! its next owner's; one that is believed is that of the owner whose size it gives.
//!
//! The same of a pool's own look-ups, beside a segment that takes the place of one that
//! was trimmed.
//!
//! The twins: size and generation are read in the wrong order; whoever believes a
//! handle looks which slot the buffer has before it reads the state.

use hugepool::model::{Fault, Handle, HandleSlots, Index, RawState};
use hugepool_loom_tests::{Model, spawn, tests};
use loom::sync::atomic::Ordering;
use std::sync::Arc;

tests![
    a_handle_is_that_of_an_owner_whom_its_maker_saw,
    a_handle_that_is_believed_gives_its_owners_size,
    a_trimmed_buffers_handle_does_not_name_what_came_in_its_place,
    a_handle_that_the_pool_makes_beside_a_free_is_never_the_next_owners,
];

const SLOT: u32 = 1;

/// A buffer comes back while its handle is made. Then it goes to the next owner.
pub fn a_handle_is_that_of_an_owner_whom_its_maker_saw() -> Model {
    Model::new(3..=6, &[Fault::PairReversed], || {
        let state = Arc::new(RawState::default());
        state.go_out(7);
        let other = Arc::clone(&state);
        let thread = spawn(move || Handle::of(SLOT, &other));
        state.come_back();
        let made = thread.join().unwrap();
        state.go_out(8);
        let next = made.and_then(|made| made.size(&state));
        assert_eq!(next, None, "it is the next owner's");
    })
}

/// A handle is looked up while its buffer goes to the next owner.
pub fn a_handle_that_is_believed_gives_its_owners_size() -> Model {
    Model::new(3..=6, &[Fault::PairReversed], || {
        let state = Arc::new(RawState::default());
        state.go_out(7);
        let handle = Handle::of(SLOT, &state).expect("it is out");
        let other = Arc::clone(&state);
        let thread = spawn(move || handle.size(&other));
        state.come_back();
        state.go_out(8);
        let size = thread.join().unwrap();
        assert!(size.is_none_or(|size| size == 7), "the next owner's size");
        assert_eq!(handle.size(&state), None, "it is stale");
    })
}

/// A pool whose one buffer is out, and what is known of it.
struct Pool {
    slots: HandleSlots,
    state: RawState,
}

const CHUNK: u32 = 1;

impl Pool {
    fn new() -> Self {
        let slots = HandleSlots::new(CHUNK as usize + 1).unwrap();
        let state = RawState::default();
        slots.assign(SLOT, Self::buffer().into_iter());
        state.go_out(7);
        Self { slots, state }
    }

    fn buffer() -> Option<Index> {
        Index::new(CHUNK, 0)
    }

    /// The buffer comes home, its segment is trimmed, and another takes its place, whose
    /// buffer goes out.
    fn replace(&self) {
        self.state.come_back();
        // New pages, all zero.
        self.state.generation.store(0, Ordering::Relaxed);
        self.slots.assign(SLOT + 1, Self::buffer().into_iter());
        self.state.go_out(8);
    }

    fn find(&self, handle: Handle) -> Option<u32> {
        self.slots
            .find(handle, |_| Some(((), &self.state)))
            .map(|found| found.1)
    }
}

/// A handle is looked up while its buffer's segment is replaced.
pub fn a_trimmed_buffers_handle_does_not_name_what_came_in_its_place() -> Model {
    Model::new(3..=5, &[Fault::SlotLookedFirst], || {
        let pool = Arc::new(Pool::new());
        let handle = pool.slots.handle(Pool::buffer().unwrap(), &pool.state);
        let handle = handle.expect("it is out");
        let other = Arc::clone(&pool);
        let thread = spawn(move || other.find(handle));
        pool.replace();
        let size = thread.join().unwrap();
        assert!(size.is_none_or(|size| size == 7), "what came in its place");
        assert_eq!(pool.find(handle), None, "it is stale");
    })
}

/// A handle is made while its buffer is freed, and goes out again.
pub fn a_handle_that_the_pool_makes_beside_a_free_is_never_the_next_owners() -> Model {
    Model::new(3..=5, &[Fault::PairReversed], || {
        let pool = Arc::new(Pool::new());
        let other = Arc::clone(&pool);
        let thread = spawn(move || {
            let buffer = Pool::buffer().unwrap();
            other.slots.handle(buffer, &other.state)
        });
        pool.state.come_back();
        pool.state.go_out(8);
        pool.state.come_back();
        let made = thread.join().unwrap();
        pool.state.go_out(9);
        assert_eq!(
            made.and_then(|made| pool.find(made)),
            None,
            "it is the next owner's"
        );
    })
}

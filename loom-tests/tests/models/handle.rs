//! A buffer's handle, beside the buffer's comings and goings.
//!
//! Proves: a handle that is made of a state names the buffer as it was out, and never
//! its next owner's; one that is believed is that of the owner whose size it gives.
//!
//! The twin: size and generation are read in the wrong order.

use hugepool::model::{Fault, Handle, RawState};
use hugepool_loom_tests::{Model, spawn, tests};
use std::sync::Arc;

tests![
    a_handle_is_that_of_an_owner_whom_its_maker_saw,
    a_handle_that_is_believed_gives_its_owners_size,
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

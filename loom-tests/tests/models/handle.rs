//! A buffer's handle, beside the buffer's comings and goings.
//!
//! Proves: a handle that is made of a state names the buffer as it was out, and never
//! its next owner's; one that is believed is that of the owner whose size it gives; what
//! had no slot has no handle.
//!
//! And a raw pointer is not believed of a buffer that starts elsewhere, though it is out with the
//! same size.
//!
//! The same of a pool's own look-ups, beside segments that take the place, or the slots,
//! of one that was trimmed.
//!
//! The twins: size and lease are read in the wrong order; the size is read without an order; a handle is made of a lease
//! without a slot; slots of a trimmed segment are given back before their generations are
//! noted; these begin again, or where they were.

use hugepool::model::{Fault, Handle, Handle64, HandleSlots, Index, Naming, RawState, Split};
use hugepool_loom_tests::{Model, spawn, tests};
use loom::sync::atomic::Ordering;
use std::ops::Range;
use std::sync::Arc;

tests![
    a_handle_is_that_of_an_owner_whom_its_maker_saw,
    a_handle_that_is_believed_gives_its_owners_size,
    what_had_no_slot_has_no_handle,
    a_pointer_of_a_class_that_was_trimmed_is_not_believed_of_the_next_owners_buffer,
    a_trimmed_buffers_handle_does_not_name_what_came_in_its_place,
    a_handle_that_the_pool_makes_beside_a_free_is_never_the_next_owners,
    a_slot_that_comes_again_goes_on_where_it_stopped,
    a_handle_that_is_made_beside_a_trim_is_nobodys,
];

const SLOT: u32 = 1;

/// A split with room for the slots here.
fn split() -> Split {
    Split::of(1)
}

/// The state of a buffer that has `SLOT` and is out.
fn out() -> Arc<RawState> {
    let state = RawState::default();
    state.lease.store(u64::from(SLOT), Ordering::Relaxed);
    state.go_out(7);
    Arc::new(state)
}

/// A buffer comes back while its handle is made. Then it goes to the next owner.
pub fn a_handle_is_that_of_an_owner_whom_its_maker_saw() -> Model {
    Model::new(3..=6, &[Fault::PairReversed], || {
        let state = out();
        let other = Arc::clone(&state);
        let thread = spawn(move || Handle::made_of(&other, split()));
        state.come_back();
        let made = thread.join().unwrap();
        state.go_out(8);
        let next = made.and_then(|made| made.size(&state, split()));
        assert_eq!(next, None, "it is the next owner's");
    })
}

/// A handle is looked up while its buffer goes to the next owner.
pub fn a_handle_that_is_believed_gives_its_owners_size() -> Model {
    Model::new(3..=6, &[Fault::PairReversed], || {
        let state = out();
        let handle = Handle::made_of(&state, split()).expect("it is out");
        let other = Arc::clone(&state);
        let thread = spawn(move || handle.size(&other, split()));
        state.come_back();
        state.go_out(8);
        let size = thread.join().unwrap();
        assert!(size.is_none_or(|size| size == 7), "the next owner's size");
        assert_eq!(handle.size(&state, split()), None, "it is stale");
    })
}

/// A handle is made of a buffer that comes into being.
pub fn what_had_no_slot_has_no_handle() -> Model {
    Model::new(3..=6, &[Fault::SlotlessNamed], || {
        let pool = Arc::new(Pool::new());
        let other = Arc::clone(&pool);
        let thread = spawn(move || pool_handle(&other, 0));
        let slots = pool.grow(0);
        pool.states[0].go_out(7);
        let made = thread.join().unwrap();
        assert!(
            made.is_none_or(|made| slot(made) == slots.start),
            "{made:?}"
        );
    })
}

/// A pointer that was freed is freed again, after its segment was trimmed, while somebody takes
/// the buffer of the next segment to whose state it leads: with the same size.
pub fn a_pointer_of_a_class_that_was_trimmed_is_not_believed_of_the_next_owners_buffer() -> Model {
    const STALE: usize = 18_432;
    const START: usize = 16_896;
    Model::new(3..=6, &[Fault::SizeRelaxed], || {
        let state = Arc::new(RawState::default());
        state.starts_at(STALE);
        state.go_out(7);
        state.come_back();
        let other = Arc::clone(&state);
        let thread = spawn(move || {
            other.starts_at(START);
            other.go_out(7);
        });
        assert!(!state.is_out_at(STALE, 7), "it starts elsewhere");
        thread.join().unwrap();
        assert!(state.is_out_at(START, 7), "it is out");
        assert!(!state.is_out_at(START, 8), "with another size");
    })
}

/// A pool of which two buffers can have slots, each alone in a segment. Where its state is,
/// a later segment's is in its place.
struct Pool {
    slots: HandleSlots,
    states: [RawState; 2],
}

const CHUNK: u32 = 1;

fn pool_handle(pool: &Pool, at: usize) -> Option<Handle64> {
    pool.slots.handle(&pool.states[at])
}

fn slot(handle: Handle64) -> u32 {
    handle.slot(split()).expect("every number has one")
}

impl Pool {
    fn new() -> Self {
        Self {
            slots: HandleSlots::new(split()).unwrap(),
            states: Default::default(),
        }
    }

    /// With the first buffer out.
    fn with_one_out() -> (Arc<Self>, Range<u32>) {
        let pool = Self::new();
        let slots = pool.grow(0);
        pool.states[0].go_out(7);
        (Arc::new(pool), slots)
    }

    /// A segment comes, in the place of buffer `at`: the state has new pages, all zero.
    fn grow(&self, at: usize) -> Range<u32> {
        let slots = self.slots.take(1).expect("there are a lot");
        self.assign(at, slots.clone());
        slots
    }

    fn assign(&self, at: usize, slots: Range<u32>) {
        let state = &self.states[at];
        state.lease.store(0, Ordering::Relaxed);
        let index = Index::new(CHUNK, at as u32).expect("it is not 0");
        self.slots.assign(slots, [(index, state)].into_iter());
    }

    /// The segment of buffer `at`, which is home, goes.
    fn trim(&self, at: usize, slots: Range<u32>) {
        self.slots.retire(slots, [&self.states[at]].into_iter());
    }

    fn find<H: Naming>(&self, handle: H) -> Option<u32> {
        let place = |index: Index| Some(((), &self.states[index.position() as usize]));
        self.slots.find(handle, place).map(|found| found.1)
    }
}

/// A handle is looked up while its buffer's segment is replaced by one that has another
/// slot, and then by one that has the same again.
pub fn a_trimmed_buffers_handle_does_not_name_what_came_in_its_place() -> Model {
    Model::new(2..=3, &[Fault::GenerationRestarted], || {
        let (pool, first) = Pool::with_one_out();
        let second = pool.slots.take(1).expect("there are a lot");
        let handle: Handle = pool.slots.handle(&pool.states[0]).expect("it is out");
        let other = Arc::clone(&pool);
        let thread = spawn(move || other.find(handle));
        let state = &pool.states[0];
        state.come_back();
        pool.trim(0, first);
        pool.assign(0, second.clone());
        state.go_out(8);
        state.come_back();
        pool.trim(0, second);
        assert_eq!(pool.grow(0).start, SLOT);
        state.go_out(9);
        let size = thread.join().unwrap();
        assert!(size.is_none_or(|size| size == 7), "what came in its place");
        assert_eq!(pool.find(handle), None, "it is stale");
    })
}

/// A handle is made while its buffer is freed, and goes out again.
pub fn a_handle_that_the_pool_makes_beside_a_free_is_never_the_next_owners() -> Model {
    Model::new(3..=5, &[Fault::PairReversed], || {
        let (pool, _) = Pool::with_one_out();
        let other = Arc::clone(&pool);
        let thread = spawn(move || pool_handle(&other, 0));
        pool.states[0].come_back();
        pool.states[0].go_out(8);
        pool.states[0].come_back();
        let made = thread.join().unwrap();
        pool.states[0].go_out(9);
        assert_eq!(
            made.and_then(|made| pool.find(made)),
            None,
            "it is the next owner's"
        );
    })
}

/// A segment is trimmed while another comes, which may have its slot. What is explored is
/// where the whole of the growth interrupts the trim; more takes too long.
pub fn a_slot_that_comes_again_goes_on_where_it_stopped() -> Model {
    Model::new(
        1..=1,
        &[Fault::SlotsBackEarly, Fault::GenerationRestarted],
        || {
            let (pool, slots) = Pool::with_one_out();
            let handle = pool_handle(&pool, 0).expect("it is out");
            pool.states[0].come_back();
            let other = Arc::clone(&pool);
            let thread = spawn(move || {
                loom::stop_exploring();
                let slots = other.grow(1);
                other.states[1].go_out(8);
                slots
            });
            pool.trim(0, slots);
            let late = thread.join().unwrap();
            assert_eq!(pool.find(handle), None, "it is stale");
            let found = pool_handle(&pool, 1).map(|handle| (slot(handle), pool.find(handle)));
            assert_eq!(found, Some((late.start, Some(8))));
        },
    )
}

/// A handle is made of a buffer that is nobody's, while it is trimmed, and a segment with
/// another slot takes its place. Its slot comes again elsewhere.
pub fn a_handle_that_is_made_beside_a_trim_is_nobodys() -> Model {
    Model::new(2..=3, &[Fault::GenerationKept], || {
        let (pool, first) = Pool::with_one_out();
        let second = pool.slots.take(1).expect("there are a lot");
        pool.states[0].come_back();
        let other = Arc::clone(&pool);
        let thread = spawn(move || pool_handle(&other, 0));
        pool.trim(0, first.clone());
        pool.assign(0, second.clone());
        pool.states[0].go_out(8);
        assert_eq!(pool.grow(1), first);
        pool.states[1].go_out(9);
        let made = thread.join().unwrap();
        let found = made.map(|made| (slot(made), pool.find(made)));
        let right = found.is_none_or(|found| match found {
            (of, size) if of == second.start => size == Some(8),
            (_, size) => size.is_none(),
        });
        assert!(right, "it is another buffer's: {found:?}");
    })
}

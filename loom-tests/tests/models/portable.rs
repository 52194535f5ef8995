//! What only portable slots have: a batch from the depot beside the linked
//! buffers.
//!
//! Proves: what is left of a batch in a slot goes to one thread, though its
//! array comes back with other buffers.
//!
//! The twin: without tags the batch is mistaken for the one that it was.

use hugepool::model::{Fault, Index, Portable, Share, run_on};
use hugepool_loom_tests::{Caches, Model, ROOMY, tests};

tests![a_batch_that_is_taken_back_is_not_taken_twice];

/// One thread takes a buffer of the batch in a slot. Another takes one too, then
/// takes back what is left, and puts the array there again with as many buffers
/// as it had, but others.
pub fn a_batch_that_is_taken_back_is_not_taken_twice() -> Model {
    Model::new(6..=9, &[Fault::NoTag], || {
        let caches = Caches::<Portable>::new(3, 0, ROOMY);
        let [first, second, third] = [1, 2, 3].map(|raw| Index::from_raw(raw).unwrap());
        assert!(caches.refill([first, second]));
        // All arrays but one in use: the one that comes back is the next taken.
        let spare = |_| caches.tables.batches.take();
        let others = (0..3).filter_map(spare).count();
        assert_eq!(others, 3, "there are four arrays");
        caches.race(
            |caches| {
                caches.pop();
            },
            move |caches| {
                run_on(0);
                let popped = caches.pop();
                let rest = caches.rob(0, Share::Half);
                let (Some(popped), [_kept]) = (popped, &rest[..]) else {
                    // The other thread has the rest, or will get it.
                    return;
                };
                assert!(caches.refill([popped, third]), "the slot had no batch");
            },
        );
        caches.audit();
    })
}

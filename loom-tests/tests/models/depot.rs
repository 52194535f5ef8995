//! The shared list of one class: a stack of batches, and the arrays they are
//! made of.
//!
//! Proves, for pushes, both kinds of pop, and the shutting: each buffer goes to
//! one thread, batches stay whole, counts add up, each array has one holder, and
//! who takes a buffer sees what its last holder wrote.
//!
//! The twins: without tags the list is mistaken for an older state of itself —
//! not by cycles of pop and push, which leave the links as they were, but by a
//! thread that takes two, gives the first back and keeps the second. With
//! relaxed orderings contents travel unseen. Without regard to the flag a list
//! that is shut swallows a buffer.

use hugepool::model::{Batch, Batches, Depot, Fault, Index};
use hugepool_loom_tests::{Buffers, Model, spawn, tests};
use loom::thread;
use std::sync::Arc;

tests![
    a_list_is_not_mistaken_for_an_older_one,
    one_buffer_and_its_batch_do_not_go_to_two_threads,
    the_rest_of_a_batch_is_as_good_as_the_whole,
    pushes_and_pops_count_every_buffer,
    contents_travel_with_a_buffer,
    contents_travel_with_a_batch,
    a_list_that_is_shut_counts_or_refuses_every_buffer,
    an_array_has_one_holder,
];

/// A depot and its buffers.
struct Stack {
    batches: Batches,
    depot: Depot,
    buffers: Buffers,
}

impl Stack {
    /// Batches of these sizes, the last on top.
    fn new(batches: &[usize]) -> Arc<Self> {
        let stack = Self::empty(batches.iter().sum::<usize>() as u32);
        let all: Vec<Index> = stack.buffers.all().collect();
        let mut rest = &all[..];
        for &len in batches {
            let (batch, others) = rest.split_at(len);
            rest = others;
            let batch = stack.fill(batch);
            stack.depot.push(&stack.batches, batch).unwrap();
        }
        stack
    }

    /// `count` buffers in nobody's hands.
    fn empty(count: u32) -> Arc<Self> {
        let batches = Batches::new(count as usize).unwrap();
        batches.grow(4);
        Arc::new(Self {
            batches,
            depot: Depot::default(),
            buffers: Buffers::new(count),
        })
    }

    fn fill(&self, indices: &[Index]) -> Batch {
        let id = self.batches.take().expect("there are arrays enough");
        self.batches.fill(id, indices)
    }

    /// Pushes `indices`, which the caller holds. False if the list is shut.
    fn push(&self, indices: &[Index]) -> bool {
        indices.iter().for_each(|&index| self.buffers.give(index));
        let batch = self.fill(indices);
        self.depot.push(&self.batches, batch).is_ok()
    }

    fn pop_one(&self) -> Option<Index> {
        let (index, _) = self.depot.pop_one(&self.batches).ok()?;
        self.buffers.take(index);
        Some(index)
    }

    fn pop_batch(&self) -> Vec<Index> {
        let batch = self.depot.pop_batch(&self.batches);
        batch.map_or(Vec::new(), |(batch, _)| self.open(batch))
    }

    /// The members of a batch that the caller has just taken.
    fn open(&self, batch: Batch) -> Vec<Index> {
        let mut members = Vec::new();
        self.batches.empty(batch, |index| {
            self.buffers.take(index);
            members.push(index);
        });
        assert_eq!(
            members.len(),
            batch.count() as usize,
            "a batch lost its end"
        );
        members
    }

    /// Asserts that each buffer is in the list or has a holder, and that the
    /// list counts what it has.
    fn audit(&self) {
        let held = self.buffers.held();
        let counted = self.depot.len(&self.batches) as usize;
        let mut found = 0;
        while self.pop_one().is_some() {
            found += 1;
        }
        assert_eq!(found, counted, "the list miscounts");
        assert_eq!(
            counted + held,
            self.buffers.all().count(),
            "a buffer was lost"
        );
    }
}

/// Runs `other` in a second thread beside `own`.
fn race(stack: &Arc<Stack>, own: impl FnOnce(&Stack), other: fn(&Stack)) {
    let shared = Arc::clone(stack);
    let thread = spawn(move || other(&shared));
    own(stack);
    thread.join().unwrap();
}

/// One thread pops while another takes two batches, gives the first back, and
/// keeps the second.
pub fn a_list_is_not_mistaken_for_an_older_one() -> Model {
    Model::new(6..=9, &[Fault::NoTag], || {
        let stack = Stack::new(&[1, 1, 1]);
        race(
            &stack,
            |stack| {
                stack.pop_batch();
            },
            |stack| {
                let first = stack.depot.pop_batch(&stack.batches);
                stack.pop_batch();
                if let Ok((first, _)) = first {
                    stack.depot.push(&stack.batches, first).unwrap();
                }
            },
        );
        stack.audit();
    })
}

/// One thread takes the top buffer alone; another takes its batch, keeps that
/// buffer, and gives back a batch of the same size in the same array.
pub fn one_buffer_and_its_batch_do_not_go_to_two_threads() -> Model {
    Model::new(6..=9, &[Fault::NoTag], || {
        let stack = Stack::new(&[1, 2]);
        race(
            &stack,
            |stack| {
                stack.pop_one();
            },
            |stack| {
                let batch = stack.depot.pop_batch(&stack.batches);
                let single = stack.pop_one();
                let Ok((batch, _)) = batch else { return };
                let mut members = stack.open(batch);
                members.rotate_left(1);
                members.pop();
                members.extend(single);
                if !members.is_empty() {
                    stack.push(&members);
                }
            },
        );
        stack.audit();
    })
}

/// One thread takes the top buffer of a batch; another takes one too, then what
/// is left, and gives that back as a batch.
pub fn the_rest_of_a_batch_is_as_good_as_the_whole() -> Model {
    Model::new(6..=9, &[Fault::NoTag], || {
        let stack = Stack::new(&[1, 2]);
        race(
            &stack,
            |stack| {
                stack.pop_one();
            },
            |stack| {
                stack.pop_one();
                let rest = stack.depot.pop_batch(&stack.batches);
                stack.pop_one();
                if let Ok((rest, _)) = rest {
                    stack.depot.push(&stack.batches, rest).unwrap();
                }
            },
        );
        stack.audit();
    })
}

/// Two threads push and a third pops: what it gets and what is left is all.
pub fn pushes_and_pops_count_every_buffer() -> Model {
    Model::new(2..=4, &[Fault::DepotPushRelaxed], || {
        let stack = Stack::empty(3);
        let all: Vec<Index> = stack.buffers.all().collect();
        all.iter().for_each(|&index| stack.buffers.take(index));
        let (pair, single) = (all[..2].to_vec(), all[2]);
        let [first, second] = [Arc::clone(&stack), Arc::clone(&stack)];
        let threads = [
            spawn(move || assert!(first.push(&pair))),
            spawn(move || assert!(second.push(&[single]))),
        ];
        for _ in 0..2 {
            stack.pop_batch();
            thread::yield_now();
        }
        for thread in threads {
            thread.join().unwrap();
        }
        stack.audit();
    })
}

/// A buffer that is pushed here and popped there, alone.
pub fn contents_travel_with_a_buffer() -> Model {
    const TWINS: &[Fault] = &[Fault::DepotPushRelaxed, Fault::DepotPopRelaxed];
    Model::new(6..=9, TWINS, || {
        let stack = Stack::new(&[1, 1]);
        race(
            &stack,
            |stack| {
                stack.pop_one();
                stack.pop_one();
            },
            |stack| {
                if let Some(index) = stack.pop_one() {
                    stack.push(&[index]);
                }
            },
        );
        stack.audit();
    })
}

/// A batch made of two, taken whole by a thread that did not make it, though
/// other changes of the list came after.
pub fn contents_travel_with_a_batch() -> Model {
    const TWINS: &[Fault] = &[Fault::DepotPushRelaxed, Fault::DepotPopRelaxed];
    Model::new(2..=3, TWINS, || {
        let stack = Stack::new(&[1, 1]);
        let pusher = Arc::clone(&stack);
        let other = Arc::clone(&stack);
        let threads = [
            spawn(move || {
                let pair: Vec<Index> = [pusher.pop_one(), pusher.pop_one()]
                    .into_iter()
                    .flatten()
                    .collect();
                if !pair.is_empty() {
                    pusher.push(&pair);
                }
            }),
            spawn(move || {
                other.pop_one();
            }),
        ];
        stack.pop_batch();
        for thread in threads {
            thread.join().unwrap();
        }
        stack.audit();
    })
}

/// A push against the shutting: it is counted there, or finds the flag.
pub fn a_list_that_is_shut_counts_or_refuses_every_buffer() -> Model {
    Model::new(6..=9, &[Fault::IgnoreShut], || {
        let stack = Stack::empty(2);
        let pushers: Vec<_> = stack
            .buffers
            .all()
            .map(|index| {
                stack.buffers.take(index);
                let stack = Arc::clone(&stack);
                spawn(move || stack.push(&[index]))
            })
            .collect();
        let home = stack.depot.shut(&stack.batches);
        let refused = pushers
            .into_iter()
            .filter_map(|pusher| (!pusher.join().unwrap()).then_some(()))
            .count();
        assert_eq!(
            home + refused as u64,
            2,
            "a list that was shut took a buffer"
        );
    })
}

/// Spare arrays, taken by one thread, and by another that takes two, gives the
/// first back and keeps the second.
pub fn an_array_has_one_holder() -> Model {
    Model::new(6..=9, &[Fault::NoTag], || {
        let stack = Stack::empty(0);
        let other = Arc::clone(&stack);
        let thread = spawn(move || {
            let first = other.batches.take();
            let second = other.batches.take();
            if let Some(first) = first {
                other.batches.put(first);
            }
            second
        });
        let mut held = vec![stack.batches.take().unwrap()];
        held.extend(thread.join().unwrap());
        while let Some(id) = stack.batches.take() {
            held.push(id);
            assert!(held.len() <= 4, "an array has two holders");
        }
        held.sort_unstable();
        assert_eq!(held, [1, 2, 3, 4], "an array was lost or doubled");
    })
}

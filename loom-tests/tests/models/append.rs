//! A list that only grows.
//!
//! Proves: whoever finds a value sees it whole; of two values that exclude each other one
//! gets in, and of two that do not, both.
//!
//! The twins: the list's head is published and read without ordering, or stored whatever
//! it has become.

use hugepool::model::{Append, Fault};
use hugepool_loom_tests::{Model, spawn, tests};
use loom::cell::UnsafeCell;
use std::sync::Arc;

tests![
    a_value_that_is_found_is_whole,
    one_of_two_that_exclude_each_other_gets_in,
    two_that_do_not_both_get_in,
];

/// A value that loom watches.
struct Value(UnsafeCell<u32>);

// SAFETY: written before it is shared, and not after; loom says if it is.
unsafe impl Sync for Value {}
// SAFETY: as above.
unsafe impl Send for Value {}

impl Value {
    fn new(number: u32) -> Self {
        let cell = UnsafeCell::new(0);
        // SAFETY: nobody else has it yet.
        cell.with_mut(|at| unsafe { *at = number });
        Self(cell)
    }

    fn read(&self) -> u32 {
        // SAFETY: it is not written any more.
        self.0.with(|at| unsafe { *at })
    }
}

fn sum(list: &Append<Value>) -> u32 {
    list.iter().map(Value::read).sum()
}

/// One thread adds two values, another looks.
pub fn a_value_that_is_found_is_whole() -> Model {
    Model::new(3..=6, &[Fault::AppendRelaxed], || {
        let list = Arc::new(Append::default());
        let reader = Arc::clone(&list);
        let thread = spawn(move || sum(&reader));
        for number in [1, 2] {
            let added: Result<(), ()> = list.push(Value::new(number), |_| Ok(()));
            added.unwrap();
        }
        assert!([0, 1, 3].contains(&thread.join().unwrap()));
    })
}

/// Two threads add the same.
pub fn one_of_two_that_exclude_each_other_gets_in() -> Model {
    const TWINS: &[Fault] = &[Fault::AppendRelaxed, Fault::AppendStores];
    Model::new(3..=6, TWINS, || {
        let list = Arc::new(Append::default());
        let add = |list: &Append<Value>| {
            let same = |old: &Value| if old.read() == 7 { Err(()) } else { Ok(()) };
            list.push(Value::new(7), same).is_ok()
        };
        let other = Arc::clone(&list);
        let thread = spawn(move || add(&other));
        let added = add(&list);
        assert!(added != thread.join().unwrap(), "both got in, or neither");
        assert_eq!(sum(&list), 7);
    })
}

/// Two threads add a value each.
pub fn two_that_do_not_both_get_in() -> Model {
    Model::new(3..=6, &[Fault::AppendStores], || {
        let list = Arc::new(Append::default());
        let add = |list: &Append<Value>, number| {
            let added: Result<(), ()> = list.push(Value::new(number), |_| Ok(()));
            added.unwrap();
        };
        let other = Arc::clone(&list);
        let thread = spawn(move || add(&other, 1));
        add(&list, 2);
        thread.join().unwrap();
        assert_eq!(sum(&list), 3, "one was lost");
    })
}

//! The state of a virtual device set, and what is made for it.
//!
//! Proves: whoever sees that the value is there sees it whole; one that is made while
//! the set is aborted or closed is dropped, or is there, and never both; of two threads
//! that would make it one does; of those that go to the same state one gets there; a Close
//! beside the last CloseDevice finds the device open, and says so, or shut, and so does an
//! abort; no device that is opened or shut beside another is forgotten.
//!
//! The twins: the word is changed and read without ordering, or stored whatever it has
//! become; two threads make the value at once.

use hugepool::model::{Call, Fault, Refusal, Stage, State};
use hugepool_loom_tests::{Model, spawn, tests};
use loom::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

tests![
    who_sees_that_a_value_is_there_sees_it_whole,
    a_value_made_beside_an_abort_is_there_or_dropped,
    one_of_two_makes_the_value,
    one_of_two_gets_to_a_state,
    a_close_beside_the_last_device_finds_it_open_or_shut,
    an_abort_beside_the_last_device_is_the_end,
    a_device_opened_beside_one_that_is_shut_is_counted,
];

/// A value that loom watches, and that counts its ends.
struct Value {
    number: UnsafeCell<u32>,
    drops: Arc<AtomicU32>,
}

impl Value {
    fn new(drops: &Arc<AtomicU32>) -> Self {
        let number = UnsafeCell::new(0);
        // SAFETY: nobody else has it yet.
        number.with_mut(|number| unsafe { *number = 7 });
        Self {
            number,
            drops: Arc::clone(drops),
        }
    }

    fn read(&self) -> u32 {
        // SAFETY: it is shared, and not written any more; loom says if it is.
        self.number.with(|number| unsafe { *number })
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: as `read` says; loom watches the cell.
unsafe impl Sync for Value {}

/// A stage that is ready for its value.
fn configurable() -> Arc<Stage<Value>> {
    let stage = Stage::default();
    stage.take(Call::Open).unwrap();
    stage.take(Call::BeginConfiguration).unwrap();
    Arc::new(stage)
}

/// Makes the value, if this thread may.
fn make(stage: &Stage<Value>, drops: &Arc<AtomicU32>) -> Result<(), Refusal> {
    stage.begin_making()?;
    stage.end_making(Value::new(drops))
}

/// One thread makes the value, another looks whether it may use it.
pub fn who_sees_that_a_value_is_there_sees_it_whole() -> Model {
    Model::new(3..=6, &[Fault::StageRelaxed], || {
        let (stage, drops) = (configurable(), Arc::default());
        let user = Arc::clone(&stage);
        let thread = spawn(move || {
            if let Some(value) = user.value_for(Call::AllocateBuffer) {
                assert_eq!(value.read(), 7);
            }
        });
        make(&stage, &drops).unwrap();
        thread.join().unwrap();
        drop(stage);
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    })
}

/// One thread makes the value, another aborts, and uses it if it is there.
pub fn a_value_made_beside_an_abort_is_there_or_dropped() -> Model {
    const TWINS: &[Fault] = &[Fault::StageRelaxed, Fault::StageStores];
    Model::new(3..=6, TWINS, || {
        let (stage, drops) = (configurable(), Arc::default());
        let aborter = Arc::clone(&stage);
        let thread = spawn(move || {
            aborter.take(Call::SignalAbort).unwrap();
            let value = aborter.value();
            value.is_some_and(|value| value.read() == 7)
        });
        let made = make(&stage, &drops);
        let there = thread.join().unwrap();
        assert_eq!(stage.state(), State::Aborted);
        assert_eq!(made.is_ok(), there, "an abort ended no wait, or two");
        let dropped = drops.load(Ordering::Relaxed);
        assert!(!there || dropped == 0, "what is there was dropped");
        drop(stage);
        assert!(drops.load(Ordering::Relaxed) <= 1, "dropped twice");
    })
}

/// Two threads would make the value.
pub fn one_of_two_makes_the_value() -> Model {
    Model::new(3..=6, &[Fault::NoMaking], || {
        let (stage, drops): (_, Arc<AtomicU32>) = (configurable(), Arc::default());
        let (other, counted) = (Arc::clone(&stage), Arc::clone(&drops));
        let thread = spawn(move || make(&other, &counted).is_ok());
        let made = make(&stage, &drops).is_ok();
        assert!(made != thread.join().unwrap(), "both did, or neither");
        assert_eq!(stage.value().map(Value::read), Some(7));
        assert_eq!(drops.load(Ordering::Relaxed), 0, "two were made");
    })
}

/// Two threads close the set.
pub fn one_of_two_gets_to_a_state() -> Model {
    Model::new(3..=6, &[Fault::StageStores], || {
        let stage = configurable();
        let other = Arc::clone(&stage);
        let thread = spawn(move || other.take(Call::Close).is_ok());
        let closed = stage.take(Call::Close).is_ok();
        assert!(closed != thread.join().unwrap(), "both did, or neither");
        assert_eq!(
            stage.take(Call::Open),
            Err(Refusal::Protocol(State::Absent))
        );
    })
}

/// A set with a device open, of two.
fn active() -> Arc<Stage<Value>> {
    let (stage, drops) = (configurable(), Arc::default());
    make(&stage, &drops).unwrap();
    stage.open_device(2).unwrap();
    stage
}

/// One thread shuts the only open device, another closes the set.
pub fn a_close_beside_the_last_device_finds_it_open_or_shut() -> Model {
    Model::new(3..=6, &[Fault::StageStores], || {
        let stage = active();
        let other = Arc::clone(&stage);
        let thread = spawn(move || other.close_device());
        let closed = stage.take(Call::Close);
        let shut = thread.join().unwrap();
        match closed {
            Ok(()) => assert_eq!(shut, Ok(()), "it was open when the set was closed"),
            Err(error) => {
                assert_eq!(error, Refusal::Open(1));
                assert_eq!(shut, Err(Refusal::Protocol(State::Absent)));
            }
        }
        assert_eq!(stage.was_aborted(), closed.is_err());
        assert_eq!(stage.state(), State::Absent);
    })
}

/// One thread shuts the only open device, another aborts the set.
pub fn an_abort_beside_the_last_device_is_the_end() -> Model {
    Model::new(3..=6, &[Fault::StageStores], || {
        let stage = active();
        let other = Arc::clone(&stage);
        let thread = spawn(move || other.close_device());
        stage.take(Call::SignalAbort).unwrap();
        let shut = thread.join().unwrap();
        assert!(matches!(shut, Ok(()) | Err(Refusal::Aborted)));
        assert_eq!((stage.state(), stage.was_aborted()), (State::Aborted, true));
        assert_eq!(stage.close_device(), Err(Refusal::Aborted));
        stage.take(Call::Close).unwrap();
        assert!(stage.was_aborted(), "it is not said any more");
    })
}

/// One thread opens the second device, another shuts the first.
pub fn a_device_opened_beside_one_that_is_shut_is_counted() -> Model {
    Model::new(3..=6, &[Fault::StageStores], || {
        let stage = active();
        let other = Arc::clone(&stage);
        let thread = spawn(move || other.open_device(2));
        stage.close_device().unwrap();
        match thread.join().unwrap() {
            // It came before the first was shut.
            Ok(()) => {
                assert_eq!(stage.state(), State::Active);
                assert_eq!(stage.open_device(2), Err(Refusal::Devices(2)));
                stage.close_device().unwrap();
            }
            // Or after the set had ended.
            Err(error) => assert_eq!(error, Refusal::Protocol(State::Ended)),
        }
        assert_eq!(stage.state(), State::Ended);
        assert_eq!(stage.close_device(), Err(Refusal::Shut));
    })
}

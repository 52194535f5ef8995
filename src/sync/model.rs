//! loom's atomics, and the faults that broken twins plant. See the parent
//! module.
#![allow(clippy::disallowed_types, missing_docs)]

use loom::sync::atomic as loomed;
use std::cell::{Cell, UnsafeCell};
use std::collections::HashMap;
use std::ops::Deref;

pub use loom::sync::atomic::{Ordering, fence};
pub use loom::thread::yield_now;
pub use std::sync::Arc;

/// loom's atomics, whose end is an access to them like any other: loom reports
/// what does not happen before it. So a model that tears a pool down finds the
/// threads that touch the pool afterwards.
macro_rules! atomics {
    ($($name:ident $(<$of:ident>)?: $value:ty),+ $(,)?) => {
        $(
            #[derive(Debug)]
            pub struct $name $(<$of>)? (loomed::$name $(<$of>)?);

            impl $(<$of>)? $name $(<$of>)? {
                pub fn new(value: $value) -> Self {
                    Self(loomed::$name::new(value))
                }
            }

            impl $(<$of>)? Deref for $name $(<$of>)? {
                type Target = loomed::$name $(<$of>)?;

                fn deref(&self) -> &Self::Target {
                    &self.0
                }
            }

            impl $(<$of>)? Drop for $name $(<$of>)? {
                fn drop(&mut self) {
                    // loom's report unwinds through here; a second panic would
                    // abort.
                    if !std::thread::panicking() {
                        self.0.with_mut(|_| ());
                    }
                }
            }
        )+
    };
}

atomics! {
    AtomicI64: i64,
    AtomicIsize: isize,
    AtomicPtr<T>: *mut T,
    AtomicU8: u8,
    AtomicU32: u32,
    AtomicU64: u64,
    AtomicUsize: usize,
}

impl<T> Default for AtomicPtr<T> {
    fn default() -> Self {
        Self::new(std::ptr::null_mut())
    }
}

macro_rules! defaults {
    ($($name:ident),+ $(,)?) => {
        $(
            impl Default for $name {
                fn default() -> Self {
                    Self::new(0)
                }
            }
        )+
    };
}

defaults![
    AtomicI64,
    AtomicIsize,
    AtomicU8,
    AtomicU32,
    AtomicU64,
    AtomicUsize
];

/// Values by number, each made when it is first asked for. loom sees nothing of
/// that.
pub struct Made<T>(UnsafeCell<HashMap<usize, Box<T>>>);

// SAFETY: loom runs all threads of a model on one thread of the system, and changes
// from one to another inside its own types alone, none of which `get` calls while
// it has the map (`T::default` makes some, and making is no switch).
unsafe impl<T: Sync> Sync for Made<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Made<T> {}

impl<T> Default for Made<T> {
    fn default() -> Self {
        Self(UnsafeCell::default())
    }
}

impl<T: Default> Made<T> {
    /// The value numbered `at`.
    pub fn get(&self, at: usize) -> &T {
        let made = self.0.get();
        // SAFETY: nobody else has the map; see the type.
        if let Some(value) = unsafe { &*made }.get(&at) {
            return value;
        }
        let value = Box::default();
        // SAFETY: as above. What was made stays where it is, in its box.
        unsafe { &mut *made }.entry(at).or_insert(value)
    }
}

/// Nothing. loom's own `spin_loop` yields, and a thread that has yielded is
/// spared the outdated values it saw before: the very ones that a loop which
/// merely looks twice must cope with. A loop that waits for another thread uses
/// `yield_now`.
pub fn spin_loop() {}

/// As the native one, except that a panic (loom reports by panicking) goes on.
pub fn shield(foreign: impl FnOnce()) {
    foreign();
}

/// As the native one, counted in yields instead of time.
pub struct Patience(u32);

impl Patience {
    pub fn new() -> Self {
        Self(2)
    }

    pub fn none() -> Self {
        Self(0)
    }

    pub fn wait(&mut self) -> bool {
        let left = self.0 > 0;
        if left {
            self.0 -= 1;
            yield_now();
        }
        left
    }
}

loom::thread_local! {
    static ANNOUNCED: Cell<i32> = Cell::new(0);
}

/// Notes that the calling thread has begun (1) or ended (-1) an announcement.
pub fn note_announcement(change: i32) {
    ANNOUNCED.with(|count| count.set(count.get() + change));
}

/// Whether the calling thread has ended every announcement it began.
pub fn announces_nothing() -> bool {
    ANNOUNCED.with(|count| count.get() == 0)
}

/// As the native one, without the time limit.
#[derive(Default)]
pub struct Bell {
    rings: AtomicU32,
    rung: loom::sync::Notify,
}

impl Bell {
    pub fn rings(&self) -> u32 {
        self.rings.load(Ordering::Acquire)
    }

    pub fn ring(&self) {
        self.rings.fetch_add(1, Ordering::Release);
        self.rung.notify();
    }

    pub fn sleep(&self, seen: u32, _deadline: Option<std::time::Instant>) {
        while self.rings() == seen {
            self.rung.wait();
        }
    }
}

/// The faults a broken twin can plant, each named for what it takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A depot push publishes with `Relaxed` instead of `Release`.
    DepotPushRelaxed,
    /// A depot pop reads the head with `Relaxed` instead of `Acquire`.
    DepotPopRelaxed,
    /// List heads keep their tag when they change: ABA.
    NoTag,
    /// A push onto a linked list publishes with `Relaxed` instead of `Release`.
    ChainPushRelaxed,
    /// Nobody looks into another processor's cache.
    NoSteal,
    /// A sweep that finds everything empty is believed at once.
    OneSweep,
    /// A thread that carries a batch does not announce it.
    NoAnnounce,
    /// A change that takes one buffer is `Relaxed`: a thread is seen to take before
    /// it is seen to have given.
    TakeRelaxed,
    /// A closing pool counts what is home before it raises the flag.
    CloseCountsFirst,
    /// A list that is shut takes buffers all the same.
    IgnoreShut,
    /// A thread touches the pool once more after its last buffer is home.
    LateTouch,
    /// The counter of late buffers is adjusted without regard to those that
    /// came before it was set.
    SettleStores,
    /// A thread that gives up its handle does not release what it did.
    LeaveRelaxed,
    /// A visitor does not look whether there is a handle.
    VisitBlind,
    /// Shutting a list that is shut leaves it as it was.
    ShutOnce,
    /// Shutting publishes with `Relaxed` instead of `Release`.
    ShutRelaxed,
    /// A replaced directory is destroyed at once instead of retired.
    NoRetire,
    /// New buffers reach the free lists before the directory is published.
    StockFirst,
    /// A thread that has published a directory does not look whether there is a
    /// newer one.
    PublishOnce,
    /// A trim takes a segment although some of its buffers are out.
    TrimPartial,
    /// A trim takes a segment that somebody waits for.
    TrimWanted,
    /// Nobody rings for who waits.
    NoWake,
    /// The state of a set, and what is made for it, are published with `Relaxed`.
    StageRelaxed,
    /// The state of a set is stored, whatever it has become meanwhile.
    StageStores,
    /// The size and the generation of a buffer that is out are read in the wrong order.
    PairReversed,
    /// The size that a raw buffer is out with is read with `Relaxed`, before where it starts.
    SizeRelaxed,
    /// A list that only grows is published and read with `Relaxed`.
    AppendRelaxed,
    /// The head of a list that only grows is stored, whatever it has become meanwhile.
    AppendStores,
    /// A handle is made of a buffer that had no slot yet.
    SlotlessNamed,
    /// Slots of trimmed buffers are given back before their generations are noted.
    SlotsBackEarly,
    /// A slot that comes again begins with generation 0.
    GenerationRestarted,
    /// A slot that comes again begins with the generation with which it was trimmed.
    GenerationKept,
    /// Two threads may make what comes with a set's state at once.
    NoMaking,
    /// Who was served is woken by a thread that still announces what it holds.
    WakeEarly,
    /// A thread that puts a buffer into a shut list does not look at the line.
    NoServe,
    /// A request that does not wait keeps what it finds although others wait.
    NoPrecedence,
    /// The last in line is served first.
    LastFirst,
    /// A wait is given up without a look at what it was given.
    CancelStores,
    /// A waiter does not pass a full fence between taking its place and looking
    /// at what there is.
    NoStandFence,
    /// Nobody is roused when the classes change.
    NoRouse,
    /// What a place asks for is believed although its owner may have changed.
    TornRequest,
    /// All waits have the same ticket.
    SameTicket,
    /// The batch of a portable slot takes no part in the shutting.
    FilledStaysOpen,
    /// No full fence between giving a class its slots and looking whether anybody
    /// waits.
    NoSlotFence,
    /// A task's waker is exchanged with `Relaxed` instead of `AcqRel`.
    RegisterRelaxed,
    /// Lists are opened although somebody waits.
    UnshutAnyway,
    /// A visitor of the pool does not count as a handle.
    VisitorsDoNotCount,
    /// A thief does not end the sections that are under way.
    NoRestart,
    /// A thief that leaves, or a thread that sets what a slot may hold, opens the
    /// gate although a thief is still at it.
    GateForgets,
    /// A section goes on although another thread ran on its processor, or a thief
    /// ended it.
    NoAbort,
    /// A class's sections are let in before they can find its slots.
    OpenFirst,
    /// A section reads the level before the gate.
    LevelFirst,
    /// A section does not look at the gate.
    IgnoreGate,
    /// Whoever has been called is counted as called for ever.
    NeverSettled,
    /// Nobody is handed a buffer: whoever is called may find nothing.
    NeverDue,
    /// Who is called has had his turn.
    CallIsTurn,
    /// Whoever needs a class shared leaves the mode as it was if it says so already.
    ShareOnce,
    /// A class is opened although somebody waits.
    OpenAnyway,
    /// Whoever finds nobody to hand a buffer to, and puts it back, does not look again.
    HandOnce,
    /// Whoever is about to be refused does not change the lists before it looks.
    NoTouch,
    /// A waiter does not shut the lists before it looks and sleeps.
    NoArm,
    /// Whoever leaves after a call does not see to the others.
    LeaveCalled,
    /// A section that puts a buffer in commits with `Relaxed` instead of `Release`.
    SectionRelaxed,
    /// No full fence between marking a wait that can be cancelled and looking whether it
    /// is.
    NoMarkFence,
    /// No full fence between cancelling waits and looking for them.
    NoCancelFence,
    /// A stream takes claims without regard to how many there are.
    NoMaximum,
    /// A stream refuses a request although its own buffers changed meanwhile.
    OneLook,
    /// Nobody attends to those who wait for a stream.
    NoServeOfStream,
    /// What comes back to a stream goes into its list, whatever that says.
    IgnoreShutOfStream,
    /// A stream's number is put back while buffers know it.
    VacateEarly,
    /// Who ends a wait for a stream keeps its claim.
    KeepClaim,
    /// Who was called, looks, and finds something does not see to the others.
    ForgetCall,
    /// The list of a stream that has ended is opened.
    ReopenEnded,
    /// Nobody hears of a processor that a thread has come to.
    NoVisit,
    /// No full fence between a processor's bit, or a class's mode, and what is looked at then.
    NoVisitFence,
    /// A slot gets its first room although its class is not open.
    RoomAnyway,
    /// A pool that closes leaves its classes open.
    CloseOpen,
    /// Somebody collects although somebody else does.
    TwoCollect,
    /// A buffer is kept for somebody who has given up.
    KeepAnyway,
    /// Whoever ends a collection does not see to those who wait for other classes.
    EndUnseen,
    /// That a buffer is out is noted with `Relaxed` instead of `Release`.
    TrackRelaxed,
    /// No fence between taking a buffer and noting by whom.
    NoTrackFence,
    /// Who reads the note of a buffer does not look whether it has changed meanwhile.
    TrackOneLook,
    /// Requests of a stream take what is there, whoever collects.
    NoBar,
    /// Who collects in a stream says how many it lacks after it has asked for the claims.
    ClaimFirst,
    /// Who collects in a stream, and has its claims, does not show those that it leaves.
    LeftUnseen,
    /// Who collects in a stream takes what those wait for who came before.
    NoElders,
    /// Who was woken because somebody else collects, and leaves, does not see to the others.
    LeavePassedOver,
    /// Who collected in a stream, and leaves, does not see to the others.
    UnbarUnseen,
    /// Who waits for fewer than before leaves the chain as it was.
    NoLessenTouch,
}

impl Fault {
    /// Every fault there is.
    pub const ALL: &[Self] = &[
        Self::DepotPushRelaxed,
        Self::DepotPopRelaxed,
        Self::NoTag,
        Self::ChainPushRelaxed,
        Self::NoSteal,
        Self::OneSweep,
        Self::NoAnnounce,
        Self::TakeRelaxed,
        Self::CloseCountsFirst,
        Self::IgnoreShut,
        Self::LateTouch,
        Self::SettleStores,
        Self::LeaveRelaxed,
        Self::VisitBlind,
        Self::ShutOnce,
        Self::ShutRelaxed,
        Self::NoRetire,
        Self::StockFirst,
        Self::PublishOnce,
        Self::TrimPartial,
        Self::TrimWanted,
        Self::NoWake,
        Self::StageRelaxed,
        Self::StageStores,
        Self::PairReversed,
        Self::SizeRelaxed,
        Self::AppendRelaxed,
        Self::AppendStores,
        Self::SlotlessNamed,
        Self::SlotsBackEarly,
        Self::GenerationRestarted,
        Self::GenerationKept,
        Self::NoMaking,
        Self::WakeEarly,
        Self::NoServe,
        Self::NoPrecedence,
        Self::LastFirst,
        Self::CancelStores,
        Self::NoStandFence,
        Self::NoRouse,
        Self::TornRequest,
        Self::SameTicket,
        Self::FilledStaysOpen,
        Self::NoSlotFence,
        Self::RegisterRelaxed,
        Self::UnshutAnyway,
        Self::VisitorsDoNotCount,
        Self::NoRestart,
        Self::GateForgets,
        Self::NoAbort,
        Self::OpenFirst,
        Self::LevelFirst,
        Self::IgnoreGate,
        Self::NeverSettled,
        Self::NeverDue,
        Self::CallIsTurn,
        Self::ShareOnce,
        Self::OpenAnyway,
        Self::HandOnce,
        Self::NoTouch,
        Self::NoArm,
        Self::LeaveCalled,
        Self::SectionRelaxed,
        Self::NoMarkFence,
        Self::NoCancelFence,
        Self::NoMaximum,
        Self::OneLook,
        Self::NoServeOfStream,
        Self::IgnoreShutOfStream,
        Self::VacateEarly,
        Self::KeepClaim,
        Self::ForgetCall,
        Self::ReopenEnded,
        Self::NoVisit,
        Self::NoVisitFence,
        Self::RoomAnyway,
        Self::CloseOpen,
        Self::TwoCollect,
        Self::KeepAnyway,
        Self::EndUnseen,
        Self::TrackRelaxed,
        Self::NoTrackFence,
        Self::TrackOneLook,
        Self::NoBar,
        Self::ClaimFirst,
        Self::LeftUnseen,
        Self::NoElders,
        Self::LeavePassedOver,
        Self::UnbarUnseen,
        Self::NoLessenTouch,
    ];
}

thread_local! {
    // loom runs every thread of a model on the one OS thread that called
    // `loom::model`, so a fault planted there is seen by the whole model and by
    // no other test.
    static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Plants `fault` (or none) for the models that this OS thread runs next.
pub fn plant(fault: Option<Fault>) {
    PLANTED.with(|cell| cell.set(fault));
}

/// True while the model that runs on this OS thread has planted `fault`.
pub fn is_planted(fault: Fault) -> bool {
    PLANTED.with(|cell| cell.get() == Some(fault))
}

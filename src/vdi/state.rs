//! The states of a set, and what each call does in each.
//!
//! Owns: the table. Uses: nothing. Used by: `stage`, which obeys it; `error`.

use std::fmt;

/// What a call does in a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cell {
    /// It is refused: the set is in the wrong state.
    Protocol,
    /// It is refused: the set was aborted.
    Abort,
    /// It is refused: the device is closed.
    Close,
    /// It is carried out, and the state stays.
    Stays,
    /// It is carried out, and leads to another state.
    To(State),
    /// It is told that the set is in the wrong state, and ends the set all the same.
    Ends,
}

/// Declares states, calls and table, and prints the table as documentation.
macro_rules! table {
    (
        $( #[$about_state:meta] )*
        states { $( $(#[doc = $state_doc:literal])* $state:ident = $state_text:literal, )+ }
        $( #[$about_call:meta] )*
        calls { $( $(#[doc = $call_doc:literal])* $call:ident: $($cell:ident)+; )+ }
    ) => {
        $( #[$about_state] )*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum State { $( $(#[doc = $state_doc])* $state, )+ }

        impl State {
            /// Every state, in the order of the table.
            pub const ALL: &[Self] = &[ $( Self::$state, )+ ];

            fn text(self) -> &'static str {
                match self { $( Self::$state => $state_text, )+ }
            }
        }

        $( #[$about_call] )*
        ///
        #[doc = concat!("| |", $( " ", $state_text, " |", )+)]
        #[doc = concat!("| --- |", $( table!(@rule $state), )+)]
        $( #[doc = concat!("| ", stringify!($call), " |", $( table!(@text $cell), " |", )+)] )+
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Call { $( $(#[doc = $call_doc])* $call, )+ }

        impl Call {
            /// Every call, in the order of the table.
            pub const ALL: &[Self] = &[ $( Self::$call, )+ ];
        }

        const TABLE: [[Cell; State::ALL.len()]; Call::ALL.len()] = [
            $( [ $( table!(@cell $cell), )+ ], )+
        ];
    };
    (@rule $state:ident) => { " --- |" };
    (@text protocol) => { " P" };
    (@text abort) => { " ABORT" };
    (@text closed) => { " CLOSE" };
    (@text ends) => { " P, → `Absent`" };
    (@text ok) => { " ok" };
    (@text $state:ident) => { concat!(" → `", stringify!($state), "`") };
    (@cell protocol) => { Cell::Protocol };
    (@cell abort) => { Cell::Abort };
    (@cell closed) => { Cell::Close };
    (@cell ends) => { Cell::Ends };
    (@cell ok) => { Cell::Stays };
    (@cell $state:ident) => { Cell::To(State::$state) };
}

table! {
    /// Where a set is in its life.
    states {
        /// It has not been opened, or was closed.
        Absent = "does not exist",
        /// It was opened; the client's wishes are known.
        Connected = "Connected",
        /// Buffers may be declared.
        Configurable = "Configurable",
        /// The buffers are there; no device is open.
        Initializing = "Initializing",
        /// Devices are open.
        Active = "Active",
        /// The last device was closed.
        Ended = "ended normally",
        /// It was aborted.
        Aborted = "aborted",
    }

    /// The calls of a set, and what they do in each state: P is refused with
    /// `VD_E_PROTOCOL`, ABORT with `VD_E_ABORT`, CLOSE with `VD_E_CLOSE`, *ok* is carried
    /// out, and an arrow leads to another state. ("P, →" does both: the caller is told,
    /// and the set ends.)
    ///
    /// From the pages of the VDI reference, then the 2005 specification's tables, then
    /// this library's choice, made so that cleaning up always works: FreeBuffer is never
    /// refused once there are buffers, and Close ends the set whatever it says. Which of
    /// them says what is in `docs/vdi.md`. A call that would lead on and fails leaves the
    /// state as it was. OpenDevice and CloseDevice count: what is done with a device is
    /// not this library's subject. The CloseDevice of the last open device leads to
    /// `Ended`. A set that was closed is not opened again.
    calls {
        /// [`Set::open`](super::Set::open)
        Open: Connected protocol protocol protocol protocol protocol protocol;
        /// [`Set::configuration`](super::Set::configuration)
        GetConfiguration: protocol ok ok ok ok ok abort;
        /// [`Set::begin_configuration`](super::Set::begin_configuration)
        BeginConfiguration: protocol Configurable protocol protocol protocol protocol abort;
        /// [`Set::request_buffers`](super::Set::request_buffers)
        RequestBuffers: protocol protocol ok ok ok protocol abort;
        /// [`Set::query_available_buffers`](super::Set::query_available_buffers)
        QueryAvailableBuffers: protocol protocol ok ok ok protocol protocol;
        /// [`Set::end_configuration`](super::Set::end_configuration)
        EndConfiguration: protocol protocol Initializing protocol protocol protocol abort;
        /// [`Set::open_device`](super::Set::open_device)
        OpenDevice: protocol protocol protocol Active ok protocol abort;
        /// [`Set::close_device`](super::Set::close_device)
        CloseDevice: protocol protocol protocol protocol ok closed abort;
        /// [`Set::allocate_buffer`](super::Set::allocate_buffer)
        AllocateBuffer: protocol protocol protocol ok ok protocol abort;
        /// [`Set::free_buffer`](super::Set::free_buffer)
        FreeBuffer: protocol protocol protocol ok ok ok ok;
        /// [`Set::signal_abort`](super::Set::signal_abort)
        SignalAbort: protocol Aborted Aborted Aborted Aborted Aborted ok;
        /// [`Set::close`](super::Set::close)
        Close: protocol Absent Absent Absent ends Absent Absent;
    }
}

impl State {
    /// The state numbered `number`; `Absent` if there is none.
    pub(super) fn from_number(number: u8) -> Self {
        let state = Self::ALL.get(usize::from(number));
        state.copied().unwrap_or(Self::Absent)
    }
}

impl Call {
    /// What it does in `state`.
    pub(super) fn cell(self, state: State) -> Cell {
        TABLE[self as usize][state as usize]
    }

    /// The states in which it is carried out, a bit each.
    pub(super) const fn carried_out(self) -> u32 {
        let mut mask = 0;
        let mut at = 0;
        while at < State::ALL.len() {
            if matches!(TABLE[self as usize][at], Cell::Stays | Cell::To(_)) {
                mask |= 1 << at;
            }
            at += 1;
        }
        mask
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

//! What each call of a virtual device set does in each state.

mod support;

use hugepool::Pool;
use hugepool::vdi::{
    Call, Config, Error, NOERROR, Parameters, Set, State, VD_E_ABORT, VD_E_CLOSE, VD_E_OPEN,
    VD_E_PROTOCOL,
};
use std::time::Duration;
use support::small::until_waiting;

const SIZE: u32 = 64 << 10;

/// The contract, as `docs/vdi.md` has it: P is `VD_E_PROTOCOL`, A `VD_E_ABORT`, C
/// `VD_E_CLOSE`, `.` carried out, a digit leads to that column, and E is told
/// `VD_E_PROTOCOL` and leads to column 0.
/// Columns: 0 does not exist, 1 Connected, 2 Configurable, 3 Initializing, 4 Active,
/// 5 ended normally, 6 aborted.
const CONTRACT: &[(Call, &str)] = &[
    (Call::Open, "1PPPPPP"),
    (Call::GetConfiguration, "P.....A"),
    (Call::BeginConfiguration, "P2PPPPA"),
    (Call::RequestBuffers, "PP...PA"),
    (Call::QueryAvailableBuffers, "PP...PP"),
    (Call::EndConfiguration, "PP3PPPA"),
    (Call::OpenDevice, "PPP4.PA"),
    // Of the only one that is open: see `the_last_device_that_is_closed_ends_the_set`.
    (Call::CloseDevice, "PPPP5CA"),
    (Call::AllocateBuffer, "PPP..PA"),
    (Call::FreeBuffer, "PPP...."),
    (Call::SignalAbort, "P66666."),
    (Call::Close, "P000E00"),
];

fn client() -> Config {
    Config {
        device_count: 2,
        ..Config::default()
    }
}

fn server() -> Parameters {
    Parameters {
        features: 0,
        block_size: 4096,
        alignment: 0,
        max_transfer_size: SIZE,
        time_out: 0,
    }
}

/// A set in `state`, and a buffer of it if it has any. Whatever states come before are
/// passed through.
fn set_in(state: State) -> (Set, *mut u8) {
    let set = Set::with_builder(Pool::builder().prefault(false));
    let mut buffer = std::ptr::null_mut();
    if state == State::Absent {
        return (set, buffer);
    }
    set.open(&client()).unwrap();
    if state != State::Connected {
        set.begin_configuration(&server()).unwrap();
        set.request_buffers(SIZE, 0, 2).unwrap();
    }
    if state > State::Configurable {
        set.end_configuration().unwrap();
        buffer = set.allocate_buffer(SIZE, 0).unwrap().as_ptr();
    }
    if state > State::Initializing {
        set.open_device().unwrap();
    }
    match state {
        State::Ended => set.close_device().unwrap(),
        State::Aborted => set.signal_abort().unwrap(),
        _ => {}
    }
    assert_eq!(set.state(), state);
    (set, buffer)
}

fn make(call: Call, set: &Set, buffer: *mut u8) -> Result<(), Error> {
    match call {
        Call::Open => set.open(&client()),
        Call::GetConfiguration => set.configuration().map(drop),
        Call::BeginConfiguration => set.begin_configuration(&server()),
        Call::RequestBuffers => set.request_buffers(SIZE, 0, 1),
        Call::QueryAvailableBuffers => set.query_available_buffers(SIZE, 0).map(drop),
        Call::EndConfiguration => set.end_configuration(),
        Call::OpenDevice => set.open_device(),
        Call::CloseDevice => set.close_device(),
        Call::AllocateBuffer => set.allocate_buffer(SIZE, 0).map(drop),
        // SAFETY: null is refused; otherwise the buffer was allocated by `set_in`.
        Call::FreeBuffer => unsafe { set.free_buffer(buffer, SIZE) },
        Call::SignalAbort => set.signal_abort(),
        Call::Close => set.close(),
    }
}

fn code(result: &Result<(), Error>) -> u32 {
    result.as_ref().map_or_else(Error::code, |()| NOERROR)
}

#[test]
fn each_call_does_in_each_state_what_the_contract_says() {
    let calls: Vec<Call> = CONTRACT.iter().map(|row| row.0).collect();
    assert_eq!(calls, Call::ALL);
    for &(call, row) in CONTRACT {
        assert_eq!(row.len(), State::ALL.len());
        for (&state, cell) in State::ALL.iter().zip(row.chars()) {
            let (set, buffer) = set_in(state);
            let result = make(call, &set, buffer);
            let what = format!("{call} in {state}: {result:?}");
            let (expected, next) = match cell {
                'P' => (VD_E_PROTOCOL, state),
                'A' => (VD_E_ABORT, state),
                'C' => (VD_E_CLOSE, state),
                'E' => (VD_E_PROTOCOL, State::Absent),
                '.' => (NOERROR, state),
                column => {
                    let column = column.to_digit(10).unwrap() as usize;
                    (NOERROR, State::ALL[column])
                }
            };
            assert_eq!(code(&result), expected, "{what}");
            assert_eq!(set.state(), next, "{what}");
            // Whoever is refused is told what, and where.
            if let Err(error) = result {
                assert!(error.to_string().contains(&call.to_string()), "{what}");
            }
        }
    }
}

#[test]
fn the_page_says_what_the_contract_says() {
    let page = include_str!("../docs/vdi.md");
    for &(call, row) in CONTRACT {
        let name = format!("| {call} | ");
        let line = page.lines().find(|line| line.starts_with(&name));
        let cells = line.unwrap()[name.len()..]
            .trim_end_matches(" |")
            .split(" | ");
        let cells: Vec<&str> = cells.collect();
        assert_eq!(cells.len(), State::ALL.len(), "{call}");
        for (said, cell) in cells.into_iter().zip(row.chars()) {
            let arrow = |column: usize| format!("→ {}", State::ALL[column]);
            let expected = match cell {
                'P' => "P".to_owned(),
                'A' => "ABORT".to_owned(),
                'C' => "CLOSE".to_owned(),
                'E' => format!("P, {}", arrow(0)),
                '.' => "ok".to_owned(),
                column => arrow(column.to_digit(10).unwrap() as usize),
            };
            let last = format!("ok; the last one {expected}");
            let is = said == expected || call == Call::CloseDevice && said == last;
            assert!(is, "{call}: \"{said}\", not \"{expected}\"");
        }
    }
}

#[test]
fn the_last_device_that_is_closed_ends_the_set() {
    let (set, _) = set_in(State::Initializing);
    set.open_device().unwrap();
    set.open_device().unwrap();
    let all = set.open_device().unwrap_err();
    assert_eq!(
        (&all, all.code()),
        (&Error::Devices { limit: 2 }, VD_E_OPEN)
    );
    set.close_device().unwrap();
    assert_eq!(set.state(), State::Active);
    set.close_device().unwrap();
    assert_eq!(set.state(), State::Ended);
}

#[test]
fn a_set_opens_each_of_its_devices_once() {
    let (set, _) = set_in(State::Initializing);
    set.open_device().unwrap();
    set.open_device().unwrap();
    set.close_device().unwrap();
    assert_eq!(set.open_device().unwrap_err().code(), VD_E_OPEN);
    assert_eq!(set.state(), State::Active);
}

#[test]
fn an_aborted_set_closes_no_device() {
    let (set, _) = set_in(State::Initializing);
    set.open_device().unwrap();
    set.open_device().unwrap();
    set.signal_abort().unwrap();
    for _ in 0..3 {
        assert_eq!(set.close_device().unwrap_err().code(), VD_E_ABORT);
        assert_eq!(set.state(), State::Aborted);
    }
    set.close().unwrap();
}

#[test]
fn a_device_that_is_closed_twice_is_said_to_be_closed() {
    let (set, buffer) = set_in(State::Ended);
    for _ in 0..3 {
        assert_eq!(set.close_device().unwrap_err().code(), VD_E_CLOSE);
        assert_eq!(set.state(), State::Ended);
    }
    make(Call::FreeBuffer, &set, buffer).unwrap();
    set.close().unwrap();
}

#[test]
fn a_set_that_is_closed_with_devices_open_says_how_many_and_ends() {
    let (set, _) = set_in(State::Initializing);
    set.open_device().unwrap();
    set.open_device().unwrap();
    let _second = set.allocate_buffer(SIZE, 0).unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let wait = set.allocate_buffer_timeout(SIZE, 0, Duration::MAX);
            wait.map(drop)
        });
        until_waiting(set.pool().unwrap(), 1);
        let error = set.close().unwrap_err();
        assert_eq!(error.code(), VD_E_PROTOCOL);
        assert!(error.to_string().contains("2 devices"), "{error}");
        // It does the work of SignalAbort.
        assert_eq!(code(&waiter.join().unwrap()), VD_E_ABORT);
    });
    assert_eq!(set.state(), State::Absent);
    assert!(set.pool().is_none());
    for &call in Call::ALL {
        let again = make(call, &set, std::ptr::null_mut());
        assert_eq!(code(&again), VD_E_PROTOCOL, "{call}");
    }
}

#[test]
fn a_closed_set_is_not_opened_again() {
    for &state in &State::ALL[1..] {
        let (set, buffer) = set_in(state);
        let closed = set.close();
        assert_eq!(closed.is_err(), state == State::Active, "Close in {state}");
        for &call in Call::ALL {
            let code = make(call, &set, buffer).unwrap_err().code();
            assert_eq!(code, VD_E_PROTOCOL, "{call} after Close in {state}");
        }
    }
}

#[test]
fn an_error_names_the_call_and_the_state() {
    let error = Set::new().allocate_buffer(SIZE, 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "AllocateBuffer in the state \"does not exist\""
    );
}

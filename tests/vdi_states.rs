//! What each call of a virtual device set does in each state.

use hugepool::Pool;
use hugepool::vdi::{
    Call, Config, Error, Parameters, Set, State, VD_E_ABORT, VD_E_OPEN, VD_E_PROTOCOL,
};

const SIZE: u32 = 64 << 10;

/// The contract, copied from the VDI reference's transition tables: P is
/// `VD_E_PROTOCOL`, A `VD_E_ABORT`, `.` carried out, and a digit leads to that column.
/// Columns: 0 does not exist, 1 Connected, 2 Configurable, 3 Initializing, 4 Active,
/// 5 ended normally, 6 aborted.
const CONTRACT: &[(Call, &str)] = &[
    (Call::Open, "1PPPPPP"),
    (Call::GetConfiguration, "P.....A"),
    (Call::BeginConfiguration, "P2PPPPP"),
    (Call::RequestBuffers, "PP...PP"),
    (Call::QueryAvailableBuffers, "PP...PP"),
    (Call::EndConfiguration, "PP3PPPP"),
    (Call::OpenDevice, "PPP4.PA"),
    // Its own: see `the_last_device_that_is_closed_ends_the_set`.
    (Call::CloseDevice, "PPPP5P."),
    (Call::AllocateBuffer, "PPP..PA"),
    (Call::FreeBuffer, "PPP...."),
    (Call::SignalAbort, "P66666."),
    (Call::Close, "P000000"),
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
        // The one that an aborted set may still close.
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

#[test]
fn each_call_does_in_each_state_what_the_contract_says() {
    let calls: Vec<Call> = CONTRACT.iter().map(|row| row.0).collect();
    assert_eq!(calls, Call::ALL);
    for &(call, row) in CONTRACT {
        for (&state, cell) in State::ALL.iter().zip(row.chars()) {
            let (set, buffer) = set_in(state);
            let result = make(call, &set, buffer);
            let what = format!("{call} in {state}: {result:?}");
            let next = match cell {
                'P' => {
                    let refused = Error::Protocol { call, state };
                    assert_eq!(result.as_ref(), Err(&refused), "{what}");
                    assert_eq!(result.unwrap_err().code(), VD_E_PROTOCOL, "{what}");
                    state
                }
                'A' => {
                    assert_eq!(result, Err(Error::Aborted { call }), "{what}");
                    assert_eq!(result.unwrap_err().code(), VD_E_ABORT, "{what}");
                    state
                }
                '.' => {
                    assert_eq!(result, Ok(()), "{what}");
                    state
                }
                column => {
                    assert_eq!(result, Ok(()), "{what}");
                    State::ALL[column.to_digit(10).unwrap() as usize]
                }
            };
            assert_eq!(set.state(), next, "{what}");
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
fn an_aborted_set_closes_no_more_devices_than_were_open() {
    let (set, _) = set_in(State::Aborted);
    set.close_device().unwrap();
    assert_eq!(set.close_device().unwrap_err().code(), VD_E_PROTOCOL);
}

#[test]
fn a_closed_set_is_not_opened_again() {
    for &state in &State::ALL[1..] {
        let (set, buffer) = set_in(state);
        set.close().unwrap();
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

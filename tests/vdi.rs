//! A virtual device set: what its calls do, with good and with bad values.

mod support;

use hugepool::share::ShareError;
use hugepool::vdi::{
    Config, Error, Parameters, Set, State, VD_E_ABORT, VD_E_INVALID, VD_E_MEMORY,
    VD_E_NOTSUPPORTED, VD_E_TIMEOUT, VDF_LIKE_TAPE, VDF_READ_MEDIA,
};
use hugepool::{FreeError, Pool};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::small::until_waiting;
use support::{on_cpu, two_cpus};

const SIZE: u32 = 64 << 10;
const PREFIX: u32 = 512;

fn client() -> Config {
    Config {
        device_count: 3,
        features: VDF_LIKE_TAPE,
        prefix_zone_size: PREFIX,
        alignment: 0,
        soft_file_mark_block_size: 11,
        eom_warning_size: 12,
        server_time_out: 13,
        ..Config::default()
    }
}

fn server() -> Parameters {
    Parameters {
        features: VDF_LIKE_TAPE | VDF_READ_MEDIA,
        block_size: 4096,
        alignment: 0,
        max_transfer_size: 1 << 20,
        time_out: 0,
    }
}

/// A set that can be configured.
fn configurable() -> Set {
    let set = Set::with_builder(Pool::builder().prefault(false));
    set.open(&client()).unwrap();
    set.begin_configuration(&server()).unwrap();
    set
}

/// A set with `count` buffers of `SIZE` bytes.
fn ready(count: u32) -> Set {
    let set = configurable();
    set.request_buffers(SIZE, 0, count).unwrap();
    set.end_configuration().unwrap();
    set
}

#[track_caller]
fn allocate(set: &Set) -> *mut u8 {
    set.allocate_buffer(SIZE, 0).unwrap().as_ptr()
}

#[track_caller]
fn free(set: &Set, start: *mut u8, size: u32) -> Result<(), Error> {
    // SAFETY: what is freed here is not used after that, and by nobody else; the rest is
    // refused.
    unsafe { set.free_buffer(start, size) }
}

#[track_caller]
fn says(error: &Error, code: u32, texts: &[&str]) {
    let text = error.to_string();
    assert_eq!(error.code(), code, "{text}");
    for part in texts {
        assert!(text.contains(part), "\"{text}\" does not say \"{part}\"");
    }
}

#[test]
fn what_is_requested_while_configuring_is_summed() {
    let set = configurable();
    for count in [2, 3] {
        set.request_buffers(SIZE, 0, count).unwrap();
    }
    set.request_buffers(4096, 0, 4).unwrap();
    assert_eq!(set.query_available_buffers(SIZE, 0), Ok(0));
    assert!(set.pool().is_none(), "nothing is mapped yet");
    set.end_configuration().unwrap();
    assert_eq!(set.query_available_buffers(SIZE, 0), Ok(5));
    assert_eq!(set.pool().unwrap().regions().len(), 2);
    let held: Vec<_> = (0..5).map(|_| allocate(&set)).collect();
    assert_eq!(set.query_available_buffers(SIZE, 0), Ok(0));
    let refused = set.allocate_buffer(SIZE, 0).unwrap_err();
    says(&refused, VD_E_MEMORY, &["5 of 5"]);
    for start in held {
        free(&set, start, SIZE).unwrap();
    }
    assert_eq!(set.query_available_buffers(SIZE, 0), Ok(5));
}

#[test]
fn what_is_requested_later_is_there_at_once() {
    let set = ready(1);
    set.request_buffers(SIZE, 0, 2).unwrap();
    assert_eq!(set.query_available_buffers(SIZE, 0), Ok(3));
    set.open_device().unwrap();
    set.request_buffers(1 << 20, 1 << 20, 1).unwrap();
    let start = set.allocate_buffer(1 << 20, 1 << 20).unwrap();
    assert!(start.addr().get().is_multiple_of(1 << 20));
}

#[test]
fn a_set_without_memory_can_be_configured_anew() {
    let set = configurable();
    set.request_buffers(1 << 30, 0, 4096).unwrap();
    let error = set.end_configuration().unwrap_err();
    says(&error, VD_E_MEMORY, &[]);
    assert_eq!(set.state(), State::Configurable);
    assert_eq!(set.query_available_buffers(1 << 30, 0), Ok(0));
    // Nothing of it is left.
    set.request_buffers(SIZE, 0, 1).unwrap();
    set.end_configuration().unwrap();
    assert_eq!(set.pool().unwrap().stats().capacity(), 1);
}

#[test]
fn growth_without_memory_leaves_the_set_as_it_was() {
    let set = ready(2);
    let error = set.request_buffers(1 << 30, 0, 4096).unwrap_err();
    says(&error, VD_E_MEMORY, &[]);
    assert_eq!(set.query_available_buffers(SIZE, 0), Ok(2));
    assert_eq!(set.query_available_buffers(1 << 30, 0), Ok(0));
}

#[test]
fn the_data_is_aligned_as_the_stricter_side_wants() {
    for (block, server_wants, client_wants, expected) in [
        (512, 0, 0, 512),
        (4096, 0, 0, 4096),
        (512, 8192, 0, 8192),
        (512, 1024, 65536, 65536),
        (65536, 65536, 1, 65536),
    ] {
        let set = Set::with_builder(Pool::builder().prefault(false));
        set.open(&Config {
            alignment: client_wants,
            ..client()
        })
        .unwrap();
        set.begin_configuration(&Parameters {
            block_size: block,
            alignment: server_wants,
            ..server()
        })
        .unwrap();
        assert_eq!(set.configuration().unwrap().alignment, expected);
        // Weaker, and stricter, than the set's.
        set.request_buffers(1000, 1, 2).unwrap();
        set.request_buffers(3000, 2 * expected, 1).unwrap();
        set.end_configuration().unwrap();
        for _ in 0..2 {
            let start = set.allocate_buffer(1000, 0).unwrap().addr().get();
            assert!(start.is_multiple_of(expected as usize));
        }
        let start = set.allocate_buffer(3000, 2 * expected).unwrap();
        assert!(start.addr().get().is_multiple_of(2 * expected as usize));
    }
}

#[test]
fn the_prefix_zone_is_in_front_and_not_counted() {
    let set = ready(2);
    let starts = [allocate(&set), allocate(&set)];
    let (first, second) = (starts[0].min(starts[1]), starts[0].max(starts[1]));
    let zone = second.wrapping_sub(PREFIX as usize);
    assert!(first.wrapping_add(SIZE as usize) <= zone, "it overlaps");
    // The server does not know of the zone.
    assert!(!set.is_shared_buffer(zone) && set.is_shared_buffer(second));
    // SAFETY: in front of a buffer that is ours there are that many bytes.
    unsafe { zone.write_bytes(0xff, PREFIX as usize) };
    free(&set, first, SIZE).unwrap();
    free(&set, second, SIZE).unwrap();
}

#[test]
fn the_configuration_is_what_both_sides_said() {
    let set = Set::with_builder(Pool::builder().prefault(false));
    set.open(&client()).unwrap();
    let connected = set.configuration().unwrap();
    assert_eq!(
        (connected.features, connected.block_size),
        (VDF_LIKE_TAPE, 0)
    );
    set.begin_configuration(&server()).unwrap();
    set.request_buffers(SIZE, 0, 1).unwrap();
    set.end_configuration().unwrap();
    let area: usize = (set.pool().unwrap().regions().iter())
        .map(|region| region.bytes())
        .sum();
    assert!(area >= SIZE as usize);
    assert_eq!(
        set.configuration().unwrap(),
        Config {
            device_count: 3,
            features: VDF_LIKE_TAPE | VDF_READ_MEDIA,
            prefix_zone_size: PREFIX,
            alignment: 4096,
            soft_file_mark_block_size: 11,
            eom_warning_size: 12,
            server_time_out: 13,
            block_size: 4096,
            max_io_depth: 4,
            max_transfer_size: 1 << 20,
            buffer_area_size: area as u32,
        }
    );
    assert_eq!(size_of::<Config>(), 44, "VDConfig has eleven words");
}

#[test]
fn an_allocation_that_no_buffer_could_serve_is_invalid() {
    let set = ready(1);
    let code = |size, alignment| set.allocate_buffer(size, alignment).unwrap_err().code();
    assert_eq!(code(0, 0), VD_E_INVALID);
    assert_eq!(code(SIZE, 3), VD_E_INVALID);
    assert_eq!(code(SIZE + 1, 0), VD_E_INVALID);
    assert_eq!(code(u32::MAX, 0), VD_E_INVALID);
    assert_eq!(code(SIZE, 1 << 20), VD_E_INVALID);
    let _held = allocate(&set);
    assert_eq!(code(SIZE, 0), VD_E_MEMORY);
    assert_eq!(code(1, 1), VD_E_MEMORY);
    // Such a buffer was declared, so it could.
    set.request_buffers(SIZE + 1, 0, 1).unwrap();
    assert!(set.allocate_buffer(SIZE + 1, 0).is_ok());
    assert_eq!(code(SIZE + 1, 0), VD_E_MEMORY);
}

#[test]
fn what_was_not_allocated_is_not_freed() {
    let set = ready(2);
    let other = ready(1);
    let (start, foreign) = (allocate(&set), allocate(&other));
    let mut stack = [0u8; 64];
    for (what, size) in [
        (std::ptr::null_mut(), SIZE),
        (stack.as_mut_ptr(), SIZE),
        (foreign, SIZE),
        (start.wrapping_add(1), SIZE),
        (start.wrapping_sub(1), SIZE),
        (start, SIZE - 1),
        (start, SIZE + 1),
        (start, 0),
        (std::ptr::without_provenance_mut(usize::MAX), SIZE),
    ] {
        let error = free(&set, what, size).unwrap_err();
        assert_eq!(error.code(), VD_E_INVALID, "{what:?}, {size}");
        assert_eq!(set.query_available_buffers(SIZE, 0), Ok(1));
    }
    free(&set, start, SIZE).unwrap();
    let address = start.addr();
    assert_eq!(
        free(&set, start, SIZE),
        Err(Error::Free(FreeError::NotAllocated { address }))
    );
    assert!(!set.is_shared_buffer(start), "it is free");
    assert!(!set.is_shared_buffer(foreign));
}

#[test]
fn buffers_in_other_processors_caches_count_and_can_be_had() {
    let Some((one, other)) = two_cpus("caches of two processors") else {
        return;
    };
    let set = ready(4);
    let held: Vec<usize> = (0..4).map(|_| allocate(&set).expose_provenance()).collect();
    for (cpu, addresses) in [(one, &held[..2]), (other, &held[2..])] {
        on_cpu(cpu, || {
            for &address in addresses {
                let start = std::ptr::with_exposed_provenance_mut(address);
                free(&set, start, SIZE).unwrap();
            }
        });
    }
    on_cpu(one, || {
        assert_eq!(set.query_available_buffers(SIZE, 0), Ok(4));
        let again: Vec<_> = (0..4).map(|_| allocate(&set)).collect();
        assert_eq!(set.query_available_buffers(SIZE, 0), Ok(0));
        let refused = set.allocate_buffer(SIZE, 0).unwrap_err();
        assert_eq!(refused.code(), VD_E_MEMORY);
        again
            .into_iter()
            .for_each(|start| free(&set, start, SIZE).unwrap());
    });
}

#[test]
fn values_out_of_range_are_refused_by_name_and_limit() {
    let open = |config: Config| Set::new().open(&config).unwrap_err();
    for given in [0, 65, u32::MAX] {
        let device_count = given;
        let error = open(Config {
            device_count,
            ..client()
        });
        says(&error, VD_E_NOTSUPPORTED, &[&given.to_string(), "1 to 64"]);
    }
    for given in [3, 1 << 17] {
        let alignment = given;
        let error = open(Config {
            alignment,
            ..client()
        });
        says(&error, VD_E_NOTSUPPORTED, &[&given.to_string(), "65536"]);
    }
    // Nobody has published what this bit means.
    let error = open(Config {
        features: VDF_LIKE_TAPE | 4,
        ..client()
    });
    says(&error, VD_E_NOTSUPPORTED, &["0x4"]);
    let error = open(Config {
        prefix_zone_size: (1 << 20) + 1,
        ..client()
    });
    says(&error, VD_E_NOTSUPPORTED, &["1048577 B", "1048576 B"]);

    let begin = |parameters: Parameters| {
        let set = Set::new();
        set.open(&client()).unwrap();
        let error = set.begin_configuration(&parameters).unwrap_err();
        assert_eq!(set.state(), State::Connected);
        error
    };
    for given in [0, 256, 513, 1 << 17] {
        let block_size = given;
        let error = begin(Parameters {
            block_size,
            ..server()
        });
        says(&error, VD_E_INVALID, &[&given.to_string(), "512", "65536"]);
    }
    // Weaker than the block size, no power of two, too strict.
    for given in [512, 4097, 1 << 17] {
        let alignment = given;
        let error = begin(Parameters {
            alignment,
            ..server()
        });
        says(&error, VD_E_INVALID, &[&given.to_string(), "4096", "65536"]);
    }
    let error = begin(Parameters {
        features: VDF_READ_MEDIA | 8,
        ..server()
    });
    says(&error, VD_E_INVALID, &["0x8"]);
    for given in [0, 4096, (64 << 10) + 1] {
        let max_transfer_size = given;
        let error = begin(Parameters {
            max_transfer_size,
            ..server()
        });
        says(&error, VD_E_INVALID, &[&given.to_string(), "65536"]);
    }

    let set = configurable();
    let request = |size, alignment, count| {
        let error = set.request_buffers(size, alignment, count).unwrap_err();
        assert_eq!(error.code(), VD_E_INVALID);
        error
    };
    request(0, 0, 1);
    request(SIZE, 0, 0);
    says(&request(SIZE, 3, 1), VD_E_INVALID, &["3"]);
    says(&request(SIZE, 1 << 31, 1), VD_E_INVALID, &["64 MiB"]);
    says(
        &request((1 << 30) + 1, 0, 1),
        VD_E_INVALID,
        &["1073741824 B"],
    );
    let most = u32::MAX;
    says(&request(most, 0, 1), VD_E_INVALID, &["4294967295", "512"]);
    set.end_configuration().unwrap();
    assert_eq!(set.pool().unwrap().stats().capacity(), 0);
}

#[test]
fn a_wait_ends_with_a_buffer_or_its_time_or_the_set() {
    let wait = |set: &Set, limit| set.allocate_buffer_timeout(SIZE, 0, limit);
    let set = ready(1);
    let start = allocate(&set);
    let error = wait(&set, Duration::from_millis(1)).unwrap_err();
    assert_eq!(error.code(), VD_E_TIMEOUT);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| wait(&set, Duration::MAX).map(|start| start.addr()));
        until_waiting(set.pool().unwrap(), 1);
        free(&set, start, SIZE).unwrap();
        assert_eq!(waiter.join().unwrap().unwrap().get(), start.addr());
    });
    for end in [Set::signal_abort, Set::close] {
        let set = ready(1);
        let _held = allocate(&set);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| wait(&set, Duration::MAX).map(|start| start.addr()));
            until_waiting(set.pool().unwrap(), 1);
            end(&set).unwrap();
            assert_eq!(waiter.join().unwrap().unwrap_err().code(), VD_E_ABORT);
        });
    }
}

#[test]
fn an_aborted_set_takes_buffers_back() {
    let set = ready(1);
    let start = allocate(&set);
    set.signal_abort().unwrap();
    assert_eq!(set.allocate_buffer(SIZE, 0).unwrap_err().code(), VD_E_ABORT);
    free(&set, start, SIZE).unwrap();
    set.close().unwrap();
}

#[test]
fn requests_beside_the_end_of_the_configuration_are_mapped_or_refused() {
    for _ in 0..50 {
        let set = configurable();
        let accepted = std::thread::scope(|scope| {
            let requester = scope.spawn(|| {
                let mut refused = 0;
                for _ in 0..20 {
                    match set.request_buffers(4096, 0, 1) {
                        Ok(()) => {}
                        // Only while the other thread is at it.
                        Err(Error::Protocol { state, .. }) => {
                            assert_eq!(state, State::Configurable);
                            refused += 1;
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
                20 - refused
            });
            set.end_configuration().unwrap();
            requester.join().unwrap()
        });
        assert_eq!(set.query_available_buffers(4096, 0), Ok(accepted));
    }
}

#[test]
fn only_what_allocate_buffer_has_made_available_is_a_shared_buffer() {
    let set = configurable();
    set.request_buffers(SIZE, 0, 3).unwrap();
    let nowhere = std::ptr::null();
    assert!(!set.is_shared_buffer(nowhere), "nothing is mapped");
    set.end_configuration().unwrap();
    let (start, size) = (allocate(&set), SIZE as usize);
    let free_one = allocate(&set);
    free(&set, free_one, SIZE).unwrap();
    for (within, is) in [
        (0, true),
        (1, true),
        (size - 1, true),
        (size, false),
        (usize::MAX, false),
    ] {
        let address = start.wrapping_add(within);
        assert_eq!(set.is_shared_buffer(address), is, "at {within}");
        let address = free_one.wrapping_add(within);
        assert!(!set.is_shared_buffer(address), "of a free one, at {within}");
    }
    // As many bytes as were asked for.
    let part = set.allocate_buffer(1000, 0).unwrap().as_ptr();
    assert!(set.is_shared_buffer(part.wrapping_add(999)));
    assert!(!set.is_shared_buffer(part.wrapping_add(1000)));
    free(&set, part, 1000).unwrap();
    assert!(!set.is_shared_buffer(part));
    // What the pool behind the set hands out otherwise is not AllocateBuffer's.
    let pool = set.pool().unwrap();
    let other = pool.allocate(size, 4096).unwrap();
    assert!(!set.is_shared_buffer(other.as_ptr()));
    drop(other);
    // What is out stays out after an abort, until the set is closed.
    set.signal_abort().unwrap();
    assert!(set.is_shared_buffer(start));
    set.close().unwrap();
    assert!(!set.is_shared_buffer(start));
}

#[test]
fn a_buffer_that_stays_out_is_a_shared_buffer_whatever_happens_beside_it() {
    let set = ready(2);
    let (held, end) = (allocate(&set).expose_provenance(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for size in (1..=SIZE).cycle().take(50_000) {
                let start = set.allocate_buffer(size, 0).unwrap().as_ptr();
                assert!(set.is_shared_buffer(start));
                free(&set, start, size).unwrap();
            }
            end.store(true, Ordering::Relaxed);
        });
        while !end.load(Ordering::Relaxed) {
            let start = std::ptr::without_provenance::<u8>(held);
            assert!(set.is_shared_buffer(start));
            assert!(set.is_shared_buffer(start.wrapping_add(SIZE as usize - 1)));
            assert!(!set.is_shared_buffer(start.wrapping_sub(1)));
        }
    });
}

#[test]
fn what_clients_are_told_after_close_depends_on_how_it_ended() {
    for (opens, aborts, expected) in [
        (false, false, ShareError::Closed),
        (true, false, ShareError::Aborted),
        (false, true, ShareError::Aborted),
    ] {
        let set = ready(1);
        if opens {
            set.open_device().unwrap();
        }
        if aborts {
            set.signal_abort().unwrap();
        }
        assert_eq!(set.close().is_err(), opens);
        assert_eq!(set.exports().unwrap_err(), expected);
    }
}

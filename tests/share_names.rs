//! Pools that other processes open by name.

mod support;

use hugepool::Pool;
use hugepool::share::{Access, Client, Handle, Name, Peers, Publication, ShareError};
use hugepool::vdi::{
    Config, Parameters, Set, VD_E_ABORT, VD_E_CLOSE, VD_E_OPEN, VD_E_PROTOCOL, VDF_READ_MEDIA,
};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use support::LONG;
use support::published::{PREFIX, SIZE, allocate, free, name, open, opened, pool, refresh};

#[test]
fn another_process_reads_what_was_written_and_stamps_the_prefix_zone() {
    const TEST: &str = "another_process_reads_what_was_written_and_stamps_the_prefix_zone";
    const NAME: &str = "HUGEPOOL_TEST_NAME";
    const HANDLES: &str = "HUGEPOOL_TEST_HANDLES";
    if let (Ok(name), Ok(handles)) = (std::env::var(NAME), std::env::var(HANDLES)) {
        let client = opened(&name, &Peers::default()).unwrap();
        for handle in handles.split(',') {
            let handle = Handle::from_raw(handle.parse().unwrap());
            let view = client.map(handle).unwrap();
            // SAFETY: mapped while the client lives; the other process waits.
            unsafe {
                let bytes = std::slice::from_raw_parts(view.start.as_ptr(), view.size);
                let sum: u64 = bytes.iter().map(|&byte| u64::from(byte)).sum();
                let zone = view.start.sub(view.prefix).cast::<u64>();
                zone.write(sum);
            }
        }
        return;
    }
    let pool = pool(8);
    let name = name("other process");
    let _publication = pool.publish(&name, Peers::default()).unwrap();
    let held: Vec<_> = (0..8u8)
        .map(|number| {
            let start = allocate(&pool);
            // SAFETY: it is ours.
            unsafe { start.as_ptr().write_bytes(number, SIZE) };
            start
        })
        .collect();
    let handles: Vec<String> = (held.iter())
        .map(|start| pool.handle(start.as_ptr()).unwrap().raw().to_string())
        .collect();
    let client = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST])
        .env(NAME, &name)
        .env(HANDLES, handles.join(","))
        .status()
        .unwrap();
    assert!(client.success());
    for (number, start) in held.into_iter().enumerate() {
        // SAFETY: it is ours again.
        let sum = unsafe { start.sub(PREFIX).cast::<u64>().read() };
        assert_eq!(sum, (number * SIZE) as u64);
        free(&pool, start);
    }
}

#[test]
fn a_client_that_is_killed_or_stopped_while_it_writes_everywhere_costs_no_buffer() {
    const TEST: &str =
        "a_client_that_is_killed_or_stopped_while_it_writes_everywhere_costs_no_buffer";
    const NAME: &str = "HUGEPOOL_TEST_WRITER";
    const HANDLES: &str = "HUGEPOOL_TEST_HANDLES";
    const COUNT: usize = 16;
    if let (Ok(name), Ok(handles)) = (std::env::var(NAME), std::env::var(HANDLES)) {
        support::end_if_forgotten();
        let client = opened(&name, &Peers::default()).unwrap();
        let views: Vec<_> = (handles.split(','))
            .map(|handle| {
                client
                    .map(Handle::from_raw(handle.parse().unwrap()))
                    .unwrap()
            })
            .collect();
        // On a line of its own: on one processor the harness has begun one.
        println!("\nready");
        loop {
            for view in &views {
                // SAFETY: mapped for writing, with its prefix zone. Whoever has the
                // buffer by now expects no better.
                unsafe {
                    let zone = view.start.sub(view.prefix);
                    zone.write_bytes(0xff, view.prefix + SIZE);
                }
            }
        }
    }
    for signal in [libc::SIGKILL, libc::SIGSTOP] {
        let pool = pool(COUNT);
        let name = name(&format!("writer {signal}"));
        let publication = pool.publish(&name, Peers::default()).unwrap();
        let held: Vec<_> = (0..COUNT).map(|_| allocate(&pool)).collect();
        let handles: Vec<String> = (held.iter())
            .map(|start| pool.handle(start.as_ptr()).unwrap().raw().to_string())
            .collect();
        let mut client = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(NAME, &name)
            .env(HANDLES, handles.join(","))
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(client.stdout.take().unwrap());
        let ready = std::io::BufRead::lines(lines).any(|line| line.unwrap() == "ready");
        assert!(ready, "the client ended");
        held.into_iter().for_each(|start| free(&pool, start));
        for turn in 0..200 {
            if turn == 100 {
                // SAFETY: sends a signal to our own child.
                assert_eq!(unsafe { libc::kill(client.id() as i32, signal) }, 0);
            }
            let mut held: Vec<_> = (0..COUNT).map(|_| allocate(&pool)).collect();
            assert!(
                pool.allocate_raw(SIZE, 4096).is_err(),
                "there is one too many"
            );
            held.sort_unstable();
            held.dedup();
            assert_eq!(held.len(), COUNT, "one was handed out twice");
            held.into_iter().for_each(|start| free(&pool, start));
        }
        // With the client stopped for ever, too.
        drop(publication);
        drop(pool);
        client.kill().unwrap();
        client.wait().unwrap();
    }
}

#[test]
fn a_client_that_asks_again_gets_what_was_added() {
    let pool = pool(1);
    let name = name("growth");
    let _publication = pool.publish(&name, Peers::default()).unwrap();
    let client = opened(&name, &Peers::default()).unwrap();
    assert_eq!(refresh(&client), Ok(0));
    for _ in 0..40 {
        pool.request(SIZE, 4096, 1).unwrap();
    }
    let held: Vec<_> = (0..41).map(|_| allocate(&pool)).collect();
    let known = || {
        let known = held
            .iter()
            .map(|start| pool.handle(start.as_ptr()).unwrap());
        known.filter(|&handle| client.map(handle).is_ok()).count()
    };
    assert_eq!(known(), 1);
    assert_eq!(refresh(&client), Ok(40));
    assert_eq!(known(), 41);
    held.into_iter().for_each(|start| free(&pool, start));
}

#[test]
fn a_name_is_one_publications_as_long_as_that_lives() {
    let pool = pool(1);
    let name = name("taken");
    assert_eq!(open(&name), Err(ShareError::NotPublished), "nobody has it");
    let publication = pool.publish(&name, Peers::default()).unwrap();
    assert!(open(&name).is_ok());
    let taken = pool.publish(&name, Peers::default()).unwrap_err();
    assert_eq!((&taken, taken.code()), (&ShareError::NameTaken, VD_E_OPEN));
    drop(publication);
    assert_eq!(open(&name), Err(ShareError::NotPublished));
    let _again = pool.publish(&name, Peers::default()).unwrap();
    assert!(open(&name).is_ok());
    let refused = pool.publish("", Peers::default()).unwrap_err();
    assert_eq!(refused, ShareError::NoName);
    assert!(opened("", &Peers::default()).is_err());
    let plain = Pool::builder().build().unwrap();
    let refused = plain.publish("plain", Peers::default()).unwrap_err();
    assert_eq!(refused, ShareError::NotShared);
}

#[test]
fn names_of_any_length_and_character_are_different_ones() {
    let own = name("of any length");
    let long = "x".repeat(10_000);
    let names: Vec<(String, String)> = [
        ("", own.as_str()),
        ("east", &own),
        ("", &format!("east:{own}")),
        ("", &format!("east/{own}")),
        ("east:", &own),
        ("", &format!("{own}{long}")),
        ("", &format!("{own}{long}x")),
        (&long, &own),
        ("", &format!("{own} \u{e9}\u{0}\n%:#/")),
    ]
    .map(|(instance, set)| (instance.to_owned(), set.to_owned()))
    .to_vec();
    let pools: Vec<_> = names.iter().map(|_| pool(1)).collect();
    let publications: Vec<_> = (names.iter().zip(&pools))
        .map(|((instance, set), pool)| {
            let name = Name::of_instance(instance, set);
            pool.publish(name, Peers::default()).unwrap()
        })
        .collect();
    for ((instance, set), pool) in names.iter().zip(&pools) {
        let name = Name::of_instance(instance, set);
        let client = opened(name, &Peers::default()).unwrap();
        // It is that pool: its own segments are there already.
        let again = client.attach(pool.exports().unwrap().remove(0));
        assert!(
            matches!(again, Err(ShareError::Slots { .. })),
            "{name:?}: {again:?}"
        );
    }
    drop(publications);
}

/// What is published may come and go; a client keeps to one pool.
#[test]
fn a_client_is_one_pools() {
    let (first, second) = (pool(1), pool(1));
    let name = name("one pool");
    let publication = first.publish(&name, Peers::default()).unwrap();
    let client = Client::new();
    assert_eq!(client.refresh(), Err(ShareError::NotOpen));
    let handle = Handle::from_raw(1);
    assert_eq!(client.map(handle), Err(ShareError::NotOpen));
    assert_eq!(
        client.handle(&raw const handle as _),
        Err(ShareError::NotOpen)
    );
    client
        .open_in_secondary_timeout(&name, &Peers::default(), LONG)
        .unwrap();
    let again = client.open_in_secondary_timeout(&name, &Peers::default(), LONG);
    assert_eq!(again, Err(ShareError::AlreadyOpen));
    assert_eq!(client.map(handle), Err(ShareError::BadHandle { handle }));
    drop(publication);
    assert_eq!(refresh(&client), Err(ShareError::NotPublished));
    let other = second.publish(&name, Peers::default()).unwrap();
    for segments in 1..=2 {
        let other = refresh(&client);
        assert!(
            matches!(other, Err(ShareError::OtherPool { .. })),
            "with {segments}: {other:?}"
        );
        second.request(SIZE, 4096, 1).unwrap();
    }
    for export in second.exports().unwrap() {
        let other = client.attach(export);
        assert!(
            matches!(other, Err(ShareError::OtherPool { .. })),
            "{other:?}"
        );
    }
    // The name is another's: what the first pool's owner says by another way is not mapped,
    // since who has the name now might have said it.
    let start = allocate(&first);
    let handle = first.handle(start.as_ptr()).unwrap();
    assert_eq!(client.map(handle), Err(ShareError::NotPublished));
    // Until it has the name again.
    drop(other);
    let _publication = first.publish(&name, Peers::default()).unwrap();
    assert_eq!(client.map(handle), Err(ShareError::NotPublished));
    assert_eq!(refresh(&client), Ok(0));
    assert!(client.map(handle).is_ok());
    free(&first, start);
}

#[test]
fn threads_of_a_client_that_ask_at_once_add_each_segment_once() {
    const GROWTHS: usize = 30;
    let pool = pool(1);
    let name = name("asking");
    let _publication = pool.publish(&name, Peers::default()).unwrap();
    let client = opened(&name, &Peers::default()).unwrap();
    let added: usize = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut added = 0;
                    loop {
                        added += refresh(&client).unwrap();
                        if pool.available(SIZE, 4096) > GROWTHS {
                            return added + refresh(&client).unwrap();
                        }
                    }
                })
            })
            .collect();
        for _ in 0..GROWTHS {
            pool.request(SIZE, 4096, 1).unwrap();
        }
        askers.into_iter().map(|asker| asker.join().unwrap()).sum()
    });
    assert_eq!(added, GROWTHS);
    let held: Vec<_> = (0..=GROWTHS).map(|_| allocate(&pool)).collect();
    for &start in &held {
        assert!(client.map(pool.handle(start.as_ptr()).unwrap()).is_ok());
    }
    held.into_iter().for_each(|start| free(&pool, start));
}

#[test]
fn a_client_that_attaches_while_the_pool_grows_has_all_that_was_there_before() {
    const GROWTHS: usize = 60;
    let pool = pool(1);
    let name = name("growing");
    let _publication = pool.publish(&name, Peers::default()).unwrap();
    // Handles of the buffers that are out, 0 for those that are not yet.
    let handles: Vec<_> = (0..=GROWTHS).map(|_| AtomicU32::new(0)).collect();
    let known = || {
        let loaded = handles.iter().map(|handle| handle.load(Ordering::Acquire));
        loaded.take_while(|&raw| raw != 0).map(Handle::from_raw)
    };
    let hold = |place: &AtomicU32| {
        let handle = pool.handle(allocate(&pool).as_ptr()).unwrap();
        place.store(handle.raw(), Ordering::Release);
    };
    hold(&handles[0]);
    std::thread::scope(|scope| {
        let grower = scope.spawn(|| {
            for place in &handles[1..] {
                pool.request(SIZE, 4096, 1).unwrap();
                hold(place);
            }
        });
        let mut attached = 0;
        while attached == 0 || !grower.is_finished() {
            let before: Vec<_> = known().collect();
            let client = opened(&name, &Peers::default()).unwrap();
            for handle in before {
                assert_eq!(client.map(handle).map(|view| view.size), Ok(SIZE));
            }
            attached += 1;
        }
        println!("{attached} clients attached while the pool grew {GROWTHS} times");
    });
    assert_eq!(known().count(), GROWTHS + 1);
    known().for_each(|handle| free(&pool, pool.view(handle).unwrap().start));
}

fn set() -> Arc<Set> {
    Arc::new(Set::with_builder(
        Pool::builder().prefault(false).shared(Access::Write),
    ))
}

#[test]
fn a_set_can_be_opened_by_clients_while_it_has_buffers() {
    let set = set();
    let name = name("states");
    let _publication = set.publish(&name, Peers::default()).unwrap();
    let refused = |error: ShareError, code: u32| {
        assert_eq!(open(&name).as_ref(), Err(&error));
        assert_eq!(error.code(), code);
    };
    refused(ShareError::NotConfigured, VD_E_PROTOCOL);
    set.open(&Config {
        device_count: 1,
        ..Config::default()
    })
    .unwrap();
    set.begin_configuration(&Parameters {
        features: 0,
        block_size: 512,
        alignment: 0,
        max_transfer_size: 1 << 16,
        time_out: 0,
    })
    .unwrap();
    set.request_buffers(4096, 0, 1).unwrap();
    refused(ShareError::NotConfigured, VD_E_PROTOCOL);
    set.end_configuration().unwrap();
    let client = opened(&name, &Peers::default()).unwrap();
    let start = set.allocate_buffer(4096, 0).unwrap();
    let handle = set.handle(start.as_ptr()).unwrap();
    assert!(client.map(handle).is_ok());
    set.signal_abort().unwrap();
    refused(ShareError::Aborted, VD_E_ABORT);
    assert_eq!(refresh(&client), Err(ShareError::Aborted));
    assert_eq!(set.handle(start.as_ptr()), Ok(handle), "it is still out");
    assert_eq!(set.view(handle).unwrap().start, start);
    // The client learns of it at its next call, whichever that is.
    assert_eq!(client.map(handle), Err(ShareError::Aborted));
    assert_eq!(client.handle(start.as_ptr()), Err(ShareError::Aborted));
    set.close().unwrap();
    // Who is late is told why; nor does it become a good end.
    refused(ShareError::Aborted, VD_E_ABORT);
    assert_eq!(set.handle(start.as_ptr()), Err(ShareError::Aborted));
    assert_eq!(set.view(handle), Err(ShareError::Aborted));
    assert_eq!(client.map(handle), Err(ShareError::Aborted));
    assert_eq!(refresh(&client), Err(ShareError::Aborted));
    drop(set);
    refused(ShareError::Closed, VD_E_CLOSE);
    assert_eq!(client.map(handle), Err(ShareError::Aborted));
    assert_eq!(refresh(&client), Err(ShareError::Aborted));
}

/// Configures `set` with `count` buffers of 4096 B.
fn configure(set: &Set, count: u32) {
    set.open(&Config {
        device_count: 3,
        ..Config::default()
    })
    .unwrap();
    set.begin_configuration(&Parameters {
        features: VDF_READ_MEDIA,
        block_size: 512,
        alignment: 0,
        max_transfer_size: 1 << 16,
        time_out: 0,
    })
    .unwrap();
    set.request_buffers(4096, 0, count).unwrap();
    set.end_configuration().unwrap();
}

/// A set of `count` buffers of 4096 B, published by `name`.
fn published_set(name: &str, count: u32) -> (Arc<Set>, Publication) {
    let set = set();
    let publication = set.publish(name, Peers::default()).unwrap();
    configure(&set, count);
    (set, publication)
}

#[test]
fn after_close_and_a_new_set_of_that_name_a_client_is_told_so() {
    let name = name("new set");
    let (first, publication) = published_set(&name, 1);
    let client = opened(&name, &Peers::default()).unwrap();
    let start = first.allocate_buffer(4096, 0).unwrap();
    let handle = first.handle(start.as_ptr()).unwrap();
    assert!(client.map(handle).is_ok());
    first.close().unwrap();
    drop(publication);
    assert_eq!(refresh(&client), Err(ShareError::Closed));
    // One that has no buffers yet, and then as many segments as the first.
    let unconfigured = set();
    let publication = unconfigured.publish(&name, Peers::default()).unwrap();
    let other = refresh(&client);
    assert!(
        matches!(other, Err(ShareError::OtherPool { given: 0, .. })),
        "{other:?}"
    );
    drop(publication);
    let (second, _publication) = published_set(&name, 1);
    let other = refresh(&client);
    assert!(
        matches!(other, Err(ShareError::OtherPool { .. })),
        "{other:?}"
    );
    // The new one's handle is the same number.
    let start = second.allocate_buffer(4096, 0).unwrap();
    let new = second.handle(start.as_ptr()).unwrap();
    assert_eq!(client.map(new), Err(ShareError::Closed));
    // How the new one ends is nothing to a client of the first.
    second.signal_abort().unwrap();
    let other = refresh(&client);
    assert!(
        matches!(other, Err(ShareError::OtherPool { .. })),
        "{other:?}"
    );
}

#[test]
fn a_client_can_close_and_open_again() {
    let name = name("again");
    let (set, _publication) = published_set(&name, 1);
    let mut client = Client::new();
    assert_eq!(client.close(), Err(ShareError::NotOpen));
    for _ in 0..3 {
        client
            .open_in_secondary_timeout(&name, &Peers::default(), LONG)
            .unwrap();
        let start = set.allocate_buffer(4096, 0).unwrap();
        let handle = set.handle(start.as_ptr()).unwrap();
        assert!(client.map(handle).is_ok());
        client.close().unwrap();
        assert_eq!(client.map(handle), Err(ShareError::NotOpen));
        // SAFETY: allocated above, and freed once.
        unsafe { set.free_buffer(start.as_ptr(), 4096) }.unwrap();
    }
}

#[test]
fn a_client_waits_until_the_set_is_configured() {
    let name = name("configuration");
    let peers = Peers::default();
    let ask = |limit| Client::configuration_of(&name, &peers, limit);
    let long = std::time::Duration::from_secs(600);
    assert_eq!(ask(long), Err(ShareError::NotPublished));
    let set = set();
    let _publication = set.publish(&name, Peers::default()).unwrap();
    let soon = std::time::Duration::from_millis(50);
    assert_eq!(ask(soon), Err(ShareError::TimedOut { limit: 50 }));
    let config = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(std::time::Duration::MAX));
        configure(&set, 1);
        waiting.join().unwrap().unwrap()
    });
    assert_eq!(config, set.configuration().unwrap());
    let client = opened(&name, &peers).unwrap();
    let asked = client.configuration(long);
    assert_eq!(asked, Ok(config));
    set.signal_abort().unwrap();
    let asked = client.configuration(long);
    assert_eq!(asked, Err(ShareError::Aborted));
    assert_eq!(ask(long), Err(ShareError::Aborted));
    assert_eq!(Client::new().configuration(long), Err(ShareError::NotOpen));
    let pool = pool(1);
    let plain = support::published::name("no set");
    let _publication = pool.publish(&plain, Peers::default()).unwrap();
    let none = Client::configuration_of(&plain, &peers, long);
    assert_eq!(none, Err(ShareError::NoSet));
}

/// What a server process does: publishes a set, says a handle, and waits for the end.
fn serve_until_killed(name: &str) -> ! {
    let (set, _publication) = published_set(name, 1);
    let start = set.allocate_buffer(4096, 0).unwrap();
    // On a line of its own: see above.
    println!("\nhandle {}", set.handle(start.as_ptr()).unwrap().raw());
    loop {
        std::thread::park();
    }
}

#[test]
fn a_client_whose_server_was_killed_and_started_again_never_maps_the_old_memory() {
    const TEST: &str =
        "a_client_whose_server_was_killed_and_started_again_never_maps_the_old_memory";
    const NAME: &str = "HUGEPOOL_TEST_SERVER";
    if let Ok(name) = std::env::var(NAME) {
        support::end_if_forgotten();
        serve_until_killed(&name);
    }
    let name = name("killed");
    let start = || {
        let mut server = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(NAME, &name)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(server.stdout.take().unwrap());
        let handle = std::io::BufRead::lines(lines)
            .find_map(|line| line.unwrap().strip_prefix("handle ")?.parse().ok())
            .expect("the server ended");
        (server, Handle::from_raw(handle))
    };
    let (mut server, handle) = start();
    let client = opened(&name, &Peers::default()).unwrap();
    assert!(client.map(handle).is_ok());
    server.kill().unwrap();
    server.wait().unwrap();
    let (mut again, new) = start();
    // The same number, and another buffer.
    assert_eq!(client.map(new), Err(ShareError::ServerDied));
    assert_eq!(ShareError::ServerDied.code(), VD_E_ABORT);
    let other = refresh(&client);
    assert!(
        matches!(other, Err(ShareError::OtherPool { .. })),
        "{other:?}"
    );
    again.kill().unwrap();
    again.wait().unwrap();
    assert_eq!(refresh(&client), Err(ShareError::ServerDied));
}

#[test]
fn a_set_that_is_not_shared_is_not_published() {
    let set = Arc::new(Set::with_builder(Pool::builder()));
    let refused = set.publish("not shared", Peers::default()).unwrap_err();
    assert_eq!(
        (&refused, refused.code()),
        (&ShareError::NotShared, VD_E_PROTOCOL)
    );
}

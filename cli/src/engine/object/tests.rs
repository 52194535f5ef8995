//! The places over a store in memory: what needs no server, and what a server cannot be made to do.

use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

use super::client::Client;
use super::names::Name;
use super::stripe::Parts;
use super::{Backup, Destination};
use crate::engine::buffers::{Buffers, Pooled, Space};
use crate::engine::format::block::HEADER;
use crate::engine::stop::Stop;
use crate::engine::store::{Place, Shelf, Sink, Source};

const URL: &str = "s3://test/place";

fn client(store: &Arc<InMemory>) -> Client {
    let store = Arc::clone(store);
    Client::over(store, Path::from("place"), Duration::ZERO).expect("threads start")
}

fn open(store: &Arc<InMemory>, parts: Parts) -> Destination {
    let stop = Arc::new(Stop::default());
    let opened = Destination::over(URL, client(store), parts, &stop);
    opened.expect("nothing is there")
}

fn names(store: &Arc<InMemory>) -> Vec<String> {
    let client = client(store);
    let listed = client.wait(client.list()).expect("listed");
    let mut names: Vec<_> = listed.names().iter().map(Name::to_string).collect();
    names.sort();
    names
}

/// A buffer whose bytes are `seed`, and those of the header the same.
fn filled<B: Buffers>(buffers: &B, seed: u8) -> B::Space {
    let mut space = buffers.take().expect("one is free");
    space.whole_mut().fill(seed);
    space
}

#[test]
fn parts_are_the_pools_buffers_until_the_store_lets_go_of_them() {
    const TRANSFER: usize = 64 << 10;
    let store = Arc::new(InMemory::new());
    let parts = Parts {
        bytes: HEADER + TRANSFER,
        most: 100,
    };
    let place = open(&store, parts);
    let pool = Pooled::new(TRANSFER, 8).expect("a pool");
    let mut sink = place.create(0).expect("begun");
    // The store in memory keeps the parts as they came until the upload is complete. So with nothing copied every
    // buffer of the pool is out, and none could be had any more.
    for seed in 0..8 {
        sink.append(filled(&pool, seed), TRANSFER).expect("sent");
    }
    assert_eq!(pool.high_water(), 8);
    pool.abort();
    assert!(
        pool.take().is_err(),
        "a buffer was free: its bytes were copied"
    );
    sink.finish().expect("complete");
    let object = client(&store);
    let bytes = object.wait(object.get(Name::Volume {
        stripe: 0,
        start: 0,
    }));
    let expected: Vec<u8> = (0..8)
        .flat_map(|seed| vec![seed; HEADER + TRANSFER])
        .collect();
    assert!(bytes.expect("there") == expected);
}

/// A stripe of `blocks` blocks of 8 KiB, whose first byte is its number, over objects of three parts of two blocks.
fn stripe_of(store: &Arc<InMemory>, blocks: u8) -> Vec<u8> {
    let parts = Parts {
        bytes: 16 << 10,
        most: 3,
    };
    let place = open(store, parts);
    let pool = Pooled::new(4096, 16).expect("a pool");
    let mut sink = place.create(5).expect("begun");
    for seed in 0..blocks {
        sink.append(filled(&pool, seed), 4096).expect("sent");
    }
    sink.finish().expect("complete");
    place.commit(b"catalogue").expect("written");
    (0..blocks).flat_map(|seed| vec![seed; 8192]).collect()
}

#[test]
fn a_stripe_of_more_parts_than_an_object_has_goes_on_in_the_next_one_and_is_read_as_one() {
    for blocks in [1, 5, 6, 7, 12, 20] {
        let store = Arc::new(InMemory::new());
        let expected = stripe_of(&store, blocks);
        let mut objects = vec!["catalogue".to_owned()];
        for start in (0..u64::from(blocks) * 8192).step_by(6 * 8192) {
            objects.push(Name::Volume { stripe: 5, start }.to_string());
        }
        objects.sort();
        assert_eq!(names(&store), objects);
        let shelf = Backup::over(URL, client(&store)).expect("listed");
        assert_eq!(shelf.catalogue().expect("there"), b"catalogue");
        let source = shelf.open(5).expect("there");
        assert_eq!(source.length(), expected.len() as u64);
        let stop = Stop::default();
        // Reads of three blocks, over the ends of objects, and on; and back to the start.
        let pool = Pooled::new(20 << 10, 1).expect("a pool");
        let mut space = pool.take().expect("free");
        for at in (0..expected.len()).step_by(4096).chain([0]) {
            let count = source.read(at as u64, &mut space, 0, 24 << 10, &stop);
            let rest = &expected[at..];
            let most = rest.len().min(24 << 10);
            assert_eq!(count.expect("read"), most);
            assert!(space.whole()[..most] == rest[..most]);
        }
        assert_eq!(
            shelf.open(4).err().expect("none").kind(),
            std::io::ErrorKind::NotFound
        );
    }
}

#[test]
fn an_object_that_is_missing_from_the_middle_of_a_stripe_moves_no_other_byte() {
    let store = Arc::new(InMemory::new());
    let expected = stripe_of(&store, 20);
    let start = 6 * 8192;
    let gone = client(&store);
    let removed = gone.wait(gone.delete(Name::Volume { stripe: 5, start }));
    removed.expect("removed");
    let shelf = Backup::over(URL, client(&store)).expect("listed");
    let (source, stop) = (shelf.open(5).expect("there"), Stop::default());
    let pool = Pooled::new(4096, 1).expect("a pool");
    let mut space = pool.take().expect("free");
    for (at, block) in expected.chunks(8192).enumerate() {
        let at = at as u64 * 8192;
        let read = source.read(at, &mut space, 0, 8192, &stop);
        if (start..2 * start).contains(&at) {
            assert_eq!(
                read.expect_err("missing").kind(),
                std::io::ErrorKind::NotFound
            );
        } else {
            assert_eq!(read.expect("read"), 8192);
            assert!(space.whole() == block);
        }
    }
    assert!(!stop.is_stopped());
}

const SMALL: Parts = Parts {
    bytes: 16 << 10,
    most: 100,
};

#[test]
fn of_two_backups_to_one_prefix_the_later_one_is_there_and_the_other_one_fails() {
    let store = Arc::new(InMemory::new());
    let pool = Pooled::new(4096, 16).expect("a pool");
    let write = |place: &Destination, seed| {
        let mut sink = place.create(0)?;
        for _ in 0..9 {
            sink.append(filled(&pool, seed), 4096)?;
        }
        sink.finish()
    };
    // At a stripe, and at the catalogue.
    for ends_before in [false, true] {
        let first = open(&store, SMALL);
        if ends_before {
            write(&first, 1).expect("written");
        }
        let second = open(&store, SMALL);
        assert!(second.notes()[0].contains("held an incomplete backup, which was removed"));
        write(&second, 2).expect("written");
        let error = match ends_before {
            false => write(&first, 1).expect_err("another's"),
            true => first.commit(b"first").expect_err("another's"),
        };
        assert!(
            error.to_string().contains("another backup was begun there"),
            "{error}"
        );
        assert!(first.discard().is_err());
        second.commit(b"second").expect("written");
        assert_eq!(names(&store).first().map(String::as_str), Some("catalogue"));
        let shelf = Backup::over(URL, client(&store)).expect("listed");
        assert_eq!(shelf.catalogue().expect("there"), b"second");
        let source = shelf.open(0).expect("there");
        let mut space = pool.take().expect("free");
        let count = source.read(0, &mut space, 0, 8192, &Stop::default());
        assert!(count.expect("read") == 8192 && space.whole() == [2; 8192]);
        // And who comes then is refused.
        let stop = Arc::new(Stop::default());
        let third = Destination::over(URL, client(&store), SMALL, &stop);
        let refused = third.err().expect("refused");
        assert!(
            refused
                .message()
                .is_some_and(|it| it.contains("holds a backup already"))
        );
        let all = client(&store);
        let listed = all.wait(all.list()).expect("listed");
        all.wait(all.remove(&listed.names())).expect("removed");
    }
}

#[test]
fn a_catalogue_that_came_in_between_is_not_written_over() {
    let store = Arc::new(InMemory::new());
    let place = open(&store, SMALL);
    let other = store.clone();
    let path = Path::from("place/catalogue");
    let put = client(&store);
    let payload = PutPayload::from_static(b"another's");
    put.wait(other.put(&path, payload)).expect("put");
    let error = place.commit(b"mine").expect_err("there is one");
    assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    let shelf = Backup::over(URL, client(&store)).expect("listed");
    assert_eq!(shelf.catalogue().expect("there"), b"another's");
}

#[test]
fn what_is_discarded_leaves_no_object() {
    let store = Arc::new(InMemory::new());
    let place = open(&store, SMALL);
    let pool = Pooled::new(4096, 16).expect("a pool");
    let mut whole = place.create(0).expect("begun");
    whole.append(filled(&pool, 1), 4096).expect("sent");
    whole.finish().expect("complete");
    let mut half = place.create(1).expect("begun");
    for _ in 0..5 {
        half.append(filled(&pool, 1), 4096).expect("sent");
    }
    half.abort();
    assert_eq!(names(&store), ["stripe-0000", "writing"]);
    place.discard().expect("removed");
    assert_eq!(names(&store), [""; 0]);
}

//! Children of a process that has a ring do not have it.

#![allow(
    clippy::disallowed_types,
    reason = "tests that need huge pages take turns"
)]

mod support;

use hugepool::uring::{Registry, Ring, Service, WhyRejected};
use hugepool::{Pages, Pool, Rung};
use io_uring::IoUring;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};
use support::process::{alone, in_fork};
use support::reserved::Reserved;
use support::uring::{Temporary, next, pattern, pipe, ring, without_reserved};
use support::{maps, number, skipped};

const SIZE: usize = 16 << 10;
const COUNT: usize = 16;
const PAGES: usize = 4;

/// Whose turn it is to reserve huge pages and count them.
static TURNS: Mutex<()> = Mutex::new(());

fn pool() -> Pool {
    let builder = Pool::builder().reserve(SIZE, 4096, COUNT);
    without_reserved(builder).prefault(false).build().unwrap()
}

/// The descriptors of rings that this process has.
fn rings() -> Vec<i32> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let rings = open.filter_map(|entry| {
        let entry = entry.unwrap();
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        let is_ring = target.to_string_lossy().contains("io_uring");
        is_ring.then(|| entry.file_name().to_str().unwrap().parse().unwrap())
    });
    rings.collect()
}

fn has_mapping() -> bool {
    maps().iter().any(|map| map.name.contains("io_uring"))
}

#[test]
fn a_child_has_neither_the_ring_nor_its_mappings_and_touches_nothing_in_its_place() {
    let name = "a_child_has_neither_the_ring_nor_its_mappings_and_touches_nothing_in_its_place";
    alone(name, &[], || {
        let pool = pool();
        let Some(mut ring) = ring(name, &pool, 8) else {
            return;
        };
        let file = Temporary::with(name, &pattern(1, SIZE));
        let (waits, mut writer) = pipe();
        // One is under way, and one is not submitted.
        ring.read(
            Arc::clone(&waits),
            pool.allocate(SIZE, 4096).unwrap(),
            ..,
            0,
            1,
        )
        .unwrap();
        ring.submit().unwrap();
        ring.read(
            Arc::clone(&file.file),
            pool.allocate(SIZE, 4096).unwrap(),
            ..,
            0,
            2,
        )
        .unwrap();
        let spare = pool.allocate(SIZE, 4096).unwrap();
        let numbers = rings();
        assert!(numbers.len() == 1 && has_mapping());
        let mut parts = Some((ring, spare));
        let code = in_fork(|| {
            let (mut ring, spare) = parts.take().unwrap();
            if !rings().is_empty() || has_mapping() {
                return 1;
            }
            // The number is this one's now.
            let null = File::open("/dev/null").unwrap();
            // SAFETY: takes numbers.
            assert!(unsafe { libc::dup2(null.as_raw_fd(), numbers[0]) } == numbers[0]);
            let refused = ring.read(Arc::clone(&file.file), spare, .., 0, 3);
            if refused.unwrap_err().why != WhyRejected::Forked {
                return 2;
            }
            let errors = [
                ring.submit().unwrap_err().kind(),
                ring.wait().unwrap_err().kind(),
            ];
            if errors != [ErrorKind::Unsupported; 2] || ring.try_complete().is_some() {
                return 3;
            }
            ring.cancel();
            ring.refresh();
            drop(ring);
            // SAFETY: takes numbers.
            if unsafe { libc::fcntl(numbers[0], libc::F_GETFD) } < 0 {
                return 4;
            }
            // It can have one of its own, which its own children do not have.
            let own = Pool::builder()
                .reserve(SIZE, 4096, 4)
                .prefault(false)
                .build();
            let own = own.unwrap();
            let mut ring = Ring::new(&own, 4).unwrap();
            let buffer = own.allocate(SIZE, 4096).unwrap();
            ring.read(Arc::clone(&file.file), buffer, .., 0, 4).unwrap();
            let read = next(&mut ring).result.unwrap();
            if read != SIZE || rings().len() != 1 || in_fork(|| rings().len() as i32) != 0 {
                return 5;
            }
            0
        });
        let why = "1: it has the ring; 2, 3: it is not refused; 4: the drop closed another's \
                   descriptor; 5: no ring of its own";
        assert_eq!(code, 0, "{why}");
        let (mut ring, _spare) = parts.take().unwrap();
        writer.write_all(b"parent").unwrap();
        let mut seen: Vec<_> = [next(&mut ring), next(&mut ring)]
            .into_iter()
            .map(|done| (done.token, done.result.unwrap()))
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, [(1, 6), (2, SIZE)]);
        let own = rings();
        drop(ring);
        assert!(own.len() == 1 && rings().is_empty());
        // What comes under its number children have.
        let null = File::open("/dev/null").unwrap();
        // SAFETY: takes numbers; nobody has the one of the ring.
        assert!(unsafe { libc::dup2(null.as_raw_fd(), own[0]) } == own[0]);
        // SAFETY: takes numbers.
        let is_open = || i32::from(unsafe { libc::fcntl(own[0], libc::F_GETFD) } < 0);
        assert_eq!(in_fork(is_open), 0);
    });
}

#[test]
fn a_registry_knows_no_entries_in_a_child() {
    let name = "a_registry_knows_no_entries_in_a_child";
    alone(name, &[], || {
        let pool = pool();
        let ring: IoUring = match IoUring::builder().dontfork().build(4) {
            Ok(ring) => ring,
            Err(why) => return skipped(&format!("{name}: no io_uring: {why}")),
        };
        let mut registry = Registry::new(&pool);
        let report = *registry.refresh(&ring.submitter());
        let buffer = pool.allocate(SIZE, 4096).unwrap();
        let entry = registry.entry(&buffer);
        assert_eq!(entry.is_some(), report.registered > 0);
        let code = in_fork(|| {
            let none = registry.entry(&buffer).is_none() && registry.knows(&buffer);
            i32::from(!none)
        });
        assert_eq!(code, 0);
        assert_eq!(registry.entry(&buffer), entry);
    });
}

#[test]
fn a_service_is_its_process_alone() {
    let name = "a_service_is_its_process_alone";
    alone(name, &[], || {
        let pool = pool();
        let service = match Service::<Arc<File>>::new(&pool, 4) {
            Ok(service) => service,
            Err(why) => return skipped(&format!("{name}: no io_uring: {why}")),
        };
        let handle = service.handle();
        let file = Temporary::with(name, b"bytes");
        let mut parts = Some((service, pool.allocate(SIZE, 4096).unwrap()));
        let code = in_fork(|| {
            let (service, buffer) = parts.take().unwrap();
            let refused = handle.read(Arc::clone(&file.file), buffer, .., 0);
            // Begun here, so it is over here.
            let mut refused = std::pin::pin!(refused);
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let std::task::Poll::Ready((Err(why), _)) = refused.as_mut().poll(&mut context) else {
                return 1;
            };
            drop(service);
            i32::from(why.kind() != ErrorKind::Unsupported || !rings().is_empty()) * 2
        });
        assert_eq!(code, 0);
        drop(parts);
        assert!(rings().is_empty());
    });
}

/// Runs `work` in a child, which ends after that. Its number.
fn child(work: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the child runs `work` and ends by `_exit`.
    let process = unsafe { libc::fork() };
    assert!(process >= 0, "fork");
    if process == 0 {
        support::end_if_forgotten();
        let work = std::panic::AssertUnwindSafe(work);
        let code = i32::from(std::panic::catch_unwind(work).is_err());
        // SAFETY: ends the child without running anything of the parent's.
        unsafe { libc::_exit(code) };
    }
    process
}

#[test]
fn huge_pages_of_a_killed_process_are_free_though_its_children_live() {
    let name = "huge_pages_of_a_killed_process_are_free_though_its_children_live";
    let _turn = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    alone(name, &[], || {
        let probe = pool();
        if ring::<Arc<File>, _>(name, &probe, 4).is_none() {
            return;
        }
        let Some(_reserved) = Reserved::free(PAGES) else {
            return;
        };
        let free = || number("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
        assert_eq!(free(), Some(PAGES));
        let (mut ready, mut begun) = std::io::pipe().unwrap();
        let parent = child(|| {
            let builder = Pool::builder().reserve(1 << 20, 4096, 2 * PAGES);
            let builder = builder.pages(Pages::Huge2M, Rung::Require);
            let pool = builder.build().unwrap();
            let ring = Ring::<Arc<File>>::new(&pool, 4).unwrap();
            println!("{}", ring.report());
            let grandchild = child(|| sleep());
            begun.write_all(&grandchild.to_ne_bytes()).unwrap();
            sleep();
        });
        let mut grandchild = [0; 4];
        ready.read_exact(&mut grandchild).unwrap();
        let grandchild = libc::pid_t::from_ne_bytes(grandchild);
        assert_eq!(free(), Some(0));
        // SAFETY: ends and waits for the child made above.
        unsafe {
            libc::kill(parent, libc::SIGKILL);
            libc::waitpid(parent, std::ptr::null_mut(), 0);
        }
        // The kernel closes a ring some time after its last descriptor.
        while free() != Some(PAGES) {
            std::thread::yield_now();
        }
        // SAFETY: ends the grandchild, which is there: who took over its parent's children
        // has nothing to wait for before that.
        assert_eq!(unsafe { libc::kill(grandchild, libc::SIGKILL) }, 0);
    });
}

#[test]
fn huge_pages_of_a_ring_that_was_dropped_are_free() {
    let name = "huge_pages_of_a_ring_that_was_dropped_are_free";
    let _turn = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    alone(name, &[], || {
        if ring::<Arc<File>, _>(name, &pool(), 4).is_none() {
            return;
        }
        let Some(_reserved) = Reserved::free(PAGES) else {
            return;
        };
        let free = || number("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
        for _ in 0..20 {
            let builder = Pool::builder().reserve(1 << 20, 4096, 2 * PAGES);
            let builder = builder.pages(Pages::Huge2M, Rung::Require);
            let pool = builder.build().unwrap();
            let ring = Ring::<Arc<File>>::new(&pool, 4).unwrap();
            assert_eq!(free(), Some(0));
            drop((ring, pool));
            assert_eq!(free(), Some(PAGES));
        }
    });
}

/// Until somebody ends the process.
fn sleep() -> ! {
    loop {
        // SAFETY: takes nothing.
        unsafe { libc::pause() };
    }
}

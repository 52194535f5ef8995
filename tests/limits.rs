//! Memory that is mapped is there: a pool that is larger than a control group or the system
//! allows is refused, and nobody is killed, neither then nor by a later touch.
#![allow(
    clippy::disallowed_types,
    reason = "tests that need the huge pages take turns"
)]

mod support;

use hugepool::share::Access;
use hugepool::{Buffer, BuildError, Builder, Pages, Pool, Rung};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use support::group::{Limit, limited};
use support::process::alone;
use support::reserved::Reserved;
use support::{meminfo, number, skipped};

const MIB: usize = 1 << 20;

/// One test at a time sees the machine's huge pages.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn only(kinds: &[Pages]) -> Builder {
    let mut builder = Pool::builder();
    for pages in Pages::ALL {
        let rung = match kinds.contains(&pages) {
            true => Rung::Prefer,
            false => Rung::Never,
        };
        builder = builder.pages(pages, rung);
    }
    builder
}

/// Pools of memory that groups count by default.
fn ordinary() -> [Builder; 5] {
    let builder = only(&[Pages::Transparent, Pages::Base]);
    let collapsed = only(&[Pages::Collapsed, Pages::Base]);
    [
        builder.clone(),
        builder.clone().pages(Pages::Transparent, Rung::Never),
        builder.shared(Access::Read),
        collapsed.clone(),
        collapsed.shared(Access::Read),
    ]
}

fn memory(limit: usize) -> [Limit<'static>; 1] {
    [("memory.limit_in_bytes", "memory.max", limit)]
}

/// What a group that has `limit` left when it was asked for `bytes`.
#[track_caller]
fn left(refused: BuildError, bytes: usize, limit: usize) -> usize {
    let text = refused.to_string();
    match refused {
        BuildError::GroupLimit {
            file,
            needed,
            limit: said,
            available,
        } => {
            assert!(text.contains(file), "{text}");
            assert_eq!((needed, said), (bytes, limit), "{text}");
            assert!(available < needed, "{text}");
            available
        }
        other => panic!("{other}"),
    }
}

/// Every buffer of `pool`, written from end to end.
fn write_all(pool: &Pool, count: usize) {
    let mut all = pool.allocate_many(MIB, 4096, count).unwrap();
    all.iter_mut().for_each(|buffer| buffer.fill(7));
}

#[test]
fn what_a_group_does_not_allow_is_refused_and_what_it_leaves_is_had() {
    let name = "what_a_group_does_not_allow_is_refused_and_what_it_leaves_is_had";
    limited(name, "memory", &memory(256 * MIB), |_| {
        for builder in ordinary() {
            let refused = builder.clone().reserve(MIB, 4096, 1024).build();
            let available = left(refused.unwrap_err(), 1024 * MIB, 256 * MIB);
            // As much as is said to be left is: segments are of 2 MiB.
            let count = available / (2 * MIB) * 2;
            assert!(count > 150, "{count}");
            let pool = builder.reserve(MIB, 4096, count - 8).build().unwrap();
            write_all(&pool, count - 8);
            let refused = pool.request(MIB, 4096, 64).unwrap_err();
            left(refused, 64 * MIB, 256 * MIB);
            // The pool is what it was.
            write_all(&pool, count - 8);
        }
    });
}

/// What is faulted in piece by piece was there before the second.
#[test]
fn what_is_locked_when_it_is_mapped_is_not_asked_for_twice() {
    let name = "what_is_locked_when_it_is_mapped_is_not_asked_for_twice";
    limited(name, "memory", &memory(700 * MIB), |_| {
        let available = meminfo("MemAvailable").unwrap_or(0);
        if available < 800 * MIB {
            return skipped(&format!("{name}: this machine has {available} B"));
        }
        // SAFETY: what is mapped from now on is locked.
        if unsafe { libc::mlockall(libc::MCL_FUTURE) } != 0 {
            return skipped(&format!("{name}: memory may not be locked"));
        }
        for builder in ordinary() {
            let pool = builder.reserve(MIB, 4096, 512).build().unwrap();
            write_all(&pool, 512);
        }
    });
}

#[test]
fn locking_memory_that_is_not_there_is_refused() {
    let name = "locking_memory_that_is_not_there_is_refused";
    limited(name, "memory", &memory(64 * MIB), |_| {
        let builder = ordinary()[0].clone().prefault(false).lock(true);
        let refused = builder.reserve(MIB, 4096, 256).build().unwrap_err();
        left(refused, 256 * MIB, 64 * MIB);
    });
}

#[test]
fn a_limit_that_is_lowered_is_seen_by_what_grows() {
    let name = "a_limit_that_is_lowered_is_seen_by_what_grows";
    limited(name, "memory", &memory(256 * MIB), |group| {
        let pool = ordinary()[0]
            .clone()
            .reserve(MIB, 4096, 16)
            .build()
            .unwrap();
        pool.request(MIB, 4096, 16).unwrap();
        let limits = ["memory.limit_in_bytes", "memory.max"];
        let file = limits.iter().map(|file| group.join(file));
        let file = file.into_iter().find(|file| file.exists()).unwrap();
        fs::write(file, (64 * MIB).to_string()).unwrap();
        left(pool.request(MIB, 4096, 64).unwrap_err(), 64 * MIB, 64 * MIB);
        write_all(&pool, 32);
    });
}

/// Reads a file of so many bytes, `times` times.
fn read_file(bytes: usize, times: usize) {
    let path = std::env::temp_dir().join(format!("hugepool-limits-{}", std::process::id()));
    let mut file = File::create_new(&path).unwrap();
    let piece = vec![1_u8; MIB];
    (0..bytes / MIB).for_each(|_| file.write_all(&piece).unwrap());
    file.sync_all().unwrap();
    for _ in 0..times {
        let mut piece = vec![0_u8; MIB];
        let mut file = File::open(&path).unwrap();
        while file.read(&mut piece).unwrap() > 0 {}
    }
    fs::remove_file(&path).unwrap();
    // The descriptor keeps it, and its pages.
    std::mem::forget(file);
}

#[test]
fn files_that_were_read_are_not_in_the_way() {
    let name = "files_that_were_read_are_not_in_the_way";
    limited(name, "memory", &memory(128 * MIB), |group| {
        read_file(112 * MIB, 3);
        let stat = fs::read_to_string(group.join("memory.stat")).unwrap();
        let field = |name: &str| stat.lines().find_map(|line| line.strip_prefix(name));
        let bytes = |name| field(name).map_or(0, |bytes| bytes.trim().parse().unwrap());
        let cached: usize = bytes("active_file ") + bytes("inactive_file ");
        if cached < 96 * MIB {
            return skipped(&format!(
                "page cache in a group: {cached} B of a file in TMPDIR"
            ));
        }
        let pool = ordinary()[0]
            .clone()
            .reserve(MIB, 4096, 80)
            .build()
            .unwrap();
        write_all(&pool, 80);
    });
}

#[test]
fn what_would_be_throttled_for_minutes_is_refused_at_once() {
    let name = "what_would_be_throttled_for_minutes_is_refused_at_once";
    limited(name, "memory", &[("", "memory.high", 64 * MIB)], |_| {
        for builder in ordinary() {
            let refused = builder.reserve(MIB, 4096, 128).build().unwrap_err();
            left(refused, 128 * MIB, 64 * MIB);
        }
    });
}

fn huge(limit: usize) -> [Limit<'static>; 1] {
    [("hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max", limit)]
}

#[test]
fn huge_pages_that_a_group_does_not_allow_are_left_alone() {
    let _turn = turn();
    let Some(_reserved) = Reserved::free(8) else {
        return;
    };
    let name = "huge_pages_that_a_group_does_not_allow_are_left_alone";
    limited(name, "hugetlb", &huge(6 * MIB), |_| {
        let plain = only(&[Pages::Huge2M, Pages::Base]);
        for builder in [plain.clone(), plain.clone().shared(Access::Read)] {
            for prefault in [false, true] {
                let builder = builder.clone().prefault(prefault);
                let kinds = |pool: &Pool| -> Vec<Pages> {
                    pool.stats().segments.iter().map(|s| s.pages).collect()
                };
                // The next rung does, and can be written.
                let pool = builder.clone().reserve(MIB, 4096, 8).build().unwrap();
                assert_eq!(kinds(&pool), [Pages::Base]);
                write_all(&pool, 8);
                // As many as are allowed are had, and what is promised to one is not
                // promised to the next.
                pool.request(MIB, 4096, 4).unwrap();
                pool.request(MIB, 4096, 4).unwrap();
                assert_eq!(kinds(&pool), [Pages::Base, Pages::Huge2M, Pages::Base]);
                write_all(&pool, 16);
                drop(pool);
                let required = builder.clone().pages(Pages::Huge2M, Rung::Require);
                let refused = required.clone().reserve(MIB, 4096, 8).build().unwrap_err();
                assert_eq!(left(refused, 8 * MIB, 6 * MIB), 6 * MIB);
                // Nothing else is allowed, which says the same.
                let alone = builder.pages(Pages::Base, Rung::Never);
                let refused = alone.reserve(MIB, 4096, 8).build().unwrap_err();
                assert_eq!(left(refused, 8 * MIB, 6 * MIB), 6 * MIB);
                drop(required.reserve(MIB, 4096, 6).build().unwrap());
            }
        }
    });
}

#[test]
fn huge_pages_that_a_group_limits_are_had_before_its_limit_is_lowered() {
    let _turn = turn();
    let Some(_reserved) = Reserved::free(4) else {
        return;
    };
    let name = "huge_pages_that_a_group_limits_are_had_before_its_limit_is_lowered";
    limited(name, "hugetlb", &huge(8 * MIB), |group| {
        let builder = only(&[Pages::Huge2M]).prefault(false);
        let pool = builder.reserve(MIB, 4096, 8).build().unwrap();
        for file in ["hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"] {
            let file = group.join(file);
            if file.exists() {
                // Version 1 refuses to go below what is used.
                let _ = fs::write(file, "0");
            }
        }
        write_all(&pool, 8);
    });
}

#[test]
fn a_child_keeps_what_it_inherited_when_its_parent_writes() {
    let _turn = turn();
    let Some(_reserved) = Reserved::free(4) else {
        return;
    };
    let name = "a_child_keeps_what_it_inherited_when_its_parent_writes";
    alone(name, &[], || {
        let builder = only(&[Pages::Huge2M, Pages::Base]).fork(true);
        let pool = builder.clone().reserve(MIB, 4096, 8).build().unwrap();
        let mut buffers = pool.allocate_many(MIB, 4096, 8).unwrap();
        buffers.iter_mut().for_each(|buffer| buffer.fill(1));
        assert!(a_child_keeps(&mut buffers), "the child lost its pages");
        drop(buffers);
        drop(pool);
        // Who requires them has them.
        let builder = builder.pages(Pages::Huge2M, Rung::Require);
        let pool = builder.reserve(MIB, 4096, 8).build().unwrap();
        assert_eq!(pool.stats().segments[0].pages, Pages::Huge2M);
    });
}

/// Forks, writes all `buffers`, and says whether the child still has what was in them before.
fn a_child_keeps(buffers: &mut [Buffer]) -> bool {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    // SAFETY: the child reads buffers that it inherited, and ends.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork");
    if child == 0 {
        drop(writer);
        let told = reader.read_exact(&mut [0]).is_ok();
        let mut bytes = buffers.iter().flat_map(|buffer| buffer.iter());
        let kept = bytes.all(|&byte| byte == 1);
        // SAFETY: ends the child.
        unsafe { libc::_exit(i32::from(!(told && kept))) };
    }
    buffers.iter_mut().for_each(|buffer| buffer.fill(2));
    writer.write_all(&[0]).unwrap();
    let mut status = 0;
    // SAFETY: waits for the child made above.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

/// Bytes that the system could still promise; `None`, after saying so, if it promises more
/// than it has.
fn left_to_promise() -> Option<usize> {
    if number("/proc/sys/vm/overcommit_memory") != Some(2) {
        skipped("a system that promises no more than it has: vm.overcommit_memory is not 2");
        return None;
    }
    Some(meminfo("CommitLimit")?.saturating_sub(meminfo("Committed_AS")?))
}

#[test]
fn what_a_strict_system_does_not_promise_is_refused_alike_and_leaves_nothing() {
    let name = "what_a_strict_system_does_not_promise_is_refused_alike_and_leaves_nothing";
    let Some(left) = left_to_promise() else {
        return;
    };
    let unused = meminfo("MemAvailable").unwrap_or(0);
    if unused < left + left / 4 {
        return skipped("memory that is there and not promised: all of it could be");
    }
    alone(name, &[], || {
        // More than can be promised, and less than there is.
        let count = (left + left / 8) / MIB;
        let shmem = meminfo("Shmem").unwrap();
        for builder in ordinary() {
            for prefault in [true, false] {
                let builder = builder.clone().prefault(prefault);
                // The tables for it are promised, too.
                let builder = builder.address_space(count * MIB);
                let refused = builder
                    .clone()
                    .reserve(MIB, 4096, count)
                    .build()
                    .unwrap_err();
                assert!(
                    matches!(refused, BuildError::OutOfMemory { needed, available }
                        if available.is_none_or(|bytes| bytes < needed) && needed >= count * MIB),
                    "{refused:?}"
                );
                let now = meminfo("Shmem").unwrap();
                assert!(now < shmem + 16 * MIB, "{now} B of {shmem} stay taken");
                // What it can is had, to the last byte.
                let pool = builder.reserve(MIB, 4096, 64).build().unwrap();
                write_all(&pool, 64);
            }
        }
    });
}

#[test]
fn without_proc_and_sys_memory_is_had_or_refused() {
    let name = "without_proc_and_sys_memory_is_had_or_refused";
    alone(name, &[], || {
        let total = meminfo("MemTotal").unwrap_or(1 << 40);
        if !hide(&[c"/proc", c"/sys"]) {
            return skipped("a system without /proc: to unmount it needs root");
        }
        assert!(!Path::new("/proc/self").exists());
        for builder in ordinary() {
            let pool = builder.clone().reserve(MIB, 4096, 8).build().unwrap();
            write_all(&pool, 8);
            let much = (2 * total / MIB).min(1 << 19);
            let refused = builder.reserve(MIB, 4096, much).build().unwrap_err();
            assert!(
                matches!(
                    refused,
                    BuildError::OutOfMemory {
                        available: Some(_),
                        ..
                    }
                ),
                "{refused}"
            );
        }
    });
}

/// Takes mounts away from this process.
fn hide(mounts: &[&std::ffi::CStr]) -> bool {
    let (none, private) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
    // SAFETY: the strings end with a zero byte; the rest are numbers and null.
    let own = unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(none, c"/".as_ptr(), none, private, none.cast()) == 0
    };
    own && mounts.iter().all(|mount| {
        // SAFETY: as above.
        unsafe { libc::umount2(mount.as_ptr(), libc::MNT_DETACH) == 0 }
    })
}

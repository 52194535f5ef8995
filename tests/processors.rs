//! A pool on a machine that could have more processors than it has: what it keeps of each, how
//! it shares its buffers out among them, and what a thread finds that comes to one.
//!
//! Such machines are made up here: a mount of this process's own hides what the kernel says
//! about processors. (`tests/machines` has one whose kernel says it.)

mod support;

use hugepool::{AllocError, Buffer, Builder, Pool};
use std::ffi::CString;
use std::path::PathBuf;
use support::process::alone;
use support::{cpus, faults, listed, on_cpu, pin, skipped, two_cpus};

const COUNT: usize = 256;

fn builder() -> Builder {
    Pool::builder().prefault(false).address_space(1 << 30)
}

/// What the calling thread reads of processors in a file of `/sys/devices/system/cpu`, in place
/// of the kernel's word.
struct Said {
    behind: PathBuf,
    at: String,
}

impl Said {
    /// Has it read `text` there from now on. `None`, after saying so, if that is not allowed.
    fn new(name: &str, text: &str) -> Option<Self> {
        let file = format!("hugepool-{name}-{}", std::process::id());
        let said = Self {
            behind: std::env::temp_dir().join(file),
            at: format!("/sys/devices/system/cpu/{name}"),
        };
        std::fs::write(&said.behind, format!("{text}\n")).unwrap();
        let from = CString::new(said.behind.to_str().unwrap()).unwrap();
        let to = CString::new(&*said.at).unwrap();
        let none = std::ptr::null();
        let private = libc::MS_REC | libc::MS_PRIVATE;
        // SAFETY: the strings end with a zero byte; the rest are numbers and null.
        let hidden = unsafe {
            libc::unshare(libc::CLONE_NEWNS) == 0
                && libc::mount(none, c"/".as_ptr(), none, private, none.cast()) == 0
                && libc::mount(from.as_ptr(), to.as_ptr(), none, libc::MS_BIND, none.cast()) == 0
        };
        if !hidden {
            skipped("other processors than there are: to hide the kernel's word needs root");
        }
        hidden.then_some(said)
    }

    /// Has it read this.
    fn change(&self, text: &str) {
        std::fs::write(&self.at, format!("{text}\n")).unwrap();
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.behind);
    }
}

/// Bytes of private memory that may be written.
fn data() -> usize {
    let text = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let rest = text.lines().find_map(|line| line.strip_prefix("VmData:"));
    let kib = rest.and_then(|rest| rest.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<usize>().ok()).unwrap() << 10
}

/// Has the `COUNT` buffers that hold `size` bytes out at once, is refused, and gives them back.
fn use_all(pool: &Pool, size: usize) {
    let mut held: Vec<Buffer> = Vec::with_capacity(COUNT);
    take_all(pool, size, &mut held);
    assert_eq!((held.len(), pool.available(size, size)), (COUNT, 0));
    held.clear();
    assert_eq!(pool.available(size, size), COUNT);
}

/// Takes buffers until that is refused. Allocates nothing while there is room in `held`.
fn take_all(pool: &Pool, size: usize, held: &mut Vec<Buffer>) {
    loop {
        match pool.allocate(size, size) {
            Ok(buffer) => held.push(buffer),
            Err(AllocError::Exhausted { carried: false, .. }) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn processors_that_are_not_there_cost_next_to_nothing() {
    let name = "processors_that_are_not_there_cost_next_to_nothing";
    alone(name, &[], || {
        let real = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
        let Some(said) = Said::new("possible", real.trim()) else {
            return;
        };
        for portable in [false, true] {
            let mut here = None;
            for possible in [real.trim(), "0-511", "0-8191"] {
                said.change(possible);
                let before = data();
                let classes = 0..16usize;
                let pool = classes.fold(builder().portable_caches(portable), |pool, class| {
                    pool.reserve(4096 << (class % 4), 4096 << (class / 4), COUNT)
                });
                let pool = pool.build().unwrap();
                // The largest: no other has them.
                use_all(&pool, 32 << 10);
                let (stats, data) = (pool.stats(), data() - before);
                let bytes = stats.metadata_bytes;
                println!(
                    "{possible}: {} CPUs, {bytes} B, {data} B of data",
                    stats.cpus
                );
                let (least, of_data) = *here.get_or_insert((bytes, data));
                assert!(
                    2 * bytes <= 3 * least,
                    "{possible}: {bytes} B, here {least}"
                );
                assert!(data <= of_data + (1 << 20), "{possible}: {data} B of data");
                match possible {
                    "0-511" => assert_eq!(stats.cpus, 512),
                    "0-8191" => assert_eq!(stats.cpus, 8192),
                    _ => {}
                }
                assert!(stats.cpus_in_use <= cpus().len());
            }
        }
    });
}

#[test]
fn a_class_is_shared_out_among_the_processors_that_it_is_used_on() {
    let name = "a_class_is_shared_out_among_the_processors_that_it_is_used_on";
    alone(name, &[], || {
        let Some(_said) = Said::new("possible", "0-127") else {
            return;
        };
        let count = 64;
        let here = cpus()[0];
        pin(here);
        let pool = builder().reserve(512, 512, count).build().unwrap();
        let burst = || {
            let held: Vec<_> = (0..count)
                .map(|_| pool.allocate(512, 512).unwrap())
                .collect();
            drop(held);
        };
        let capacity = || pool.stats().classes[0].cache_capacity;
        (0..100).for_each(|_| burst());
        assert_eq!((pool.stats().cpus, pool.stats().cpus_in_use), (128, 1));
        // All that it has room for: nobody else misses them.
        assert_eq!(capacity(), 60);
        let Some(there) = cpus_of_the_process().into_iter().find(|&cpu| cpu != here) else {
            return skipped("a class shared among two: this process may run on one CPU only");
        };
        let beside = || {
            pin(there);
            drop(pool.allocate(512, 512).unwrap());
            pin(here);
        };
        beside();
        assert_eq!(pool.stats().cpus_in_use, 2);
        // A burst of all there are steals what lies there, and from then on its own cache has a
        // share, to which it is lowered where it misses next. (Whom the scheduler stops for
        // a second between the two finds the theft forgotten.)
        let lowered = (0..100).any(|_| {
            burst();
            let lowered = capacity() <= count / 2;
            beside();
            lowered
        });
        assert!(lowered, "two hold {}, each a quarter at most", capacity());
    });
}

#[test]
fn a_processor_on_which_buffers_are_given_back_alone_keeps_some() {
    let Some((here, there)) = two_cpus("buffers that come home on another processor") else {
        return;
    };
    for portable in [false, true] {
        let pool = builder().portable_caches(portable).reserve(512, 512, 64);
        let pool = on_cpu(here, || pool.build().unwrap());
        let all: Vec<Buffer> = on_cpu(here, || {
            (0..64).map(|_| pool.allocate(512, 512).unwrap()).collect()
        });
        assert_eq!(pool.stats().classes[0].cached, 0);
        on_cpu(there, || drop(all));
        let class = &pool.stats().classes[0];
        assert!(class.cached > 0, "portable: {portable}");
        assert_eq!(pool.available(512, 512), 64);
    }
}

/// The processors that the process may run on, wherever this thread is kept.
fn cpus_of_the_process() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    listed(line.unwrap())
}

#[test]
fn the_first_visit_of_a_processor_faults_no_page() {
    let Some((here, there)) = two_cpus("the first visit of another processor") else {
        return;
    };
    for portable in [false, true] {
        let pool = || {
            let builder = Pool::builder().portable_caches(portable);
            builder.reserve(4096, 4096, 64).build().unwrap()
        };
        let (first, second) = on_cpu(here, || (pool(), pool()));
        let faulted = on_cpu(there, || {
            let mut held = Vec::with_capacity(64);
            // What a thread touches of its own it has touched then.
            for pool in [&first, &first] {
                take_all(pool, 4096, &mut held);
                held.clear();
            }
            let before = faults();
            take_all(&second, 4096, &mut held);
            held.clear();
            faults() - before
        });
        assert_eq!(faulted, 0, "portable: {portable}");
        assert!(second.stats().cpus_in_use >= 1);
    }
}

#[test]
fn a_processor_for_which_there_is_no_memory_does_without_a_cache() {
    let name = "a_processor_for_which_there_is_no_memory_does_without_a_cache";
    alone(name, &[], || {
        let Some((here, there)) = two_cpus("a processor without a row") else {
            return;
        };
        // So that nothing is ready for the other one.
        let Some(_said) = Said::new("online", &here.to_string()) else {
            return;
        };
        for portable in [false, true] {
            pin(here);
            let pool = builder()
                .portable_caches(portable)
                .reserve(4096, 4096, COUNT);
            let pool = pool.build().unwrap();
            let mut held = Vec::with_capacity(COUNT + 1);
            let before = limit_data(Some(data()));
            pin(there);
            for _ in 0..3 {
                take_all(&pool, 4096, &mut held);
                assert_eq!((held.len(), pool.available(4096, 4096)), (COUNT, 0));
                held.clear();
                assert_eq!(pool.available(4096, 4096), COUNT);
            }
            limit_data(before);
            assert_eq!(pool.stats().cpus_in_use, 1);
            // It is tried again now and then.
            while pool.stats().cpus_in_use < 2 {
                use_all(&pool, 4096);
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    });
}

/// Lets this process have so many bytes of private memory that may be written; gives what it
/// could have before.
fn limit_data(bytes: Option<usize>) -> Option<usize> {
    // SAFETY: the structure is of integers, written by the first call, and read by the second.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(libc::RLIMIT_DATA, &mut limit), 0);
        let before = usize::try_from(limit.rlim_cur).ok();
        limit.rlim_cur = bytes.map_or(limit.rlim_max, |bytes| bytes as libc::rlim_t);
        assert_eq!(libc::setrlimit(libc::RLIMIT_DATA, &limit), 0);
        before
    }
}

//! What several test files need: processors, mappings, faults, random numbers.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod area;
pub mod breakpoint;
pub mod calls;
pub mod filter;
pub mod group;
pub mod heap;
pub mod kind;
pub mod nodes;
pub mod owners;
pub mod process;
pub mod published;
pub mod reserved;
pub mod rival;
#[cfg(any(feature = "compio", feature = "tokio-uring"))]
pub mod runtime;
pub mod sections;
pub mod shared;
pub mod small;
pub mod storm;
#[cfg(feature = "async")]
pub mod task;
pub mod timer;
#[cfg(feature = "io-uring")]
pub mod uring;

use std::io::Write;
use std::time::Duration;

/// How long waits that must be served, and processes that must end, may take: as good as for
/// ever, for a machine may be slow. What takes longer hangs.
pub const LONG: Duration = Duration::from_secs(3600);

/// Ends this process if nothing else does, because it hangs or nobody waits for it any more.
pub fn end_if_forgotten() {
    // SAFETY: sets a timer of this process, which ends it.
    unsafe { libc::alarm(LONG.as_secs() as libc::c_uint) };
}

/// Says that something was not tested, and why. Written past the harness, which
/// shows the output of failed tests only.
pub fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}

/// Says what was counted, past the harness, too: figures for the documentation.
pub fn measured(what: &str) {
    // At once, lest the harness writes in the midst of it.
    let _ = std::io::stderr().write_all(format!("measured: {what}\n").as_bytes());
}

/// Processors that go off and on line while tests run, as `first-last`: they are no place for
/// a thread that must stay where it is.
const PASSING: &str = "HUGEPOOL_TEST_PASSING_CPUS";

/// Whether the processor may go off line.
fn is_passing(cpu: usize) -> bool {
    let Ok(range) = std::env::var(PASSING) else {
        return false;
    };
    let (first, last) = range.split_once('-').expect("first-last");
    (first.parse().unwrap()..=last.parse().unwrap()).contains(&cpu)
}

/// The processors this thread may run on, and stay on.
pub fn cpus() -> Vec<usize> {
    let mut cpus = every_cpu();
    cpus.retain(|&cpu| !is_passing(cpu));
    cpus
}

/// The processors this thread may run on now.
pub fn every_cpu() -> Vec<usize> {
    // SAFETY: all-zero bytes are an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is writable and as large as we say.
    let got = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    assert_eq!(got, 0);
    (0..libc::CPU_SETSIZE as usize)
        // SAFETY: the number is below the size of the set.
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .collect()
}

/// The numbers of a list as the kernel writes it, `0-3,8`; none if it is empty.
pub fn listed(list: &str) -> Vec<usize> {
    let ranges = list.trim().split(',').filter(|range| !range.is_empty());
    let numbers = ranges.flat_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<usize>().unwrap()..=last.parse().unwrap()
    });
    numbers.collect()
}

/// How many processors there are, on line or not.
pub fn processors() -> usize {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/present").unwrap_or_default();
    listed(&text).len().max(cpus().len())
}

/// Keeps the calling thread on one processor.
pub fn pin(cpu: usize) {
    keep_on(&[cpu]);
}

/// Keeps the calling thread, if it may be on more than one, off the processors that come and
/// go: the first visit to one that has come makes a system call.
pub fn stay_off_passing() {
    if std::env::var_os(PASSING).is_some() && every_cpu().len() > 1 {
        keep_on(&cpus());
    }
}

fn keep_on(cpus: &[usize]) {
    // SAFETY: all-zero bytes are an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus {
        // SAFETY: the number came from `cpus`, so it is below the size of the set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: `set` is readable and as large as we say.
    let done = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
    assert_eq!(done, 0, "sched_setaffinity to {cpus:?}");
}

/// Two processors to pin to; `None`, after saying so, if there is only one.
pub fn two_cpus(what: &str) -> Option<(usize, usize)> {
    let cpus = cpus();
    if cpus.len() < 2 {
        skipped(&format!("{what}: this process may run on one CPU only"));
        return None;
    }
    Some((cpus[0], cpus[1]))
}

/// Runs `work` on a thread pinned to `cpu`.
pub fn on_cpu<R: Send>(cpu: usize, work: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            pin(cpu);
            work()
        });
        worker.join().expect("a pinned thread panicked")
    })
}

/// Page faults of the calling thread so far.
pub fn faults() -> i64 {
    // SAFETY: all-zero bytes are a value of this structure of integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is writable and of the type the call fills in.
    let got = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
    assert_eq!(got, 0);
    usage.ru_minflt + usage.ru_majflt
}

/// One mapping of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    pub start: usize,
    pub end: usize,
    /// `rw-p` and the like.
    pub access: String,
    pub name: String,
    pub kernel_page: usize,
    pub rss: usize,
    pub huge: usize,
    pub hugetlb: usize,
    pub locked: usize,
    /// `VmFlags`, two letters each.
    pub flags: Vec<String>,
}

impl Map {
    pub fn bytes(&self) -> usize {
        self.end - self.start
    }
}

fn parse(text: &str) -> Vec<Map> {
    let mut maps: Vec<Map> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Some((start, end)) = words[0].split_once('-')
            && let Ok(start) = usize::from_str_radix(start, 16)
            && let Ok(end) = usize::from_str_radix(end, 16)
        {
            maps.push(Map {
                start,
                end,
                access: words[1].to_owned(),
                name: words.get(5).copied().unwrap_or_default().to_owned(),
                ..Map::default()
            });
            continue;
        }
        let map = maps.last_mut().expect("smaps begins with a mapping");
        let bytes = || words[1].parse::<usize>().map_or(0, |kib| kib * 1024);
        match words[0] {
            "KernelPageSize:" => map.kernel_page = bytes(),
            "Rss:" => map.rss = bytes(),
            "AnonHugePages:" | "ShmemPmdMapped:" => map.huge += bytes(),
            "Private_Hugetlb:" | "Shared_Hugetlb:" => map.hugetlb += bytes(),
            "Locked:" => map.locked = bytes(),
            "VmFlags:" => map.flags = words[1..].iter().map(|flag| (*flag).to_owned()).collect(),
            _ => {}
        }
    }
    maps
}

/// This process's mappings: addresses, access and names alone.
pub fn maps() -> Vec<Map> {
    parse(&std::fs::read_to_string("/proc/self/maps").expect("/proc/self/maps"))
}

/// This process's mappings with everything the kernel tells about them.
pub fn smaps() -> Vec<Map> {
    parse(&std::fs::read_to_string("/proc/self/smaps").expect("/proc/self/smaps"))
}

/// The mappings among `maps` that lie within `start .. start + bytes`.
pub fn within(maps: &[Map], start: usize, bytes: usize) -> Vec<&Map> {
    maps.iter()
        .filter(|map| map.start >= start && map.end <= start + bytes)
        .collect()
}

/// Pools whose address range is mapped in this process: each reserves 8 GiB and
/// more by default, and nothing else here is as large and without access.
pub fn living_pools() -> usize {
    let maps = maps();
    let reserved = maps.iter().filter(|map| map.access == "---p");
    reserved.filter(|map| map.bytes() >= 7 << 30).count()
}

/// A number of the kernel's, from a file.
pub fn number(path: &str) -> Option<usize> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A field of `/proc/meminfo`, in bytes.
pub fn meminfo(field: &str) -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: usize = rest
        .trim_start_matches(':')
        .split_whitespace()
        .next()?
        .parse()
        .ok()?;
    Some(kib * 1024)
}

/// How many of `count` things of `bytes` each this machine has memory for, with as much left
/// for all else. Says so if that is fewer: memory that is promised and never touched counts.
pub fn that_fit(what: &str, count: usize, bytes: usize) -> usize {
    let total = meminfo("MemTotal").unwrap_or(usize::MAX);
    let fit = count.min(total / 2 / bytes);
    if fit < count {
        skipped(&format!("{what}: this machine has memory for {fit}"));
    }
    fit
}

/// Small random numbers (xorshift64*), the same for the same seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

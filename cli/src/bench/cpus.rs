//! Which processors the workers run on.
//!
//! Owns the lists that a user types (`--cpus`, `--nodes`), what they come to on this machine, and the calls of
//! sched_setaffinity(2). The request has the lists, `run` confines the process, the crew pins its workers.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

/// Numbers of processors or of nodes in the order in which they were typed, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List(Vec<usize>);

/// More processors than that no kernel of Linux is built for.
const CPUS: usize = 8192;
/// The same of nodes.
const NODES: usize = 1024;

impl List {
    /// Reads a list of processors.
    pub fn of_cpus(text: &str) -> Result<List, String> {
        List::parse(text, "CPU", CPUS)
    }

    /// Reads a list of nodes.
    pub fn of_nodes(text: &str) -> Result<List, String> {
        List::parse(text, "node", NODES)
    }

    /// Numbers below `end` and ranges of them, such as `0-3,8`.
    fn parse(text: &str, what: &str, end: usize) -> Result<List, String> {
        let number = |text: &str| -> Result<usize, String> {
            let no_number = || {
                format!(
                    "`{text}` is no number of a {what}: write numbers and ranges, such as 0-3,8"
                )
            };
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            // More digits than a number has are one too large.
            let number = if digits {
                text.parse().unwrap_or(usize::MAX)
            } else {
                return Err(no_number());
            };
            if number < end {
                Ok(number)
            } else {
                Err(format!(
                    "{what} {text} is beyond {}, the last there can be",
                    end - 1
                ))
            }
        };
        let mut numbers = Vec::new();
        for part in text.split(',') {
            let part = part.trim();
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            if last < first {
                return Err(format!("the range {part} ends before it begins"));
            }
            numbers.extend(first..=last);
        }
        Ok(List::each_once(numbers))
    }

    fn each_once(numbers: Vec<usize>) -> List {
        let mut kept = Vec::with_capacity(numbers.len());
        for number in numbers {
            if !kept.contains(&number) {
                kept.push(number);
            }
        }
        List(kept)
    }

    /// The processor of a worker: its seat's in the list, in turn.
    pub fn of_seat(&self, seat: usize) -> usize {
        self.0[seat % self.0.len()]
    }
}

impl fmt::Display for List {
    /// As it is typed, with ranges.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_slice();
        while let Some(&first) = rest.first() {
            let run = (rest.iter().zip(first..)).take_while(|(number, next)| *number == next);
            let length = run.count();
            match length {
                1 => write!(f, "{first}")?,
                _ => write!(f, "{first}-{}", first + length - 1)?,
            }
            rest = &rest[length..];
            if !rest.is_empty() {
                f.write_str(",")?;
            }
        }
        Ok(())
    }
}

/// The processors that a request comes to on this machine; `None` if it names neither processors nor nodes. The error
/// says which cannot be had, why not, and which can.
pub fn place(cpus: Option<&List>, nodes: Option<&List>) -> Result<Option<List>, String> {
    if cpus.is_none() && nodes.is_none() {
        return Ok(None);
    }
    let known = Known::read().map_err(|error| {
        format!("the system does not say which CPUs this process may use: {error}")
    })?;
    match (cpus, nodes) {
        (Some(cpus), _) => known.check(cpus).map(|()| Some(cpus.clone())),
        (None, Some(nodes)) => known.of_nodes(nodes).map(Some),
        (None, None) => Ok(None),
    }
}

/// Has the calling thread, and those that it starts from now on, run on these processors alone.
pub fn confine(cpus: &List) -> io::Result<()> {
    set_affinity(&cpus.0)
}

/// Has the calling thread run on this processor alone.
pub fn pin(cpu: usize) -> io::Result<()> {
    set_affinity(&[cpu])
}

/// What the system says of its processors and nodes.
struct Known {
    /// Those that the machine has; `None`: not known.
    present: Option<List>,
    online: Option<List>,
    /// Those that this process may use.
    allowed: List,
    /// The number of each node and its processors.
    nodes: Vec<(usize, List)>,
}

impl Known {
    fn read() -> io::Result<Known> {
        let cpus = Path::new("/sys/devices/system/cpu");
        let list = |path: &Path| {
            let text = fs::read_to_string(path).ok()?;
            match text.trim() {
                "" => Some(List(Vec::new())),
                text => List::of_cpus(text).ok(),
            }
        };
        let online = list(&cpus.join("online"));
        let allowed = affinity()?;
        let directory = Path::new("/sys/devices/system/node");
        let numbers = list(&directory.join("online")).map(|list| list.0);
        let nodes = match numbers {
            Some(numbers) => numbers
                .into_iter()
                .filter_map(|node| {
                    Some((node, list(&directory.join(format!("node{node}/cpulist")))?))
                })
                .collect(),
            // A kernel without NUMA: all is one node.
            None => vec![(0, online.clone().unwrap_or_else(|| allowed.clone()))],
        };
        Ok(Known {
            present: list(&cpus.join("present")),
            online,
            allowed,
            nodes,
        })
    }

    /// Whether all of them can be used.
    fn check(&self, cpus: &List) -> Result<(), String> {
        let lacks = |known: &Option<List>, cpu| {
            let known = known.as_ref();
            known.is_some_and(|known| !known.0.contains(&cpu))
        };
        let (mut absent, mut offline, mut forbidden) = (Vec::new(), Vec::new(), Vec::new());
        for cpu in cpus.0.iter().copied() {
            if self.allowed.0.contains(&cpu) {
                continue;
            }
            if lacks(&self.present, cpu) {
                absent.push(cpu);
            } else if lacks(&self.online, cpu) {
                offline.push(cpu);
            } else {
                forbidden.push(cpu);
            }
        }
        let why = |cpus: Vec<usize>, why: &str| {
            (!cpus.is_empty()).then(|| format!("CPU {} {why}", List(cpus)))
        };
        let wrong: Vec<String> = [
            why(absent, "does not exist on this machine"),
            why(offline, "is off line"),
            why(forbidden, "is not allowed to this process"),
        ]
        .into_iter()
        .flatten()
        .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(format!(
            "--cpus {cpus}: {}; allowed are {}",
            wrong.join(", "),
            self.allowed
        ))
    }

    /// Those processors of the nodes that can be used.
    fn of_nodes(&self, nodes: &List) -> Result<List, String> {
        let mut cpus = Vec::new();
        for node in nodes.0.iter().copied() {
            let Some((_, own)) = self.nodes.iter().find(|(known, _)| *known == node) else {
                let known = List(self.nodes.iter().map(|(node, _)| *node).collect());
                return Err(format!(
                    "--nodes {nodes}: there is no node {node}; this machine has {known}"
                ));
            };
            if own.0.is_empty() {
                return Err(format!(
                    "--nodes {nodes}: node {node} has no CPUs, only memory"
                ));
            }
            let before = cpus.len();
            cpus.extend(own.0.iter().filter(|cpu| self.allowed.0.contains(cpu)));
            if cpus.len() == before {
                return Err(format!(
                    "--nodes {nodes}: none of the CPUs of node {node}, {own}, is allowed to this process; allowed are {}",
                    self.allowed
                ));
            }
        }
        Ok(List::each_once(cpus))
    }
}

/// A bit for each processor, as the kernel reads and writes them.
type Mask = [u64; CPUS / 64];

/// The processors that the calling thread may run on, in ascending order.
pub fn affinity() -> io::Result<List> {
    let mut mask: Mask = [0; CPUS / 64];
    // SAFETY: the call writes no more than the size that it is given, which is that of the mask.
    let outcome = unsafe { libc::sched_getaffinity(0, size_of::<Mask>(), (&raw mut mask).cast()) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    let has = |cpu: &usize| mask[cpu / 64] & (1 << (cpu % 64)) != 0;
    Ok(List((0..CPUS).filter(has).collect()))
}

fn set_affinity(cpus: &[usize]) -> io::Result<()> {
    let mut mask: Mask = [0; CPUS / 64];
    for cpu in cpus {
        mask[cpu / 64] |= 1 << (cpu % 64);
    }
    // SAFETY: the call reads no more than the size that it is given, which is that of the mask.
    let outcome =
        unsafe { libc::sched_setaffinity(0, size_of::<Mask>(), (&raw const mask).cast()) };
    match outcome {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn list(text: &str) -> List {
        List::of_cpus(text).expect(text)
    }

    fn known() -> Known {
        Known {
            present: Some(list("0-7")),
            online: Some(list("0-5,7")),
            allowed: list("0-3,7"),
            nodes: vec![
                (0, list("0-3")),
                (1, list("4-5")),
                (2, list("6-7")),
                (3, List(Vec::new())),
            ],
        }
    }

    #[test]
    fn a_list_keeps_its_order_and_is_shown_as_it_is_read() {
        for (typed, shown, numbers) in [
            ("0", "0", &[0][..]),
            ("0-3,8", "0-3,8", &[0, 1, 2, 3, 8]),
            ("8,0-1", "8,0-1", &[8, 0, 1]),
            ("2,1,0", "2,1,0", &[2, 1, 0]),
            ("1,0-2,1", "1,0,2", &[1, 0, 2]),
            ("8191", "8191", &[8191]),
        ] {
            let read = list(typed);
            assert_eq!(read.0, numbers, "{typed}");
            assert_eq!(read.to_string(), shown, "{typed}");
            assert_eq!(list(shown), read, "{typed}");
        }
    }

    #[test]
    fn what_is_no_list_is_named_with_the_limit() {
        for (typed, words) in [
            ("", &["``", "0-3,8"][..]),
            ("0,", &["``"]),
            ("two", &["`two`", "0-3,8"]),
            ("-1", &["``"]),
            ("+1", &["`+1`"]),
            ("0-3:2", &["`3:2`"]),
            ("3-1", &["3-1", "ends before it begins"]),
            ("0,8192", &["8192", "8191"]),
            ("99999999999999999999", &["99999999999999999999", "8191"]),
        ] {
            let error = List::of_cpus(typed).expect_err(typed);
            for word in words {
                assert!(error.contains(word), "{typed}: {error}");
            }
        }
        let error = List::of_nodes("1024").expect_err("too many");
        assert!(
            error.contains("node 1024") && error.contains("1023"),
            "{error}"
        );
    }

    #[test]
    fn a_processor_that_cannot_be_had_is_named_with_the_reason() {
        let known = known();
        assert_eq!(known.check(&list("7,0-3")), Ok(()));
        let error = known
            .check(&list("0,4-6,8,9"))
            .expect_err("most are not to be had");
        for words in [
            "CPU 8-9 does not exist",
            "CPU 6 is off line",
            "CPU 4-5 is not allowed",
            "allowed are 0-3,7",
        ] {
            assert!(error.contains(words), "{words}: {error}");
        }
    }

    #[test]
    fn nodes_come_to_those_of_their_processors_that_are_allowed() {
        let known = known();
        assert_eq!(known.of_nodes(&list("2,0")), Ok(list("7,0-3")));
        for (nodes, words) in [
            ("4", "no node 4; this machine has 0-3"),
            (
                "0-1",
                "node 1, 4-5, is allowed to this process; allowed are 0-3,7",
            ),
            ("3", "node 3 has no CPUs"),
        ] {
            let error = known.of_nodes(&list(nodes)).expect_err(nodes);
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn workers_take_turns_on_the_processors_of_a_list() {
        let cpus = list("5,1-2");
        let seats: Vec<usize> = (0..5).map(|seat| cpus.of_seat(seat)).collect();
        assert_eq!(seats, [5, 1, 2, 5, 1]);
    }

    /// What the number of processors stands for elsewhere: clocks, lengths of windows, how disturbed a row is.
    #[test]
    fn a_confined_thread_counts_the_processors_of_the_list_alone() {
        let first = List(affinity().expect("the system says it").0[..1].to_vec());
        let count = thread::spawn(move || {
            confine(&first).expect("it is allowed");
            crate::bench::processors()
        });
        assert_eq!(count.join().expect("it does not panic"), 1);
    }

    #[test]
    fn a_pinned_thread_may_run_on_that_processor_alone() {
        let allowed = affinity().expect("the system says it");
        for cpu in allowed.0.iter().copied().take(4) {
            let own = thread::spawn(move || {
                pin(cpu).expect("it is allowed");
                affinity().expect("the system says it")
            });
            assert_eq!(own.join().expect("it does not panic"), List(vec![cpu]));
        }
        assert_eq!(
            affinity().expect("the system says it"),
            allowed,
            "only these threads"
        );
    }
}

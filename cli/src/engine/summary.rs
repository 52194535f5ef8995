//! What a run did, and what it cost: in words, and as JSON.
//!
//! Owns the figures and what follows from them: which side the other one waits for, and what would change that.
//! `backup`, `restore` and `verify` fill it in.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::name;
use super::place;
use super::usage::Usage;
use crate::failure::Failure;
use crate::units::{self, GIB};

/// What the threads of one side did together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Side {
    pub threads: usize,
    /// How long they waited for what the other side gives them.
    pub waited: Duration,
}

#[derive(Debug)]
pub struct Summary {
    pub command: &'static str,
    /// How it ended: `complete`, or why not.
    pub outcome: String,
    pub elapsed: Duration,
    /// Bytes of files that were moved.
    pub bytes: u64,
    /// Bytes of stripes.
    pub stored: u64,
    pub entries: u64,
    pub problems: u64,
    pub transfer: usize,
    pub buffers: usize,
    pub origin: String,
    pub pages: String,
    pub high_water: u64,
    pub stripes: usize,
    /// The kind of place that they are in.
    pub place: &'static str,
    pub direct: bool,
    /// How stripes were read or written: by `threads`, or by `uring`.
    pub by: &'static str,
    pub usage: Usage,
    /// Who waits for buffers that are free: the readers of files, or of stripes.
    pub front: Side,
    /// Who waits for buffers that are full: the writers of stripes, or of files.
    pub back: Side,
    /// How long the readers of files waited for the walk.
    pub for_items: Duration,
    /// How long it took to have everything on the disk in the end.
    pub syncing: Duration,
}

/// Which side holds the other one up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bottleneck {
    /// The side that fills buffers, for it never waits.
    Front,
    /// The side that empties them.
    Back,
    /// The walk, that finds files.
    Walk,
    /// Both wait: there are too few buffers.
    Buffers,
    /// Neither waits much.
    None,
}

impl Summary {
    /// The share of its threads' time that a side waited.
    fn share(&self, waited: Duration, threads: usize) -> f64 {
        let all = self.elapsed.as_secs_f64() * threads.max(1) as f64;
        if all > 0.0 {
            waited.as_secs_f64() / all
        } else {
            0.0
        }
    }

    pub fn bottleneck(&self) -> Bottleneck {
        const MUCH: f64 = 0.3;
        let front = self.share(self.front.waited, self.front.threads) > MUCH;
        let back = self.share(self.back.waited, self.back.threads) > MUCH;
        if self.share(self.for_items, self.front.threads) > 0.5 {
            return Bottleneck::Walk;
        }
        match (front, back) {
            (true, true) => Bottleneck::Buffers,
            (true, false) => Bottleneck::Back,
            (false, true) => Bottleneck::Front,
            (false, false) => Bottleneck::None,
        }
    }

    fn advice(&self) -> &'static str {
        let backup = self.command == "backup";
        match self.bottleneck() {
            Bottleneck::Walk => {
                "the walk, which finds the files: they are small, or their folders are slow to read; more readers or buffers change nothing"
            }
            Bottleneck::Front if backup => {
                "reading the source: give more --readers, or a larger --transfer-size"
            }
            Bottleneck::Front => {
                "reading the stripes: put them on a faster place, or make more of them"
            }
            Bottleneck::Back if backup => {
                "writing the stripes: give more --stripes, a faster place, or --compress zstd"
            }
            Bottleneck::Back => "writing or checking the files: give more --readers",
            Bottleneck::Buffers => "the buffers: both sides wait; give more --memory",
            Bottleneck::None => "neither side: both are busy; more processors would help",
        }
    }

    fn rate(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 {
            self.bytes as f64 / GIB as f64 / seconds
        } else {
            0.0
        }
    }

    fn per_gib(&self, value: f64) -> f64 {
        let gib = self.bytes as f64 / GIB as f64;
        if gib > 0.0 { value / gib } else { 0.0 }
    }

    fn cpu(&self) -> f64 {
        (self.usage.user + self.usage.system).as_secs_f64()
    }

    /// Prints it. Where nobody reads it any more, that changes nothing of what was done.
    pub fn print(&self) -> io::Result<()> {
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        let (front, back) = if self.command == "backup" {
            ("readers", "writers")
        } else {
            ("stripes' readers", "workers")
        };
        let mut text = String::new();
        let line = &mut text;
        let _ = writeln!(
            line,
            "{} {}: {} entries, {} in {} s: {} GiB/s; {} stored in {} stripes",
            self.command,
            self.outcome,
            self.entries,
            units::bytes64(self.bytes),
            units::digits(self.elapsed.as_secs_f64()),
            units::digits(self.rate()),
            units::bytes64(self.stored),
            self.stripes
        );
        let _ = writeln!(
            line,
            "processors: {} s a GiB ({} user, {} system); {} page faults, {} of them from disk; {} changes of thread",
            units::digits(self.per_gib(self.cpu())),
            units::digits(self.usage.user.as_secs_f64()),
            units::digits(self.usage.system.as_secs_f64()),
            self.usage.minor_faults + self.usage.major_faults,
            self.usage.major_faults,
            self.usage.switches
        );
        let _ = writeln!(
            line,
            "buffers: {} of {} from {} ({}), {} out at once at the most; stripes {}, by {}",
            self.buffers,
            units::bytes(self.transfer),
            self.origin,
            self.pages,
            self.high_water,
            match (self.place, self.direct) {
                (place::STORE, _) => "in an object store",
                (_, true) => "past the cache",
                (_, false) => "through the cache",
            },
            match self.by {
                "uring" => "io_uring",
                by => by,
            }
        );
        let _ = writeln!(
            line,
            "{} {front} waited {} of their time for free buffers, {} {back} {} for full ones; {} s until all was {}",
            self.front.threads,
            percent(self.share(self.front.waited, self.front.threads)),
            self.back.threads,
            percent(self.share(self.back.waited, self.back.threads)),
            units::digits(self.syncing.as_secs_f64()),
            if self.place == place::STORE {
                "stored"
            } else {
                "on the disk"
            }
        );
        let _ = writeln!(line, "slowest: {}", self.advice());
        match io::stdout().write_all(text.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// As one JSON object.
    pub fn to_json(&self) -> String {
        let seconds = |time: Duration| time.as_secs_f64().to_string();
        let bottleneck = match self.bottleneck() {
            Bottleneck::Front => "front",
            Bottleneck::Back => "back",
            Bottleneck::Walk => "walk",
            Bottleneck::Buffers => "buffers",
            Bottleneck::None => "none",
        };
        let usage = &self.usage;
        let fields: [(&str, String); 32] = [
            ("command", name::json(self.command)),
            ("outcome", name::json(&self.outcome)),
            ("entries", self.entries.to_string()),
            ("problems", self.problems.to_string()),
            ("bytes", self.bytes.to_string()),
            ("stored_bytes", self.stored.to_string()),
            ("seconds", seconds(self.elapsed)),
            ("gib_per_second", self.rate().to_string()),
            ("user_seconds", seconds(usage.user)),
            ("system_seconds", seconds(usage.system)),
            ("cpu_seconds_per_gib", self.per_gib(self.cpu()).to_string()),
            ("minor_faults", usage.minor_faults.to_string()),
            ("major_faults", usage.major_faults.to_string()),
            (
                "faults_per_gib",
                self.per_gib((usage.minor_faults + usage.major_faults) as f64)
                    .to_string(),
            ),
            ("context_switches", usage.switches.to_string()),
            ("transfer_size", self.transfer.to_string()),
            ("buffers", self.buffers.to_string()),
            ("buffers_from", name::json(&self.origin)),
            ("buffers_on", name::json(&self.pages)),
            ("buffers_high_water", self.high_water.to_string()),
            ("stripes", self.stripes.to_string()),
            ("place", name::json(self.place)),
            ("direct", self.direct.to_string()),
            ("front_threads", self.front.threads.to_string()),
            ("front_waited_seconds", seconds(self.front.waited)),
            ("back_threads", self.back.threads.to_string()),
            ("back_waited_seconds", seconds(self.back.waited)),
            ("walk_waited_seconds", seconds(self.for_items)),
            ("sync_seconds", seconds(self.syncing)),
            ("bottleneck", name::json(bottleneck)),
            ("advice", name::json(self.advice())),
            ("io", name::json(self.by)),
        ];
        let fields: Vec<String> = fields
            .iter()
            .map(|(key, value)| format!("{}:{value}", name::json(key)))
            .collect();
        format!("{{{}}}\n", fields.join(","))
    }

    /// Writes the JSON to a file.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        fs::write(path, self.to_json())
            .map_err(|error| Failure::run(format!("cannot write {}: {error}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(front: u64, back: u64, items: u64) -> Bottleneck {
        let side = |seconds| Side {
            threads: 2,
            waited: Duration::from_secs(seconds),
        };
        let summary = Summary {
            command: "backup",
            outcome: "complete".to_owned(),
            elapsed: Duration::from_secs(10),
            bytes: 1,
            stored: 1,
            entries: 1,
            problems: 0,
            transfer: 1,
            buffers: 1,
            origin: String::new(),
            pages: String::new(),
            high_water: 1,
            stripes: 1,
            place: place::FOLDER,
            direct: false,
            by: "threads",
            usage: Usage::default(),
            front: side(front),
            back: side(back),
            for_items: Duration::from_secs(items),
            syncing: Duration::ZERO,
        };
        summary.bottleneck()
    }

    #[test]
    fn the_side_that_the_other_one_waits_for_is_the_bottleneck() {
        // Of twenty seconds that both threads of a side have.
        assert_eq!(waits(18, 0, 0), Bottleneck::Back);
        assert_eq!(waits(0, 18, 0), Bottleneck::Front);
        assert_eq!(waits(18, 18, 0), Bottleneck::Buffers);
        assert_eq!(waits(0, 18, 15), Bottleneck::Walk);
        assert_eq!(waits(1, 1, 1), Bottleneck::None);
    }
}

//! What a pool counts, for the `metrics` crate.
//!
//! Owns: the names, and how a histogram goes there. Uses: `counters`, `pool`. Used by:
//! callers who have the feature `metrics`.
//!
//! Names and units follow Prometheus: base units, `_total` for what only grows.
//! `docs/metrics.md` lists them, which `tests/metrics.rs` checks.
//!
//! # The histogram
//!
//! The crate's histograms take one value at a time; a pool has counts by powers of two,
//! and a sum. To record a value for each count would invent values, and a wrong sum. So
//! what a Prometheus histogram consists of is set as it is: cumulative counters
//! `…_bucket`, whose label `le` is the largest duration that they count, `…_count`, and
//! `…_sum`, a gauge since counters here are whole numbers. Queries do not tell the
//! difference; the line `# TYPE` does not say `histogram`.

use crate::buffer::Memory;
use crate::counters::{ClassCounters, Counters};
use crate::pool::Pool;
use ::metrics::{Label, Unit, counter, describe_counter, describe_gauge, gauge};

/// Something that is published of a `T`.
struct Metric<T> {
    name: &'static str,
    help: &'static str,
    unit: Unit,
    read: Read<T>,
}

enum Read<T> {
    /// It only grows.
    Count(fn(&T) -> u64),
    /// It goes up and down.
    Level(fn(&T) -> f64),
}
use Read::{Count, Level};

const fn metric<T>(name: &'static str, unit: Unit, read: Read<T>, help: &'static str) -> Metric<T> {
    Metric {
        name,
        help,
        unit,
        read,
    }
}

/// Of a pool; the label `pool`.
const POOL: [Metric<Counters>; 5] = [
    metric(
        "hugepool_waiting",
        Unit::Count,
        Level(|of| of.waiting as f64),
        "Threads and tasks that wait for a buffer now",
    ),
    metric(
        "hugepool_waits_total",
        Unit::Count,
        Count(|of| of.waits),
        "Waits that stood in line",
    ),
    metric(
        "hugepool_longest_wait_seconds",
        Unit::Seconds,
        Level(|of| of.longest_wait.as_secs_f64()),
        "The longest wait that has ended since the marks were reset",
    ),
    metric(
        "hugepool_sleeps_total",
        Unit::Count,
        Count(|of| of.sleeps),
        "System calls that put a thread to sleep",
    ),
    metric(
        "hugepool_wakes_total",
        Unit::Count,
        Count(|of| of.wakes),
        "System calls that woke a thread",
    ),
];

/// Of a class; the labels `pool`, `size` and `alignment`.
const CLASS: [Metric<ClassCounters>; 15] = [
    metric(
        "hugepool_buffer_size_bytes",
        Unit::Bytes,
        Level(|of| of.size as f64),
        "Size of each buffer",
    ),
    metric(
        "hugepool_buffers",
        Unit::Count,
        Level(|of| of.capacity as f64),
        "Buffers there are",
    ),
    metric(
        "hugepool_buffers_in_use",
        Unit::Count,
        Level(|of| of.in_use as f64),
        "Buffers that callers hold",
    ),
    metric(
        "hugepool_buffers_free",
        Unit::Count,
        Level(|of| of.free as f64),
        "Buffers that are free",
    ),
    metric(
        "hugepool_buffers_cached",
        Unit::Count,
        Level(|of| of.cached as f64),
        "Free buffers in processors' caches",
    ),
    metric(
        "hugepool_buffers_high_water",
        Unit::Count,
        Level(|of| of.high_water as f64),
        "The most buffers that were out at once since the marks were reset",
    ),
    metric(
        "hugepool_class_refusals_total",
        Unit::Count,
        Count(|of| of.refused),
        "Requests for the class that were refused for lack of a free buffer",
    ),
    metric(
        "hugepool_climbs_total",
        Unit::Count,
        Count(|of| of.climbs),
        "Requests for the class that a larger one served",
    ),
    metric(
        "hugepool_refills_total",
        Unit::Count,
        Count(|of| of.refills),
        "Times a processor's cache was filled with a batch",
    ),
    metric(
        "hugepool_flushes_total",
        Unit::Count,
        Count(|of| of.flushes),
        "Times a full cache gave back a batch",
    ),
    metric(
        "hugepool_steals_total",
        Unit::Count,
        Count(|of| of.steals),
        "Buffers taken from another processor's cache",
    ),
    metric(
        "hugepool_calls_total",
        Unit::Count,
        Count(|of| of.calls),
        "Waiters that were woken because a buffer was free",
    ),
    metric(
        "hugepool_passed_over_total",
        Unit::Count,
        Count(|of| of.passed_over),
        "Waiters that were woken and found the buffer gone",
    ),
    metric(
        "hugepool_hand_overs_total",
        Unit::Count,
        Count(|of| of.hand_overs),
        "Buffers that were handed to the waiter whose turn it was",
    ),
    metric(
        "hugepool_membarriers_total",
        Unit::Count,
        Count(|of| of.barriers),
        "System calls that kept other processors from their caches",
    ),
];

const ENDED: &str = "hugepool_waits_ended_total";
const REFUSALS: &str = "hugepool_refusals_total";
const BUCKETS: &str = "hugepool_wait_seconds_bucket";
const COUNT: &str = "hugepool_wait_seconds_count";
const SUM: &str = "hugepool_wait_seconds_sum";
/// The bins that have buckets of their own: up to 1 µs, 2 µs, 4 µs, … 137 s. Nothing is
/// lost, for buckets are cumulative.
const BOUNDS: std::ops::RangeInclusive<usize> = 9..=36;

fn describe<T>(metrics: &[Metric<T>]) {
    for metric in metrics {
        match metric.read {
            Count(_) => describe_counter!(metric.name, metric.unit, metric.help),
            Level(_) => describe_gauge!(metric.name, metric.unit, metric.help),
        }
    }
}

fn set<T>(metrics: &[Metric<T>], of: &T, labels: &[Label]) {
    for metric in metrics {
        match metric.read {
            Count(count) => counter!(metric.name, labels.to_vec()).absolute(count(of)),
            Level(level) => gauge!(metric.name, labels.to_vec()).set(level(of)),
        }
    }
}

/// Sets one counter of a family whose members differ in the label `key`.
fn set_one(name: &'static str, labels: &[Label], key: &'static str, which: String, count: u64) {
    let mut labels = labels.to_vec();
    labels.push(Label::new(key, which));
    counter!(name, labels).absolute(count);
}

/// The largest duration that bin `at` counts, in seconds.
fn bound(at: usize) -> String {
    let nanoseconds = (2_u64 << at) - 1;
    let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    let text = format!("{seconds}.{rest:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn set_waits(counters: &Counters, labels: &[Label]) {
    let outcomes = [
        ("served", counters.served),
        ("timed_out", counters.timed_out),
        ("aborted", counters.aborted),
        ("cancelled", counters.cancelled),
        ("failed", counters.failed),
    ];
    for (outcome, count) in outcomes {
        set_one(ENDED, labels, "outcome", outcome.to_owned(), count);
    }
    let mut so_far = 0;
    for (at, count) in counters.wait_histogram.iter().enumerate() {
        so_far += count;
        if BOUNDS.contains(&at) {
            set_one(BUCKETS, labels, "le", bound(at), so_far);
        }
    }
    set_one(BUCKETS, labels, "le", "+Inf".to_owned(), so_far);
    counter!(COUNT, labels.to_vec()).absolute(so_far);
    gauge!(SUM, labels.to_vec()).set(counters.waited.as_secs_f64());
}

impl Pool {
    /// Tells the recorder of the [`metrics`] crate what
    /// [`publish_metrics`](Self::publish_metrics) publishes: units, and a line of help each.
    /// To be called once, when the recorder is installed. Without one it does nothing.
    /// Needs the feature `metrics`.
    ///
    /// Not for the data path: allocates, and blocks if the recorder does.
    pub fn describe_metrics() {
        describe(&POOL);
        describe(&CLASS);
        describe_counter!(ENDED, Unit::Count, "Waits that have ended, by outcome");
        describe_counter!(REFUSALS, Unit::Count, "Requests refused, by kind");
        let help = "Waits that have ended and took no longer than le";
        describe_counter!(BUCKETS, Unit::Count, help);
        describe_counter!(COUNT, Unit::Count, "Waits that have ended");
        describe_gauge!(SUM, Unit::Seconds, "How long the ended waits took together");
    }
}

impl<M: Memory> Pool<M> {
    /// Sets the counters and gauges of this pool in the recorder of the
    /// [`metrics`] crate to what [`counters`](Self::counters) and
    /// [`class_counters`](Self::class_counters) say now, under the label
    /// `pool="`*name*`"`: to be called before each scrape, or by a timer. Pools need names
    /// of their own. `docs/metrics.md` lists the metrics, and has queries for Prometheus.
    /// Needs the feature `metrics`.
    ///
    /// Enters the kernel only if the recorder does. Not for the data path: allocates, and
    /// blocks if the recorder does; other threads' allocations and frees never wait for it.
    /// Without a recorder it does nothing that can be seen.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use hugepool::Pool;
    /// use metrics_exporter_prometheus::PrometheusBuilder;
    ///
    /// let prometheus = PrometheusBuilder::new().install_recorder()?;
    /// Pool::describe_metrics();
    /// # let pool = Pool::builder().reserve(4096, 4096, 16).prefault(false).build()?;
    /// let _buffer = pool.allocate(4096, 4096)?;
    ///
    /// pool.publish_metrics("ingest"); // for each scrape
    /// let page = prometheus.render();
    /// assert!(page.contains(r#"hugepool_waits_total{pool="ingest"} 0"#));
    /// # Ok(()) }
    /// ```
    pub fn publish_metrics(&self, name: &str) {
        let pool = [Label::new("pool", name.to_owned())];
        let counters = self.counters();
        set(&POOL, &counters, &pool);
        set_waits(&counters, &pool);
        for (kind, count) in counters.refusals.by_kind() {
            set_one(REFUSALS, &pool, "kind", kind.to_owned(), count);
        }
        for class in self.class_counters() {
            let [pool] = pool.clone();
            let size = Label::new("size", class.size.to_string());
            let alignment = Label::new("alignment", class.alignment.to_string());
            set(&CLASS, &class, &[pool, size, alignment]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_the_largest_whole_number_of_nanoseconds_in_its_bin() {
        assert_eq!(bound(9), "0.000001023");
        assert_eq!(bound(29), "1.073741823");
        assert_eq!(bound(36), "137.438953471");
    }
}

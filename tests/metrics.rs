//! What the feature `metrics` publishes is what the pool counted, is text that Prometheus
//! reads, and is what `docs/metrics.md` lists.

mod support;

use hugepool::Pool;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;
use support::LONG;
use support::small::{SIZE, builder, take, until_waiting};

const SHORT: Duration = Duration::from_millis(1);
/// Labels and their values.
type Labels = BTreeMap<String, String>;

/// The metrics of a page, each with its kind and its samples.
type Page = BTreeMap<String, (String, BTreeMap<Labels, f64>)>;

fn is_name(name: &str, more: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || more.contains(c);
    !name.is_empty() && name.chars().all(good) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// `name="value",…}` and what is behind it.
fn labels(mut text: &str) -> (Labels, &str) {
    let mut labels = Labels::new();
    loop {
        if let Some(rest) = text.strip_prefix('}') {
            return (labels, rest);
        }
        let (name, rest) = text.split_once("=\"").expect("a label has a value");
        assert!(is_name(name, ""), "label {name:?}");
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next().expect("a value ends") {
                (at, '"') => break at + 1,
                (_, '\\') => value.push(match chars.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, c @ ('\\' | '"'))) => c,
                    other => panic!("escape {other:?}"),
                }),
                (_, c) => value.push(c),
            }
        };
        let again = labels.insert(name.to_owned(), value);
        assert_eq!(again, None, "label {name} twice");
        text = &rest[end..];
        text = text.strip_prefix(',').unwrap_or(text);
    }
}

/// Reads a page by the rules of the text format, version 0.0.4
/// (prometheus.io/docs/instrumenting/exposition_formats).
fn parse(text: &str) -> Page {
    let mut page = Page::new();
    let mut current = String::new();
    let mut helped = BTreeSet::new();
    assert!(text.ends_with('\n'), "the last line ends");
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, _) = help.split_once(' ').expect("help says something");
            assert!(helped.insert(name.to_owned()), "help for {name} twice");
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type has a kind");
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            let new = page.insert(name.to_owned(), (kind.to_owned(), BTreeMap::new()));
            // All lines of a metric are one group, its type first.
            assert!(new.is_none(), "{name} in two groups");
            current = name.to_owned();
            continue;
        }
        assert!(!line.starts_with('#'), "{line}");
        let end = line.find(['{', ' ']).expect("a sample has a value");
        let (name, rest) = line.split_at(end);
        assert!(is_name(name, ":"), "{name:?}");
        assert_eq!(name, current, "outside its group");
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest),
            None => (Labels::new(), rest),
        };
        let value = value.trim().replace("Inf", "inf").parse();
        let value = value.expect("a number, and no time");
        let samples = &mut page.get_mut(name).expect("typed").1;
        assert_eq!(samples.insert(labels, value), None, "twice: {line}");
    }
    for name in page.keys() {
        assert!(helped.contains(name), "no help for {name}");
    }
    page
}

fn recorder() -> PrometheusRecorder {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, Pool::describe_metrics);
    recorder
}

fn publish(recorder: &PrometheusRecorder, pool: &Pool, name: &str) {
    metrics::with_local_recorder(recorder, || pool.publish_metrics(name));
}

fn value(page: &Page, name: &str, labels: &[(&str, &str)]) -> f64 {
    let pair = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    let labels: Labels = labels.iter().map(pair).collect();
    let samples = &page.get(name).unwrap_or_else(|| panic!("no {name}")).1;
    *(samples.get(&labels)).unwrap_or_else(|| panic!("no {labels:?} of {name}: {samples:?}"))
}

/// A pool that has waited, refused and climbed, and of which three buffers are out.
fn used() -> (Pool, Vec<hugepool::Buffer>) {
    let pool = builder(2).reserve(2 * SIZE, SIZE, 1).build().unwrap();
    let mut held = vec![take(&pool), take(&pool), take(&pool)];
    for _ in 0..3 {
        pool.allocate_timeout(SIZE, SIZE, SHORT).unwrap_err();
        pool.allocate_many(SIZE, SIZE, 4).unwrap_err();
    }
    pool.allocate(SIZE, 3).unwrap_err();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.allocate_timeout(SIZE, SIZE, LONG));
        until_waiting(&pool, 1);
        held.pop();
        held.push(waiter.join().unwrap().expect("a buffer came back"));
    });
    (pool, held)
}

/// What is published of `pool` as `name` is what it counts.
fn assert_same(page: &Page, pool: &Pool, name: &str) {
    let of = [("pool", name)];
    let (counters, now) = (pool.counters(), |metric| value(page, metric, &of));
    assert_eq!(now("hugepool_waiting"), counters.waiting as f64);
    assert_eq!(now("hugepool_waits_total"), counters.waits as f64);
    assert_eq!(now("hugepool_sleeps_total"), counters.sleeps as f64);
    assert_eq!(now("hugepool_wakes_total"), counters.wakes as f64);
    let longest = counters.longest_wait.as_secs_f64();
    assert_eq!(now("hugepool_longest_wait_seconds"), longest);
    let outcomes = [
        ("served", counters.served),
        ("timed_out", counters.timed_out),
        ("aborted", counters.aborted),
        ("cancelled", counters.cancelled),
        ("failed", counters.failed),
    ];
    for (outcome, count) in outcomes {
        let of = [("pool", name), ("outcome", outcome)];
        assert_eq!(value(page, "hugepool_waits_ended_total", &of), count as f64);
    }
    for (kind, count) in counters.refusals.by_kind() {
        let of = [("pool", name), ("kind", kind)];
        assert_eq!(value(page, "hugepool_refusals_total", &of), count as f64);
    }
    for class in pool.class_counters() {
        let (size, alignment) = (class.size.to_string(), class.alignment.to_string());
        let of = [("pool", name), ("size", &size), ("alignment", &alignment)];
        let counts = [
            ("buffer_size_bytes", class.size as u64),
            ("buffers", class.capacity),
            ("buffers_in_use", class.in_use),
            ("buffers_free", class.free),
            ("buffers_cached", class.cached),
            ("buffers_high_water", class.high_water),
            ("class_refusals_total", class.refused),
            ("climbs_total", class.climbs),
            ("refills_total", class.refills),
            ("flushes_total", class.flushes),
            ("steals_total", class.steals),
            ("calls_total", class.calls),
            ("passed_over_total", class.passed_over),
            ("hand_overs_total", class.hand_overs),
            ("membarriers_total", class.barriers),
        ];
        for (metric, count) in counts {
            let published = value(page, &format!("hugepool_{metric}"), &of);
            assert_eq!(published, count as f64, "{metric} of {size}");
        }
    }
}

#[test]
fn what_is_published_is_what_the_pool_counted() {
    let recorder = recorder();
    let (pool, held) = used();
    publish(&recorder, &pool, "ingest");
    let page = parse(&recorder.handle().render());
    assert_same(&page, &pool, "ingest");
    let waits = value(&page, "hugepool_waits_total", &[("pool", "ingest")]);
    assert_eq!(waits, 4.0, "nothing happened: this proves nothing");
    // Gauges go down again, counters go on.
    drop(held);
    pool.allocate(SIZE, 3).unwrap_err();
    pool.request(4 * SIZE, SIZE, 1).unwrap();
    pool.reset_marks();
    publish(&recorder, &pool, "ingest");
    assert_same(&parse(&recorder.handle().render()), &pool, "ingest");
}

#[test]
fn the_histogram_is_cumulative_and_adds_up() {
    let recorder = recorder();
    let (pool, _held) = used();
    publish(&recorder, &pool, "ingest");
    let (page, counters) = (parse(&recorder.handle().render()), pool.counters());
    let of = [("pool", "ingest")];
    let sum = value(&page, "hugepool_wait_seconds_sum", &of);
    assert_eq!(sum, counters.waited.as_secs_f64());
    let ended = value(&page, "hugepool_wait_seconds_count", &of);
    assert_eq!(ended, counters.wait_histogram.iter().sum::<u64>() as f64);
    let mut buckets: Vec<(f64, f64)> = (page["hugepool_wait_seconds_bucket"].1.iter())
        .map(|(labels, &count)| (labels["le"].replace("Inf", "inf").parse().unwrap(), count))
        .collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
    assert_eq!(buckets.last(), Some(&(f64::INFINITY, ended)));
    for (le, count) in buckets {
        // Those of the bins that end at or before that bound.
        let nanoseconds = |at: &usize| ((2_u64 << at) - 1) as f64 * 1e-9;
        let bins = counters.wait_histogram.iter().enumerate();
        let below = bins.filter(|(at, _)| nanoseconds(at) <= le * (1.0 + 1e-12));
        assert_eq!(
            below.map(|(_, count)| count).sum::<u64>() as f64,
            count,
            "{le}"
        );
    }
    // A wait of a millisecond at least is in no bucket below that.
    let pool = builder(1).build().unwrap();
    let _held = take(&pool);
    pool.allocate_timeout(SIZE, SIZE, SHORT).unwrap_err();
    publish(&recorder, &pool, "slow");
    let page = parse(&recorder.handle().render());
    let below = [("pool", "slow"), ("le", "0.000524287")];
    assert_eq!(value(&page, "hugepool_wait_seconds_bucket", &below), 0.0);
}

#[test]
fn pools_of_any_name_stand_side_by_side() {
    let recorder = recorder();
    let names = ["ingest", "a \"b\" \\ c\nd", ""];
    let pools = names.map(|_| used());
    for (name, (pool, _)) in names.iter().zip(&pools) {
        publish(&recorder, pool, name);
    }
    let page = parse(&recorder.handle().render());
    for (name, (pool, _)) in names.iter().zip(&pools) {
        assert_same(&page, pool, name);
    }
}

#[test]
fn without_a_recorder_nothing_happens() {
    let (pool, _held) = used();
    let before = pool.counters();
    Pool::describe_metrics();
    pool.publish_metrics("nobody");
    assert_eq!(pool.counters(), before);
}

#[test]
fn the_page_of_documentation_lists_what_is_published() {
    let recorder = recorder();
    let (pool, _held) = used();
    publish(&recorder, &pool, "ingest");
    let page = parse(&recorder.handle().render());
    let published: BTreeMap<String, String> = (page.into_iter())
        .map(|(name, (kind, _))| (name, kind))
        .collect();
    let listed: BTreeMap<String, String> = include_str!("../docs/metrics.md")
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("| `hugepool_")?.split_once("` | ")?;
            let (kind, _) = rest.split_once(" |")?;
            Some((format!("hugepool_{name}"), kind.to_owned()))
        })
        .collect();
    assert_eq!(published, listed);
}

#[test]
fn names_follow_the_rules_of_prometheus() {
    let recorder = recorder();
    let (pool, _held) = used();
    publish(&recorder, &pool, "ingest");
    for (name, (kind, samples)) in parse(&recorder.handle().render()) {
        let part_of_histogram = name.starts_with("hugepool_wait_seconds_");
        assert!(name.starts_with("hugepool_"));
        assert_eq!(
            name.ends_with("_total"),
            kind == "counter" && !part_of_histogram,
            "{name} is a {kind}"
        );
        assert!(samples.keys().all(|labels| labels.contains_key("pool")));
        assert!(
            samples
                .values()
                .all(|value| value.is_finite() && *value >= 0.0)
        );
    }
}

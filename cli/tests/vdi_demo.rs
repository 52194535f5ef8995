//! `hugepool vdi-demo`, with real processes over real shared memory.

mod common;

use common::{Outcome, hugepool};

/// What a run says of each set: a column's name, a value for each set.
struct Table(Vec<(String, Vec<u64>)>);

impl Table {
    fn of(run: &Outcome) -> Table {
        let mut lines = run
            .stdout
            .lines()
            .skip_while(|line| !line.starts_with("  set "));
        let head = lines.next().expect("there is a table");
        let mut columns: Vec<(String, Vec<u64>)> = head
            .split("  ")
            .filter(|name| !name.is_empty())
            .map(|name| (name.trim().to_owned(), Vec::new()))
            .collect();
        for line in lines.take_while(|line| !line.is_empty()) {
            let cells: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(cells.len(), columns.len(), "{line}");
            for (column, cell) in columns.iter_mut().zip(cells) {
                // Those with a fraction are figures of speed, of which nothing is asserted.
                column.1.push(cell.parse().unwrap_or(0));
            }
        }
        Table(columns)
    }

    fn column(&self, name: &str) -> &[u64] {
        let found = self.0.iter().find(|column| column.0 == name);
        &found.unwrap_or_else(|| panic!("no column {name}")).1
    }

    fn sum(&self, name: &str) -> u64 {
        self.column(name).iter().sum()
    }
}

fn demo(args: &[&str]) -> Outcome {
    let run = hugepool(&[&["vdi-demo"], args].concat());
    println!("{}{}", run.stdout, run.stderr);
    run
}

#[test]
fn two_sets_eight_clients_and_sixty_four_streams_hand_over_millions_and_lose_nothing() {
    let args = "--sets 2 --clients 8 --streams 64 --buffers 40 --size 512 --hand-overs 2000000 --grow-every 50";
    let run = demo(&args.split(' ').collect::<Vec<_>>());
    assert_eq!(run.code, 0);
    assert!(
        run.stdout.contains(
            "every checksum and stamp was right, every buffer came home, every set closed"
        )
    );
    let table = Table::of(&run);
    assert_eq!(table.column("hand-overs"), [1_000_000, 1_000_000]);
    assert_eq!(table.column("clients"), [4, 4]);
    for none in ["wrong", "lost", "killed", "taken back"] {
        assert_eq!(table.column(none), [0, 0], "{none}");
    }
    for (&buffers, &grown) in table.column("of buffers").iter().zip(table.column("grown")) {
        assert_eq!(buffers, 40 + 10 * grown);
    }
}

#[test]
fn clients_that_are_killed_in_the_middle_while_sets_grow_cost_no_buffer() {
    // Fewer buffers than the streams could have out; clients come all the time.
    let args = "--sets 2 --clients 4 --streams 24 --buffers 8 --size 16K --hand-overs 200000 --kill-every 10 --grow-every 20";
    let run = demo(&args.split(' ').collect::<Vec<_>>());
    assert_eq!(run.code, 0);
    let table = Table::of(&run);
    for none in ["wrong", "lost"] {
        assert_eq!(table.column(none), [0, 0], "{none}");
    }
    // Each that was begun came back, or was taken back.
    assert_eq!(table.sum("hand-overs") + table.sum("taken back"), 200_000);
    assert!(
        table.sum("killed") > 0 && table.sum("grown") > 0,
        "it was over before anything happened"
    );
    assert_eq!(table.sum("clients"), 4 + table.sum("killed"));
}

#[test]
fn what_does_not_go_together_exits_with_2_and_says_so() {
    for (args, says) in [
        ("--sets 3 --clients 2", "2 clients are too few for 3 sets"),
        (
            "--clients 9 --streams 8",
            "8 streams are too few for 9 clients",
        ),
        (
            "--streams 65",
            "65 streams are too many for 1 sets: each has 64",
        ),
        (
            "--size 64M --buffers 65536",
            "4096 GiB of buffers is more than 32 GiB",
        ),
        ("--size 511", "511 B is not between 512 B and 67108864 B"),
        ("--buffers 0", "0 is not in 1..=65536"),
        ("--seconds 1 --hand-overs 1", "cannot be used with"),
    ] {
        let run = demo(&args.split(' ').collect::<Vec<_>>());
        assert_eq!(run.code, 2, "{args}");
        assert!(run.stderr.contains(says), "{args}: {}", run.stderr);
    }
}

#[test]
fn memory_that_is_not_there_is_an_error_of_the_set() {
    let available = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text
                .lines()
                .find(|line| line.starts_with("MemAvailable:"))?;
            line.split_whitespace().nth(1)?.parse::<usize>().ok()
        });
    let buffers = available.expect("Linux says so") / (64 << 10) + 50;
    if buffers > 512 {
        println!("skipped: there is as much memory as the program would take");
        return;
    }
    let run = demo(&["--size", "64M", "--buffers", &buffers.to_string()]);
    assert_eq!(run.code, 1);
    for says in ["error: set `vdi-demo ", "available"] {
        assert!(run.stderr.contains(says), "{says}: {}", run.stderr);
    }
}

#[test]
fn a_client_without_a_server_says_what_is_missing() {
    let closed = hugepool(&["vdi-client", "--set", "nobody's", "--socket", "1000"]);
    assert_eq!(closed.code, 1);
    assert!(
        closed.stderr.contains("client of `nobody's`: a socket: "),
        "{}",
        closed.stderr
    );
    let alone = hugepool(&["vdi-client", "--set", "nobody's"]);
    assert_eq!(alone.code, 1);
    assert!(
        alone
            .stderr
            .contains("nobody has published anything by that name"),
        "{}",
        alone.stderr
    );
    let standard = hugepool(&["vdi-client", "--set", "nobody's", "--socket", "1"]);
    assert_eq!(standard.code, 2);
}

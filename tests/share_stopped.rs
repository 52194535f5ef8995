//! A server and its clients, any of which is stopped at any moment: each question is answered
//! all the same, and nobody is forgotten who waits.

mod support;

use hugepool::share::Peers;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use support::published::{SIZE, name, opened, pool, refresh};
use support::{Random, filter, skipped};

const ROLE: &str = "HUGEPOOL_TEST_ROLE";
const CLIENTS: usize = 3;
/// Of a client: more than answers of a process that may be unread at once.
const THREADS: usize = 8;
const REFRESHES: usize = 50;
const GROWTHS: usize = 20;

/// Publishes a pool and has it grow, until it is killed.
fn serve(name: &str) -> ! {
    let pool = pool(1);
    let _publication = pool.publish(name, Peers::default()).unwrap();
    // On a line of its own: the harness says the test's name before it.
    println!("\nserving");
    for _ in 0..GROWTHS {
        pool.request(SIZE, 4096, 1).unwrap();
        std::thread::yield_now();
    }
    loop {
        std::thread::park();
    }
}

/// Asks in many threads at once what there is.
fn ask(name: &str) {
    let client = opened(name, &Peers::default()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..REFRESHES).for_each(|_| assert!(refresh(&client).is_ok())));
        }
    });
}

/// Sends `signal` to a child that was not waited for.
fn signal(child: &Child, signal: libc::c_int) {
    // SAFETY: takes numbers. Nobody else has that one as long as the child is not waited for.
    unsafe { libc::kill(child.id() as libc::pid_t, signal) };
}

/// Whether it has ended, and well.
fn has_ended(child: &mut Child) -> bool {
    let ended = child.try_wait().unwrap();
    ended.is_some_and(|status| {
        assert!(status.success(), "a client failed: {status}");
        true
    })
}

/// All of it, in processes that run this program's `test` in a role.
fn stopped_at_any_moment(test: &str, anybody: bool) {
    if let Ok(role) = std::env::var(ROLE) {
        support::end_if_forgotten();
        match role.split_once(' ').unwrap() {
            ("server", name) => {
                // `SO_PASSRIGHTS`, as before Linux 6.16: sockets are closed by other threads.
                let unknown = [(2, 83, true)];
                let (call, error) = (libc::SYS_setsockopt, libc::ENOPROTOOPT);
                if anybody && filter::refuse_where(call, &unknown, error).is_err() {
                    skipped("a kernel that lets anybody send descriptors: no filter");
                }
                serve(name)
            }
            (_, name) => return ask(name),
        }
    }
    let name = name(test);
    let start = |role: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]);
        command
            .env(ROLE, format!("{role} {name}"))
            .stdout(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut server = start("server");
    let lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap);
    assert!(lines.any(|line| line == "serving"), "the server ended");
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| start("client")).collect();
    let mut random = Random::new(u64::from(std::process::id()));
    while !clients.is_empty() {
        let at = random.below(clients.len() + 1);
        let chosen = clients.get(at).unwrap_or(&server);
        signal(chosen, libc::SIGSTOP);
        // So that the others come to where they need it, or not.
        std::thread::sleep(std::time::Duration::from_micros(random.below(3000) as u64));
        signal(chosen, libc::SIGCONT);
        std::thread::sleep(std::time::Duration::from_micros(random.below(3000) as u64));
        clients.retain_mut(|client| !has_ended(client));
    }
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn a_question_is_answered_whoever_is_stopped_meanwhile() {
    stopped_at_any_moment("a_question_is_answered_whoever_is_stopped_meanwhile", false);
}

#[test]
fn a_question_is_answered_where_sockets_are_closed_by_other_threads_too() {
    stopped_at_any_moment(
        "a_question_is_answered_where_sockets_are_closed_by_other_threads_too",
        true,
    );
}

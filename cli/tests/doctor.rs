//! The `doctor` command: every section is there on any machine, and both forms exit with success.

mod common;

use common::filter::refuse;
use common::{Json, hugepool, parse_json};
use std::os::unix::process::CommandExt;
use std::process::Command;

#[test]
fn every_section_is_printed() {
    let run = hugepool(&["doctor"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for section in [
        "\nMachine\n",
        "\nControl groups\n",
        "\nReserved huge pages\n",
        "\nTransparent huge pages\n",
        "\nLocked memory\n",
        "\nWhat other processes hold\n",
        "\nRestartable sequences\n",
        "\nMembarrier\n",
        "\nNUMA\n",
        "\nWhat the pool is granted when it requires\n",
        "\nWhat the pool obtains by default\n",
    ] {
        assert!(
            run.stdout.contains(section),
            "{section} missing: {}",
            run.stdout
        );
    }
    for trial in [
        "reserved 1 GiB pages",
        "reserved 2 MiB pages",
        "transparent huge pages",
        "collapsed huge pages",
        "shared: transparent",
        "shared: collapsed",
        "base pages",
    ] {
        let line = run
            .stdout
            .lines()
            .find(|line| line.trim_start().starts_with(trial));
        let line = line.expect("each rung has its line");
        assert!(
            line.contains("granted:") || line.contains("refused:"),
            "{line}"
        );
    }
}

#[test]
fn the_json_form_is_one_object_with_every_section() {
    let run = hugepool(&["doctor", "--json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let Json::Object(fields) = parse_json(&run.stdout) else {
        panic!("no object: {}", run.stdout)
    };
    let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    for name in [
        "kernel",
        "control_groups",
        "huge_pages",
        "transparent",
        "collapse",
        "memlock",
        "rseq",
        "membarrier",
        "why_portable",
        "nodes",
        "numa_balancing",
        "why_not_placed",
        "holders",
        "trials",
        "default_pool",
        "advice",
    ] {
        assert!(names.contains(&name), "{name} missing: {names:?}");
    }
    // Data throughout: no text is a table.
    let mut texts = Vec::new();
    gather(&Json::Object(fields), &mut texts);
    assert!(texts.len() > 20);
    for text in texts {
        assert!(!text.contains('\n') && !text.contains("  "), "{text:?}");
    }
}

/// All texts that are in it.
fn gather(json: &Json, texts: &mut Vec<String>) {
    match json {
        Json::Text(text) => texts.push(text.clone()),
        Json::Array(values) => values.iter().for_each(|value| gather(value, texts)),
        Json::Object(fields) => fields.iter().for_each(|(_, value)| gather(value, texts)),
        _ => {}
    }
}

fn field<'a>(json: &'a Json, wanted: &str) -> &'a Json {
    let Json::Object(fields) = json else {
        panic!("no object: {json:?}")
    };
    let found = fields.iter().find(|(name, _)| name == wanted);
    &found
        .unwrap_or_else(|| panic!("{wanted} missing: {json:?}"))
        .1
}

/// This process, as the program sees it.
#[test]
fn who_holds_locked_memory_is_named_with_how_much() {
    const BYTES: usize = 1 << 20;
    let memory = vec![1u8; BYTES];
    // SAFETY: the memory is there until it is unlocked, or until this process ends.
    if unsafe { libc::mlock(memory.as_ptr().cast(), BYTES) } != 0 {
        let why = std::io::Error::last_os_error();
        return eprintln!("skipped: who holds locked memory: mlock: {why}");
    }
    let own = std::process::id();
    let json = parse_json(&hugepool(&["doctor", "--json"]).stdout);
    let Json::Array(processes) = field(field(&json, "holders"), "processes") else {
        panic!("{json:?}")
    };
    let number = |json: &Json, name: &str| match field(json, name) {
        Json::Number(number) => *number,
        other => panic!("{name}: {other:?}"),
    };
    let mut found = processes.iter();
    let found = found.find(|process| number(process, "pid") == f64::from(own));
    let bytes = number(found.expect("this process is named"), "locked_bytes");
    assert!(bytes >= BYTES as f64, "{bytes}");
    // SAFETY: as above.
    unsafe { libc::munlock(memory.as_ptr().cast(), BYTES) };
    let after = parse_json(&hugepool(&["doctor", "--json"]).stdout);
    let Json::Array(processes) = field(field(&after, "holders"), "processes") else {
        panic!("{after:?}")
    };
    let still = |process: &&Json| {
        number(process, "pid") == f64::from(own) && number(process, "locked_bytes") >= bytes
    };
    assert!(
        !processes.iter().any(|process| still(&process)),
        "{after:?}"
    );
}

/// What a pool has and what the machine was found to grant are one thing.
#[test]
fn why_caches_are_portable_is_said_of_the_machine_and_of_the_pool() {
    let json = parse_json(&hugepool(&["doctor", "--json"]).stdout);
    let pool = field(&json, "default_pool");
    let text = hugepool(&["doctor"]).stdout;
    let why = field(&json, "why_portable");
    match why {
        Json::Null => assert!(text.contains("the kernel restarted a sequence"), "{text}"),
        Json::Text(_) => assert!(!text.contains("the kernel restarted"), "{text}"),
        other => panic!("{other:?}"),
    }
    // It may be refused where there is little memory.
    if !matches!(pool, Json::Object(fields) if fields[0].0 == "error") {
        assert_eq!(field(pool, "why_portable"), why);
    }
}

#[test]
fn what_is_no_command_exits_with_2() {
    for args in [&["heal"][..], &["doctor", "--loud"], &[]] {
        let run = hugepool(args);
        assert_eq!(run.code, 2, "{args:?}: {}", run.stderr);
    }
}

/// Where the process runs under a filter that refuses mbind, each form says so.
#[test]
fn a_filter_that_refuses_the_choice_of_nodes_is_named() {
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hugepool"));
        // SAFETY: makes system calls alone, with what lies on its stack.
        unsafe {
            command
                .args(args)
                .pre_exec(|| refuse(libc::SYS_mbind, libc::EPERM))
        };
        command.output()
    };
    let text = match run(&["doctor"]) {
        Ok(output) => String::from_utf8(output.stdout).unwrap(),
        Err(why) => return eprintln!("skipped: no filter for system calls: {why}"),
    };
    let line = text.lines().find(|line| line.contains("choice of nodes"));
    let Some(line) = line else {
        assert!(text.contains("this kernel does not know them"), "{text}");
        return eprintln!("skipped: a filter that refuses mbind: a kernel without NUMA");
    };
    assert!(line.contains("refused: a filter of system calls"), "{line}");
    let output = run(&["doctor", "--json"]).unwrap();
    let Json::Object(fields) = parse_json(&String::from_utf8(output.stdout).unwrap()) else {
        panic!("no object")
    };
    let why = fields.iter().find(|(name, _)| name == "why_not_placed");
    assert!(
        matches!(why, Some((_, Json::Text(why))) if why.contains("filter")),
        "{why:?}"
    );
}

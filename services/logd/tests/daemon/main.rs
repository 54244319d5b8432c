//! End-to-end tests of logd: the program, with pipes as PID 1 holds them, and a state folder.

#![cfg(test)]

mod clients;
mod disk;
mod logd;

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use logd::{Host, Logd, object, texts};
use octet_as_pid_1::wait_until;
use octet_node::control::{CallError, FailureCode};
use serde_json::{Value, json};

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("line {number}")).collect()
}

#[test]
fn keeps_what_units_and_kernel_say() {
    let host = Host::new(&["one", "two"]);
    let logd = host.start();
    host.say("one", "hello\nwor");
    host.kernel_says(0, "Linux version");
    host.say("two", "two \u{fffd}\n");
    host.say("one", "ld\n");
    assert_eq!(logd.follow_until("one", "world"), ["hello", "world"]);
    assert_eq!(logd.follow_until("kernel", "Linux version"), ["Linux version"]);
    assert_eq!(logd.follow_until("two", "two \u{fffd}"), ["two \u{fffd}"]);
    assert_eq!(logd.logs(json!({"unit": "one", "lines": 1})), ["world"]);
    assert!(logd.logs(json!({"since": "2999-01-01"})).is_empty());
    assert_eq!(logd.logs(json!({"unit": "one", "since": "1h"})), ["hello", "world"]);
    let mut all = logd.logs(json!({"since": "1970-01-01"}));
    all.sort();
    assert_eq!(all, ["Linux version", "hello", "two \u{fffd}", "world"]);

    // In text format: time, unit, text.
    let mut shown = vec![];
    let args = object(json!({"unit": "one", "lines": 1}));
    let show = |item: &Value| {
        shown.push(item["lines"][0].as_str().unwrap().to_owned());
        true
    };
    logd.connect().call_each("logs", args, show).unwrap();
    assert!(shown[0].ends_with("Z one world"), "{shown:?}");

    for (args, code) in [
        (json!({"unit": "three"}), FailureCode::NotFound),
        (json!({"since": "soon"}), FailureCode::BadArgument),
        (json!({"follow": "yes"}), FailureCode::BadArgument),
        (json!({"colour": 1}), FailureCode::BadArgument),
    ] {
        match logd.call("logs", args) {
            Err(CallError::Failure(failure)) => assert_eq!(failure.code, code),
            other => panic!("{other:?}"),
        }
    }
    let verbs = logd.connect().describe().unwrap();
    let names: Vec<&str> = verbs.iter().map(|verb| verb.name.as_str()).collect();
    assert_eq!(names, ["describe", "logs", "stats"]);
}

#[test]
fn a_flood_takes_nothing_from_others() {
    const LINES: usize = 3000;
    let mut host = Host::new(&["flood", "calm"]);
    host.options = vec!["--rate", "65536", "--burst", "262144"];
    let logd = host.start();
    let (mut flood, mut calm) = (host.writer("flood"), host.writer("calm"));
    let flooding = thread::spawn(move || {
        let lines = "x".repeat(99) + "\n";
        let lines = lines.repeat(100);
        for _ in 0..2000 {
            flood.write_all(lines.as_bytes()).unwrap();
        }
        flood.write_all(b"done\n").unwrap();
    });
    for line in numbered(LINES) {
        writeln!(calm, "{line}").unwrap();
    }
    let seen = logd.follow_until("calm", &format!("line {}", LINES - 1));
    assert_eq!(seen, numbered(LINES));
    flooding.join().unwrap();
    let told = |text: &String| text.starts_with("dropped ") && text.contains(" of flood ");
    let mut telling = vec![];
    let args = json!({"unit": "logd", "follow": true, "fields": true});
    let each = |item: &Value| {
        telling.extend(texts(item));
        !telling.iter().any(told)
    };
    logd.connect().call_each("logs", object(args), each).unwrap();
    assert_eq!(logd.unit_stats("calm")["over_rate"], 0);
    assert_eq!(logd.unit_stats("calm")["lines"], LINES);
    assert!(logd.stop().success());
    // The exact number of dropped lines is reported, at the latest at the end.
    let logd = host.start();
    let told: u64 = logd
        .logs(json!({"unit": "logd", "since": "1970-01-01"}))
        .iter()
        .filter(|text| told(text))
        .map(|text| text.split(' ').nth(1).unwrap().parse::<u64>().unwrap())
        .sum();
    let kept = logd.logs(json!({"unit": "flood", "since": "1970-01-01"})).len() as u64;
    assert_eq!(told + kept, 200_001, "{told} told, {kept} kept");
}

/// However often logd is killed while a unit writes, each line is stored once, and in order.
#[test]
fn a_killed_logd_loses_nothing() {
    const LINES: usize = 60_000;
    const LIVES: usize = 15;
    static WRITTEN: AtomicUsize = AtomicUsize::new(0);
    let mut host = Host::new(&["calm", "busy", "slow"]);
    host.options = vec![
        "--rate",
        "1000000000",
        "--burst",
        "1000000000",
        "--lines",
        "1000000000",
        "--line-burst",
        "1000000000",
        "--memory",
        "100000000",
    ];
    let mut busy = host.writer("busy");
    let writing = thread::spawn(move || {
        for (number, line) in numbered(LINES).into_iter().enumerate() {
            // Lines are written in two parts, so that logd is also killed within a line.
            let line = line + "\n";
            let (head, rest) = line.split_at(number % line.len());
            busy.write_all(head.as_bytes()).unwrap();
            busy.write_all(rest.as_bytes()).unwrap();
            WRITTEN.store(number + 1, Ordering::SeqCst);
        }
    });
    // This line is started in the first life, and ended in the last.
    host.say("slow", "begun");
    for life in 1..LIVES {
        let logd = host.start();
        wait_until("so many are written", || {
            WRITTEN.load(Ordering::SeqCst) >= life * LINES / LIVES
        });
        host.say("calm", &format!("line {}\n", life - 1));
        logd.kill();
    }
    let logd = host.start();
    let seen = logd.follow_until("busy", &format!("line {}", LINES - 1));
    writing.join().unwrap();
    host.say("slow", " and ended\n");
    let wrong = seen.iter().zip(numbered(LINES)).position(|(seen, wanted)| *seen != wanted);
    assert_eq!(wrong, None, "{:?}", wrong.map(|at| &seen[at.saturating_sub(2)..][..5]));
    assert_eq!(seen.len(), LINES);
    assert_eq!(logd.follow_until("calm", &format!("line {}", LIVES - 2)), numbered(LIVES - 1));
    assert_eq!(logd.follow_until("slow", "begun and ended"), ["begun and ended"]);
    // After a regular end, all lines are on disk.
    assert!(logd.stop().success());
    let logd = host.start();
    assert_eq!(logd.logs(json!({"unit": "busy", "since": "1970-01-01"})), numbered(LINES));
    assert_eq!(logd.logs(json!({"unit": "busy", "lines": 7})), numbered(LINES)[LINES - 7..]);
}

/// The bytes that are not on disk yet.
fn waiting(logd: &Logd) -> u64 {
    logd.call("stats", json!({})).unwrap()["waiting"].as_u64().unwrap()
}

/// A line without a newline does not keep later data in the journal.
#[test]
fn the_journal_is_bounded() {
    let mut host = Host::new(&["slow", "busy"]);
    host.options = vec!["--rate", "100000000", "--burst", "100000000", "--line-burst", "1000000"];
    let logd = host.start();
    host.say("slow", "begun");
    let lines = ("x".repeat(999) + "\n").repeat(1000);
    for round in 0..20 {
        host.say("busy", &format!("{lines}round {round}\n"));
        // Data that is not on disk yet has another limit, above which it can be lost.
        wait_until("the disk takes them", || waiting(&logd) <= 500_000);
    }
    logd.follow_until("busy", "round 19");
    assert!(host.journal_size() < 5 << 20, "{}", host.journal_size());
    // The memory is released once everything is on disk, even if no more lines arrive.
    wait_until("the disk has them", || waiting(&logd) == 0);
    wait_until("it is given back", || host.journal_size() <= 600_000);
    logd.kill();
    let logd = host.start();
    host.say("slow", " and ended\n");
    assert_eq!(logd.follow_until("slow", "begun and ended"), ["begun and ended"]);
    let rounds = logd.logs(json!({"unit": "busy", "since": "1970-01-01"}));
    assert_eq!(rounds.len(), 20 * 1001);
}

#[test]
fn ends_with_all_that_was_said() {
    let host = Host::new(&["one"]);
    let logd = host.start();
    host.say("one", &(numbered(1000).join("\n") + "\nand then"));
    assert!(logd.stop().success());
    let logd = host.start();
    let seen = logd.logs(json!({"unit": "one", "since": "1970-01-01"}));
    assert_eq!(seen[..1000], numbered(1000));
    assert_eq!(seen[1000..], ["and then"]);
}

/// The kernel returns all its records to each new logd, which must not store them again.
#[test]
fn records_of_the_kernel_are_kept_once() {
    let host = Host::new(&[]);
    let logd = host.start();
    (0..5).for_each(|number| host.kernel_says(number, &format!("record {number}")));
    logd.follow_until("kernel", "record 4");
    assert!(logd.stop().success());
    let logd = host.start();
    (0..7).chain([9]).for_each(|number| host.kernel_says(number, &format!("record {number}")));
    let seen = logd.follow_until("kernel", "record 9");
    let wanted: Vec<String> = (0..7).chain([9]).map(|number| format!("record {number}")).collect();
    assert_eq!(seen, wanted);
    let lost = "2 lines of the kernel were overwritten before they were read";
    assert!(logd.logs(json!({"unit": "logd"})).contains(&lost.to_owned()));
}

//! A disk that is cut off, damaged, full, slow, or missing.

use std::fs::{self, OpenOptions};
use std::io::Write;

use serde_json::json;

use crate::logd::Host;
use crate::numbered;

#[test]
fn a_torn_end_is_cut_off_and_told() {
    let host = Host::new(&["one"]);
    let logd = host.start();
    host.say("one", "before\n");
    logd.follow_until("one", "before");
    assert!(logd.stop().success());
    let segment = host.state().join("00000001.log");
    let mut file = OpenOptions::new().append(true).open(&segment).unwrap();
    file.write_all(b"OCTLOGB1 and no more").unwrap();
    let logd = host.start();
    host.say("one", "after\n");
    assert_eq!(logd.follow_until("one", "after"), ["before", "after"]);
    let told = logd.logs(json!({"unit": "logd"}));
    assert_eq!(told, ["cut 20 torn bytes off the end of the log"]);
    assert_eq!(logd.call("stats", json!({})).unwrap()["torn"], 20);
}

/// A damaged byte destroys its block: the gap is shown at its place, and counted.
#[test]
fn damage_is_shown_where_it_is() {
    let host = Host::new(&["one"]);
    for number in 0..3 {
        let logd = host.start();
        host.say("one", &format!("line {number}\n"));
        assert!(logd.stop().success());
    }
    let segment = host.state().join("00000001.log");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let logd = host.start();
    assert_eq!(
        logd.logs(json!({"since": "1970-01-01", "unit": "one"})),
        ["line 0", "-1", "line 2"]
    );
    let told = "skipped 1 damaged places of the log".to_owned();
    assert_eq!(logd.logs(json!({"unit": "logd"})), [told]);
}

/// The boot of a line is that of its block's header, whatever the clock was.
#[test]
fn a_boot_has_lines_of_its_own() {
    let host = Host::new(&["one"]);
    let logd = host.start();
    host.say("one", "before\n");
    assert!(logd.stop().success());
    let logd = host.start();
    host.say("one", "after\n");
    logd.follow_until("one", "after");
    assert_eq!(logd.logs(json!({"unit": "one", "boot": true})), ["before", "after"]);
    assert!(logd.stop().success());

    // The first block is changed to one of another boot (see the format in src/store/block.rs).
    let segment = host.state().join("00000001.log");
    let mut bytes = fs::read(&segment).unwrap();
    let block = bytes.windows(8).position(|it| it == b"OCTLOGB1").unwrap();
    let header = &mut bytes[block..block + 116];
    header[64] ^= 1;
    let sum = crc32fast::hash(&header[..112]);
    header[112..].copy_from_slice(&sum.to_le_bytes());
    fs::write(&segment, bytes).unwrap();
    let logd = host.start();
    host.say("one", "at last\n");
    logd.follow_until("one", "at last");
    assert_eq!(logd.logs(json!({"unit": "one"})), ["before", "after", "at last"]);
    assert_eq!(logd.logs(json!({"unit": "one", "boot": true})), ["after", "at last"]);
    assert_eq!(logd.logs(json!({"unit": "one", "boot": true, "lines": 1})), ["at last"]);
}

#[test]
fn goes_on_in_memory_without_a_disk() {
    let mut host = Host::new(&["one"]);
    host.options = vec!["--retry", "50"];
    fs::write(host.state(), "no folder").unwrap();
    let logd = host.start();
    host.say("one", "kept in memory\n");
    assert_eq!(logd.follow_until("one", "kept in memory"), ["kept in memory"]);
    // logd opens the store in a thread, and is ready before that is done.
    let told = logd.follow("logd", |text| text.starts_with("the log is kept in memory only: "));
    assert_eq!(told.len(), 1, "{told:?}");
    let stats = logd.call("stats", json!({})).unwrap();
    assert!(stats["trouble"].is_string() && stats["stored"] == 0, "{stats}");
    // The journal survives a kill.
    logd.kill();
    let logd = host.start();
    assert_eq!(logd.follow_until("one", "kept in memory"), ["kept in memory"]);

    fs::remove_file(host.state()).unwrap();
    logd.follow_until("logd", "the log is kept on disk again");
    host.say("one", "kept on disk\n");
    assert_eq!(logd.follow_until("one", "kept on disk"), ["kept in memory", "kept on disk"]);
    assert!(logd.stop().success());
    let logd = host.start();
    assert_eq!(logd.logs(json!({"unit": "one"})), ["kept in memory", "kept on disk"]);
}

/// The folder is removed while logd runs: it cannot create the next segment, but loses no waiting
/// line.
#[test]
fn goes_on_after_a_write_that_failed() {
    let mut host = Host::new(&["one"]);
    host.options = vec!["--retry", "50", "--segment", "1", "--rate", "100000000"];
    let logd = host.start();
    host.say("one", "first\n");
    assert!(logd.stop().success());
    let logd = host.start();
    fs::remove_dir_all(host.state()).unwrap();
    // Incompressible text for more than one segment.
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        format!("{state:016x}")
    };
    let lines: Vec<String> = (0..5000).map(|_| noise() + &noise() + &noise()).collect();
    host.say("one", &(lines.join("\n") + "\n"));
    logd.follow_until("logd", "the log is kept on disk again");
    host.say("one", "last\n");
    logd.follow_until("one", "last");
    assert!(logd.stop().success());
    let logd = host.start();
    let seen = logd.logs(json!({"unit": "one", "since": "1970-01-01"}));
    // Lines in the removed files are lost, but none after them.
    let from = lines.iter().position(|line| *line == seen[0]).unwrap();
    assert!(from < 4000, "{from}");
    assert_eq!(seen[..seen.len() - 1], lines[from..]);
    assert_eq!(seen.last().unwrap(), "last");
}

/// Without a folder only the newest lines are kept, and removing older ones does not count as loss.
#[test]
fn keeps_the_newest_in_memory_without_a_folder() {
    let mut host = Host::new(&["one"]);
    host.has_state = false;
    host.options = vec!["--memory", "100000"];
    let logd = host.start();
    host.say("one", &(numbered(5000).join("\n") + "\n"));
    let seen = logd.follow_until("one", "line 4999");
    assert_eq!(logd.logs(json!({"unit": "one", "lines": 100})), numbered(5000)[4900..]);
    assert!(seen.len() >= 100);
    let stats = logd.call("stats", json!({})).unwrap();
    assert!(stats["trouble"].as_str().unwrap().contains("no folder"), "{stats}");
    assert_eq!(logd.unit_stats("one")["no_room"], 0);
    // The next logd has exactly these lines, from the journal.
    logd.kill();
    let logd = host.start();
    let mut seen = logd.follow_until("one", "line 4999");
    seen.retain(|text| !text.starts_with('-')); // counts of missing lines
    assert!(seen.len() >= 100 && seen == numbered(5000)[5000 - seen.len()..], "{}", seen.len());
    assert!(logd.stop().success());
}

/// The disk does not respond at first: logd is ready all the same.
#[test]
fn is_ready_before_the_disk() {
    use rustix::fs::{CWD, Mode, mkfifoat};

    let host = Host::new(&["one"]);
    fs::create_dir(host.state()).unwrap();
    // Opening a FIFO without a writer blocks.
    let dead = host.state().join("00000001.log");
    mkfifoat(CWD, &dead, Mode::RUSR | Mode::WUSR).unwrap();
    let logd = host.start();
    host.say("one", "kept in memory\n");
    assert_eq!(logd.follow_until("one", "kept in memory"), ["kept in memory"]);
    assert_eq!(logd.call("stats", json!({})).unwrap()["stored"], 0);
}

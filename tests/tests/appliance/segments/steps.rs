//! At each step of a change netd is killed, the kernel refuses, or the power is cut: afterwards the
//! box has the old or the new configuration, completely.

use std::thread::sleep;
use std::time::{Duration, Instant};

use octet_control::file::LocalFile;
use octet_evaluator::{Probe as Asked, World};
use octet_machine::MachineError;
use octet_tests::{DiskFile, READY, SOON, in_parallel, shipped, soak};
use serde_json::json;

use crate::segments::change::apply;
use crate::segments::site::{Site, image, text, world};
use crate::segments::sweep::pairs;

/// The size of the medium, in MiB.
const MEDIUM: u64 = 320;

/// A change without a log message for this long is stalled; the timeout of netd is longer.
const STILL: Duration = Duration::from_secs(10);

/// The interval of reading a log.
const RETRY_DELAY: Duration = Duration::from_millis(200);

const OLD: &str = r#"
[[policy]]
from = "board-1"
to = "board-2"
protocol = "tcp"
ports = [8080]

[[policy]]
from = "lan"
to = "board-3"
protocol = "icmp"
"#;

/// The new configuration: other policies, no port for the owner's devices, and more addresses at
/// the uplink.
const NEW: &str = r#"
[[policy]]
from = "board-2"
to = "board-1"
protocol = "udp"
ports = [5000]

[[policy]]
from = "board-3"
to = "uplink"
protocol = "tcp"
ports = [443]
"#;

fn old() -> String {
    text(4, OLD)
}

fn new() -> String {
    let text = text(4, NEW).replace("[lan]\n", "");
    let more = "\"192.0.2.7/24\", \"192.0.2.8/24\", \"192.0.2.9/24\", \"2001:db8::8/64\"";
    text.replace("\"192.0.2.7/24\"", more)
}

/// The probes whose results differ before and after.
fn telling(old: &World, new: &World) -> Vec<Asked> {
    let mut traffic = old.worth_a_probe();
    traffic.extend(new.worth_a_probe());
    traffic.sort();
    traffic.dedup();
    let arrives = |world: &World, (from, to, what, version)| {
        let is_there = [from, to].iter().all(|zone| world.zones().contains(zone));
        is_there && world.reaches(from, to, what, version).is_some()
    };
    let mut asked = pairs(&old.zones(), &traffic);
    asked.retain(|asked| arrives(old, *asked) || arrives(new, *asked));
    asked
}

/// The log of `netd`.
fn log(site: &Site) -> Vec<String> {
    site.machine.logs("netd").unwrap_or_default()
}

/// The steps of the change, in a run without a failure; there it is not confirmed, and therefore
/// undone.
fn steps(image: &octet_tests::Image, asked: &[Asked]) -> Vec<String> {
    let mut site = Site::of(image, &old(), Some("list"), None);
    site.wait_ready();
    is_as(&mut site, &old(), asked);
    // It is not confirmed.
    let mut file = LocalFile::Memory(new().into_bytes());
    let args = json!({ "confirm": 10 });
    site.machine.send_file_with("config", "apply", args, "file", &mut file).unwrap();
    let words = log(&site);
    let until = Instant::now() + READY;
    while !is_old(&site) {
        assert!(Instant::now() < until, "late: {}", site.machine.tail(40));
        sleep(RETRY_DELAY);
    }
    is_as(&mut site, &old(), asked);
    let steps = words.iter().filter_map(|line| Some(line.split_once("step ")?.1.to_owned()));
    steps.collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Die,
    Fail,
    Cut,
}

/// Whether the old configuration is in force, according to `config`; it must be one of the two.
fn is_old(site: &Site) -> bool {
    let shown = site.machine.call_unit("config", "show", json!({ "section": "network" })).unwrap();
    match shown["address"].as_array().unwrap().len() {
        2 => true,
        5 => false,
        count => panic!("{count} addresses"),
    }
}

/// All distinguishing probes, and the addresses, must be as in `text`.
fn is_as(site: &mut Site, text: &str, asked: &[Asked]) {
    site.lives_by(world(text));
    let swept = site.sweep(asked);
    swept.must_be_right(site);
    let links = swept.shown["links"].to_string();
    let (has_second, has_lan) = (links.contains("192.0.2.8/24"), links.contains("10.20.250.1/24"));
    assert_eq!((has_second, has_lan), (text.contains("192.0.2.8"), text.contains("[lan]")));
}

/// Waits until netd has reached the step.
fn wait_for(site: &Site, words: &str) {
    let until = Instant::now() + READY;
    while !log(site).iter().any(|line| line.contains(words)) {
        assert!(Instant::now() < until, "late: no {words}: {:?}", log(site));
        sleep(RETRY_DELAY);
    }
}

fn one(image: &octet_tests::Image, fault: Fault, step: usize, asked: &[Asked]) {
    let disk = DiskFile::flashed(&shipped(), MEDIUM);
    let kind = match fault {
        Fault::Die => "die",
        Fault::Fail => "fail",
        Fault::Cut => "stall",
    };
    let argument = format!("{kind}:{step}");
    let mut site = Site::of(image, &old(), Some(&argument), Some(disk.disk()));
    site.wait_ready();
    // Starts flows that no policy allows afterwards.
    is_as(&mut site, &old(), asked);
    if fault == Fault::Cut {
        // The call does not wait for its answer, because it would block other calls.
        let mut file = LocalFile::Memory(new().into_bytes());
        let asked = site.machine.send_file_within(STILL, "config", "apply", "file", &mut file);
        assert!(matches!(asked, Err(MachineError::Late { .. })), "{asked:?}");
        wait_for(&site, &format!("stall at step {step}"));
        site.machine.kill().unwrap();
        drop(site);
        site = Site::of(image, &old(), None, Some(disk.disk()));
        site.wait_ready();
    } else {
        let error = apply(&site.machine, &new()).unwrap_err().to_string();
        assert!(!error.is_empty());
        let back = site.machine.wait_status("netd", SOON, |status| {
            status.unit("netd").is_some_and(|unit| unit.state == octet_machine::UnitState::Ready)
        });
        back.unwrap();
    }
    assert!(is_old(&site), "{fault:?} at step {step}");
    is_as(&mut site, &old(), asked);
    // The failure has no lasting effect: the same change succeeds now.
    if fault != Fault::Cut {
        apply(&site.machine, &new()).unwrap();
        site.machine.call_unit("config", "confirm", json!({})).unwrap();
        assert!(!is_old(&site));
        is_as(&mut site, &new(), asked);
    }
}

#[test]
#[ignore = "long: `cargo image test --soak`"]
fn old_or_new_whatever_fails() {
    let image = image(&old(), true);
    let asked = telling(&world(&old()), &world(&new()));
    let steps = steps(&image, &asked);
    println!("{} steps:\n{}", steps.len(), steps.join("\n"));
    assert!(steps.len() >= 10);
    let last = steps.len();
    let mut all = vec![];
    for step in 1..=last {
        for fault in [Fault::Die, Fault::Fail, Fault::Cut] {
            let is_short = match fault {
                Fault::Die => step == 1,
                Fault::Fail => step == last / 2,
                Fault::Cut => step == 2,
            };
            if soak() || is_short {
                all.push((fault, step));
            }
        }
    }
    println!("{all:?}");
    in_parallel(all, |(fault, step)| one(&image, fault, step, &asked));
}

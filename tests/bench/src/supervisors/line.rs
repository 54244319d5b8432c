//! What the referee says on a guest's console (tests/guests/src/bin/referee.rs).

use serde::Deserialize;

/// What stands before each of its lines.
const MARK: &str = "referee: ";

/// The last of its lines begins so, whether all went well or not.
pub const ENDS: [&str; 2] = ["referee: {\"done\"", "referee: {\"failed\""];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    Up { units: u32, last_ns: u64 },
    Memory { processes: u32, init: u64, rss: u64, pss: u64, used: u64 },
    Idle { seconds: f64, wakeups: u64 },
    Death { ns: u64 },
    Done { kills: usize },
    Failed { reason: String },
}

/// One run of one supervisor.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    /// From the kernel's start until the last unit was up, in seconds.
    pub up: f64,
    /// From each death to the replacement's first act, in seconds.
    pub deaths: Vec<f64>,
    /// Processes that supervise, PID 1 among them.
    pub processes: u32,
    /// The resident size of PID 1, in bytes.
    pub init: u64,
    /// The resident size of all that supervise.
    pub rss: u64,
    /// The same, with shared pages divided among those who have them.
    pub pss: u64,
    /// What of the guest's memory is not available.
    pub used: u64,
    /// How often all that supervise were woken in a minute of rest.
    pub wakeups: f64,
}

impl Run {
    /// Reads a console on which `units` units were to come up; an error says in words what is wrong.
    pub fn parse(console: &str, units: u32) -> Result<Self, String> {
        let mut run = Self::default();
        let (mut seen, mut done) = ([false; 3], None);
        for line in console.lines() {
            let Some((_, json)) = line.split_once(MARK) else { continue };
            match serde_json::from_str(json).map_err(|error| format!("{json}: {error}"))? {
                Line::Up { units: up, .. } if up != units => {
                    return Err(format!("{up} units came up, not {units}"));
                }
                Line::Up { last_ns, .. } => {
                    seen[0] = true;
                    run.up = seconds(last_ns);
                }
                Line::Memory { processes, init, rss, pss, used } => {
                    seen[1] = true;
                    (run.processes, run.init, run.rss) = (processes, init, rss);
                    (run.pss, run.used) = (pss, used);
                }
                Line::Idle { seconds, wakeups } => {
                    seen[2] = true;
                    run.wakeups = wakeups as f64 * 60.0 / seconds;
                }
                Line::Death { ns } => run.deaths.push(seconds(ns)),
                Line::Done { kills } => done = Some(kills),
                Line::Failed { reason } => return Err(reason),
            }
        }
        // A line of somebody else may have run into one of these.
        if seen == [true; 3] && done == Some(run.deaths.len()) {
            Ok(run)
        } else {
            Err("lines of the referee are missing".into())
        }
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "a kernel speaks\n\nreferee: {\"up\":{\"units\":3,\"last_ns\":1500000000}}\n\
        \nreferee: {\"memory\":{\"processes\":4,\"init\":5,\"rss\":6,\"pss\":7,\"used\":8}}\n\
        \nreferee: {\"idle\":{\"seconds\":30.000,\"wakeups\":2}}\n\
        somebody else referee: {\"death\":{\"ns\":2000000}}\nreferee: {\"done\":{\"kills\":1}}\n";

    #[test]
    fn reads_a_whole_run() {
        let run = Run::parse(CONSOLE, 3).unwrap();
        let deaths = vec![0.002];
        let wanted =
            Run { up: 1.5, deaths, processes: 4, init: 5, rss: 6, pss: 7, used: 8, wakeups: 4.0 };
        assert_eq!(run, wanted);
        assert!(ENDS.iter().any(|end| CONSOLE.contains(end)));
    }

    #[test]
    fn what_is_missing_is_no_run() {
        Run::parse(CONSOLE, 3).unwrap();
        for (console, words) in [
            (CONSOLE.replace("\"up\"", "\"down\""), "down"),
            (CONSOLE.replace("\"kills\":1", "\"kills\":2"), "missing"),
            (CONSOLE.replace("referee: {\"idle", "x"), "missing"),
            (CONSOLE.replace("\"units\":3", "\"units\":2"), "2 units"),
            (format!("{CONSOLE}referee: {{\"failed\":{{\"reason\":\"it is\"}}}}\n"), "it is"),
        ] {
            let error = Run::parse(&console, 3).unwrap_err();
            assert!(error.contains(words), "{words}: {error}");
        }
    }
}

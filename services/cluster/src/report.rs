//! A node's health report. Pure: it has no clock, socket or disk.

use octet_node::control::is_control_or_format;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The maximum number of failed units that are named.
const MAX_NAMED: usize = 16;

/// The maximum length of a displayed text in characters: a unit's name fits.
const LONGEST_TEXT: usize = 64;

/// A node's health; missing values are unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NodeReport {
    /// PID 1's state: ready, degraded, …
    pub state: Option<String>,
    /// The uptime in milliseconds.
    pub uptime: Option<u64>,
    /// The number of units that are ready or done.
    pub ready: Option<u64>,
    /// The failed units, up to the maximum.
    pub failed: Vec<String>,
    /// Available memory, in bytes.
    pub memory: Option<u64>,
    /// Total memory, in bytes.
    pub total: Option<u64>,
    /// The CPU usage in the last interval, in percent.
    pub cpu: Option<u64>,
    /// The temperature of the warmest sensor, in degrees Celsius.
    pub temperature: Option<i64>,
    /// Bytes that the node has received at its uplink since the link exists.
    pub received: Option<u64>,
    /// Bytes that it has sent there.
    pub sent: Option<u64>,
}

impl NodeReport {
    /// From PID 1's answer to `status`.
    pub fn from_status(status: &Value) -> Self {
        let number = |at: &str| status.pointer(at).and_then(Value::as_u64);
        let units = || status.get("units").and_then(Value::as_array).into_iter().flatten();
        let is = |unit: &&Value, states: [&str; 2]| {
            unit.get("state").and_then(Value::as_str).is_some_and(|state| states.contains(&state))
        };
        let ready = units().filter(|unit| is(unit, ["ready", "exited"])).count();
        let failed = units().filter(|unit| is(unit, ["failed", "backoff"]));
        Self {
            state: status.get("state").and_then(text),
            uptime: number("/uptime"),
            ready: u64::try_from(ready).ok(),
            failed: failed.filter_map(|unit| text(unit.get("name")?)).take(MAX_NAMED).collect(),
            memory: number("/memory/available"),
            total: number("/memory/total"),
            cpu: None,
            temperature: status
                .pointer("/hardware/temperature_celsius")
                .and_then(Value::as_f64)
                .map(|degrees| degrees.floor() as i64),
            received: None,
            sent: None,
        }
    }

    /// Decodes a board's report; invalid values are dropped.
    pub fn from_json(said: &Map<String, Value>) -> Self {
        let number = |name: &str| said.get(name).and_then(Value::as_u64);
        let failed = said.get("failed").and_then(Value::as_array).into_iter().flatten();
        Self {
            state: said.get("state").and_then(text),
            uptime: number("uptime"),
            ready: number("ready"),
            failed: failed.filter_map(text).take(MAX_NAMED).collect(),
            memory: number("memory"),
            total: number("total"),
            cpu: number("cpu").map(|percent| percent.min(100)),
            temperature: said.get("temperature").and_then(Value::as_i64),
            received: number("received"),
            sent: number("sent"),
        }
    }

    /// Encodes the report.
    pub fn to_json(&self) -> Map<String, Value> {
        json!(self).as_object().cloned().unwrap_or_default()
    }
}

/// A text of another node, shortened for display.
fn text(value: &Value) -> Option<String> {
    let shown = value.as_str()?.chars().filter(|it| !is_control_or_format(*it));
    Some(shown.take(LONGEST_TEXT).collect())
}

/// The busy and the total time of all CPUs, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTicks {
    busy: u64,
    all: u64,
}

impl CpuTicks {
    /// Parses `/proc/stat` (proc_stat(5)).
    pub fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        // The last two, guest and guest_nice, are included in user and nice.
        let ticks = line.split_whitespace().take(8).map(|word| word.parse().ok());
        let ticks: Vec<u64> = ticks.collect::<Option<_>>()?;
        // idle and iowait
        let idle = ticks.get(3)?.saturating_add(ticks.get(4).copied().unwrap_or(0));
        let all = ticks.iter().fold(0u64, |sum, count| sum.saturating_add(*count));
        Some(Self { busy: all.saturating_sub(idle), all })
    }

    /// The CPU usage since `before`, in percent.
    pub fn since(self, before: Self) -> Option<u64> {
        let (busy, all) = (self.busy.checked_sub(before.busy)?, self.all.checked_sub(before.all)?);
        let percent = u128::from(busy) * 100 / u128::from(Some(all).filter(|all| *all > 0)?);
        u64::try_from(percent).ok().map(|percent| percent.min(100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::LONGEST_REPORT;
    use proptest::prelude::*;

    #[test]
    fn what_pid_1_says_goes_there_and_back() {
        let units = json!([
            {"name": "gate", "state": "ready"}, {"name": "data", "state": "exited"},
            {"name": "lan", "state": "failed"}, {"name": "cache", "state": "backoff"},
            {"name": "web", "state": "waiting"}, {"state": "failed"}, 7,
        ]);
        let memory = json!({"available": 5, "total": 9, "init_rss": 1});
        let hardware = json!({"model": "a board", "temperature_celsius": -3.5, "cpu_mhz": null});
        let status = json!({"state": "degraded", "uptime": 70, "memory": memory, "hardware": hardware, "units": units});
        let report = NodeReport::from_status(&status);
        assert_eq!(
            (report.ready, &report.failed[..]),
            (Some(2), &["lan".into(), "cache".into()][..])
        );
        assert_eq!((report.memory, report.total, report.uptime), (Some(5), Some(9), Some(70)));
        assert_eq!(report.temperature, Some(-4));
        let full = NodeReport { cpu: Some(12), received: Some(u64::MAX), sent: Some(7), ..report };
        assert_eq!(NodeReport::from_json(&full.to_json()), full);
        for nothing in [json!(null), json!([]), json!(7), json!({"units": 7, "memory": 7})] {
            assert_eq!(NodeReport::from_status(&nothing).failed.len(), 0);
        }
        // A report of maximum size can be sent.
        let name = "\u{10ffff}".repeat(1000);
        let units: Vec<_> = (0..100).map(|_| json!({"name": name, "state": "failed"})).collect();
        let largest = NodeReport::from_status(&json!({"state": name, "units": units}));
        let said =
            serde_json::to_vec(&crate::message::FromBoard::Report(largest.to_json())).unwrap();
        assert!(said.len() < LONGEST_REPORT, "{}", said.len());
    }

    #[test]
    fn what_the_kernel_counts() {
        let before = "cpu  100 0 50 800 50 0 0 0 90 9\ncpu0 1 2 3 4\nintr 5\n";
        let after = "cpu  160 0 80 870 90 0 0 0 99 9\n";
        let [before, after] = [before, after].map(|text| CpuTicks::parse(text).unwrap());
        assert_eq!(before, CpuTicks { busy: 150, all: 1000 });
        assert_eq!(after.since(before), Some(45));
        // No time has passed, or the counters have gone back.
        assert_eq!((after.since(after), before.since(after)), (None, None));
        for bad in ["", "cpu0 1 2 3 4 5", "cpu  1 2 3", "cpu  1 2 x 4 5", "cpu  -1 2 3 4"] {
            assert_eq!(CpuTicks::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(
            json in "[\\[\\]{}\":,a-z0-9]{0,60}", stat in "(cpu )?[cpu0-9 \\n-]{0,80}",
            ticks in prop::collection::vec(any::<u64>(), 16), failed in prop::collection::vec("\\PC{0,80}", 0..40),
        ) {
            if let Ok(value) = serde_json::from_str::<Value>(&json) {
                NodeReport::from_status(&value);
                value.as_object().map(NodeReport::from_json);
            }
            let read = json!({ "failed": failed, "state": json, "cpu": ticks[0] });
            let read = NodeReport::from_json(read.as_object().unwrap());
            prop_assert!(read.failed.len() <= MAX_NAMED && read.cpu.unwrap() <= 100);
            // Decoding is idempotent.
            prop_assert_eq!(NodeReport::from_json(&read.to_json()), read);
            let _ = CpuTicks::parse(&stat);
            let line = |ticks: &[u64]| ticks.iter().fold("cpu ".to_owned(), |line, it| format!("{line} {it}"));
            let [before, after] = [&ticks[..8], &ticks[8..]].map(|it| CpuTicks::parse(&line(it)).unwrap());
            prop_assert!(after.since(before).is_none_or(|percent| percent <= 100));
        }
    }
}

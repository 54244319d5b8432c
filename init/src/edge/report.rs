//! The state of the box as clients see it.

use std::time::Duration;

use serde_json::{Value, json};

use super::Edge;
use crate::clock::now;
use crate::command_line;
use crate::facts;
use crate::supervisor::{BoxState, Moment, UnitState};

/// The answer to `status`.
pub fn status(edge: &Edge) -> Value {
    let units: Vec<Value> = edge
        .state
        .units()
        .map(|(id, settings, status)| {
            json!({
                "name": settings.name,
                "state": status.state.as_str(),
                "since": ms(status.since),
                "restarts": status.restarts,
                "pid": edge.pid_of(id).map(|pid| pid.as_raw_nonzero().get()),
                "last_exit": status.last_exit.map(|exit| exit.to_string()),
                "reason": status.reason,
            })
        })
        .collect();
    json!({
        "state": edge.state.box_state().as_str(),
        "reason": reason(edge),
        "board": edge.boot.board,
        "uptime": ms(now()),
        "ready_at": edge.state.ready_at().map(ms),
        "memory": memory(),
        "units": units,
    })
}

/// The answer to `boot`.
pub fn boot(edge: &Edge) -> Value {
    let phases: Vec<Value> = edge
        .boot
        .reports
        .iter()
        .map(|report| {
            json!({
                "name": report.name,
                "start": ms(report.start),
                "took": ms(report.took),
                "result": report.problem.as_deref().unwrap_or("ok"),
            })
        })
        .collect();
    json!({
        "board": edge.boot.board,
        "slot": facts::read(facts::SLOT),
        "data": data(),
        "ready_at": edge.state.ready_at().map(ms),
        "phases": phases,
    })
}

/// Where the data is.
fn data() -> Value {
    if command_line::data_in_memory() {
        return json!({ "device": null, "note": "in memory, lost at power-off" });
    }
    facts::read(facts::DATA)
}

/// Why the box is as it is: the first thing that a person should look at.
fn reason(edge: &Edge) -> Option<String> {
    let of_unit = |base: bool| {
        edge.state
            .units()
            .filter(|(_, settings, _)| settings.base || !base)
            .find(|(_, _, status)| status.state == UnitState::Failed)
            .map(|(id, settings, status)| {
                // What it said last tells more than how it ended.
                let said = edge.logs[id.0].last(1).pop();
                let why = said.or_else(|| status.reason.clone());
                format!(
                    "unit {} failed: {}",
                    settings.name,
                    why.as_deref().unwrap_or("it said nothing")
                )
            })
    };
    match edge.state.box_state() {
        BoxState::Degraded => of_unit(true),
        _ => of_unit(false).or_else(|| edge.problems.first().cloned()),
    }
}

fn ms(time: Moment) -> u64 {
    u64::try_from(Duration::as_millis(&time)).unwrap_or(u64::MAX)
}

/// Memory in bytes, as the kernel counts it (proc_meminfo(5), proc_pid_status(5)).
fn memory() -> Value {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let own = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    json!({
        "total": kilobytes(&meminfo, "MemTotal:"),
        "available": kilobytes(&meminfo, "MemAvailable:"),
        "init_rss": kilobytes(&own, "VmRSS:"),
    })
}

fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kb| kb * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_counts() {
        let text = "MemTotal:         500 kB\nMemAvailable:    7 kB\n";
        assert_eq!(kilobytes(text, "MemAvailable:"), Some(7 * 1024));
        assert_eq!(kilobytes(text, "VmRSS:"), None);
    }
}

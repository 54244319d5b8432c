//! The state of the box as clients see it.

use std::path::Path;
use std::time::Duration;

use octet_appliance::UnitType;
use octet_control::SOCKETS;
use serde_json::{Value, json};

use super::{Edge, board_sensors};
use crate::cgroup::Group;
use crate::clock::{cpu_time, now};
use crate::command_line;
use crate::facts;
use crate::supervisor::{BoxState, Moment, UnitId, UnitState};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The states, which are sent again at every change.
    States,
    /// Also the resource usage of the box and its units.
    Usage,
}

/// The answer to `status`.
pub fn status(edge: &Edge, detail: Detail) -> Value {
    let units: Vec<Value> = edge.state.units().map(|(id, _, _)| unit(edge, id, detail)).collect();
    let mut answer = json!({
        "state": edge.state.box_state().as_str(),
        "reason": reason(edge),
        "board": edge.boot.board.get(),
        "uptime": ms(now()),
        "ready_at": edge.state.ready_at().map(ms),
    });
    if detail == Detail::Usage {
        answer["memory"] = memory();
        answer["hardware"] = board_sensors::read(Path::new("/sys"));
        answer["init_cpu"] = json!(ms(cpu_time()));
    }
    answer["units"] = json!(units);
    answer
}

fn unit(edge: &Edge, id: UnitId, detail: Detail) -> Value {
    let (status, unit) = (edge.state.status(id), &edge.units[id.0]);
    let mut answer = json!({
        "name": unit.name(),
        "state": state(edge, id).as_str(),
        "since": ms(status.since),
        "restarts": status.restarts,
        "pid": unit.process.as_ref().map(|process| process.pid.as_raw_nonzero().get()),
    });
    if detail == Detail::Usage {
        let usage = unit.group.as_ref().map(Group::usage).unwrap_or_default();
        answer["memory"] = json!(usage.memory);
        answer["cpu"] = json!(usage.cpu_micros.map(|micros| micros / 1000));
        answer["tasks"] = json!(usage.tasks);
        answer["first_started"] = json!(status.first_started.map(ms));
        answer["first_ready"] = json!(status.first_ready.map(ms));
        answer["next_try"] = json!(status.state.next_try().map(ms));
        answer["last_exit"] = json!(status.last_exit.map(|exit| exit.to_string()));
    }
    answer["reason"] = json!(unit_reason(edge, id));
    answer
}

/// The state of a unit as clients see it. A target has no process that could exit.
fn state(edge: &Edge, id: UnitId) -> UnitState {
    match edge.state.status(id).state {
        UnitState::Exited if edge.units[id.0].unit.unit_type == UnitType::Target => {
            UnitState::Ready
        }
        state => state,
    }
}

/// Why a unit is in its state: its own status text says more than its exit status.
fn unit_reason(edge: &Edge, id: UnitId) -> Option<String> {
    let reason = edge.state.reason(id);
    let status_text = edge.units[id.0].status_text.clone();
    match edge.state.status(id).state {
        UnitState::Failed | UnitState::Backoff { .. } => status_text.or(reason),
        _ => reason.or(status_text),
    }
}

/// The answer to `units`: the units that have a control socket.
pub fn units(edge: &Edge) -> Value {
    let units = edge.units.iter().map(|it| &it.unit).filter(|unit| {
        let own = format!("{SOCKETS}/{}.sock", unit.name);
        unit.sockets.values().any(|it| it.path.as_ref().is_some_and(|path| path.as_str() == own))
    });
    units.map(|it| json!({ "name": it.name, "description": it.description })).collect()
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
                "took": ms(report.elapsed),
                "result": report.problem.as_deref().unwrap_or("ok"),
            })
        })
        .collect();
    json!({
        "board": edge.boot.board.get(),
        "slot": facts::read(facts::SLOT),
        "data": data(),
        "ready_at": edge.state.ready_at().map(ms),
        "phases": phases,
    })
}

fn data() -> Value {
    if command_line::data_in_memory() {
        return json!({ "device": null, "note": "tmpfs, lost at power-off" });
    }
    facts::read(facts::DATA)
}

/// Why the box is in its state: the first thing that an operator should look at.
fn reason(edge: &Edge) -> Option<String> {
    let of_unit = |base: bool| {
        edge.state
            .units()
            .filter(|(_, settings, _)| settings.base || !base)
            .find(|(_, _, status)| {
                let stopped = base && status.state == UnitState::Stopped;
                status.state == UnitState::Failed || stopped
            })
            .map(|(id, settings, status)| {
                let why = unit_reason(edge, id);
                let why = why.as_deref().unwrap_or("it said nothing");
                format!("unit {} {}: {why}", settings.name, status.state.as_str())
            })
    };
    match edge.state.box_state() {
        BoxState::Degraded => of_unit(true),
        _ => of_unit(false).or_else(|| edge.problems.first().cloned()),
    }
}

/// The answer to `boot` with `plot`: each phase and each unit, in the order of their starts.
pub fn drawing(edge: &Edge) -> Value {
    let phases = edge.boot.reports.iter().map(|report| {
        let (start, ready) = (ms(report.start), ms(report.start + report.elapsed));
        (start, json!({ "name": report.name, "kind": "phase", "start": start, "ready": ready }))
    });
    let units = edge.state.units().filter_map(|(_, settings, status)| {
        let kind = if settings.base { "base" } else { "unit" };
        // A target has no start of its own.
        let start = ms(status.first_started.or(status.first_ready)?);
        let ready = status.first_ready.map(ms);
        let row = json!({ "name": settings.name, "kind": kind, "start": start, "ready": ready });
        Some((start, row))
    });
    let mut rows: Vec<(u64, Value)> = phases.chain(units).collect();
    rows.sort_by_key(|(start, _)| *start);
    let rows: Vec<Value> = rows.into_iter().map(|(_, row)| row).collect();
    json!({ "drawing": { "ready_at": edge.state.ready_at().map(ms), "rows": rows } })
}

pub fn ms(time: Moment) -> u64 {
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

//! What came up, and how long it took, as tables.

use std::fmt::Write;
use std::time::Duration;

use octet_machine::{Boot, Status, UnitState};

/// One line per unit.
pub fn units(status: &Status) -> String {
    let rows = status.units.iter().map(|unit| {
        let state = match unit.state {
            UnitState::Waiting => "waiting",
            UnitState::Starting => "starting",
            UnitState::Ready => "ready",
            UnitState::Done => "done",
            UnitState::Backoff => "backoff",
            UnitState::Failed => "failed",
            UnitState::Stopping => "stopping",
            UnitState::Stopped => "stopped",
        };
        let reason = unit.reason.clone().unwrap_or_default();
        [unit.name.clone(), state.into(), seconds(unit.since), unit.restarts.to_string(), reason]
    });
    table(["UNIT", "STATE", "SINCE", "RESTARTS", ""], rows)
}

/// One line per phase of the boot, then the whole, in the guest's time and in the host's.
pub fn phases(boot: &Boot, status: &Status, took: Duration) -> String {
    let rows = boot.phases.iter().map(|phase| {
        let result = if phase.result == "ok" { String::new() } else { phase.result.clone() };
        [phase.name.clone(), seconds(phase.start), seconds(phase.took), result, String::new()]
    });
    let mut text = table(["PHASE", "START", "TOOK", "", ""], rows);
    let ready = status.ready_at.map_or_else(|| "?".to_owned(), seconds);
    let host = seconds(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    let _ = writeln!(text, "ready {ready} after the kernel's start, {host} after QEMU's");
    text
}

fn seconds(milliseconds: u64) -> String {
    format!("{:.3} s", Duration::from_millis(milliseconds).as_secs_f64())
}

/// Columns as wide as their widest cell.
fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows);
    let widths: [usize; N] = std::array::from_fn(|column| {
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)
    });
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> =
            line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_machine::Phase;

    #[test]
    fn looks_as_it_should() {
        let text = r#"{"state": "ready", "reason": null, "board": null, "uptime": 2000,
            "ready_at": 1534, "memory": {"total": 1, "available": 1, "init_rss": 1}, "units": [
            {"name": "console", "state": "ready", "since": 1500, "restarts": 0, "pid": 7, "reason": null},
            {"name": "hi", "state": "failed", "since": 20, "restarts": 5, "pid": null, "reason": "exit 7"}]}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        assert_eq!(
            units(&status),
            "UNIT     STATE   SINCE    RESTARTS\n\
             console  ready   1.500 s  0\n\
             hi       failed  0.020 s  5         exit 7\n"
        );
        let phase = |name: &str, result: &str| Phase {
            name: name.into(),
            start: 900,
            took: 12,
            result: result.into(),
        };
        let boot = Boot { phases: vec![phase("mount-api", "ok"), phase("mount-root", "no root")] };
        assert_eq!(
            phases(&boot, &status, Duration::from_millis(2100)),
            "PHASE       START    TOOK\n\
             mount-api   0.900 s  0.012 s\n\
             mount-root  0.900 s  0.012 s  no root\n\
             ready 1.534 s after the kernel's start, 2.100 s after QEMU's\n"
        );
    }
}

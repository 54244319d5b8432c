//! What came up, and how long it took, as tables.

use std::fmt::Write;
use std::io::{self, ErrorKind, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use miette::{IntoDiagnostic, MietteHandlerOpts, WrapErr};
use octet_machine::{Boot, Status, UnitState};

/// Runs a whole program, and shows a person its error.
pub fn exit_code(program: impl FnOnce() -> miette::Result<ExitCode>) -> ExitCode {
    if !io::stderr().is_terminal() {
        // In a pipe a message stays on one line, so that it can be searched for.
        // The only error is that a hook is set already.
        let _ = miette::set_hook(Box::new(|_| {
            Box::new(MietteHandlerOpts::new().wrap_lines(false).build())
        }));
    }
    program().unwrap_or_else(|report| {
        eprintln!("{report:?}");
        ExitCode::FAILURE
    })
}

/// Prints `text`. That its reader has gone, as `head` has after its lines, is no failure: what is left is done unseen.
///
/// # Errors
/// It cannot be written for another reason.
pub fn print(text: &str) -> miette::Result<()> {
    print_to(&mut io::stdout().lock(), text).into_diagnostic().wrap_err("cannot print")
}

fn print_to(out: &mut impl io::Write, text: &str) -> io::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

pub fn units(status: &Status) -> String {
    let rows = status.units.iter().map(|unit| {
        let state = match unit.state {
            UnitState::Waiting => "waiting",
            UnitState::Starting => "starting",
            UnitState::Ready => "ready",
            UnitState::Exited => "exited",
            UnitState::Backoff => "backoff",
            UnitState::Failed => "failed",
            UnitState::Stopping => "stopping",
            UnitState::Clearing => "clearing",
            UnitState::Stopped => "stopped",
        };
        let reason = unit.reason.clone().unwrap_or_default();
        [unit.name.clone(), state.into(), seconds(unit.since), unit.restarts.to_string(), reason]
    });
    table(["UNIT", "STATE", "SINCE", "RESTARTS", ""], rows)
}

/// Units that do not run as they should, with why; nothing if there are none.
pub fn failed(status: &Status) -> Option<String> {
    let failed = status.units.iter();
    let failed = failed.filter(|unit| matches!(unit.state, UnitState::Failed | UnitState::Backoff));
    let lines: Vec<_> = failed
        .map(|unit| format!("{}: {}", unit.name, unit.reason.as_deref().unwrap_or("no reason")))
        .collect();
    (!lines.is_empty()).then(|| lines.join("; "))
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

/// As a person reads it.
pub fn seconds(milliseconds: u64) -> String {
    format!("{:.3} s", Duration::from_millis(milliseconds).as_secs_f64())
}

/// What there is to say about the slot and the data.
pub fn storage(boot: &Boot) -> String {
    let mut text = String::new();
    if let Some(slot) = &boot.slot {
        let tries = slot.tries_left.map(|left| format!(", {left} tries left")).unwrap_or_default();
        let _ = writeln!(text, "slot {}: {}{tries}", slot.version, slot.verdict);
    }
    if let Some(data) = &boot.data {
        let place = data.device.as_deref().unwrap_or("none");
        let size = match (data.size, data.free) {
            (Some(size), Some(free)) => {
                format!(", {} of {} MB free", free / 1_000_000, size / 1_000_000)
            }
            _ => String::new(),
        };
        let note = data.note.as_deref().map(|note| format!(", {note}")).unwrap_or_default();
        let _ = writeln!(text, "data {place}{size}{note}");
    }
    text
}

/// Columns as wide as their widest cell.
pub fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
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
    use std::fs;

    #[test]
    fn a_reader_may_go() {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        print_to(&mut writer, "powered off\n").unwrap();
        let mut full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert_eq!(print_to(&mut full, "x").unwrap_err().kind(), ErrorKind::StorageFull);
    }

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
        assert_eq!(failed(&status).as_deref(), Some("hi: exit 7"));
        let rest = Status { units: status.units[..1].to_vec(), ..status.clone() };
        assert_eq!(failed(&rest), None);
        let phase = |name: &str, result: &str| Phase {
            name: name.into(),
            start: 900,
            took: 12,
            result: result.into(),
        };
        let phases = vec![phase("mount-api", "ok"), phase("mount-root", "no root")];
        let slot = r#"{"version": "1-2", "tries_left": 2, "tries_done": 1, "verdict": "trying"}"#;
        let data =
            r#"{"device": "/dev/vda2", "size": 9000000, "free": 8000000, "note": "checked"}"#;
        let boot = Boot {
            slot: serde_json::from_str(slot).unwrap(),
            data: serde_json::from_str(data).unwrap(),
            phases,
        };
        assert_eq!(
            storage(&boot),
            "slot 1-2: trying, 2 tries left\ndata /dev/vda2, 8 of 9 MB free, checked\n"
        );
        assert_eq!(
            super::phases(&boot, &status, Duration::from_millis(2100)),
            "PHASE       START    TOOK\n\
             mount-api   0.900 s  0.012 s\n\
             mount-root  0.900 s  0.012 s  no root\n\
             ready 1.534 s after the kernel's start, 2.100 s after QEMU's\n"
        );
    }
}

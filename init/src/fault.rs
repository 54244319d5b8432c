//! Faults of PID 1 on demand, at a step of the core that the kernel's command line names
//! (`octet.fault=KIND:STEP`; a stall begins at the first step from there on at which PID 1 has the
//! watchdog). Only test builds contain them (feature `fault`); a shipped binary cannot be made to
//! fail.

use std::cell::Cell;
use std::hint::black_box;
use std::path::Path;

use crate::{command_line, sys};

thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// Counts a step of the core, and triggers the fault if its number is reached.
pub fn at_step() {
    let Ok(Some(text)) = command_line::value("fault") else { return };
    let Some((kind, step)) = text.split_once(':') else { return };
    let now = STEPS.get() + 1;
    STEPS.set(now);
    let Ok(step) = step.parse::<u64>() else { return };
    // The watchdog's driver comes with a unit. A stall before that would last for ever, which is
    // not what the test needs.
    let is_due = if kind == "stall" { now >= step && is_watched() } else { now == step };
    if !is_due {
        return;
    }
    match kind {
        "panic" => panic!("step {now}, as the command line asks"),
        "segv" => sys::touch_nothing(),
        "abort" => std::process::abort(),
        "exit" => std::process::exit(3),
        "overflow" => drop(recurse(1)),
        // The core hangs.
        "stall" => loop {
            std::thread::park();
        },
        _ => {}
    }
}

/// Whether this process has the watchdog open.
fn is_watched() -> bool {
    let held = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    held.filter_map(|file| std::fs::read_link(file.path()).ok())
        .any(|path| path == Path::new("/dev/watchdog0"))
}

#[expect(unconditional_recursion, reason = "the fault that is wanted")]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth) + 1)) + depth
}

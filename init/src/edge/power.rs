//! Power-off and restart.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};
use rustix::system::{RebootCommand, reboot};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::console::write_line;
use crate::spawn;
use crate::supervisor::ShutdownGoal;

static POWEROFF_REQUESTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
static REBOOT_REQUESTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// How often, and at which interval, remaining processes are killed before the machine goes down
/// anyway.
const KILL_ROUNDS: u32 = 20;
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// How long a disk may take to write pending data: together with the units' stop time half a
/// minute.
const UNMOUNT_TIMEOUT: Duration = Duration::from_secs(10);

/// The signal that the driver `tiny_power_button` sends to PID 1 when the power button is pressed
/// (drivers/acpi/tiny-power-button.c). It is a build option of the kernel; this is the default, and
/// what systemd uses for it, SIGRTMIN+4.
const POWER_BUTTON: i32 = 38;

/// Writes a byte to `pipe` when a signal requests a shutdown: SIGTERM and the power button mean
/// power-off, SIGINT (which the kernel sends for ctrl-alt-del) means restart.
pub fn watch(pipe: &UnixStream) -> std::io::Result<()> {
    for (signal, flag) in [
        (SIGTERM, &*POWEROFF_REQUESTED),
        (POWER_BUTTON, &*POWEROFF_REQUESTED),
        (SIGINT, &*REBOOT_REQUESTED),
    ] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
        signal_hook::low_level::pipe::register(signal, pipe.try_clone()?)?;
    }
    Ok(())
}

/// What a signal has requested since the last call.
pub fn requested_by_signal() -> Option<ShutdownGoal> {
    if POWEROFF_REQUESTED.swap(false, Ordering::Relaxed) {
        Some(ShutdownGoal::PowerOff)
    } else if REBOOT_REQUESTED.swap(false, Ordering::Relaxed) {
        Some(ShutdownGoal::Reboot)
    } else {
        None
    }
}

/// Takes the machine down: kills remaining processes, writes pending data, unmounts, and powers off
/// or restarts.
pub fn shut_down(goal: ShutdownGoal) -> ! {
    for _ in 0..KILL_ROUNDS {
        if !kill_all_processes() {
            break;
        }
        std::thread::sleep(RETRY_DELAY);
        while let Some(ended) = spawn::next_ended() {
            ended.reap();
        }
    }
    unmount_data();
    let (command, words) = match goal {
        ShutdownGoal::PowerOff => (RebootCommand::PowerOff, "powering off"),
        ShutdownGoal::Reboot => (RebootCommand::Restart, "restarting"),
    };
    write_line(words);
    let _ = reboot(command);
    // The kernel refused; when PID 1 ends, the kernel panics and restarts the machine (panic=).
    std::process::exit(1)
}

/// Writes pending data and unmounts. A dead disk could block this for ever, so it is abandoned
/// after a timeout: data that a unit has confirmed was synced before.
fn unmount_data() {
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        rustix::fs::sync();
        for _ in 0..KILL_ROUNDS {
            // Busy: a killed process has not ended yet.
            if unmount("/data", UnmountFlags::empty()) != Err(rustix::io::Errno::BUSY) {
                break;
            }
            std::thread::sleep(RETRY_DELAY);
        }
        let _ = done.send(());
    });
    if wait.recv_timeout(UNMOUNT_TIMEOUT).is_err() {
        write_line("the disk does not answer; going down without it");
    }
}

/// Kills every process except this one and kernel threads. Returns whether there was any.
fn kill_all_processes() -> bool {
    let mut any = false;
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid.and_then(Pid::from_raw).filter(|pid| !pid.is_init()) else {
            continue;
        };
        // Kernel threads have no program.
        if std::fs::read_link(entry.path().join("exe")).is_ok() {
            any = true;
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    any
}

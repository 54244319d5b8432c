//! The clock of PID 1.

use rustix::time::{ClockId, clock_gettime};

use crate::supervisor::Moment;

/// Time since the kernel started (`CLOCK_BOOTTIME`): monotonic, and it includes suspend.
pub fn now() -> Moment {
    read(ClockId::Boottime)
}

/// The CPU time that PID 1 has used (`CLOCK_PROCESS_CPUTIME_ID`).
pub fn cpu_time() -> Moment {
    read(ClockId::ProcessCPUTime)
}

fn read(clock: ClockId) -> Moment {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Moment::new(seconds, nanoseconds)
}

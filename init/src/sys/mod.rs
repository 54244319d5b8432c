//! System calls without a safe wrapper. All `unsafe` of PID 1 is here, and nothing else is.

mod block;
mod fatal;
mod process;
mod random;
mod sandbox;
mod watchdog;

pub use block::{PartitionChange, change_partition, loop_device, read_partitions};
pub use fatal::on_fatal_signal;
#[cfg(feature = "fault")]
pub use fatal::touch_nothing;
pub use process::{
    Cloned, clone_process, close_at_exec_from, execute, exit_now, put_descriptor, reset_signals,
    wait_for_any,
};
pub use random::add_randomness;
pub use sandbox::{add_system_call_filter, set_read_only, unshare};
pub use watchdog::set_watchdog_timeout;

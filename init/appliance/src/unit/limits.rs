//! What a unit may use of the machine: cgroup v2 (Linux, admin-guide/cgroup-v2.rst) and
//! `RLIMIT_NOFILE`.

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;

/// Bounds on what all processes of a unit use together. What is not named is not bounded, except
/// for processes and open files.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory in bytes; if more is needed, a process of the unit is killed (`memory.max`).
    pub memory_max: Option<Bytes>,
    /// Memory in bytes from which on the unit is slowed down and its caches are reclaimed
    /// (`memory.high`).
    pub memory_high: Option<Bytes>,
    /// Its share of the processors when they are short (`cpu.weight`).
    pub cpu_weight: u16,
    /// Processor time in percent of one processor (`cpu.max`).
    pub cpu_max: Option<u16>,
    /// Processes and threads (`pids.max`).
    pub pids_max: u32,
    /// Reading and writing of the disk that holds `/data` (`io.max`).
    pub io_max: Option<IoMax>,
    /// Open files of each process (`RLIMIT_NOFILE`).
    pub nofile: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_max: None,
            memory_high: None,
            cpu_weight: 100,
            cpu_max: None,
            pids_max: 256,
            io_max: None,
            nofile: 1024,
        }
    }
}

/// Bytes per second.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct IoMax {
    /// Bytes read in a second.
    pub read: Option<Bytes>,
    /// Bytes written in a second.
    pub write: Option<Bytes>,
}

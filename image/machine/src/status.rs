//! What PID 1 says about itself: the answers of its verbs `status` and `boot`.

use serde::Deserialize;

/// The answer of `status`, and each item of `watch`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Status {
    /// How the appliance is as a whole.
    pub state: State,
    /// Why, where that needs saying.
    pub reason: Option<String>,
    /// The board's number, once known.
    pub board: Option<u16>,
    /// Since the kernel's start, in milliseconds.
    pub uptime: u64,
    /// When it became ready, in milliseconds since the kernel's start.
    pub ready_at: Option<u64>,
    /// Memory, in bytes, as `status` says it; nothing in what `watch` says.
    #[serde(default)]
    pub memory: Memory,
    /// The processor time that PID 1 has used, in milliseconds; as with memory.
    #[serde(default)]
    pub init_cpu: u64,
    /// Every unit of the image.
    pub units: Vec<UnitStatus>,
}

impl Status {
    /// The unit `name`, if the image has it.
    pub fn unit(&self, name: &str) -> Option<&UnitStatus> {
        self.units.iter().find(|unit| unit.name == name)
    }
}

/// How the appliance is as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not all base units are ready yet.
    Starting,
    /// All base units are ready.
    Ready,
    /// Something that is needed does not work.
    Degraded,
    /// On its way to power-off or reboot.
    Stopping,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Memory {
    pub total: u64,
    /// What programs could still get.
    pub available: u64,
    /// The resident size of PID 1.
    pub init_rss: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UnitStatus {
    pub name: String,
    pub state: UnitState,
    /// Since when, in milliseconds since the kernel's start.
    pub since: u64,
    /// How often it was started again.
    pub restarts: u64,
    pub pid: Option<u32>,
    /// What its processes use of memory, in bytes. This and what follows only `status` says, not
    /// `watch`.
    pub memory: Option<u64>,
    /// The processor time that they have used, in milliseconds.
    pub cpu: Option<u64>,
    /// How many processes and threads it has.
    pub tasks: Option<u64>,
    /// How its main process last ended, in words.
    pub last_exit: Option<String>,
    /// Why it is as it is, where that needs saying.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitState {
    /// For units that it needs.
    Waiting,
    Starting,
    Ready,
    /// A one-shot that ended well.
    Exited,
    /// Ended; is started again after a pause.
    Backoff,
    Failed,
    Stopping,
    /// Its main process has ended; what that has left behind is killed and waited for.
    Clearing,
    /// Ended because it was asked to.
    Stopped,
}

/// The answer of `boot`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Boot {
    /// The slot, if a boot loader has chosen it.
    pub slot: Option<SlotStatus>,
    /// The data partition, once it is there.
    pub data: Option<DataStatus>,
    /// The phases in the order in which they ran.
    pub phases: Vec<Phase>,
}

/// The slot that was booted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SlotStatus {
    pub version: String,
    /// Tries after this one; none are counted once it is good.
    pub tries_left: Option<u32>,
    /// Tries up to this one.
    pub tries_done: Option<u32>,
    /// `good`, `trying`, `no tries left`, or what else there is to say.
    pub verdict: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DataStatus {
    /// Its device; `None` if the data is in memory.
    pub device: Option<String>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// What is free of it, in bytes.
    pub free: Option<u64>,
    /// What was done to it at this boot.
    pub note: Option<String>,
}

/// One phase of the boot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Phase {
    pub name: String,
    /// When it began, in milliseconds since the kernel's start.
    pub start: u64,
    /// How long it took, in milliseconds.
    pub took: u64,
    /// `ok`, or what went wrong.
    pub result: String,
}

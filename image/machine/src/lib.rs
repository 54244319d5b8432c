//! The appliance as a machine under QEMU: started, watched, asked, ended.
//!
//! [`Machine::builder`] and [`Machine::from_disk`] say what boots, [`Builder::start`] starts it. The [`Machine`] is spoken to
//! over its control port ([`Machine::call`], [`Machine::status`]) and over QMP
//! ([`Machine::qmp`]); its [console](Machine::console) is read all the time, and every error
//! carries the console's last lines. When the value goes, so does QEMU, and so it does when this
//! process is killed.

mod architecture;
mod arguments;
mod builder;
mod call;
mod capture;
mod cluster;
mod control;
mod disk;
mod error;
mod exit;
mod log_line;
mod machine;
mod memory;
pub mod panel;
mod program;
mod qmp;
mod slot;
mod spawn;
mod status;
mod wait;
mod write_log;

pub use architecture::{Architecture, Emulator, Firmware};
pub use arguments::has_kvm;
pub use builder::Builder;
pub use capture::Capture;
pub use cluster::{Cluster, Node, Socket, router_card};
pub use control::connect;
pub use disk::{Access, Disk, Fault};
pub use error::{MachineError, Tail};
pub use exit::Exit;
pub use log_line::LogLine;
pub use machine::Machine;
pub use memory::MemoryDump;
pub use panel::{FrameAction, Mac, Port};
pub use program::find_program;
pub use qmp::Shutdown;
pub use status::{
    Boot, DataStatus, Memory, Phase, SlotStatus, State, Status, UnitState, UnitStatus,
};
pub use write_log::{Write, WriteLog};

//! The appliance as a machine under QEMU: started, watched, asked, ended.
//!
//! [`Machine::builder`] says what boots, [`Builder::start`] starts it. The [`Machine`] is spoken to
//! over its control port ([`Machine::call`], [`Machine::status`]) and over QMP
//! ([`Machine::qmp`]); its [console](Machine::console) is read all the time, and every error
//! carries the console's last lines. When the value goes, so does QEMU, and so it does when this
//! process is killed.

mod arguments;
mod builder;
mod capture;
mod control;
mod error;
mod exit;
mod machine;
mod program;
mod qmp;
mod slot;
mod spawn;
mod status;
mod wait;

pub use arguments::has_kvm;
pub use builder::Builder;
pub use capture::Capture;
pub use control::connect;
pub use error::{MachineError, Tail};
pub use exit::Exit;
pub use machine::Machine;
pub use program::{QEMU, find_program};
pub use qmp::Shutdown;
pub use status::{Boot, Memory, Phase, State, Status, UnitState, UnitStatus};

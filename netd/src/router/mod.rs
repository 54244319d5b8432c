//! A router between the boards of a box: everything about it is made from the configuration alone.
//!
//! [`plan`] says who may reach whom and where everybody is, for any kind of router; [`guard`] and
//! [`firewall`] are the kernel's [`table`]s for it.

pub mod built_in;
pub mod counters;
mod drawn;
pub mod explain;
pub mod firewall;
pub mod flows;
pub mod guard;
pub mod plan;
pub mod report;
pub mod table;
pub(crate) mod text;

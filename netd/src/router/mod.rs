//! A router between the boards of a box: everything about it is made from the configuration alone.
//!
//! [`plan`] says who may reach whom and where everybody is, for any kind of router; [`guard`] and
//! [`firewall`] are the kernel's tables for it.

pub mod built_in;
pub mod explain;
pub mod firewall;
pub mod guard;
pub mod plan;
mod text;
